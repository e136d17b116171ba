//! Sizes of buffers: the same bytes read through small ones and large ones, and a kernel's buffer that is too small.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::{
    error::Error,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use net_core::{Listener, Receiver, Sender, Transport};
use net_tcp::{Tcp, TcpConfig};

const LEN: usize = 32 << 20;

/// Reads everything through a buffer of `len` bytes, and returns how many reads that took and how long.
fn read_through(len: usize) -> Result<(usize, Duration), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let mut far = listener.accept()?.0;
    let writing = thread::spawn(move || near.write_all(&vec![7; LEN]));
    let (mut buffer, mut reads, mut total) = (vec![0; len], 0, 0);
    let began = Instant::now();
    loop {
        match far.read(&mut buffer)? {
            0 => break,
            read => (reads, total) = (reads + 1, total + read),
        }
    }
    let took = began.elapsed();
    writing.join().map_err(|_| "the writer panicked")??;
    assert_eq!(total, LEN);
    Ok((reads, took))
}

/// Moves messages of 64 KiB through sockets of the kernel with `config`, and returns how long it took.
async fn transfer(config: TcpConfig) -> net_core::Result<Duration> {
    let tcp = Tcp::new(config);
    let mut listener = tcp.listen(&"tcp://127.0.0.1:0".parse()?).await?;
    let mut near = tcp.connect(listener.local()).await?;
    let mut far = listener.accept().await?;
    let receiving = async {
        let mut received = 0;
        while let Some(message) = far.rx.recv().await? {
            received += message.len();
        }
        Ok::<usize, net_core::Error>(received)
    };
    let message = Bytes::from(vec![7; 64 * 1024]);
    let sending = async {
        for _ in 0..LEN / message.len() {
            near.tx.send(message.clone()).await?;
        }
        near.tx.finish().await
    };
    let began = Instant::now();
    let (received, sent) = tokio::join!(receiving, sending);
    sent?;
    assert_eq!(received?, LEN);
    Ok(began.elapsed())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut counts = Vec::new();
    for len in [512, 4 * 1024, 64 * 1024, 256 * 1024] {
        let (reads, took) = read_through(len)?;
        println!("a read buffer of {len:>6} bytes: {reads:>6} reads, {:.0} MiB/s", rate(took));
        counts.push(reads);
    }
    assert!(counts.first() > counts.last(), "a larger buffer needs fewer reads");

    let chosen = transfer(TcpConfig::default()).await?;
    println!("the kernel's own sizes, which grow: {:.0} MiB/s", rate(chosen));
    for len in [8 * 1024, 256 * 1024] {
        let config =
            TcpConfig { send_buffer_len: Some(len), recv_buffer_len: Some(len), ..TcpConfig::default() };
        let fixed = transfer(config).await?;
        let ratio = fixed.as_secs_f64() / chosen.as_secs_f64();
        println!(
            "the kernel's buffers of {len:>6} bytes: {:.0} MiB/s, {ratio:.1} times as long",
            rate(fixed)
        );
    }
    Ok(())
}

fn rate(took: Duration) -> f64 {
    f64::from(u32::try_from(LEN >> 20).unwrap_or(u32::MAX)) / took.as_secs_f64()
}
