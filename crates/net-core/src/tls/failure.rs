//! What a TLS error is in the terms of this workspace.

use rustls::{AlertDescription, Error as Tls};

use crate::{Error, ErrorKind};

/// Makes an error of one of rustls, met during `operation`; rustls' own is its source.
///
/// | kind | what happened |
/// |---|---|
/// | [`ErrorKind::Untrusted`] | the peer's certificate was refused; the source says why |
/// | [`ErrorKind::Rejected`] | the peer refused, by the alert that the source names: our certificate, or all that is offered |
/// | [`ErrorKind::Protocol`] | anything else that the peer did |
///
/// # Examples
///
/// ```
/// use net_core::{ErrorKind, tls::{self, rustls}};
///
/// let expired = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
/// assert_eq!(tls::handshake_error(expired, "connect").kind(), ErrorKind::Untrusted);
/// ```
pub fn handshake_error(error: Tls, operation: &'static str) -> Error {
    Error::new(kind_of(&error), operation).because(error)
}

pub(crate) fn kind_of(error: &Tls) -> ErrorKind {
    match error {
        Tls::InvalidCertificate(_)
        | Tls::InvalidCertRevocationList(_)
        | Tls::NoCertificatesPresented
        | Tls::UnsupportedNameType => ErrorKind::Untrusted,
        Tls::AlertReceived(alert) if is_refusal(*alert) => ErrorKind::Rejected,
        _ => ErrorKind::Protocol,
    }
}

fn is_refusal(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::AccessDenied
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRequired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::HandshakeFailure
            | Alert::InsufficientSecurity
            | Alert::NoApplicationProtocol
            | Alert::NoCertificate
            | Alert::ProtocolVersion
            | Alert::UnknownCA
            | Alert::UnrecognisedName
            | Alert::UnsupportedCertificate
    )
}
