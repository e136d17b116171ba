//! Serving over tokio-rustls, with its default settings where ours has no reason for others.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ServerSessionMemoryCache;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use net_benches::peer::announce;

/// Sessions that are kept to be resumed, as many as ours keeps.
const SESSIONS: usize = 1_024;

/// A server's certificate, by the flags that the command `net` has for it.
#[derive(Debug, Args)]
pub struct Identity {
    /// The certificate (PEM).
    #[arg(long)]
    cert: PathBuf,
    /// Its private key (PEM).
    #[arg(long)]
    key: PathBuf,
}

impl Identity {
    /// TLS 1.2 and 1.3 by aws-lc-rs, no early data, and as many tickets a handshake as rustls gives by itself: two.
    fn settings(&self) -> io::Result<ServerConfig> {
        let certificates = CertificateDer::pem_file_iter(&self.cert).map_err(io::Error::other)?;
        let chain = certificates.collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(io::Error::other)?;
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
        Ok(config)
    }

    /// Listens at a free port, says where, and has `serve` serve each connection whose handshake succeeds, on one thread.
    ///
    /// # Errors
    /// When it cannot listen or accept.
    pub fn serve<F>(
        &self,
        serve: impl Fn(TlsStream<TcpStream>) -> F + Copy + Send + 'static,
    ) -> io::Result<()>
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let acceptor = TlsAcceptor::from(Arc::new(self.settings()?));
        tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            announce(listener.local_addr()?)?;
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let stream = acceptor.accept(stream).await?;
                    serve(stream).await
                });
            }
        })
    }
}
