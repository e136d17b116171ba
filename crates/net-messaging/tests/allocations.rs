//! What is allocated on the way of a message, counted.
//!
//! The tests count the allocations of their process, so they run one at a time.

#[path = "engine/rig.rs"]
mod rig;

use std::alloc::System;

use net_core::{Message, MessageKind, MessageRef, Transport, memory::Memory};
use net_messaging::{Answer, Client, Format, Handler, HandlerResult, Server, Session, SessionConfig};
use net_tcp::Tcp;
use rig::{Ruled, quiet, soon};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Mutex,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Held by each test: under `cargo test` they share one process.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Answers with what it was sent.
#[derive(Debug)]
struct Echo;

impl Handler for Echo {
    async fn message(&self, _: &Session, message: Message) -> HandlerResult {
        Ok(Some(message.into_reply()))
    }
}

/// Answers with what it was sent, from where it lies.
#[derive(Debug)]
struct Mirror;

impl Handler for Mirror {
    const ANSWERS: bool = true;

    fn answer<'a>(&'a self, _: &Session, message: MessageRef<'a>) -> Answer<'a> {
        Answer::Reply(message.payload())
    }

    async fn message(&self, _: &Session, message: Message) -> HandlerResult {
        Ok(Some(message.into_reply()))
    }
}

/// Returns a frame of 64 bytes of payload.
fn frame(format: Format, id: u64) -> Vec<u8> {
    let body = match format {
        Format::Message => Message::new(MessageKind::Request, id, vec![7; 64]).encode(),
        Format::Raw => vec![7; 64].into(),
    };
    let len = u32::try_from(body.len()).expect("short");
    [&len.to_be_bytes()[..], &body].concat()
}

/// Sends `rounds` × 256 messages, 256 under way at once, and reads as many answers; allocates nothing itself.
async fn exchange(stream: &mut TcpStream, wire: &[u8], answers: &mut [u8], rounds: usize) {
    for _ in 0..rounds {
        stream.write_all(wire).await.expect("writes");
        stream.read_exact(answers).await.expect("reads");
    }
}

async fn allocated_by_an_echo<H: Handler>(format: Format, handler: H) -> (usize, usize) {
    let config = SessionConfig { format, ..quiet() };
    let server = Server::builder(Tcp::default())
        .rules(config)
        .handler(handler)
        .listen("tcp://127.0.0.1:0")
        .await
        .expect("listens");
    let to = server.local().socket().expect("an IP address");
    let mut stream = TcpStream::connect(to).await.expect("connects");
    let wire: Vec<u8> = (0..256).flat_map(|id| frame(format, id)).collect();
    let mut answers = vec![0; wire.len()];
    soon("the first", exchange(&mut stream, &wire, &mut answers, 50)).await;
    let region = Region::new(ALLOCATOR);
    soon("the others", exchange(&mut stream, &wire, &mut answers, 400)).await;
    let change = region.change();
    assert_eq!(answers.len(), wire.len());
    (change.allocations + change.reallocations, 400 * 256)
}

#[tokio::test]
async fn receive_handler_and_reply_allocate_nothing_per_small_message() {
    let _alone = ALONE.lock().await;
    for format in [Format::Message, Format::Raw] {
        let (allocations, messages) = allocated_by_an_echo(format, Echo).await;
        assert!(allocations < 100, "{allocations} allocations for {messages} messages, {format:?}");
        let (allocations, messages) = allocated_by_an_echo(format, Mirror).await;
        assert!(allocations < 100, "{allocations} allocations for {messages} messages at once, {format:?}");
    }
}

#[tokio::test]
async fn one_message_after_another_allocates_nothing_either() {
    let _alone = ALONE.lock().await;
    let config = SessionConfig { format: Format::Message, ..quiet() };
    let builder = Server::builder(Tcp::default()).rules(config).handler(Echo);
    let server = builder.listen("tcp://127.0.0.1:0").await.expect("listens");
    let to = server.local().socket().expect("an IP address");
    let mut stream = TcpStream::connect(to).await.expect("connects");
    let wire = frame(Format::Message, 1);
    let mut answer = vec![0; wire.len()];
    soon("the first", exchange(&mut stream, &wire, &mut answer, 500)).await;
    let region = Region::new(ALLOCATOR);
    soon("the others", exchange(&mut stream, &wire, &mut answer, 10_000)).await;
    let change = region.change();
    let allocations = change.allocations + change.reallocations;
    assert!(allocations < 100, "{allocations} allocations for 10 000 round trips");
}

