//! Errors of quinn in the terms of this workspace.

use std::io;

use net_core::{
    Error, ErrorKind,
    tls::{handshake_error, rustls},
};
use quinn::{ConnectError, ConnectionError, ReadError, TransportErrorCode, WriteError};

use crate::crypto::Failure;

/// Codes from here on are alerts of TLS (RFC 9001 §4.8).
const FIRST_ALERT: u64 = 0x100;
const LAST_ALERT: u64 = 0x1ff;
/// What quinn says where what it gets packets from is gone.
const SOCKET_GONE: &str = "endpoint driver future was dropped";

/// Makes an error of a connection that could not be made: what TLS found is told, where it is TLS that failed.
pub(crate) fn of_handshake(error: ConnectionError, failure: &Failure, operation: &'static str) -> Error {
    if let Some(tls) = failure.get() {
        return handshake_error(tls.clone(), operation);
    }
    if let ConnectionError::ConnectionClosed(closed) = &error {
        let code = u64::from(closed.error_code);
        if let FIRST_ALERT..=LAST_ALERT = code {
            let alert = rustls::AlertDescription::from(u8::try_from(code & 0xff).unwrap_or_default());
            return handshake_error(rustls::Error::AlertReceived(alert), operation);
        }
    }
    of_connection(error, operation)
}

/// Makes an error of a connection that could not begin.
pub(crate) fn of_connect(error: ConnectError, failure: &Failure) -> Error {
    if let Some(tls) = failure.get() {
        return handshake_error(tls.clone(), "connect");
    }
    let kind = match error {
        ConnectError::CidsExhausted => ErrorKind::LimitReached,
        ConnectError::InvalidServerName(_) | ConnectError::InvalidRemoteAddress(_) => {
            ErrorKind::InvalidAddress
        }
        ConnectError::EndpointStopping => ErrorKind::Closed,
        ConnectError::NoDefaultClientConfig | ConnectError::UnsupportedVersion => ErrorKind::Unsupported,
    };
    Error::new(kind, "connect").because(error)
}

/// Makes an error of a connection that has ended.
pub(crate) fn of_connection(error: ConnectionError, operation: &'static str) -> Error {
    Error::new(kind(&error), operation).because(error)
}

fn kind(error: &ConnectionError) -> ErrorKind {
    match error {
        ConnectionError::VersionMismatch => ErrorKind::Unsupported,
        // The socket is gone, or the runtime that served it: the peer has nothing to do with it.
        ConnectionError::TransportError(error) if error.reason == SOCKET_GONE => ErrorKind::Closed,
        ConnectionError::TransportError(_) => ErrorKind::Protocol,
        ConnectionError::ConnectionClosed(closed) => match closed.error_code {
            TransportErrorCode::CONNECTION_REFUSED => ErrorKind::Refused,
            TransportErrorCode::NO_ERROR => ErrorKind::Closed,
            _ => ErrorKind::Rejected,
        },
        // 0 is what a connection is closed with whose work is done.
        ConnectionError::ApplicationClosed(closed) if closed.error_code.into_inner() == 0 => {
            ErrorKind::Closed
        }
        ConnectionError::ApplicationClosed(_) | ConnectionError::Reset => ErrorKind::Reset,
        ConnectionError::TimedOut => ErrorKind::TimedOut,
        ConnectionError::LocallyClosed => ErrorKind::Closed,
        ConnectionError::CidsExhausted => ErrorKind::LimitReached,
    }
}

/// Makes an error of writing to a stream, or of waiting for what was written to be acknowledged.
pub(crate) fn of_write(error: WriteError, operation: &'static str) -> Error {
    let kind = match &error {
        // The peer reads no more.
        WriteError::Stopped(_) | WriteError::ClosedStream => ErrorKind::Closed,
        WriteError::ConnectionLost(lost) => kind(lost),
        WriteError::ZeroRttRejected => ErrorKind::Reset,
    };
    Error::new(kind, operation).because(error)
}

/// Makes an error of reading from a stream.
pub(crate) fn of_read(error: ReadError, operation: &'static str) -> Error {
    let kind = match &error {
        ReadError::Reset(_) | ReadError::ZeroRttRejected => ErrorKind::Reset,
        ReadError::ConnectionLost(lost) => kind(lost),
        ReadError::ClosedStream => ErrorKind::Closed,
        ReadError::IllegalOrderedRead => ErrorKind::Io,
    };
    Error::new(kind, operation).because(error)
}

/// Makes an error one of the system's, as which attempts and streams of bytes tell it; it is inside.
pub(crate) fn as_io(error: Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::Refused => io::ErrorKind::ConnectionRefused,
        ErrorKind::TimedOut => io::ErrorKind::TimedOut,
        ErrorKind::Unreachable => io::ErrorKind::NetworkUnreachable,
        ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
        ErrorKind::AddressInUse => io::ErrorKind::AddrInUse,
        // What a closed pipe is.
        ErrorKind::Closed => io::ErrorKind::BrokenPipe,
        ErrorKind::Reset => io::ErrorKind::ConnectionReset,
        ErrorKind::Protocol => io::ErrorKind::InvalidData,
        ErrorKind::Unsupported => io::ErrorKind::Unsupported,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
