//! `cargo xtask test`: every test of the workspace.

use std::process::Command;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    run,
    tools::{
        self, AIOQUIC, CHROMIUM, GTLSCLIENT, IP, IPTABLES, NEXTEST, NODE, NODE_PEERS, NPM, OPENSSL, PYTHON,
        STRACE, WEBSOCKETS,
    },
};

/// The packages that tests, documentation and feature checks cover: all but the peers of the benches, a large tree
/// of others' frameworks.
pub(crate) const MEMBERS: [&str; 3] = ["--workspace", "--exclude", "net-bench-peers"];

/// Run every test, installing by name what the tests need and this machine lacks
///
/// Builds the command `net` in release first: tests over real input run that binary (they find it through the variable
/// `NET_BIN`). Then unit and integration tests by cargo-nextest, then documentation examples.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// What cargo-nextest is given, for example `-p net-core laws`; documentation examples are then left out
    #[arg(last = true)]
    pub(crate) arguments: Vec<String>,
}

impl Test {
    /// Runs the tests and prints the runner's summary last.
    ///
    /// # Errors
    /// When something needed is missing and cannot be installed, a build fails or a test fails.
    pub(crate) fn run(&self) -> Result<()> {
        let summary = self.run_for_summary()?;
        println!("{summary}");
        Ok(())
    }

    /// Runs the tests and gives the runner's summary, one line each for documentation examples and tests.
    ///
    /// # Errors
    /// See [`run`](Self::run).
    pub(crate) fn run_for_summary(&self) -> Result<String> {
        NEXTEST.ensure()?;
        tools::ensure_programs(if cfg!(target_os = "linux") {
            &[CHROMIUM, GTLSCLIENT, IP, IPTABLES, NODE, NPM, OPENSSL, PYTHON, STRACE]
        } else {
            &[NODE, NPM, OPENSSL, PYTHON]
        })?;
        let (aioquic, websockets, node) = (AIOQUIC.ensure()?, WEBSOCKETS.ensure()?, NODE_PEERS.ensure()?);

        run::run(&mut run::cargo(["build", "--release", "-p", "net-cli"]))?;
        let mut nextest = self.nextest();
        nextest.env("NET_BIN", run::release_binary("net")?).env("AIOQUIC_PYTHON", aioquic);
        nextest.env("WEBSOCKETS_PYTHON", websockets).env("NODE_PEERS", node);
        let tests = run::run_keeping(&mut nextest, is_summary)?;
        let tests = tests.last().context("cargo-nextest printed no summary")?.trim().to_owned();
        if !self.arguments.is_empty() {
            return Ok(format!("     {tests}"));
        }
        let examples = ["test", "--doc", "--all-features", "--quiet"];
        let results =
            run::run_keeping(run::cargo(examples).args(MEMBERS), |line| line.starts_with("test result:"))?;
        let passed: usize = results.iter().filter_map(|line| passed(line)).sum();
        Ok(format!("Documentation examples: {passed} passed, 0 failed\n     {tests}"))
    }

    fn nextest(&self) -> Command {
        let mut command = run::cargo(["nextest", "run"]);
        if tools::in_ci() {
            command.args(["--profile", "ci"]);
        }
        // Cargo lets `--workspace` win over `--package`, so it is left out where packages are named.
        let names_packages =
            |argument: &String| argument.starts_with("-p") || argument.starts_with("--package");
        if !self.arguments.iter().any(names_packages) {
            command.args(MEMBERS);
        }
        // Features only add items, so one build with all of them runs every test there is.
        command.arg("--all-features").args(&self.arguments);
        command
    }
}

fn is_summary(line: &str) -> bool {
    line.trim_start().starts_with("Summary [")
}

/// How many tests passed by libtest's closing line.
fn passed(line: &str) -> Option<usize> {
    let (before, _) = line.split_once(" passed")?;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(test: &Test) -> Vec<String> {
        test.nextest().get_args().map(|argument| argument.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn all_packages_but_the_benches_are_tested_with_all_features() {
        let arguments = arguments(&Test { arguments: Vec::new() }).join(" ");
        assert!(arguments.ends_with("--workspace --exclude net-bench-peers --all-features"), "{arguments}");
    }

    #[test]
    fn a_named_package_replaces_the_workspace() {
        let test = Test { arguments: vec!["-p".to_owned(), "net-core".to_owned()] };
        let arguments = arguments(&test).join(" ");
        assert!(
            !arguments.contains("--workspace") && arguments.ends_with("--all-features -p net-core"),
            "{arguments}"
        );
    }

    #[test]
    fn the_runners_closing_lines_are_recognised() {
        assert!(is_summary("     Summary [   0.012s] 3 tests run: 3 passed, 0 skipped"));
        assert!(!is_summary("        PASS [   0.012s] Summary [x]"));
        assert_eq!(passed("test result: ok. 12 passed; 0 failed; 0 ignored"), Some(12));
        assert_eq!(passed("test result: FAILED"), None);
    }
}
