//! `net echo`: sends everything back, or asks for it.

use std::process::ExitCode;

use clap::Subcommand;

use crate::{failure::Failure, output::Output, serve::Serve};

mod client;

/// What `net echo` does.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Echo {
    /// Send every message back to whoever sent it
    ///
    /// The first line on standard output is `listening URL`, once connections are accepted; everything else goes to
    /// standard error. In the raw format each message comes back; in the message format kind 0 (request) is answered
    /// with 1, kind 2 (notification) with 2. Over QUIC the bytes of every bidirectional stream come back, for clients that
    /// speak `echo` by ALPN.
    ///
    /// Ctrl-C or SIGTERM drains: exit status 0. A second one cuts at once: exit status 130 or 143.
    #[command(after_help = SERVER_EXAMPLES)]
    Server(Box<Serve>),
    Client(Box<client::Client>),
}

const EXAMPLES: &str = "\
Examples:
  net echo server tcp://127.0.0.1:9000
  net echo client tcp://127.0.0.1:9000 'hello world'
  net echo server unix:///run/app.sock --format message
  net echo client unix:///run/app.sock 'hello world' --format message";

const SERVER_EXAMPLES: &str = "\
Examples:
  net echo server 0.0.0.0 9000
  net echo server tcp://[::]:9000 --format message --max-message-len 64MiB
  net echo server unix:///run/app.sock --unix-mode 600
  net echo server tcp://127.0.0.1:0 --framing lines
  net echo server tcps://127.0.0.1:9443 --cert certs/server.pem --key certs/server.key
  net echo server quic://127.0.0.1:4433 --cert certs/server.pem --key certs/server.key
  net echo server ws://127.0.0.1:9000 --origin https://example.org";

impl Echo {
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode, Failure> {
        match self {
            Self::Server(serve) => serve.run(output.json).await,
            Self::Client(client) => client.run(output).await,
        }
    }
}