#[tokio::test]
async fn closures_allocate_nothing_either() {
    let _alone = ALONE.lock().await;
    let echo = net_messaging::Callbacks::new()
        .on_message(|_: &Session, message: Message| async { HandlerResult::Ok(Some(message.into_reply())) });
    let (allocations, messages) = allocated_by_an_echo(Format::Message, echo).await;
    assert!(allocations < 100, "{allocations} allocations for {messages} messages");
}

/// Waits once before it answers, as a handler does that asks something else first.
#[derive(Debug)]
struct Waits;

impl Handler for Waits {
    async fn message(&self, _: &Session, message: Message) -> HandlerResult {
        tokio::task::yield_now().await;
        Ok(Some(message.into_reply()))
    }
}

#[tokio::test]
async fn a_handler_that_waits_allocates_nothing_per_message() {
    let _alone = ALONE.lock().await;
    let (allocations, messages) = allocated_by_an_echo(Format::Message, Waits).await;
    // The backlog of 64 messages is given back when nothing waits, a few times for each round of 256.
    assert!(allocations < messages / 20, "{allocations} allocations for {messages} messages");
}

/// Connects and leaves, `count` times.
async fn churn<T: Transport + Clone>(transport: &T, server: &Server, count: usize) {
    for _ in 0..count {
        let client = Client::builder(transport.clone()).connect(server.local()).await.expect("connects");
        client.disconnect().await;
    }
    while !server.is_empty() || server.connections() > 0 {
        tokio::task::yield_now().await;
    }
}

/// Returns how many bytes are allocated and not freed.
fn alive() -> isize {
    let stats = ALLOCATOR.stats();
    let signed = |bytes: usize| isize::try_from(bytes).expect("less than half of all memory");
    signed(stats.bytes_allocated) - signed(stats.bytes_deallocated)
}

#[tokio::test]
async fn d4_memory_is_flat_over_100_000_connects() {
    let _alone = ALONE.lock().await;
    let memory = Memory::default();
    let server = Server::builder(memory.clone()).handler(Echo).listen("mem://churn").await.expect("listens");
    churn(&memory, &server, 1_000).await;
    let before = alive();
    churn(&memory, &server, 100_000).await;
    let grown = alive() - before;
    assert!(grown < 16 * 1024, "{grown} bytes more after 100 000 connections");
}

#[tokio::test]
async fn d4_memory_is_flat_over_connects_that_break_requests_that_fail_and_attributes() {
    let _alone = ALONE.lock().await;
    let memory = Memory::default();
    let server = Server::builder(memory.clone())
        .on_connected(|session| {
            session.set_attribute("name", vec![7_u8; 1_000]);
            Ok(())
        })
        .on_message(|session, _| {
            let session = session.clone();
            async move {
                // Never answered: the peer is gone by then.
                session.request("?").await?;
                HandlerResult::Ok(None)
            }
        })
        .listen("mem://churn")
        .await
        .expect("listens");
    let round = async |count: usize| {
        for n in 0..count {
            let client = Client::builder(memory.clone()).connect(server.local()).await.expect("connects");
            let _ = client.send(vec![7; 3_000]);
            if n % 2 == 0 {
                let asking = client.request("!");
                let mut asking = std::pin::pin!(asking);
                let waker = std::task::Waker::noop();
                assert!(asking.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
                tokio::task::yield_now().await;
            }
            drop(client);
        }
        while !server.is_empty() || server.connections() > 0 {
            tokio::task::yield_now().await;
        }
    };
    round(500).await;
    let before = alive();
    round(10_000).await;
    let grown = alive() - before;
    assert!(grown < 32 * 1024, "{grown} bytes more after 10 000 connections");
}
