//! `cargo xtask bench`: our release binary against its peers.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::run;

/// Compare with the peers, hold sessions by the thousand, or soak; results appear under target/bench
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Which one: `tcp`, `tls`, `ws`, `udp`, `quic`, `connections` or `soak`
    name: String,
    /// Flags of the bench program (`cargo xtask bench tcp --help` lists them)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) flags: Vec<String>,
}

/// The benches that serve by themselves and need no command.
const OWN_SERVERS: [&str; 3] = ["connections", "quic", "soak"];

impl Bench {
    /// Builds the command and the peers, then runs the comparison.
    ///
    /// # Errors
    /// When a build or the comparison fails.
    pub(crate) fn run(&self) -> Result<()> {
        if !OWN_SERVERS.contains(&&*self.name) {
            // The bench starts the command as a server of its own process, so it must be as new as the sources.
            run::run(&mut run::cargo(["build", "--release", "-p", "net-cli"]))?;
        }
        // One build of both packages, so that what they share is compiled once. The bench is then started by its path,
        // since `cargo run` would choose features, and compile, for one package alone.
        run::run(&mut run::cargo([
            "build",
            "--release",
            "--bins",
            "-p",
            "net-benches",
            "-p",
            "net-bench-peers",
        ]))?;
        let mut bench = Command::new(run::release_binary("bench")?);
        run::run(bench.arg(&self.name).args(&self.flags).current_dir(run::root()))
    }
}
