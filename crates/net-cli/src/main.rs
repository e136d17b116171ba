//! The command `net`: echo, send, bench and demo over every transport.

use std::process::ExitCode;

use clap::Parser;

use crate::{command::Net, failure::Failure};

mod bench;
mod certs;
mod command;
mod demo;
mod echo;
mod event;
mod failure;
mod figures;
mod log;
mod options;
mod output;
mod resources;
mod send;
mod serve;
mod signals;
mod target;
mod transport;

fn main() -> ExitCode {
    let net = match Net::try_parse() {
        Ok(net) => net,
        Err(shown) => {
            // Help and version go to standard output and are no failure. Where nobody reads, nothing is lost.
            let _ = shown.print();
            return if shown.use_stderr() { ExitCode::from(1) } else { ExitCode::SUCCESS };
        }
    };
    resources::allow_many_connections();
    let json = net.json;
    // Servers bring runtimes of their own; this thread waits for them, for signals and for clients.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(Failure::runtime).and_then(|runtime| {
        runtime.block_on(async {
            let result = net.run().await;
            net_core::last_turns().await;
            result
        })
    });
    result.unwrap_or_else(|failure| {
        output::failure(&failure, json);
        failure.exit_code()
    })
}
