//! The load of `bench quic`: a client on quinn, the same for every server but under loss, that verifies what comes back.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use hdrhistogram::Histogram;
use tokio::task::LocalSet;
use tokio::time::sleep;

use super::loss::{self, Transferring};
use super::settings::{self, Failure};
use crate::load::exchange;
use crate::measure::{Watch, Window};
use crate::outcome::{Idle, Latency, Memory, Outcome};
use crate::peer;

/// What one write of the bulk load is.
const CHUNK: usize = 64 * 1024;
/// What is counted of the bulk load.
const MIB: u64 = 1 << 20;

/// What is done to a server.
#[derive(Debug, Subcommand)]
pub enum Load {
    /// Requests that are echoed, each on a stream of its own.
    Streams {
        /// Which server it is.
        #[command(flatten)]
        common: Common,
        /// How long it lasts.
        #[command(flatten)]
        span: Span,
        /// Bytes of a request.
        #[arg(long)]
        payload: usize,
        /// Connections.
        #[arg(long)]
        connections: usize,
        /// Streams in flight on each connection.
        #[arg(long)]
        in_flight: usize,
    },
    /// Bytes that the server drops, on one stream of each connection.
    Bulk {
        /// Which server it is.
        #[command(flatten)]
        common: Common,
        /// How long it lasts.
        #[command(flatten)]
        span: Span,
        /// Connections.
        #[arg(long)]
        connections: usize,
    },
    /// Connections that are made, used for a byte, and closed.
    Handshakes {
        /// Which server it is.
        #[command(flatten)]
        common: Common,
        /// How long it lasts.
        #[command(flatten)]
        span: Span,
        /// Connections that are being made at once.
        #[arg(long)]
        in_flight: usize,
    },
    /// Transfers there and back over a path that loses.
    Loss {
        /// Which server it is.
        #[command(flatten)]
        common: Common,
        /// How many, and which losses they meet.
        #[command(flatten)]
        transferring: Transferring,
    },
    /// Connections that are held and left alone.
    Idle {
        /// Which server it is.
        #[command(flatten)]
        common: Common,
        /// How many.
        #[arg(long)]
        connections: usize,
    },
}

/// Which server it is.
#[derive(Debug, Args)]
pub struct Common {
    /// Its address.
    #[arg(long)]
    to: SocketAddr,
    /// Its process.
    #[arg(long)]
    watch: u32,
}

/// How long it lasts.
#[derive(Debug, Args)]
pub struct Span {
    /// The measured window.
    #[arg(long, value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Load before it.
    #[arg(long, value_parser = humantime::parse_duration)]
    warm_up: Duration,
}

/// What the tasks of a load count, all on one thread.
#[derive(Debug)]
struct Tally {
    counted: Cell<u64>,
    latency: RefCell<Histogram<u64>>,
    measuring: Cell<bool>,
    over: Cell<bool>,
    errors: Cell<u64>,
    first_error: RefCell<Option<String>>,
}

impl Tally {
    fn new() -> Result<Rc<Self>, Failure> {
        Ok(Rc::new(Self {
            counted: Cell::new(0),
            latency: RefCell::new(exchange::histogram()?),
            measuring: Cell::new(false),
            over: Cell::new(false),
            errors: Cell::new(0),
            first_error: RefCell::new(None),
        }))
    }

    fn count(&self, amount: u64, since: Instant) {
        if self.measuring.get() {
            self.counted.set(self.counted.get() + amount);
            self.latency.borrow_mut().saturating_record(exchange::nanos(since.elapsed()));
        }
    }

    /// Notes what went wrong, unless the load is over.
    fn failed(&self, error: &dyn std::fmt::Display) {
        if !self.over.get() {
            self.errors.set(self.errors.get() + 1);
            self.first_error.borrow_mut().get_or_insert_with(|| error.to_string());
        }
    }
}

/// Runs a load, and returns what was found.
///
/// # Errors
/// When it cannot begin.
pub fn run(load: &Load) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let socket = peer::datagram_socket(Some(settings::RECV_BUFFER))?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let mut endpoint = quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket, runtime)?;
        endpoint.set_default_client_config(settings::client()?);
        match load {
            Load::Streams { common, span, payload, connections, in_flight } => {
                let tally = Tally::new()?;
                for _ in 0..*connections {
                    let connection = connect(&endpoint, common.to).await?;
                    for _ in 0..*in_flight {
                        tokio::task::spawn_local(requests(connection.clone(), *payload, tally.clone()));
                    }
                }
                measure(common, span, &tally).await
            }
            Load::Bulk { common, span, connections } => {
                let tally = Tally::new()?;
                for _ in 0..*connections {
                    let connection = connect(&endpoint, common.to).await?;
                    tokio::task::spawn_local(bulk(connection, tally.clone()));
                }
                measure(common, span, &tally).await
            }
            Load::Handshakes { common, span, in_flight } => {
                let tally = Tally::new()?;
                for _ in 0..*in_flight {
                    tokio::task::spawn_local(handshakes(endpoint.clone(), common.to, tally.clone()));
                }
                measure(common, span, &tally).await
            }
            Load::Loss { common, transferring } => {
                loss::run(&endpoint, common.to, Watch::new(common.watch), transferring).await
            }
            Load::Idle { common, connections } => idle(&endpoint, common, *connections).await,
        }
    })
}

