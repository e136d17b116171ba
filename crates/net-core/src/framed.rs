//! Messages over a byte stream: the one adapter of TCP, TLS, Unix-domain sockets and QUIC streams, and what it is made of.

use crate::{Error, ErrorKind, frame::FrameError};

mod read_buffer;
mod receiver;
mod sender;
mod write_queue;

pub use read_buffer::{Expected, ReadBuffer};
pub use receiver::FrameReceiver;
pub use sender::FrameSender;
pub use write_queue::WriteQueue;

/// The first error of a half, from which later polls make theirs: an error is final.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    Io(ErrorKind),
    Frame(FrameError),
}

impl Failure {
    #[cold]
    pub(crate) fn again(self, operation: &'static str) -> Error {
        match self {
            Self::Io(kind) => Error::new(kind, operation),
            Self::Frame(error) => Error::from_frame(error, operation),
        }
    }
}
