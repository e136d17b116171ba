//! `net bench`: measures throughput and latency.
use crate::{failure::Failure, output::Output};
use std::process::ExitCode;
/// Measures
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Bench {
    /// x
    Client,
}
impl Bench {
    pub(crate) async fn run(self, _: Output) -> Result<ExitCode, Failure> {
        Err(Failure::usage("not yet"))
    }
}
