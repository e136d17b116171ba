//! Scaling over processes: several servers share one port, and the system spreads the connections over them.
//!
//! ```sh
//! cargo run -p net-examples --example processes 127.0.0.1:9000 4
//! ```
//!
//! Beyond what one process may hold (descriptors), or to let a crash end a part of the sessions only. To use the cores of
//! one process, `ServerConfig::io_threads` is simpler.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::{
    env, io,
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use net_core::{Address, Error, Result, Scheme};
use net_messaging::{Server, Session};
use net_tcp::{Tcp, TcpConfig};
use tokio::{signal::ctrl_c, sync::oneshot};

/// One server of several: it shares the port, and drains when its standard input ends.
///
/// The pipe ends however the first process ends, so that no worker outlives it.
#[tokio::main(flavor = "current_thread")]
async fn work(number: &str, address: &str) -> Result<()> {
    let tcp = Tcp::new(TcpConfig { reuse_port: true, ..TcpConfig::default() });
    let name = format!("worker {number}");
    let server = Server::builder(tcp)
        .on_message(move |_: &Session, message| {
            let answer = message.reply(name.clone());
            async move { Ok(answer) }
        })
        .listen(Address::parse_as(Scheme::Tcp, address)?)
        .await?;
    println!("listening {}", server.local());

    let (end, ended) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        let _ = end.send(());
    });
    // On a terminal Ctrl-C reaches the workers too.
    tokio::select! {
        _ = ended => {}
        _ = ctrl_c() => {}
    }
    let report = server.drain(Duration::ZERO..=Duration::from_secs(2)).await;
    println!("{} active, {} cut", report.active, report.cut);
    Ok(())
}

/// Starts a worker, and returns the address that it listens at.
fn start(number: usize, address: &str) -> io::Result<(Child, BufReader<ChildStdout>, String)> {
    let mut worker = Command::new(env::current_exe()?)
        .args([address, "--worker", &number.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(worker.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
    let mut line = String::new();
    lines.read_line(&mut line)?;
    let address = line.trim().trim_start_matches("listening tcp://").to_owned();
    Ok((worker, lines, address))
}

#[tokio::main(flavor = "current_thread")]
async fn lead(mut address: String, count: usize) -> io::Result<()> {
    let mut workers = Vec::new();
    for number in 1..=count {
        // The first one lets the system choose the port where it is 0; the others join it.
        let (worker, lines, at) = start(number, &address)?;
        address = at;
        workers.push((worker, lines));
    }
    println!("listening tcp://{address}");
    ctrl_c().await?;
    for (mut worker, mut lines) in workers {
        drop(worker.stdin.take());
        let mut report = String::new();
        lines.read_to_string(&mut report)?;
        println!("worker {}: {}, {}", worker.id(), report.trim(), worker.wait()?);
    }
    Ok(())
}

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("--worker"), Some(number)) => work(&number, &address),
        (count, _) => {
            let count = count.and_then(|count| count.parse().ok()).unwrap_or(2);
            lead(address, count).map_err(|error| Error::from_io(error, "start workers"))
        }
    }
}
