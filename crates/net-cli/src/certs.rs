//! `net certs`: a certificate authority for development, and certificates that it vouches for.

use std::{fmt, fs, io::Write as _, net::IpAddr, path::Path, path::PathBuf, process::ExitCode};

use clap::Args;
use net_core::tls::rustls::pki_types::ServerName;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::{
    failure::Failure,
    output::{GOOD, Output, STRONG},
};

/// Make certificates to try TLS with: ca.pem, server.pem, server.key, client.pem, client.key
///
/// The server's certificate is for localhost, 127.0.0.1 and `::1`, and each --name. They are for development: whoever has
/// ca.pem among its roots trusts these two and no others, since the authority's own key is not kept.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Certs {
    /// Directory for the files; it is made where it is missing
    directory: PathBuf,

    /// Another host name or IP address that the server's certificate is for; may be repeated
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,

    /// How many days they are valid
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,

    /// Overwrite files that exist
    #[arg(long)]
    force: bool,
}

const EXAMPLES: &str = "\
Examples:
  net certs certs
  net echo server tcps://127.0.0.1:9443 --cert certs/server.pem --key certs/server.key
  net echo client tcps://127.0.0.1:9443 'hello world' --ca certs/ca.pem
  net certs certs --name example.test --days 7 --force";

/// Names that every certificate of a server is for.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

#[derive(Debug, Serialize)]
struct Made<'a> {
    directory: &'a Path,
    files: Vec<&'static str>,
    names: &'a [String],
    days: u16,
}

impl Certs {
    pub(crate) fn run(self, output: Output) -> Result<ExitCode, Failure> {
        let names = names(&self.name);
        if let Some(name) = names.iter().find(|name| !is_host(name)) {
            return Err(Failure::usage(format_args!("{name:?} is neither a host name nor an IP address"))
                .hint("write --name example.test, --name '*.example.test' or --name 192.0.2.1"));
        }
        let certificates =
            Certificates::make(names.clone(), Duration::days(self.days.into())).map_err(|error| {
                Failure::usage(format_args!("a certificate for {}: {error}", names.join(", ")))
            })?;
        let failed = |what: &dyn fmt::Display, error| Failure::usage(format_args!("{what}: {error}"));
        fs::create_dir_all(&self.directory).map_err(|error| failed(&self.directory.display(), error))?;
        let files = certificates.files();
        if !self.force {
            for (name, ..) in &files {
                let path = self.directory.join(name);
                if path.symlink_metadata().is_ok() {
                    return Err(Failure::usage(format_args!("{} exists", path.display()))
                        .hint("choose another directory, or overwrite with --force"));
                }
            }
        }
        for (name, text, secret) in &files {
            let path = self.directory.join(name);
            write(&path, text, *secret).map_err(|error| failed(&path.display(), error))?;
        }
        let made = Made {
            directory: &self.directory,
            files: files.iter().map(|(name, ..)| *name).collect(),
            names: &names,
            days: self.days,
        };
        output.result(&made, Shown(&made))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Certificates and keys as PEM texts.
pub(crate) struct Certificates {
    pub(crate) ca: String,
    pub(crate) server: Leaf,
    pub(crate) client: Leaf,
}

/// A certificate and its private key.
pub(crate) struct Leaf {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Certificates {
    /// Makes an authority, and a certificate of a server for `names` and of a client, valid from an hour ago (clocks
    /// differ) until `validity` from now.
    pub(crate) fn make(names: Vec<String>, validity: Duration) -> Result<Self, rcgen::Error> {
        let now = OffsetDateTime::now_utc();
        let params = |names: Vec<String>, name: &str| {
            let mut params = CertificateParams::new(names)?;
            params.distinguished_name.remove(DnType::CommonName);
            params.distinguished_name.push(DnType::CommonName, name);
            params.not_before = now - Duration::hours(1);
            params.not_after = now + validity;
            Ok::<_, rcgen::Error>(params)
        };
        let mut authority = params(Vec::new(), "net development authority")?;
        // It vouches for leaves alone.
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let leaf = |names: Vec<String>, name: &str, usage| {
            let mut params = params(names, name)?;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![usage];
            params.use_authority_key_identifier_extension = true;
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &authority)?.pem();
            Ok::<_, rcgen::Error>(Leaf { certificate, key: key.serialize_pem() })
        };
        let server_name = names.first().cloned().unwrap_or_default();
        Ok(Self {
            server: leaf(names, &server_name, ExtendedKeyUsagePurpose::ServerAuth)?,
            client: leaf(
                vec!["client".to_owned()],
                "net development client",
                ExtendedKeyUsagePurpose::ClientAuth,
            )?,
            ca: authority.pem(),
        })
    }

    /// Names, texts, and whether nobody else may read them.
    fn files(&self) -> [(&'static str, &str, bool); 5] {
        [
            ("ca.pem", &self.ca, false),
            ("server.pem", &self.server.certificate, false),
            ("server.key", &self.server.key, true),
            ("client.pem", &self.client.certificate, false),
            ("client.key", &self.client.key, true),
        ]
    }
}

/// Writes a new file beside the old one and puts it in its place, so that a server that watches never reads half of it.
fn write(path: &Path, text: &str, secret: bool) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;

        builder.permissions(fs::Permissions::from_mode(if secret { 0o600 } else { 0o644 }));
    }
    #[cfg(not(unix))]
    let _ = secret;
    let mut file = builder.tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The names that every certificate of a server is for, and those of `more` that are not among them, each once.
fn names(more: &[String]) -> Vec<String> {
    let mut names: Vec<String> = LOCAL.map(str::to_owned).into();
    for name in more {
        if !names.iter().any(|known| is_same(known, name)) {
            names.push(name.clone());
        }
    }
    names
}

/// Tells whether two names are one: in whatever case, and in whatever form of an IP address.
fn is_same(one: &str, other: &str) -> bool {
    match (one.parse::<IpAddr>(), other.parse::<IpAddr>()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one.eq_ignore_ascii_case(other),
    }
}

/// Tells whether a certificate can be for `name`: a host name, all names below one, or an IP address.
fn is_host(name: &str) -> bool {
    ServerName::try_from(name.strip_prefix("*.").unwrap_or(name)).is_ok()
}

/// What was made, for people.
struct Shown<'a>(&'a Made<'a>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Made { directory, files, names, days } = self.0;
        for file in files {
            writeln!(f, "{}", directory.join(file).display())?;
        }
        write!(
            f,
            "{GOOD}ok{GOOD:#} for {STRONG}{}{STRONG:#}, valid for {days} days; for development only",
            names.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_stands_once_however_it_is_written() {
        let more = ["localhost", "LOCALHOST", "0:0:0:0:0:0:0:1", "a.test", "A.test", "*.a.test", "127.0.0.1"];
        let names = names(&more.map(str::to_owned));
        assert_eq!(names, ["localhost", "127.0.0.1", "::1", "a.test", "*.a.test"]);
    }
}
