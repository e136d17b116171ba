//! The transport that an address and a framing mean, chosen in one place.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use net_core::{
    Address, BoxTransport, Scheme, Transport,
    frame::{AnyFraming, Framing},
    tls::{ClientTls, ServerTls},
};
use net_quic::{Quic, QuicConfig, QuicStreams};
use net_tcp::{Tcp, TcpConfig};
#[cfg(unix)]
use net_tcp::{Unix, UnixConfig};
use net_udp::{Udp, UdpConfig};
use net_ws::{OriginPolicy, Proxy, Ws, WsConfig};

use crate::failure::Failure;

/// How sockets are configured, whichever kind they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sockets {
    pub(crate) tcp: TcpConfig,
    pub(crate) quic: QuicConfig,
    pub(crate) client_tls: Option<ClientTls>,
    pub(crate) server_tls: Option<ServerTls>,
    #[cfg(unix)]
    pub(crate) unix: UnixConfig,
    pub(crate) udp: UdpConfig,
    pub(crate) ws: WebSocket,
}

/// How WebSocket is configured, beside TCP and TLS below it.
#[derive(Clone, Debug, Default)]
pub(crate) struct WebSocket {
    pub(crate) config: WsConfig,
    pub(crate) protocols: Vec<String>,
    pub(crate) origins: OriginPolicy,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) proxy: Option<Arc<Proxy>>,
}

/// Something to be done with a transport of any type.
pub(crate) trait With {
    type Output;

    fn with<T: Transport + Clone>(self, transport: T) -> Self::Output;
}

/// Does it with the transport that carries messages of this framing at this address.
pub(crate) fn choose<W: With>(
    address: &Address,
    framing: AnyFraming,
    sockets: &Sockets,
    with: W,
) -> Result<W::Output, Failure> {
    match framing {
        // The framing of nearly all traffic has code of its own, without a choice at every message.
        AnyFraming::LengthPrefix(length) => framed(address, length, sockets, with),
        other => framed(address, other, sockets, with),
    }
}

fn framed<F: Framing, W: With>(
    address: &Address,
    framing: F,
    sockets: &Sockets,
    with: W,
) -> Result<W::Output, Failure> {
    match address.scheme() {
        Scheme::Tcp | Scheme::Tcps => {
            let mut tcp = Tcp::with_framing(sockets.tcp, framing);
            if let Some(tls) = &sockets.client_tls {
                tcp = tcp.with_client_tls(tls.clone());
            }
            if let Some(tls) = &sockets.server_tls {
                tcp = tcp.with_server_tls(tls.clone());
            }
            Ok(with.with(tcp))
        }
        Scheme::Quic => {
            let mut quic = Quic::with_framing(sockets.quic.clone(), framing);
            if let Some(tls) = &sockets.client_tls {
                quic = quic.with_client_tls(tls.clone());
            }
            if let Some(tls) = &sockets.server_tls {
                quic = quic.with_server_tls(tls.clone());
            }
            // Every stream of every session is served, so that each may be a request.
            Ok(with.with(QuicStreams::new(quic)))
        }
        #[cfg(unix)]
        Scheme::Unix => Ok(with.with(Unix::with_framing(sockets.unix, framing))),
        // A datagram marks its message by itself.
        Scheme::Udp => {
            let max_message_len = sockets.udp.max_message_len.min(framing.max_message_len());
            Ok(with.with(Udp::new(UdpConfig { max_message_len, ..sockets.udp })))
        }
        // So does a frame of WebSocket.
        Scheme::Ws | Scheme::Wss => Ok(with.with(web_socket(sockets, framing.max_message_len()))),
        Scheme::Mem => Err(Failure::usage(format_args!("{address}: mem:// joins tasks of one process only"))
            .hint("between processes use unix:///path or tcp://host:port")),
        scheme => Err(Failure::usage(format_args!("{address}: this command does not speak {scheme}:// yet"))
            .hint("use tcp://, tcps://, udp://, quic://, ws:// or wss://host:port, or unix:///path")),
    }
}

fn web_socket(sockets: &Sockets, max_message_len: usize) -> Ws {
    let WebSocket { config, protocols, origins, headers, proxy } = &sockets.ws;
    let mut ws = Ws::new(WsConfig { tcp: sockets.tcp, max_message_len, ..*config })
        .with_protocols(protocols.iter().map(String::as_str))
        .with_origins(origins.clone());
    for (name, value) in headers {
        ws = ws.with_request_header(name.clone(), value.clone());
    }
    if let Some(proxy) = proxy {
        ws = ws.with_proxy(Proxy::clone(proxy));
    }
    if let Some(tls) = &sockets.client_tls {
        ws = ws.with_client_tls(tls.clone());
    }
    if let Some(tls) = &sockets.server_tls {
        ws = ws.with_server_tls(tls.clone());
    }
    ws
}

/// The longest message that travels to `address`: what the framing takes, and what a datagram holds.
pub(crate) fn max_message_len(address: &Address, framing: &AnyFraming) -> usize {
    match address.scheme() {
        Scheme::Udp => framing.max_message_len().min(UdpConfig::default().max_message_len),
        _ => framing.max_message_len(),
    }
}

/// Tells what marks messages at `address`.
pub(crate) fn framing_name(address: &Address, framing: &AnyFraming) -> String {
    match address.scheme() {
        Scheme::Udp => "datagram".to_owned(),
        Scheme::Ws | Scheme::Wss => "websocket".to_owned(),
        _ => framing.to_string(),
    }
}

/// Chooses a transport for a client, whose costs of a virtual call a batch do not matter.
pub(crate) fn boxed(
    address: &Address,
    framing: AnyFraming,
    sockets: &Sockets,
) -> Result<BoxTransport, Failure> {
    choose(address, framing, sockets, Boxing)
}

struct Boxing;

impl With for Boxing {
    type Output = BoxTransport;

    fn with<T: Transport + Clone>(self, transport: T) -> BoxTransport {
        transport.boxed()
    }
}
