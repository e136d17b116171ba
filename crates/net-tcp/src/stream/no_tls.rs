//! What stands in for TLS where the feature `tls` is off: settings that cannot be made, sockets that cannot exist.

use std::{
    io::{self, IoSlice},
    net::Shutdown,
    sync::Arc,
    task::{Context, Poll},
};

use net_core::{Address, Error, ErrorKind, Handshake, Info, Permit, Result};
use tokio::{io::ReadBuf, net::TcpStream};

use super::{
    bytes::ByteStream,
    half::{Reading, Writing},
};

#[derive(Clone, Debug, Default)]
pub(crate) struct ClientSettings {}

#[derive(Clone, Debug, Default)]
pub(crate) struct ServerSettings {}

impl ClientSettings {
    #[allow(clippy::unused_self, reason = "with the feature, it is used")]
    pub(crate) fn check(&self, to: &Address) -> Result<()> {
        Err(unsupported(to, "connect"))
    }

    #[allow(clippy::unused_async, clippy::unused_self, reason = "with the feature, both are used")]
    pub(super) async fn secure(&self, _: TcpStream, _: Info, to: &Address) -> Result<ByteStream> {
        Err(unsupported(to, "connect"))
    }
}

impl ServerSettings {
    #[allow(clippy::unused_self, reason = "with the feature, it is used")]
    pub(crate) fn check(&self, at: &Address) -> Result<()> {
        Err(unsupported(at, "listen"))
    }

    #[allow(clippy::unused_self, clippy::needless_pass_by_value, reason = "with the feature, all are used")]
    pub(super) fn secure(&self, _: TcpStream, info: Info, _: Permit) -> Handshake<ByteStream> {
        Handshake::Done(Err(unsupported(&info.local, "accept")))
    }
}

fn unsupported(address: &Address, operation: &'static str) -> Error {
    let scheme = address.scheme();
    Error::new(ErrorKind::Unsupported, operation)
        .at(address)
        .because(format!("{scheme}:// needs TLS, the feature `tls` of net-tcp"))
}

#[derive(Debug)]
pub(crate) enum TlsSocket {}

#[derive(Debug)]
pub(super) enum TlsRead {}

#[derive(Debug)]
pub(super) enum TlsWrite {}

impl TlsSocket {
    pub(super) fn split(self: Arc<Self>) -> (Reading, Writing) {
        match *self {}
    }
}

impl TlsRead {
    pub(super) fn poll_read(&mut self, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    pub(super) fn shutdown(&self, _: Shutdown) -> io::Result<()> {
        match *self {}
    }

    #[cfg_attr(not(unix), allow(dead_code, reason = "descriptors are Unix'"))]
    pub(super) fn socket(&self) -> &TcpStream {
        match *self {}
    }
}

impl TlsWrite {
    pub(super) fn unsent_len(&self) -> usize {
        match *self {}
    }

    pub(super) fn poll_write(&mut self, _: &mut Context<'_>, _: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    pub(super) fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    pub(super) fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    pub(super) fn abort(&mut self) {
        match *self {}
    }
}
