//! `net demo`: every transport at a glance.
use crate::{failure::Failure, output::Output};
use std::process::ExitCode;
/// Demo
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {}
impl Demo {
    pub(crate) async fn run(self, _: Output) -> Result<ExitCode, Failure> {
        Err(Failure::usage("not yet"))
    }
}
