//! The options of TLS.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use net_core::{
    Address, Scheme,
    tls::{ClientCertificates, ClientTls, Pem, ServerTls, TlsBuilder, TlsVersion},
};

use crate::failure::Failure;

/// TLS of a server, at tcps:// and quic:// addresses.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "TLS (tcps://, quic://)")]
pub(crate) struct ServerSide {
    /// The server's certificate, with those that lead from it to the root behind it (PEM); may be repeated, each with
    /// its --key: a client is shown the one for the name that it asks for
    #[arg(long, value_name = "FILE")]
    cert: Vec<PathBuf>,

    /// The private key of the certificate (PEM); certificate and key are read again when they change
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,

    /// Authorities that vouch for clients (PEM): clients then need a certificate
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,

    /// Whether clients need a certificate [default: required where there is a --client-ca]
    #[arg(long, value_name = "WHETHER", requires = "client_ca")]
    client_cert: Option<Whether>,

    /// Revocation lists of clients' certificates (PEM)
    #[arg(long, value_name = "FILE", requires = "client_ca")]
    client_crl: Option<PathBuf>,

    /// Refuse clients whose revocation list is past its next update
    #[arg(long, requires = "client_crl")]
    refuse_expired_crl: bool,

    #[command(flatten)]
    both: Both,
}

/// TLS of a client, at tcps:// and quic:// addresses.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "TLS (tcps://, quic://)")]
pub(crate) struct ClientSide {
    /// Authorities that vouch for the server (PEM) [default: those that this machine trusts]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// This client's certificate, where the server asks for one (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// The private key of --cert (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// The name that the server's certificate must be for [default: the address's host]
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,

    /// DANGEROUS: accept any certificate, from anybody
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,

    #[command(flatten)]
    both: Both,
}

/// TLS of both sides.
#[derive(Clone, Debug, Default, Args)]
struct Both {
    /// The oldest version of TLS that is spoken [default: 1.2]
    #[arg(long, value_name = "1.2|1.3")]
    tls_min: Option<Version>,

    /// Cipher suites, the preferred first, by their IANA names [default: those of aws-lc-rs]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    tls_ciphers: Vec<String>,

    /// Key-exchange groups, the preferred first [default: X25519MLKEM768 and those of aws-lc-rs]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    tls_groups: Vec<String>,

    /// Protocols of QUIC by ALPN, the preferred first [default: echo,net]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    alpn: Vec<String>,

    /// Write the secrets of every connection to the file that `SSLKEYLOGFILE` names, for Wireshark
    #[arg(long)]
    key_log: bool,
}

/// Whether clients need a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Whether {
    /// Without one there is no connection
    Required,
    /// One that is shown is verified
    Optional,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Version {
    #[value(name = "1.2")]
    V1_2,
    #[value(name = "1.3")]
    V1_3,
}

impl From<Version> for TlsVersion {
    fn from(version: Version) -> Self {
        match version {
            Version::V1_2 => Self::V1_2,
            Version::V1_3 => Self::V1_3,
        }
    }
}

impl Both {
    /// Sets what the flags of both sides say, so that they mean the same on both.
    fn apply<S>(&self, mut builder: TlsBuilder<S>) -> TlsBuilder<S> {
        if let Some(version) = self.tls_min {
            builder = builder.min_version(version.into());
        }
        if !self.tls_ciphers.is_empty() {
            builder = builder.cipher_suites(self.tls_ciphers.iter().map(String::as_str));
        }
        if !self.tls_groups.is_empty() {
            builder = builder.groups(self.tls_groups.iter().map(String::as_str));
        }
        if self.key_log {
            builder = builder.key_log_from_env();
        }
        builder
    }
}

impl Both {
    fn protocols(&self, address: &Address) -> Result<&[String], Failure> {
        if !self.alpn.is_empty() && address.scheme() != Scheme::Quic {
            return Err(Failure::usage(format_args!("--alpn does not go with {address}"))
                .hint("it names the protocols of quic://"));
        }
        Ok(&self.alpn)
    }
}

