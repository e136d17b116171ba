//! The client that Autobahn|Testsuite judges: what comes as text goes back as text, and what comes as binary as binary.
//!
//! ```sh
//! cargo xtask autobahn --only client                                             # installs the suite and runs it
//! cargo run -p net-examples --example autobahn_client ws://127.0.0.1:9001 net    # against a fuzzing server of yours
//! ```
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::{env, time::Duration};

use net_core::{Connection, Error, ErrorKind, Result, Transport};
use net_ws::{Ws, WsConfig, WsMessage, WsReceiver, WsSender};

/// The suite's longest message has 16 MiB.
const MAX_MESSAGE_LEN: usize = 64 << 20;
/// How long the other side may take to end a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects for one of the suite's requests, such as `/runCase?case=1&agent=net`.
async fn ask(ws: &Ws, server: &str, request: &str) -> Result<Connection<WsSender, WsReceiver>> {
    ws.connect(&format!("{server}{request}").parse()?).await
}

/// Sends back whatever comes, as what it came.
async fn echo(mut connection: Connection<WsSender, WsReceiver>) -> Result<()> {
    while let Some(message) = connection.rx.recv_message().await? {
        connection.tx.send_message(message).await?;
    }
    connection.close(CLOSE_TIMEOUT).await
}

/// Returns how many cases there are.
async fn count(mut connection: Connection<WsSender, WsReceiver>) -> Result<u32> {
    let count = match connection.rx.recv_message().await? {
        Some(WsMessage::Text(text)) => text.trim().parse().ok(),
        _ => None,
    };
    connection.close(CLOSE_TIMEOUT).await?;
    count.ok_or_else(|| {
        Error::new(ErrorKind::Rejected, "count cases").because("a fuzzing server answers with a number")
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let server = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:9001".to_owned());
    let server = server.trim_end_matches('/');
    let agent = arguments.next().unwrap_or_else(|| "net".to_owned());
    let ws = Ws::new(WsConfig { max_message_len: MAX_MESSAGE_LEN, ..WsConfig::default() });

    let cases = count(ask(&ws, server, "/getCaseCount").await?).await?;
    for case in 1..=cases {
        let connection = ask(&ws, server, &format!("/runCase?case={case}&agent={agent}")).await?;
        // In many cases the suite breaks the protocol, which ends the connection with an error: that is for it to judge.
        let _ = echo(connection).await;
    }
    // A server that ends once it has written its report may do so without a farewell.
    let _ = echo(ask(&ws, server, &format!("/updateReports?agent={agent}")).await?).await;
    println!("{cases} cases");
    Ok(())
}
