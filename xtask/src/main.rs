//! The one command of this workspace: checks, tests, benches, fuzzing and scenarios.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks through its terminal")]

mod autobahn;
mod bench;
mod ci;
mod fuzz;
mod run;
mod scan;
mod sim;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  cargo xtask test                          all tests, installing by name what they need
  cargo xtask test -- -p net-core laws      some of them; what follows `--` goes to cargo-nextest
  cargo xtask ci                            everything that must hold before a change lands
  cargo xtask ci --only tidy                one step of it
  cargo xtask tidy --fix                    regenerate the tree in ARCHITECTURE.md
  cargo xtask fuzz length_prefix --seconds 60
  cargo xtask sim --seeds 1000              scenarios on a bad network
  cargo xtask autobahn                      our WebSocket server and client before their judge
  cargo xtask autobahn --fast --cases '9.*' some cases, on a quick runner
  cargo xtask bench tcp --pin
  cargo xtask bench tls --pin               messages, bytes and handshakes over TLS
  cargo xtask bench connections             100 000 sessions over several processes
  cargo xtask bench soak                    1 000 000 connections that come and go";

/// The checks, tests, benches, fuzzing and scenarios of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Test(test::Test),
    Ci(ci::Ci),
    Tidy(tidy::Tidy),
    Fuzz(fuzz::Fuzz),
    Bench(bench::Bench),
    Sim(sim::Sim),
    Autobahn(autobahn::Autobahn),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Test(test) => test.run(),
        Task::Ci(ci) => ci.run(),
        Task::Tidy(tidy) => tidy.run(),
        Task::Fuzz(fuzz) => fuzz.run(),
        Task::Bench(bench) => bench.run(),
        Task::Sim(sim) => sim.run(),
        Task::Autobahn(autobahn) => autobahn.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_follows_two_dashes_goes_to_the_test_runner() {
        let arguments = Arguments::parse_from(["cargo xtask", "test", "--", "-p", "net-core"]);
        assert!(matches!(arguments.task, Task::Test(test) if test.arguments == ["-p", "net-core"]));
    }

    #[test]
    fn cases_are_separated_by_commas() {
        let arguments = Arguments::try_parse_from(["cargo xtask", "autobahn", "--cases", "1.*,9.*"]);
        assert!(matches!(arguments.unwrap().task, Task::Autobahn(it) if it.cases == ["1.*", "9.*"]));
    }

    #[test]
    fn a_bench_hands_its_flags_on() {
        let arguments = Arguments::parse_from(["cargo xtask", "bench", "tcp", "--pin", "--rounds", "3"]);
        assert!(matches!(arguments.task, Task::Bench(bench) if bench.flags == ["--pin", "--rounds", "3"]));
    }
}
