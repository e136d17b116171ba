//! A pool: many tasks share few connections to two servers.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use net_core::Result;
use net_messaging::{Client, Pool, PoolConfig, Server};
use net_tcp::Tcp;
use tokio::task::JoinSet;

async fn serve() -> Result<Server> {
    Server::builder(Tcp::default())
        .on_message(|_, message| async move { Ok(message.into_reply()) })
        .listen("tcp://127.0.0.1:0")
        .await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let (left, right) = (serve().await?, serve().await?);
    let config = PoolConfig { max_size: 4, ..PoolConfig::default() };
    let pool = Pool::new([left.local(), right.local()], config, || Client::builder(Tcp::default()))?;

    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let pool = pool.clone();
        tasks.spawn(async move {
            let client = pool.acquire().await?;
            client.request(format!("task {number}")).await
            // The connection goes back here.
        });
    }
    let mut answers = 0;
    while let Some(finished) = tasks.join_next().await {
        if let Ok(answer) = finished {
            answer?;
            answers += 1;
        }
    }
    println!("{answers} answers over {} connections", pool.status().open);
    println!("{} to one server, {} to the other", left.connections(), right.connections());
    Ok(())
}
