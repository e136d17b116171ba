//! Connecting: names to addresses, one attempt beside another, one deadline for all.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use net_core::{Address, Attempts, Error, ErrorKind, Info, Result, Scheme, resolve, tls::ClientTls};
use quinn::{EndpointConfig, Side, TokenMemoryCache, TransportConfig};
use tokio::{
    net::UdpSocket,
    runtime::{Handle, Id},
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};

use crate::{
    QuicConfig,
    crypto::{ClientCrypto, Failure, Settings},
    error::{as_io, of_connect, of_handshake},
    parameters::{self, Purpose, transport},
    runtime::runtime,
    session::{self, Client, Early, Shared, info, local_of},
    socket,
};

/// After how long without an answer it is asked whether anybody is there at all.
const ASK_AFTER: Duration = Duration::from_millis(50);
/// How long the system is given to say that nobody is.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How many sockets are remembered; those of runtimes that are gone make room.
const MAX_SOCKETS: usize = 64;

/// Connects clients, on one socket for each family of addresses and each runtime.
#[derive(Debug)]
pub(crate) struct Connector {
    config: Arc<QuicConfig>,
    tls: Option<Settings<ClientTls>>,
    sockets: Mutex<Vec<ClientSocket>>,
    /// What servers gave to show them that this client receives at its address.
    tokens: Arc<TokenMemoryCache>,
}

#[derive(Debug)]
struct ClientSocket {
    endpoint: quinn::Endpoint,
    runtime: Id,
    v6: bool,
}

impl Connector {
    pub(crate) fn new(config: Arc<QuicConfig>, tls: Option<ClientTls>) -> Self {
        let tls = tls.map(|tls| Settings::new(tls.with_alpn(config.alpn.clone()), config.early_data));
        Self { config, tls, sockets: Mutex::default(), tokens: Arc::default() }
    }

    /// Makes a session with the server at `to`; `early`: one whose handshake may still run, where there is a ticket.
    pub(crate) async fn connect(&self, to: &Address, purpose: Purpose, early: bool) -> Result<Shared> {
        if to.scheme() != Scheme::Quic {
            return Err(Error::new(ErrorKind::InvalidAddress, "connect").at(to));
        }
        let Some(tls) = &self.tls else {
            let error = Error::new(ErrorKind::Unsupported, "connect").at(to);
            return Err(error.because("quic:// needs TLS settings: set them by with_client_tls"));
        };
        let transport = transport(&self.config, Side::Client, purpose)?;
        let mut attempts = Attempts::default();
        let early = early.then(Instant::now);
        let connecting = async {
            let mut waiting = resolve::connectable(to, self.config.connect_timeout).await?;
            if let Some(from) = self.config.bind {
                // From an address of one family none of the other is reached.
                waiting.retain(|to| to.is_ipv6() == from.is_ipv6());
                if waiting.is_empty() {
                    let error = Error::new(ErrorKind::Unreachable, "connect");
                    return Err(error.because("the address to send from is of another family"));
                }
            }
            let mut waiting = waiting.into_iter();
            let mut running = FuturesUnordered::new();
            loop {
                match waiting.next() {
                    Some(address) => {
                        let place = attempts.begin(address);
                        let attempt = self.attempt(tls, to, address, transport.clone(), early);
                        running.push(async move { (place, attempt.await) });
                    }
                    None if running.is_empty() => return Ok(None),
                    None => {}
                }
                let finished = if waiting.len() > 0 {
                    timeout(self.config.attempt_delay, running.next()).await.unwrap_or(None)
                } else {
                    running.next().await
                };
                match finished {
                    Some((_, Ok(session))) => return Ok(Some(session)),
                    // What a server has said is not asked again at another of its addresses.
                    Some((_, Err(error))) if is_final(error.kind()) => return Err(error),
                    Some((place, Err(error))) => attempts.fail(place, as_io(error)),
                    None => {}
                }
            }
        };
        match timeout(self.config.connect_timeout, connecting).await {
            Ok(Ok(Some(session))) => Ok(session),
            Ok(Ok(None)) => Err(attempts.into_error("connect").at(to)),
            Ok(Err(error)) => Err(error.at(to)),
            Err(_) => {
                let error = Error::new(ErrorKind::TimedOut, "connect").at(to);
                let resolved = attempts.iter().len() > 0;
                let unanswered = "the name was not resolved in time";
                Err(if resolved { error.because(attempts) } else { error.because(unanswered) })
            }
        }
    }

    /// Moves the sockets of this runtime to other addresses.
    pub(crate) fn rebind(&self) -> Result<()> {
        let runtime = runtime("rebind")?.id();
        let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        for one in sockets.iter().filter(|one| one.runtime == runtime) {
            socket::for_client(&self.config, one.v6)
                .and_then(|socket| one.endpoint.rebind(socket))
                .map_err(|error| Error::from_io(error, "rebind"))?;
        }
        Ok(())
    }

    /// Waits until the sockets of this runtime have no connection any more.
    pub(crate) async fn wait_idle(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let endpoints: Vec<_> = {
            let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
            let of_runtime = sockets.iter().filter(|one| one.runtime == runtime.id());
            of_runtime.map(|one| one.endpoint.clone()).collect()
        };
        for endpoint in endpoints {
            endpoint.wait_idle().await;
        }
    }

