//! The load generator: one process, one epoll loop, every byte that comes back verified.

mod churn;
mod compressed;
mod datagrams;
mod echo;
pub(crate) mod exchange;
mod idle;
mod link;
mod options;
mod pattern;
mod websocket;
mod wire;

use std::io;

pub use options::{Common, Format, Load, Shape};
pub use pattern::Pattern;

use crate::outcome::Outcome;

/// Runs the load that `load` describes, to its end.
///
/// # Errors
/// When the server cannot be reached or the run cannot be set up. What goes wrong on a connection later is counted in
/// the outcome.
pub fn run(load: &Load) -> io::Result<Outcome> {
    match load {
        Load::Echo { common, shape, duration, warm_up } => echo::run(common, shape, *duration, *warm_up),
        Load::Compressed { common, shape, duration, warm_up } => {
            echo::run_compressed(common, shape, *duration, *warm_up)
        }
        Load::Datagrams { common, shape, duration, warm_up } => {
            datagrams::run(common, shape, *duration, *warm_up)
        }
        Load::Churn { common, count, resume } => churn::run(common, *count, *resume),
        Load::Idle { common, sessions, hold } => idle::run(common, *sessions, *hold),
    }
}
