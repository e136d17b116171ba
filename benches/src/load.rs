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

use std::io::{self, BufRead};

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
        Load::Echo { common, shape, duration, warm_up } => {
            echo::echo(common, shape)?.turn(*duration, *warm_up)
        }
        Load::Compressed { common, shape, duration, warm_up } => {
            echo::compressed(common, shape)?.turn(*duration, *warm_up)
        }
        Load::Datagrams { common, shape, duration, warm_up } => {
            datagrams::run(common, shape, *duration, *warm_up)
        }
        Load::Churn { common, count, resume } => churn::run(common, *count, *resume),
        Load::Idle { common, sessions, hold } => idle::run(common, *sessions, *hold),
    }
}

/// Puts the load on the server once for each line of `asked`, on the same connections, and tells `found` of each turn; between
/// them the server is left alone.
///
/// # Errors
/// As [`run`], those of `asked` and `found`, and `InvalidInput` for a load that has no turns.
pub fn take_turns(
    load: &Load,
    asked: impl BufRead,
    found: impl FnMut(Outcome) -> io::Result<()>,
) -> io::Result<()> {
    match load {
        Load::Echo { common, shape, duration, warm_up } => {
            echo::echo(common, shape)?.take_turns(*duration, *warm_up, asked, found)
        }
        Load::Compressed { common, shape, duration, warm_up } => {
            echo::compressed(common, shape)?.take_turns(*duration, *warm_up, asked, found)
        }
        Load::Datagrams { .. } | Load::Churn { .. } | Load::Idle { .. } => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "only messages over a stream can take turns"))
        }
    }
}
