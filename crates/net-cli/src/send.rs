//! `net send`: sends lines, files or texts as messages.
use crate::{failure::Failure, output::Output};
use std::process::ExitCode;
/// Send lines, files or texts as messages
#[derive(Debug, clap::Args)]
pub(crate) struct Send {}
impl Send {
    pub(crate) async fn run(self, _: Output) -> Result<ExitCode, Failure> {
        Err(Failure::usage("not yet"))
    }
}
