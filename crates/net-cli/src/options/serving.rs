//! How a server runs and how it ends.

use std::{ops::RangeInclusive, time::Duration};

use clap::Args;
use net_core::Scheme;

use super::Time;
use crate::failure::Failure;

/// How a server runs and how it ends.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Serving")]
pub(crate) struct Serving {
    /// Threads that serve, each with a runtime and, on TCP, a listener of its own; 1 is the main thread, 0 one for each
    /// core that the process may use. Over QUIC 0 is 1: with more, clients stay where they are (no migration). A
    /// Unix-domain socket has one
    #[arg(long, value_name = "N", default_value_t = 0)]
    io_threads: usize,

    /// After Ctrl-C or SIGTERM no connection is accepted; those there are may go on for this long
    #[arg(long, value_name = "TIME", default_value_t = Time(Duration::from_secs(1)))]
    drain_min: Time,

    /// After this long, what has not ended is cut
    #[arg(long, value_name = "TIME", default_value_t = Time(Duration::from_secs(10)))]
    drain_max: Time,

    /// Tell nothing but where it listens
    #[arg(long, short, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Tell of every message
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

impl Serving {
    /// The same for a server at addresses of `scheme`.
    ///
    /// Several sockets of QUIC on one port exclude clients that move, so that they are there on request alone; only Linux
    /// spreads clients over them. No two sockets share a path.
    pub(crate) fn over(self, scheme: Scheme) -> Self {
        let one = match scheme {
            Scheme::Quic => self.io_threads == 0 || !cfg!(target_os = "linux"),
            Scheme::Unix => true,
            _ => false,
        };
        Self { io_threads: if one { 1 } else { self.io_threads }, ..self }
    }

    pub(crate) fn io_threads(&self) -> usize {
        match self.io_threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }

    /// How many threads of their own the sessions have; `None`: one thread is enough for all, so it is the one that
    /// there is. The C library's calls cost less in a process of one thread.
    pub(crate) fn own_threads(&self) -> Option<usize> {
        Some(self.io_threads()).filter(|threads| *threads > 1)
    }

    /// How long draining may take, at least and at most.
    pub(crate) fn drain(&self) -> Result<RangeInclusive<Duration>, Failure> {
        if self.drain_min.0 > self.drain_max.0 {
            let what =
                format!("--drain-min {} is longer than --drain-max {}", self.drain_min, self.drain_max);
            return Err(Failure::usage(what).hint("what is left at --drain-max is cut, so it comes last"));
        }
        Ok(self.drain_min.0..=self.drain_max.0)
    }
}
