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

/// Puts a load on its server once, each time it is called.
type Turn = Box<dyn FnMut() -> io::Result<Outcome>>;

/// Runs the load that `load` describes, to its end.
///
/// # Errors
/// When the server cannot be reached or the run cannot be set up. What goes wrong on a connection later is counted in
/// the outcome.
pub fn run(load: &Load) -> io::Result<Outcome> {
    prepare(load)?()
}

/// Puts the load on the server once for each line of `asked`, on the same connections where it holds any, and tells `found` of
/// each turn; between them the server is left alone.
///
/// # Errors
/// As [`run`], those of `asked` and `found`, and `InvalidInput` for a load that has no turns.
pub fn take_turns(
    load: &Load,
    asked: impl BufRead,
    mut found: impl FnMut(Outcome) -> io::Result<()>,
) -> io::Result<()> {
    if matches!(load, Load::Idle { .. }) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "idle sessions cannot take turns"));
    }
    let mut turn = prepare(load)?;
    for line in asked.lines() {
        line?;
        found(turn()?)?;
    }
    Ok(())
}

/// Connects, where the load holds connections.
fn prepare(load: &Load) -> io::Result<Turn> {
    Ok(match *load {
        Load::Echo { ref common, shape, duration, warm_up } => {
            let mut echo = echo::echo(common, &shape)?;
            Box::new(move || echo.turn(duration, warm_up))
        }
        Load::Compressed { ref common, shape, duration, warm_up } => {
            let mut compressed = echo::compressed(common, &shape)?;
            Box::new(move || compressed.turn(duration, warm_up))
        }
        Load::Datagrams { ref common, shape, duration, warm_up } => {
            let mut datagrams = datagrams::connect(common, &shape)?;
            Box::new(move || datagrams.turn(duration, warm_up))
        }
        Load::Churn { ref common, count, resume } => {
            let churn = churn::Churn::new(common, resume)?;
            Box::new(move || churn.turn(count))
        }
        Load::Idle { ref common, sessions, hold } => {
            let common = common.clone();
            Box::new(move || idle::run(&common, sessions, hold))
        }
    })
}
