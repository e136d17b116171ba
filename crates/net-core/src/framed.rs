//! Messages over a byte stream: the one adapter of TCP, TLS, Unix-domain sockets and QUIC streams.

use std::io;

use crate::{Error, frame::FrameError};

mod receiver;
mod sender;

pub use receiver::FrameReceiver;
pub use sender::FrameSender;

/// The first error of a half, from which later polls make theirs: an error is final.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    Io(io::ErrorKind),
    Frame(FrameError),
}

impl Failure {
    #[cold]
    pub(crate) fn again(self, operation: &'static str) -> Error {
        match self {
            Self::Io(kind) => Error::from_io(kind.into(), operation),
            Self::Frame(error) => Error::from_frame(error, operation),
        }
    }
}
