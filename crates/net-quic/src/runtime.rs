//! The runtime of tokio, in which QUIC has its tasks and timers.

use net_core::{Error, ErrorKind, Result};
use tokio::runtime::Handle;

/// Returns the runtime that this runs in.
///
/// # Errors
///
/// [`ErrorKind::Unsupported`], met during `operation`, outside of one.
pub(crate) fn runtime(operation: &'static str) -> Result<Handle> {
    Handle::try_current().map_err(|error| Error::new(ErrorKind::Unsupported, operation).because(error))
}
