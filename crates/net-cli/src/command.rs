//! What the command line says.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    bench::Bench, certs::Certs, demo::Demo, echo::Echo, failure::Failure, output::Output, send::Send,
};

/// Messages over TCP, TLS, UDP, QUIC, WebSocket and Unix-domain sockets: servers, clients, load
///
/// Addresses are URLs: `tcp://127.0.0.1:9000`, `tcp://[::1]:9000`, `tcps://example.org:9443` (TLS),
/// `udp://127.0.0.1:9000`, `quic://example.org:4433`, `ws://127.0.0.1:9000/chat`, `wss://example.org/chat` (WebSocket
/// over TLS), `unix:///run/app.sock`. A bare host:port means TCP. A server at port 0 takes a free port, and prints which.
#[derive(Debug, Parser)]
#[command(name = "net", version, max_term_width = 110, after_long_help = EXAMPLES, propagate_version = true)]
pub(crate) struct Net {
    #[command(subcommand)]
    command: Command,

    /// Print results and events as JSON, one object a line
    #[arg(long, global = true, display_order = 1000)]
    pub(crate) json: bool,
}

const EXAMPLES: &str = "\
Examples:
  net demo                                            every transport at a glance
  net echo server tcp://127.0.0.1:9000                a server that sends everything back
  net echo client tcp://127.0.0.1:9000 'hello world'
  net send unix:///run/app.sock --file access.log     each line as a message
  net bench client tcp://127.0.0.1:9000 --connections 64 --in-flight 16
  net certs certs                                     certificates to try tcps:// with

Exit status: 0 done, 1 usage, listen or connect, 2 send, 3 receive.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Send everything back, or ask for it
    #[command(subcommand)]
    Echo(Echo),
    Send(Box<Send>),
    /// Measure throughput and latency
    #[command(subcommand)]
    Bench(Bench),
    Demo(Demo),
    Certs(Certs),
}

impl Net {
    /// Runs what was asked for, to its end.
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let output = Output { json: self.json };
        match self.command {
            Command::Echo(echo) => echo.run(output).await,
            Command::Send(send) => send.run(output).await,
            Command::Bench(bench) => bench.run(output).await,
            Command::Demo(demo) => demo.run(output).await,
            Command::Certs(certs) => certs.run(output),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Net::command().debug_assert();
    }

    #[test]
    fn every_example_of_a_command_is_understood() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for example in help.lines().filter(|line| line.starts_with("  net ")) {
                // Every other part stands in quotes, as it does for a shell.
                let parts = example.split('\'').enumerate();
                let words = parts.flat_map(|(at, part)| {
                    if at.is_multiple_of(2) {
                        part.split_whitespace().collect::<Vec<_>>()
                    } else {
                        vec![part]
                    }
                });
                let read = Net::try_parse_from(words);
                assert!(read.is_ok(), "{example}: {read:?}");
            }
            for subcommand in command.get_subcommands() {
                check(subcommand);
            }
        }
        check(&Net::command());
    }
}
