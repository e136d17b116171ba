//! A client without async: a plain thread that asks and waits.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::{error::Error, time::Duration};

use net_messaging::{Client, Server};
use net_tcp::Tcp;

fn main() -> Result<(), Box<dyn Error>> {
    // Somebody has to answer; usually that is another program.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let server = runtime.block_on(
        Server::builder(Tcp::default())
            .on_message(|_, message| async move { Ok(message.into_reply()) })
            .listen("tcp://127.0.0.1:0"),
    )?;

    let client = Client::builder(Tcp::default()).connect_blocking(server.local())?;
    println!("{}", client.request("hello")?);
    println!("{}", client.request_within("quickly", Duration::from_secs(1))?);
    client.disconnect()?;
    Ok(())
}
