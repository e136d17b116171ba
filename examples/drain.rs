//! Leaving cleanly: on Ctrl-C or SIGTERM the server takes no new work, finishes what runs, and tells what it had to cut.
//!
//! ```sh
//! cargo run -p net-examples --example drain 127.0.0.1:9000
//! ```
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::{env, io, time::Duration};

use net_core::{Address, Message, Result, Scheme};
use net_messaging::{Server, Session};
use net_tcp::Tcp;
use tokio::{signal::ctrl_c, time::sleep};

/// Work that takes as many milliseconds as the request says.
async fn work(message: Message) -> Message {
    let millis = String::from_utf8_lossy(message.payload()).parse().unwrap_or(0);
    sleep(Duration::from_millis(millis)).await;
    message.reply("done")
}

/// Waits for Ctrl-C, or for SIGTERM, which process managers send.
#[cfg(unix)]
async fn told_to_end() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

/// Waits for Ctrl-C.
#[cfg(not(unix))]
async fn told_to_end() -> io::Result<()> {
    ctrl_c().await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let server = Server::builder(Tcp::default())
        .on_message(|_: &Session, message| async move {
            println!("working on {message}");
            Ok(work(message).await)
        })
        .listen(Address::parse_as(Scheme::Tcp, &address)?)
        .await?;
    println!("listening {}", server.local());

    // Without a handler for the signal, it ends the process.
    let _ = told_to_end().await;
    println!("draining {} sessions", server.len());
    // A second signal does not wait.
    tokio::select! {
        // Nobody is waited for before running work is asked to finish; after two seconds the rest is cut.
        report = server.drain(Duration::ZERO..=Duration::from_secs(2)) => {
            println!("{} active, {} cut", report.active, report.cut);
        }
        _ = told_to_end() => println!("not waiting"),
    }
    Ok(())
}
