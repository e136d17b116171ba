//! Serves until it is told to end: listens, says where, and drains.

use std::{future::Future, pin::Pin, process::ExitCode, time::Duration};

use clap::Args;
use net_core::{
    Address, Message, MessageRef, Scheme, Transport,
    frame::{AnyFraming, Raw},
    tls::{TlsWatch, WatchConfig},
};
use net_messaging::{
    Answer, CloseReason, DrainReport, Handler, HandlerResult, Server, ServerConfig, Session,
};

use crate::{
    event::Event,
    failure::Failure,
    log::{self, Log},
    options::{Limits, Listening, Serving, Socket, Wire, WireFormat},
    output,
    signals::Signals,
    target::Target,
    transport::{self, Sockets, With},
};

/// A hundred years.
const NEVER: Duration = Duration::from_hours(36_525 * 24);

/// The flags of every server.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    wire: Wire,
    #[command(flatten)]
    serving: Serving,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    socket: Socket,
    #[command(flatten)]
    listening: Listening,
}

impl Serve {
    /// Serves until a signal or until it can accept no more, drains, and says what was cut.
    pub(crate) async fn run(mut self, json: bool) -> Result<ExitCode, Failure> {
        let address = self.target.address()?;
        self.serving = self.serving.over(address.scheme());
        let framing = self.bytes_of_streams(&address, self.wire.framing()?);
        let drain = self.serving.drain()?;
        let config = self.limits.config(&self.wire, &self.serving);
        // Kept until everything is told.
        let (log, _writer) = if self.serving.quiet {
            (Log::silent(), None)
        } else {
            let (log, writer) = Log::start(json).map_err(Failure::runtime)?;
            (log, Some(writer))
        };
        let mut signals = Signals::listen().map_err(Failure::runtime)?;
        let echo = Echo { log: log.clone(), verbose: self.serving.verbose };
        let mut sockets = self.socket.listening(&self.listening, &address)?;
        // What a connection is to others, a session is to UDP, which keeps them by itself.
        sockets.udp.max_sessions = config.limits.max_connections;
        sockets.udp.idle_timeout = config.limits.idle_timeout.unwrap_or(NEVER);
        sockets.ws.config.idle_timeout = config.limits.idle_timeout;
        // Half of the handshakes are for clients that have shown their address, however few there may be.
        sockets.quic.retry_threshold = sockets.quic.retry_threshold.min(config.limits.max_handshakes / 2);
        sockets.quic.migration &= self.serving.io_threads() == 1;
        let _watch = watch(&sockets, &log)?;
        let shown = transport::framing_name(&address, &framing);
        let server = listen(address, framing, &sockets, config, echo).await?;
        log.tell(&Event::Bound {
            address: &server.local().to_string(),
            framing: &shown,
            format: self.wire.format.as_str(),
            io_threads: self.serving.io_threads(),
            io_model: server.io_model(),
        });
        // Where nobody reads it, the server serves all the same.
        let _ = output::line(format_args!("listening {}", server.local()));

        let served = tokio::select! {
            _ = signals.next() => Ok(()),
            // Whoever is served goes on being served until the drain ends.
            closed = server.closed() => closed,
        };
        log.tell(&Event::Draining { sessions: server.len(), seconds: drain.end().as_secs_f64() });
        let (report, status) = tokio::select! {
            biased;
            // The second signal: no more time for anybody.
            number = signals.next() => (cut(&server).await, ExitCode::from(128 + number)),
            report = server.drain(drain) => (report, ExitCode::SUCCESS),
        };
        log.tell(&Event::Drained {
            sessions: report.active,
            cut: report.cut,
            requests_cut: report.requests_cut,
            messages_unsent: report.messages_unsent,
            handshakes_cut: report.handshakes_cut,
        });
        served.map_err(Failure::start)?;
        Ok(status)
    }
}

impl Serve {
    /// Of a stream of QUIC every byte is sent back as it comes, so that any client is served; only an answer of another kind
    /// needs what marks a message.
    fn bytes_of_streams(&self, address: &Address, framing: AnyFraming) -> AnyFraming {
        let plain = self.wire.format == WireFormat::Raw && matches!(framing, AnyFraming::LengthPrefix(_));
        if address.scheme() == Scheme::Quic && plain { AnyFraming::Raw(Raw::default()) } else { framing }
    }
}

/// Reads certificates and keys again when their files change, for as long as what is returned lives.
fn watch(sockets: &Sockets, log: &Log) -> Result<Option<TlsWatch>, Failure> {
    let Some(tls) = &sockets.server_tls else { return Ok(None) };
    let log = log.clone();
    let told = move |outcome: net_core::Result<()>| match outcome {
        Ok(()) => log.tell(&Event::Reloaded),
        Err(error) => log.tell(&Event::NotReloaded { error: &error.report() }),
    };
    tls.watch(WatchConfig::default(), told).map(Some).map_err(Failure::start)
}

async fn cut(server: &Server) -> DrainReport {
    server.drain(Duration::ZERO..=Duration::ZERO).await
}

/// Sends every message back.
#[derive(Debug)]
pub(crate) struct Echo {
    pub(crate) log: Log,
    pub(crate) verbose: bool,
}

impl Echo {
    /// Out of line, so that an echo that tells nothing stays small enough to become part of the engine's loop.
    #[cold]
    fn tell_echoed(&self, session: &Session, bytes: usize) {
        let peer = log::shown(&session.info().remote);
        self.log.tell(&Event::Echoed { peer: &peer, bytes });
    }
}

impl Handler for Echo {
    const ANSWERS: bool = true;

    fn answer<'a>(&'a self, session: &Session, message: MessageRef<'a>) -> Answer<'a> {
        if self.verbose {
            self.tell_echoed(session, message.payload().len());
        }
        Answer::Reply(message.payload())
    }

    async fn message(&self, session: &Session, message: Message) -> HandlerResult {
        if self.verbose {
            self.tell_echoed(session, message.payload().len());
        }
        Ok(Some(message.into_reply()))
    }

    async fn disconnected(&self, session: &Session, reason: &CloseReason) {
        if self.log.is_silent() {
            return;
        }
        // What the engine counts anyway: nothing is counted for the log.
        let stats = session.stats();
        let told = reason.error().map_or_else(|| reason.to_string(), net_core::Error::report);
        self.log.tell(&Event::Closed {
            peer: &log::shown(&session.info().remote),
            messages: stats.sent_messages,
            bytes: stats.sent_bytes,
            clean: reason.is_clean(),
            reason: &told,
        });
    }
}

/// Starts a server that echoes.
pub(crate) async fn listen(
    address: Address,
    framing: AnyFraming,
    sockets: &Sockets,
    config: ServerConfig,
    echo: Echo,
) -> Result<Server, Failure> {
    let listen = Listen { address: address.clone(), config, echo };
    transport::choose(&address, framing, sockets, listen)?.await.map_err(Failure::start)
}

/// Starts a server that echoes over a transport of any type; the server that comes of it has none.
pub(crate) struct Listen {
    pub(crate) address: Address,
    pub(crate) config: ServerConfig,
    pub(crate) echo: Echo,
}

impl With for Listen {
    type Output = Pin<Box<dyn Future<Output = net_core::Result<Server>>>>;

    fn with<T: Transport + Clone>(self, transport: T) -> Self::Output {
        let Self { address, config, echo } = self;
        let builder = Server::builder(transport).config(config);
        // What is told to nobody costs nothing.
        let builder = if echo.log.is_silent() { builder } else { builder.observer(echo.log.clone()) };
        Box::pin(builder.handler(echo).listen(address))
    }
}
