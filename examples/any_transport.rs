//! One program over every transport, chosen at run time by the address.
//!
//! ```sh
//! cargo run -p net-examples --example any_transport                       # memory, a Unix-domain socket, TCP, UDP, WebSocket
//! cargo run -p net-examples --example any_transport tcp://127.0.0.1:9000  # where you like
//! ```
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::{env, error::Error as StdError};

use net_core::{Address, BoxTransport, Error, ErrorKind, Result, Scheme, Transport, memory::Memory};
use net_messaging::{Client, Server};
use net_tcp::Tcp;
#[cfg(unix)]
use net_tcp::Unix;
use net_udp::Udp;
use net_ws::Ws;

/// Returns what carries messages at `address`.
fn transport(address: &Address, memory: &Memory) -> Result<BoxTransport> {
    match address.scheme() {
        Scheme::Mem => Ok(memory.clone().boxed()),
        Scheme::Tcp => Ok(Tcp::default().boxed()),
        Scheme::Udp => Ok(Udp::default().boxed()),
        Scheme::Ws => Ok(Ws::default().boxed()),
        #[cfg(unix)]
        Scheme::Unix => Ok(Unix::default().boxed()),
        _ => Err(Error::new(ErrorKind::Unsupported, "choose a transport").at(address)),
    }
}

/// The program: it knows no transport.
async fn converse(address: Address) -> Result<()> {
    // Both sides of a memory transport are in one process, and meet in one value.
    let memory = Memory::default();
    let server = Server::builder(transport(&address, &memory)?)
        .on_message(|_, message| async move { Ok(message.into_reply()) })
        .listen(address)
        .await?;
    let client = Client::builder(transport(server.local(), &memory)?).connect(server.local()).await?;
    let answer = client.request(format!("hello over {}", server.local().scheme())).await?;
    println!("{answer}");
    client.disconnect().await;
    server.stop().await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::result::Result<(), Box<dyn StdError>> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("echo.sock");
    let mut addresses: Vec<String> = env::args().skip(1).collect();
    if addresses.is_empty() {
        let everywhere = ["mem://echo", "tcp://127.0.0.1:0", "udp://127.0.0.1:0", "ws://127.0.0.1:0/chat"];
        addresses.extend(everywhere.map(str::to_owned));
        if cfg!(unix) {
            addresses.push(format!("unix://{}", socket.display()));
        }
    }
    for address in addresses {
        converse(address.try_into()?).await?;
    }
    Ok(())
}
