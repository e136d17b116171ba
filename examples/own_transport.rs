//! A transport of your own: any byte stream, framed, proven by the laws that every transport here obeys.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use net_core::{
    Accept, Acceptor, Address, Admission, Connection, Error, ErrorKind, Guarantees, Handshake, Info,
    Listener, Permit, Result, Scheme, Transport,
    frame::{Framing, LengthPrefix},
    framed::{FrameReceiver, FrameSender},
    testing::laws,
};
use net_messaging::{Client, Server};
use tokio::{
    io::{DuplexStream, ReadHalf, WriteHalf, duplex, split},
    sync::mpsc,
};

type PipeSender = FrameSender<WriteHalf<DuplexStream>, LengthPrefix>;
type PipeReceiver = FrameReceiver<ReadHalf<DuplexStream>, LengthPrefix>;
type PipeConnection = Connection<PipeSender, PipeReceiver>;

/// Carries messages through tokio's in-memory byte streams; a serial line or a TLS stream would stand here as well.
#[derive(Clone, Debug, Default)]
struct Pipe {
    framing: LengthPrefix,
    listener: Arc<Mutex<Option<mpsc::Sender<DuplexStream>>>>,
}

/// Makes messages of a byte stream: the framing, and what is known of the connection.
fn connection(stream: DuplexStream, framing: LengthPrefix, info: Info) -> PipeConnection {
    let (rx, tx) = split(stream);
    Connection::new(FrameSender::new(tx, framing), FrameReceiver::new(rx, framing), info)
}

impl Transport for Pipe {
    type Sender = PipeSender;
    type Receiver = PipeReceiver;
    type Listener = PipeListener;

    fn guarantees(&self) -> Guarantees {
        // Such a stream has no reset: a peer cannot tell an abort from an end.
        Guarantees { signals_abort: false, ..Guarantees::stream(self.framing.max_message_len()) }
    }

    async fn connect(&self, to: &Address) -> Result<PipeConnection> {
        let (near, far) = duplex(64 * 1024);
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let refused = || Error::new(ErrorKind::Refused, "connect").at(to);
        listener.ok_or_else(refused)?.try_send(far).map_err(|_| refused())?;
        Ok(connection(near, self.framing, Info::new(to.clone(), to.clone())))
    }

    async fn listen(&self, at: &Address) -> Result<PipeListener> {
        let (tx, arrivals) = mpsc::channel(128);
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(tx);
        let source = Source { arrivals, framing: self.framing };
        Ok(PipeListener(Acceptor::new(source, at.clone())))
    }
}

/// Where raw connections come from; limits, handshakes and closing are the acceptor's.
struct Source {
    arrivals: mpsc::Receiver<DuplexStream>,
    framing: LengthPrefix,
}

impl Accept for Source {
    type Socket = DuplexStream;
    type Output = PipeConnection;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(DuplexStream, Address)>> {
        let peer = Address::from_name(Scheme::Mem, "peer");
        self.arrivals.poll_recv(cx).map(|stream| Ok((stream.ok_or(io::ErrorKind::NotConnected)?, peer)))
    }

    fn handshake(&self, stream: DuplexStream, peer: Address, permit: Permit) -> Handshake<PipeConnection> {
        // The permit is the connection's place under the limits, and lives as long as what is known of it.
        let info = Info::new(peer.clone(), peer).with_details(permit);
        Handshake::Done(Ok(connection(stream, self.framing, info)))
    }
}

struct PipeListener(Acceptor<Source>);

impl Listener for PipeListener {
    type Sender = PipeSender;
    type Receiver = PipeReceiver;

    fn local(&self) -> &Address {
        self.0.local()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<PipeConnection>> {
        self.0.poll_accept(cx)
    }

    fn close(&mut self) {
        self.0.close();
    }

    fn set_admission(&mut self, admission: Arc<Admission>) {
        self.0.set_admission(admission);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    laws::conformance(Pipe::default(), "mem://laws".parse()?).await;
    laws::conformance(Pipe::default().boxed(), "mem://laws".parse()?).await;
    println!("all laws hold");

    // Everything that works over a transport now works over this one.
    let pipe = Pipe::default();
    let server = Server::builder(pipe.clone())
        .on_message(|_, message| async move { Ok(message.into_reply()) })
        .listen("mem://pipe")
        .await?;
    let client = Client::builder(pipe).connect(server.local()).await?;
    println!("{}", client.request("hello").await?);
    Ok(())
}
