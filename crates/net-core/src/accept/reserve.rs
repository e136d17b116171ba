//! A descriptor held back for the moment when the process has no other.

use std::{fs::File, io};

/// `EMFILE`: the process has no descriptor left; the number is the same on Linux, macOS and the BSDs.
const EMFILE: i32 = 24;
/// `ENFILE`: the system has none left.
const ENFILE: i32 = 23;

/// One open file that can be given up to accept, and so refuse, a connection.
#[derive(Debug)]
pub(super) struct Reserve(Option<File>);

impl Reserve {
    pub(super) fn new() -> Self {
        Self(Self::open())
    }

    fn open() -> Option<File> {
        // Elsewhere the shortage is waited out.
        if cfg!(unix) { File::open("/dev/null").ok() } else { None }
    }

    /// Gives the reserve up while `accept_and_drop` runs, then takes it again.
    pub(super) fn shed(&mut self, accept_and_drop: impl FnOnce()) {
        if self.0.take().is_some() {
            accept_and_drop();
        }
        self.0 = Self::open();
    }
}

/// Tells whether `error` says that descriptors are short.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}