impl ServerSide {
    /// What the flags mean at `address`; `None` where that is not secure.
    pub(crate) fn settings(&self, address: &Address) -> Result<Option<ServerTls>, Failure> {
        if !is_secure(address) {
            return none(
                &[(!self.cert.is_empty(), "--cert"), (self.client_ca.is_some(), "--client-ca")],
                address,
            );
        }
        if self.cert.is_empty() || self.cert.len() != self.key.len() {
            let (certs, keys) = (self.cert.len(), self.key.len());
            return Err(Failure::usage(format_args!("{address}: {certs} of --cert and {keys} of --key"))
                .hint("a server has a certificate and its key; `net certs DIR` makes some for development"));
        }
        let mut builder = self.both.apply(ServerTls::builder());
        for (cert, key) in self.cert.iter().zip(&self.key) {
            builder = builder.certificate(Pem::file(cert), Pem::file(key));
        }
        if let Some(ca) = &self.client_ca {
            builder = builder.client_ca(Pem::file(ca));
        }
        if self.client_cert == Some(Whether::Optional) {
            builder = builder.client_certificates(ClientCertificates::Optional);
        }
        if let Some(lists) = &self.client_crl {
            builder = builder.revocation_lists(Pem::file(lists));
        }
        if self.refuse_expired_crl {
            builder = builder.refuse_expired_revocation_lists();
        }
        builder.build().map(Some).map_err(Failure::start)
    }
}

impl ClientSide {
    /// What the flags mean at `address`; `None` where that is not secure.
    pub(crate) fn settings(&self, address: &Address) -> Result<Option<ClientTls>, Failure> {
        if !is_secure(address) {
            let flags =
                [(self.ca.is_some(), "--ca"), (self.cert.is_some(), "--cert"), (self.insecure, "--insecure")];
            return none(&flags, address);
        }
        let mut builder = self.both.apply(ClientTls::builder());
        if let Some(ca) = &self.ca {
            builder = builder.ca(Pem::file(ca));
        }
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            builder = builder.certificate(Pem::file(cert), Pem::file(key));
        }
        if let Some(name) = &self.server_name {
            builder = builder.server_name(name);
        }
        if self.insecure {
            crate::output::note(
                "warning: --insecure accepts any certificate; whoever answers may be an attacker",
            );
            builder = builder.danger_accept_any_certificate();
        }
        builder.build().map(Some).map_err(Failure::start)
    }
}

impl ServerSide {
    /// The protocols that are named for QUIC.
    pub(crate) fn protocols(&self, address: &Address) -> Result<&[String], Failure> {
        self.both.protocols(address)
    }
}

impl ClientSide {
    /// The protocols that are named for QUIC.
    pub(crate) fn protocols(&self, address: &Address) -> Result<&[String], Failure> {
        self.both.protocols(address)
    }
}

/// Tells whether what is at `address` is always encrypted.
fn is_secure(address: &Address) -> bool {
    address.scheme().is_over_tls() || address.scheme() == Scheme::Quic
}

/// No settings; whoever asked for them at an address without TLS is told.
fn none<T>(flags: &[(bool, &str)], address: &Address) -> Result<Option<T>, Failure> {
    match flags.iter().find(|(given, _)| *given) {
        None => Ok(None),
        Some((_, flag)) => {
            Err(Failure::usage(format_args!("{flag} does not go with {address}, which has no TLS"))
                .hint("write tcps:// or quic:// instead of tcp://"))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Server {
        #[command(flatten)]
        tls: ServerSide,
    }

    fn settings(flags: &str, address: &str) -> Result<bool, String> {
        let line = format!("net {flags}");
        let server = Server::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        let settings = server.tls.settings(&address.parse().expect(address));
        settings.map(|settings| settings.is_some()).map_err(|failure| failure.what)
    }

    #[test]
    fn m12_settings_and_scheme_must_go_together() {
        assert_eq!(settings("", "tcp://127.0.0.1:0"), Ok(false));
        let what = settings("--cert a --key b", "tcp://127.0.0.1:0").expect_err("has no TLS");
        assert!(what.contains("has no TLS"), "{what}");
        let what = settings("", "tcps://127.0.0.1:0").expect_err("needs a certificate");
        assert!(what.contains("0 of --cert"), "{what}");
        let what = settings("--cert a --cert b --key c", "tcps://127.0.0.1:0").expect_err("needs two keys");
        assert!(what.contains("2 of --cert and 1 of --key"), "{what}");
        let what = settings("--cert /nowhere --key b", "tcps://127.0.0.1:0").expect_err("is not there");
        assert!(what.contains("/nowhere"), "{what}");
        assert!(settings("--client-cert optional --cert a --key b", "tcps://127.0.0.1:0").is_err());
    }
}
