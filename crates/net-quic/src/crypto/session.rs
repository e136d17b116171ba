//! A TLS session of rustls as quinn drives it (RFC 9001), which tells all that its handshake agreed on.

use std::{any::Any, io, sync::Arc, sync::LazyLock};

use net_core::tls::{
    ClientTls, ServerTls, TlsInfo,
    rustls::{
        self, CipherSuite,
        crypto::CryptoProvider,
        quic::{Connection, KeyChange, Secrets, Suite, Version},
        server::ResolvesServerCertUsingSni,
    },
};
use quinn_proto::{
    ConnectionId, Side, TransportError, TransportErrorCode,
    crypto::{
        self, ExportKeyingMaterialError, KeyPair, Keys, ServerConfig as _, UnsupportedVersion,
        rustls::QuicServerConfig,
    },
    transport_parameters::TransportParameters,
};

use super::{Failure, Resumes};
use crate::parameters::VERSION;

/// How long the tag at the end of a Retry packet is (RFC 9001 §5.8).
const RETRY_TAG_LEN: usize = 16;

/// A TLS session of one connection.
pub(super) struct TlsSession {
    version: Version,
    initial: Suite,
    tls: Connection,
    next: Option<Secrets>,
    /// quinn was told that the other side's first answer is there.
    announced: bool,
    told: Told,
    failure: Failure,
}

/// Whose settings are told of a handshake that succeeded.
pub(super) enum Told {
    Client(ClientTls),
    /// With whom to tell that the client resumes with early data.
    Server(ServerTls, Option<Resumes>),
}

impl TlsSession {
    pub(super) fn new(
        version: Version,
        initial: Suite,
        tls: Connection,
        told: Told,
        failure: Failure,
    ) -> Self {
        Self { version, initial, tls, next: None, announced: false, told, failure }
    }
}

impl crypto::Session for TlsSession {
    fn initial_keys(&self, destination: &ConnectionId, side: Side) -> Keys {
        initial_keys(self.version, destination, side, &self.initial)
    }

    /// A [`TlsInfo`]; each call counts a handshake.
    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let info: TlsInfo = match (&self.told, &self.tls) {
            (Told::Client(tls), _) => tls.established(&self.tls),
            (Told::Server(tls, _), Connection::Server(server)) => {
                tls.established_as(&self.tls, server.server_name())
            }
            (Told::Server(tls, _), Connection::Client(_)) => tls.established_as(&self.tls, None),
        };
        Some(Box::new(info))
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        None
    }

    /// quinn asks a client's session as it begins, a server's when it has read the greeting.
    fn early_crypto(&self) -> Option<(Box<dyn crypto::HeaderKey>, Box<dyn crypto::PacketKey>)> {
        let keys = self.tls.zero_rtt_keys()?;
        if let Told::Server(_, Some(resumes)) = &self.told {
            resumes.notify_one();
        }
        Some((Box::new(keys.header), Box::new(keys.packet)))
    }

    fn early_data_accepted(&self) -> Option<bool> {
        match &self.tls {
            Connection::Client(client) => Some(client.is_early_data_accepted()),
            Connection::Server(_) => None,
        }
    }

    fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        if let Err(error) = self.tls.read_hs(bytes) {
            let reason = error.to_string();
            let _ = self.failure.set(error);
            let code = match self.tls.alert() {
                Some(alert) => TransportErrorCode::crypto(alert.into()),
                None => TransportErrorCode::PROTOCOL_VIOLATION,
            };
            return Err(TransportError { code, frame: None, reason });
        }
        let announces = !self.announced && !self.tls.is_handshaking();
        self.announced |= announces;
        Ok(announces)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let side = match &self.tls {
            Connection::Client(_) => Side::Client,
            Connection::Server(_) => Side::Server,
        };
        let parameters = self.tls.quic_transport_parameters();
        let read = parameters.map(|bytes| TransportParameters::read(side, &mut io::Cursor::new(bytes)));
        Ok(read.transpose()?)
    }

    fn write_handshake(&mut self, bytes: &mut Vec<u8>) -> Option<Keys> {
        match self.tls.write_hs(bytes)? {
            KeyChange::Handshake { keys } => Some(boxed(keys)),
            KeyChange::OneRtt { keys, next } => {
                self.next = Some(next);
                Some(boxed(keys))
            }
        }
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn crypto::PacketKey>>> {
        let keys = self.next.as_mut()?.next_packet_keys();
        Some(KeyPair { local: Box::new(keys.local), remote: Box::new(keys.remote) })
    }

    fn is_valid_retry(&self, original: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        let Some((rest, tag)) = payload.split_last_chunk::<RETRY_TAG_LEN>() else { return false };
        retry_tag(original, &[header, rest].concat()).as_ref() == Some(tag)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        match self.tls.export_keying_material(output, label, Some(context)) {
            Ok(_) => Ok(()),
            Err(_) => Err(ExportKeyingMaterialError),
        }
    }
}

/// Returns the keys of the first packets, which everybody can derive.
pub(super) fn initial_keys(version: Version, destination: &ConnectionId, side: Side, suite: &Suite) -> Keys {
    let side = match side {
        Side::Client => rustls::Side::Client,
        Side::Server => rustls::Side::Server,
    };
    boxed(suite.keys(destination, side, version))
}

fn boxed(keys: rustls::quic::Keys) -> Keys {
    Keys {
        header: KeyPair { local: Box::new(keys.local.header), remote: Box::new(keys.remote.header) },
        packet: KeyPair { local: Box::new(keys.local.packet), remote: Box::new(keys.remote.packet) },
    }
}

/// Returns the suite of the first packets, which is fixed (RFC 9001 §5.2): the provider's, or aws-lc-rs' where what is
/// offered was cut down.
pub(super) fn initial_suite(provider: &Arc<CryptoProvider>) -> Suite {
    suite_of(provider).unwrap_or_else(|| {
        static DEFAULT: LazyLock<Option<Suite>> =
            LazyLock::new(|| suite_of(&Arc::new(rustls::crypto::aws_lc_rs::default_provider())));
        DEFAULT.expect("aws-lc-rs has TLS_AES_128_GCM_SHA256")
    })
}

fn suite_of(provider: &Arc<CryptoProvider>) -> Option<Suite> {
    let suites = provider.cipher_suites.iter();
    suites
        .filter(|suite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256)
        .find_map(|suite| suite.tls13()?.quic_suite())
}

/// Returns the tag of a Retry packet, whose key everybody knows (RFC 9001 §5.8).
///
/// quinn computes it for servers alone, as a method of their configuration. No other part of that is used.
pub(super) fn retry_tag(original: &ConnectionId, packet: &[u8]) -> Option<[u8; RETRY_TAG_LEN]> {
    static TAGS: LazyLock<Option<QuicServerConfig>> = LazyLock::new(|| {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .ok()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        QuicServerConfig::try_from(config).ok()
    });
    Some(TAGS.as_ref()?.retry_tag(VERSION, original, packet))
}

/// Returns the version that rustls has for a number on the wire.
pub(super) fn interpret(version: u32) -> Result<Version, UnsupportedVersion> {
    if version == VERSION { Ok(Version::V1) } else { Err(UnsupportedVersion) }
}
