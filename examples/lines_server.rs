//! A server of plain lines, for peers that know nothing of this library: telnet, nc, a shell script.
//!
//! ```sh
//! cargo run -p net-examples --example lines_server 127.0.0.1:9000
//! nc 127.0.0.1 9000
//! ```
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::{env, time::Duration};

use net_core::{Address, Message, Result, Scheme, frame::Delimiter};
use net_messaging::{Format, Limits, Server, Session, SessionConfig};
use net_tcp::{Tcp, TcpConfig};

/// Returns the answer to a line, if it has one.
fn answer(session: &Session, line: &[u8]) -> Option<String> {
    let line = String::from_utf8_lossy(line);
    let (command, rest) = line.split_once(' ').unwrap_or((&line, ""));
    match command {
        "" => None,
        "echo" => Some(rest.to_owned()),
        "age" => Some(format!("{} s", session.age().as_secs())),
        "quit" => {
            // It acts when the handler has returned: the answer still leaves.
            session.disconnect();
            Some("bye".to_owned())
        }
        _ => Some("commands: echo TEXT, age, quit".to_owned()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    // A line may have 4096 bytes, ends in LF or CRLF, and is all that a message has: no kind, no number.
    let lines = Tcp::with_framing(TcpConfig::default(), Delimiter::lines());
    let session = SessionConfig { format: Format::Raw, ..SessionConfig::default() };
    let limits = Limits {
        // People think before they type, and while they do.
        first_message_timeout: None,
        min_data_rate: None,
        idle_timeout: Some(Duration::from_mins(10)),
        ..Limits::default()
    };
    let server = Server::builder(lines)
        .session(session)
        .limits(limits)
        .on_message(|session, line| {
            let answer = answer(session, line.payload()).map(Message::from);
            async { Ok(answer) }
        })
        .listen(Address::parse_as(Scheme::Tcp, &address)?)
        .await?;
    println!("listening {}", server.local());
    // Without a handler for the signal, it ends the process.
    let _ = tokio::signal::ctrl_c().await;
    server.stop().await;
    Ok(())
}
