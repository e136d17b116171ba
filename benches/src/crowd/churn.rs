//! One load process of the soak: connections that come and go, in each of the ways in which peers go.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use net_core::{Message, MessageKind};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::child::{answer, commands, number};

const STEP: Duration = Duration::from_secs(10);
/// Source addresses of one process. An orderly end leaves a port of its address waiting for a minute.
const ADDRESSES: u64 = 8;

/// What a load process of the soak is asked to do.
#[derive(Debug, Clone, Copy, Args)]
pub struct Churn {
    /// The server's address.
    #[arg(long)]
    pub to: SocketAddr,
    /// The first of the addresses to connect from.
    #[arg(long, default_value = "127.0.1.1")]
    pub from: Ipv4Addr,
    /// Connections at a time.
    #[arg(long, default_value_t = 16)]
    pub concurrency: u64,
}

/// Connects and goes as often as it is told, until the standard input ends.
///
/// # Errors
/// When nobody listens to its answers any more.
pub fn run(churn: Churn) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut commands = commands();
        while let Some(command) = commands.recv().await {
            answer(go(churn, number(&command, 1)?).await)?;
        }
        Ok(())
    })
}

async fn go(churn: Churn, count: u64) -> io::Result<u64> {
    let mut lanes = JoinSet::new();
    for lane in 0..churn.concurrency {
        lanes.spawn(async move {
            for number in (lane..count).step_by(usize::try_from(churn.concurrency).unwrap_or(1)) {
                timeout(STEP, one(churn, number)).await.map_err(io::Error::other)??;
            }
            Ok::<_, io::Error>(())
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane.map_err(io::Error::other)??;
    }
    Ok(count)
}

/// One connection. Of ten, one ends in an orderly way, one breaks inside a frame, one says nothing, and the others are
/// reset after their answer.
async fn one(churn: Churn, number: u64) -> io::Result<()> {
    let from = u32::try_from(number / 10 % ADDRESSES).map_err(io::Error::other)?;
    let from = Ipv4Addr::from_bits(churn.from.to_bits() + from);
    let socket = TcpSocket::new_v4()?;
    // A port that waits after an orderly end may be taken again for another end.
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
    let mut stream = socket.connect(churn.to).await?;
    match number % 10 {
        0 => {
            ask(&mut stream).await?;
            stream.shutdown().await?;
            let rest = stream.read(&mut [0; 16]).await?;
            return if rest == 0 { Ok(()) } else { Err(io::Error::other("more than was asked for")) };
        }
        1 => stream.write_all(frame().get(..20).unwrap_or_default()).await?,
        2 => {}
        _ => ask(&mut stream).await?,
    }
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))
}

async fn ask(stream: &mut TcpStream) -> io::Result<()> {
    let request = frame();
    stream.write_all(&request).await?;
    let mut answer = vec![0; request.len()];
    stream.read_exact(&mut answer).await?;
    // All but the kind comes back as it was.
    let right = answer.get(5..) == request.get(5..);
    if right { Ok(()) } else { Err(io::Error::other("another answer than was asked for")) }
}

fn frame() -> Vec<u8> {
    let message = Message::new(MessageKind::Request, 7, vec![1; 64]).encode();
    let len = u32::try_from(message.len()).unwrap_or(0);
    [&len.to_be_bytes()[..], &message].concat()
}
