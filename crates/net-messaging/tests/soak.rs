//! Connections that come and go by the ten thousand: the memory of the process is a flat line.
//!
//! `cargo xtask bench soak` does the same with a million, the server in a process of its own.
#![cfg(target_os = "linux")]
#![allow(clippy::cast_precision_loss, reason = "bytes of one process stay far below 2^52")]

#[path = "engine/rig.rs"]
mod rig;

use std::{fs, net::SocketAddr};

use net_messaging::Server;
use net_tcp::Tcp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use rig::{frame, soon};

/// Connections between two samples.
const WAVE: u64 = 500;
const WAVES: u64 = 60;
/// Waves until the allocator holds what it needs.
const WARM: usize = 20;

/// Returns the resident memory of this process, in bytes.
fn resident() -> u64 {
    // The counter in `statm` lags behind by up to 64 pages a core; this one walks the page tables.
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").expect("Linux");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).expect("a field");
    line.split_ascii_whitespace().next().expect("a number").parse::<u64>().expect("a number") * 1024
}

/// The slope of a line through samples that are one step apart, by least squares.
fn slope(samples: &[u64]) -> f64 {
    let points: Vec<_> = (0_u32..).map(f64::from).zip(samples.iter().map(|bytes| *bytes as f64)).collect();
    let count = points.len() as f64;
    let (x, y) =
        points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0 / count, sum.1 + point.1 / count));
    let (up, along) = points.iter().fold((0.0, 0.0), |sum, point| {
        (sum.0 + (point.0 - x) * (point.1 - y), sum.1 + (point.0 - x).powi(2))
    });
    up / along
}

/// A connection that ends in one of the ways in which peers go.
async fn come_and_go(to: SocketAddr, number: u64) {
    let mut stream = TcpStream::connect(to).await.expect("connects");
    let request = frame(7, &[1; 64]);
    match number % 10 {
        1 => stream.write_all(request.split_at(20).0).await.expect("writes"),
        2 => {}
        way => {
            stream.write_all(&request).await.expect("writes");
            let mut answer = vec![0; request.len()];
            stream.read_exact(&mut answer).await.expect("is answered");
            if way == 0 {
                stream.shutdown().await.expect("finishes");
                assert_eq!(stream.read(&mut [0; 8]).await.expect("ends"), 0);
                return;
            }
        }
    }
    // A reset leaves no port waiting.
    stream.set_zero_linger().expect("a socket");
}

#[tokio::test]
async fn measured_d4_a38_memory_is_flat_over_30_000_connections() {
    let server = Server::builder(Tcp::default())
        .on_message(|_, message| async { Ok(message.into_reply()) })
        .listen("tcp://127.0.0.1:0")
        .await
        .expect("listens");
    let to = server.local().socket().expect("an IP address");
    let mut samples = Vec::new();
    for _ in 0..WAVES {
        for number in 0..WAVE {
            soon("a connection", come_and_go(to, number)).await;
        }
        soon("the end of all", async {
            while !server.is_empty() || server.connections() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        samples.push(resident());
    }
    // D4 was 9 KB for each connection. One allocation of the smallest session object would be several hundred bytes.
    let each = slope(&samples[WARM..]) / WAVE as f64;
    assert!(each < 32.0, "{each:.1} bytes more for each connection: {samples:?}");
}
