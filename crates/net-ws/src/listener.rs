//! Accepts connections, whose handshakes run beside one another.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
};

use net_core::{
    Accept, Acceptor, Address, Admission, Connection, Handshake, IncomingConnection, Listener, Permit, Result,
};
use net_tcp::stream::{Accepted, StreamSource};

use crate::{
    WsConfig, WsReceiver, WsSender,
    handshake::server::{Answers, serve},
};

/// Accepts WebSocket connections, under limits; a handshake that is slow or refused keeps no other from being accepted.
///
/// # Examples
///
/// ```
/// use net_core::{Listener, Transport};
/// use net_ws::{Ws, WsListener};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let listener: WsListener = Ws::default().listen(&"ws://127.0.0.1:0".parse()?).await?;
/// assert_ne!(listener.local().port(), Some(0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WsListener(Acceptor<Upgrading>);

impl WsListener {
    pub(crate) fn new(source: StreamSource, config: Arc<WsConfig>, answers: Arc<Answers>) -> Self {
        let local = source.local().clone();
        Self(Acceptor::new(Upgrading { source, config, answers }, local))
    }
}

impl Listener for WsListener {
    type Sender = WsSender;
    type Receiver = WsReceiver;

    fn local(&self) -> &Address {
        self.0.local()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connection<WsSender, WsReceiver>>> {
        self.0.poll_accept(cx)
    }

    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<IncomingConnection<WsSender, WsReceiver>>> {
        self.0.poll_incoming(cx)
    }

    fn close(&mut self) {
        self.0.close();
    }

    fn set_admission(&mut self, admission: Arc<Admission>) {
        self.0.set_admission(admission);
    }
}

/// Byte streams, and the handshake that makes connections of them.
#[derive(Debug)]
struct Upgrading {
    source: StreamSource,
    config: Arc<WsConfig>,
    answers: Arc<Answers>,
}

impl Accept for Upgrading {
    type Socket = Accepted;
    type Output = Connection<WsSender, WsReceiver>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Accepted, Address)>> {
        self.source.poll_accept(cx)
    }

    fn accept_waiting(&mut self) -> Option<io::Result<(Accepted, Address)>> {
        self.source.accept_waiting()
    }

    fn handshake(&self, socket: Accepted, peer: Address, permit: Permit) -> Handshake<Self::Output> {
        let below = self.source.handshake(socket, peer, permit);
        let (config, answers) = (self.config.clone(), self.answers.clone());
        Handshake::Running(Box::pin(async move {
            let stream = match below {
                Handshake::Done(stream) => stream?,
                Handshake::Running(stream) => stream.await?,
            };
            serve(stream, config, answers).await
        }))
    }
}