    /// Connects to one address; `early`: when connecting began, where a session may be given before its handshake is over.
    async fn attempt(
        &self,
        tls: &Settings<ClientTls>,
        to: &Address,
        address: SocketAddr,
        transport: Arc<TransportConfig>,
        early: Option<Instant>,
    ) -> Result<Shared> {
        let failure = Failure::default();
        // What listens at every address is reached through loopback, and is who it is there.
        let name = match to.ip() {
            Some(ip) if ip.is_unspecified() => tls.tls().server_name(&session::address(address))?,
            _ => tls.tls().server_name(to)?,
        };
        let crypto = ClientCrypto::new(tls, name, failure.clone())?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(transport).token_store(self.tokens.clone());
        let (endpoint, connecting) = self.begin(config, to, address, &failure)?;
        let client = || Client { endpoint: endpoint.clone(), config: self.config.clone() };
        let local = || {
            let bound = endpoint.local_addr().map_err(|error| Error::from_io(error, "connect"))?;
            Ok::<_, Error>(local_of(bound, address, None))
        };
        let made = |connection: quinn::Connection, info| {
            Shared::new(connection, info, Some(client()), None, &self.config)
        };
        let connecting = match early {
            Some(began) => match connecting.into_0rtt() {
                Ok((connection, accepted)) => {
                    // What the handshake will agree on is not known yet.
                    let info = Info::new(session::address(local()?), session::address(address));
                    let patience = self.config.connect_timeout.saturating_sub(began.elapsed());
                    let refused = refused(address, self.config.ask_closed_ports);
                    let refused = async move { refused.await.kind() };
                    let early = Early::new(connection.clone(), accepted, failure, patience, refused, ());
                    return Ok(made(connection, info).with_early(early));
                }
                Err(connecting) => connecting,
            },
            None => connecting,
        };
        let connection = tokio::select! {
            connected = connecting => connected.map_err(|error| of_handshake(error, &failure, "connect"))?,
            refused = refused(address, self.config.ask_closed_ports) => return Err(refused),
        };
        let info = info(local()?, address, &connection);
        Ok(made(connection, info))
    }

    /// Begins a connection on the socket for `address`, or on a new one where there is none that works.
    fn begin(
        &self,
        config: quinn::ClientConfig,
        to: &Address,
        address: SocketAddr,
        failure: &Failure,
    ) -> Result<(quinn::Endpoint, quinn::Connecting)> {
        let host = to.host().to_string();
        let endpoint = self.endpoint(address.is_ipv6(), None)?;
        match endpoint.connect_with(config.clone(), address, &host) {
            Ok(connecting) => return Ok((endpoint, connecting)),
            // Its socket failed.
            Err(quinn::ConnectError::EndpointStopping) => {}
            Err(error) => return Err(of_connect(error, failure)),
        }
        let endpoint = self.endpoint(address.is_ipv6(), Some(&endpoint))?;
        let connecting = endpoint.connect_with(config, address, &host);
        connecting.map(|connecting| (endpoint, connecting)).map_err(|error| of_connect(error, failure))
    }

    /// Returns this runtime's endpoint for a family of addresses, another one than `broken`.
    fn endpoint(&self, v6: bool, broken: Option<&quinn::Endpoint>) -> Result<quinn::Endpoint> {
        let runtime = Handle::current().id();
        let bound = |endpoint: &quinn::Endpoint| endpoint.local_addr().ok();
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(broken) = broken.map(bound) {
            sockets.retain(|one| one.runtime != runtime || bound(&one.endpoint) != broken);
        }
        if let Some(one) = sockets.iter().find(|one| one.runtime == runtime && one.v6 == v6) {
            return Ok(one.endpoint.clone());
        }
        let parameters = parameters::endpoint(&self.config)?;
        let endpoint =
            endpoint(&self.config, parameters, v6).map_err(|error| Error::from_io(error, "connect"))?;
        if sockets.len() >= MAX_SOCKETS {
            sockets.remove(0);
        }
        sockets.push(ClientSocket { endpoint: endpoint.clone(), runtime, v6 });
        Ok(endpoint)
    }
}

fn endpoint(config: &QuicConfig, parameters: EndpointConfig, v6: bool) -> io::Result<quinn::Endpoint> {
    let socket = socket::for_client(config, v6)?;
    quinn::Endpoint::new(parameters, None, socket, Arc::new(quinn::TokioRuntime))
}

/// Tells whether an error is what the server says, and not the network between.
fn is_final(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Untrusted
            | ErrorKind::Rejected
            | ErrorKind::Protocol
            | ErrorKind::InvalidConfig
            | ErrorKind::InvalidAddress
    )
}

/// Waits for the system to say that nobody listens at `address`; it never returns where somebody may, or nobody is asked.
///
/// QUIC's own socket is connected to nobody, so the system tells it nothing. Another one that is connected is told: it
/// sends a byte, which no server takes for a packet and answers, but the host of a closed port does (ICMP).
async fn refused(address: SocketAddr, asks: bool) -> Error {
    if !asks {
        return std::future::pending().await;
    }
    sleep(ASK_AFTER).await;
    let asked = async {
        let socket = UdpSocket::bind(socket::unspecified(address.is_ipv6())).await?;
        socket.connect(address).await?;
        loop {
            socket.send(&[0]).await?;
            let again = Instant::now() + ASK_AGAIN;
            if let Ok(Err(error)) = timeout_at(again, socket.recv(&mut [0; 1])).await
                && is_refusal(&error)
            {
                return Ok::<_, io::Error>(Error::from_io(error, "connect"));
            }
            // An answer says nothing, and neither does anything else that the system tells: nobody is asked the faster for it.
            sleep_until(again).await;
        }
    };
    match asked.await {
        Ok(refusal) => refusal,
        // There is no way to ask; QUIC's own socket may have one.
        Err(_) => std::future::pending().await,
    }
}

/// Tells whether the system says that nobody listens, or that there is no way there.
fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind as Io;
    // Windows tells of a closed port as of a reset.
    let closed = matches!(error.kind(), Io::ConnectionRefused | Io::ConnectionReset);
    closed || matches!(error.kind(), Io::HostUnreachable | Io::NetworkUnreachable)
}