async fn connect(endpoint: &quinn::Endpoint, to: SocketAddr) -> Result<quinn::Connection, Failure> {
    Ok(endpoint.connect(to, "localhost")?.await?)
}

/// Lets the load run, and measures its window.
async fn measure(common: &Common, span: &Span, tally: &Tally) -> Result<Outcome, Failure> {
    sleep(span.warm_up).await;
    let watch = Watch::new(common.watch);
    let window = Window::begin(Some(watch))?;
    tally.measuring.set(true);
    sleep(span.duration).await;
    tally.measuring.set(false);
    let measured = window.end()?;
    tally.over.set(true);
    let mut outcome = Outcome {
        messages: tally.counted.get(),
        latency: Latency::from(&*tally.latency.borrow()),
        memory: Some(memory(watch)?),
        errors: tally.errors.get(),
        first_error: tally.first_error.borrow().clone(),
        ..Outcome::default()
    };
    outcome.measured(measured);
    Ok(outcome)
}

fn memory(watch: Watch) -> io::Result<Memory> {
    watch.memory()
}

async fn requests(connection: quinn::Connection, payload: usize, tally: Rc<Tally>) {
    let sent: Vec<u8> = (0..=250).cycle().take(payload).collect();
    while !tally.over.get() {
        let began = Instant::now();
        match request(&connection, &sent).await {
            Ok(true) => tally.count(1, began),
            Ok(false) => return tally.failed(&"other bytes came back than were sent"),
            Err(error) => return tally.failed(&error),
        }
    }
}

async fn request(connection: &quinn::Connection, sent: &[u8]) -> Result<bool, Failure> {
    let (mut tx, mut rx) = connection.open_bi().await?;
    tx.write_all(sent).await?;
    tx.finish()?;
    Ok(rx.read_to_end(sent.len()).await? == sent)
}

async fn bulk(connection: quinn::Connection, tally: Rc<Tally>) {
    let chunk = vec![7; CHUNK];
    let mut since = Instant::now();
    let mut sent = 0;
    let mut tx = match connection.open_uni().await {
        Ok(tx) => tx,
        Err(error) => return tally.failed(&error),
    };
    while !tally.over.get() {
        if let Err(error) = tx.write_all(&chunk).await {
            return tally.failed(&error);
        }
        sent += CHUNK as u64;
        if sent >= MIB {
            sent -= MIB;
            tally.count(1, since);
            since = Instant::now();
        }
    }
}

async fn handshakes(endpoint: quinn::Endpoint, to: SocketAddr, tally: Rc<Tally>) {
    while !tally.over.get() {
        let began = Instant::now();
        let made = async {
            let connection = connect(&endpoint, to).await?;
            let right = request(&connection, b"x").await?;
            connection.close(0_u32.into(), b"");
            Ok::<_, Failure>(right)
        };
        match made.await {
            Ok(true) => tally.count(1, began),
            Ok(false) => return tally.failed(&"another byte came back than was sent"),
            Err(error) => return tally.failed(&error),
        }
    }
}

async fn idle(endpoint: &quinn::Endpoint, common: &Common, connections: usize) -> Result<Outcome, Failure> {
    let watch = Watch::new(common.watch);
    // What all connections share is there after the first.
    let first = connect(endpoint, common.to).await?;
    request(&first, b"x").await?;
    first.close(0_u32.into(), b"");
    sleep(Duration::from_millis(500)).await;
    let before = memory(watch)?;
    let mut held = Vec::with_capacity(connections);
    for _ in 0..connections {
        let connection = connect(endpoint, common.to).await?;
        request(&connection, b"x").await?;
        held.push(connection);
    }
    // What was kept for a handshake goes when its last packets have been acknowledged.
    sleep(Duration::from_secs(1)).await;
    let after = memory(watch)?;
    let idle = Idle {
        sessions: connections as u64,
        before_kib: before.pss_kib,
        held_kib: after.pss_kib,
        cpu_share: 0.0,
    };
    let alive = held.iter().filter(|connection| connection.close_reason().is_none()).count();
    let lost = (connections - alive) as u64;
    Ok(Outcome {
        messages: connections as u64,
        idle: Some(idle),
        memory: Some(after),
        errors: lost,
        first_error: (lost > 0).then(|| format!("{lost} of {connections} connections were lost")),
        ..Outcome::default()
    })
}
