//! What servers and load share: a certificate for a run, and windows that are the same for all.

use std::error::Error;
use std::sync::Arc;

use net_core::tls::{ClientTls, Pem, ServerTls};
use net_quic::QuicConfig;

/// Why a server or the load cannot begin.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The protocol that all of them speak.
pub const PROTOCOL: &str = "bench";
/// What our server is told, to serve each stream in a task of its own.
pub const TASK_EACH: &str = "--task-each";
/// What a socket receives into, in bytes.
pub const RECV_BUFFER: usize = 1 << 20;
/// What may be on its way on one stream, in bytes.
pub const STREAM_WINDOW: u32 = 4 << 20;
/// What may be on its way on a connection, in bytes.
pub const CONNECTION_WINDOW: u32 = 8 << 20;
/// Streams that a client may have open at once in each direction.
pub const MAX_STREAMS: u32 = 128;

/// A certificate and its key, as PEM.
///
/// # Errors
/// As making them gives.
pub fn certificate() -> Result<(String, String), Failure> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    Ok((made.cert.pem(), made.signing_key.serialize_pem()))
}

/// TLS of a server: full handshakes alone, so that all do the same.
///
/// # Errors
/// As making it gives.
pub fn server_tls() -> Result<ServerTls, Failure> {
    let (chain, key) = certificate()?;
    Ok(ServerTls::builder().certificate(Pem::bytes(chain), Pem::bytes(key)).max_sessions(0).build()?)
}

/// quinn's parameters, for its server and for the load.
#[must_use]
pub fn transport() -> Arc<quinn::TransportConfig> {
    let mut transport = quinn::TransportConfig::default();
    transport
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(CONNECTION_WINDOW.into())
        .max_concurrent_bidi_streams(MAX_STREAMS.into())
        .max_concurrent_uni_streams(MAX_STREAMS.into())
        .max_idle_timeout(Some(quinn::IdleTimeout::from(quinn::VarInt::from_u32(60_000))))
        .datagram_receive_buffer_size(Some(256 * 1024))
        .datagram_send_buffer_size(256 * 1024);
    Arc::new(transport)
}

/// Our parameters, the same.
///
/// # Errors
/// Where a window is longer than an address space.
pub fn ours() -> Result<QuicConfig, Failure> {
    Ok(QuicConfig {
        alpn: vec![PROTOCOL.to_owned()],
        recv_buffer_len: Some(RECV_BUFFER),
        stream_window: usize::try_from(STREAM_WINDOW)?,
        connection_window: usize::try_from(CONNECTION_WINDOW)?,
        send_window: usize::try_from(CONNECTION_WINDOW)?,
        max_bidi_streams: MAX_STREAMS,
        max_uni_streams: MAX_STREAMS,
        ..QuicConfig::default()
    })
}

/// TLS of a client, which believes any certificate and resumes nothing.
///
/// # Errors
/// As making it gives.
pub fn client_tls() -> Result<ClientTls, Failure> {
    Ok(ClientTls::builder().danger_accept_any_certificate().max_sessions(0).build()?)
}

/// quinn's configuration of the load.
///
/// # Errors
/// As making it gives.
pub fn client() -> Result<quinn::ClientConfig, Failure> {
    let tls = client_tls()?.with_alpn([PROTOCOL]).config();
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport());
    Ok(config)
}
