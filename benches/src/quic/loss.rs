//! The load `loss`: transfers over a path that loses, there and back, by quinn's client or by ours.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::future::try_join;
use net_core::testing::{Faults, Relay, RelayConfig};
use net_core::{Address, Scheme};
use net_quic::Quic;

use super::settings::{self, Failure};
use crate::load::exchange;
use crate::measure::{Watch, Window};
use crate::outcome::{Latency, Outcome, Transfers};

/// Which datagrams a relay loses, of a hundred, in each direction.
const LOSS: f64 = 0.01;
/// How long one is on its way, in each direction.
const DELAY: Duration = Duration::from_millis(25);
/// Bytes of a transfer, in each direction.
const LEN: usize = 1 << 20;

/// How many transfers there are, and what becomes of them.
#[derive(Debug, Args)]
pub struct Transferring {
    /// Transfers at once, each on a connection and over a relay of its own.
    #[arg(long)]
    transfers: u32,
    /// Which losses they meet: those of another number are others.
    #[arg(long)]
    seed: u32,
    /// By our client in place of quinn's.
    #[arg(long)]
    ours: bool,
}

/// Runs all transfers, and returns how long they took.
pub(super) async fn run(
    endpoint: &quinn::Endpoint,
    to: SocketAddr,
    watch: Watch,
    options: &Transferring,
) -> Result<Outcome, Failure> {
    let quic = Quic::new(settings::ours()?).with_client_tls(settings::client_tls()?);
    let sent: Rc<[u8]> = (0..=250).cycle().take(LEN).collect();
    let dropped_before = dropped()?;
    let window = Window::begin(Some(watch))?;
    let mut running = Vec::new();
    for number in 0..options.transfers {
        let seed = (u64::from(options.seed) << 32) | u64::from(number);
        let faults = Faults { delay: DELAY, loss: LOSS, ..Faults::default() };
        let relay = Relay::new(to, RelayConfig::both(seed, faults)).await?;
        let (endpoint, quic, sent, ours) = (endpoint.clone(), quic.clone(), sent.clone(), options.ours);
        running.push(tokio::task::spawn_local(async move {
            let through = relay.address();
            let took = if ours {
                our_transfer(&quic, through, &sent).await?
            } else {
                quinns_transfer(&endpoint, through, &sent).await?
            };
            Ok::<_, Failure>((took, relay.lost()))
        }));
    }
    let mut latency = exchange::histogram()?;
    let (mut total, mut lost) = (Duration::ZERO, 0);
    for transfer in running {
        let (took, losses) = transfer.await??;
        latency.saturating_record(exchange::nanos(took));
        total += took;
        lost += losses;
    }
    let mut outcome = Outcome {
        messages: options.transfers.into(),
        bytes: LEN as u64 * u64::from(options.transfers),
        latency: Latency::from(&latency),
        memory: Some(watch.memory()?),
        transfers: Some(Transfers {
            mean_ms: total.as_secs_f64() * 1_000.0 / f64::from(options.transfers.max(1)),
            lost,
            dropped: dropped()?.saturating_sub(dropped_before),
        }),
        errors: u64::from(lost == 0),
        first_error: (lost == 0).then(|| "nothing was lost".to_owned()),
        ..Outcome::default()
    };
    outcome.measured(window.end()?);
    Ok(outcome)
}

/// Datagrams that sockets of this machine had no room for so far.
fn dropped() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/net/snmp")?;
    // A line of names, and one of numbers.
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, numbers) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut counters = names.split_whitespace().zip(numbers.split_whitespace());
    let found = counters.find_map(|(name, number)| (name == "RcvbufErrors").then(|| number.parse().ok())?);
    found.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/net/snmp tells of no RcvbufErrors"))
}

/// Sends and receives on one stream, and returns how long that took once connected.
async fn quinns_transfer(
    endpoint: &quinn::Endpoint,
    to: SocketAddr,
    sent: &[u8],
) -> Result<Duration, Failure> {
    let connection = endpoint.connect(to, "localhost")?.await?;
    let began = Instant::now();
    let (mut tx, mut rx) = connection.open_bi().await?;
    let sending = async {
        tx.write_all(sent).await?;
        tx.finish()?;
        Ok::<_, Failure>(())
    };
    let receiving = async { Ok(rx.read_to_end(sent.len()).await?) };
    let ((), received) = try_join(sending, receiving).await?;
    verified(&received, sent, began)
}

async fn our_transfer(quic: &Quic, to: SocketAddr, sent: &[u8]) -> Result<Duration, Failure> {
    let session = quic.open(&Address::from_socket(Scheme::Quic, to)).await?;
    let began = Instant::now();
    let (mut tx, mut rx) = session.open_bi().await?;
    let sending = async {
        tx.write_all(sent).await?;
        tx.end();
        Ok::<_, Failure>(())
    };
    let receiving = async { Ok(rx.read_to_end(sent.len()).await?) };
    let ((), received) = try_join(sending, receiving).await?;
    verified(&received, sent, began)
}

fn verified(received: &[u8], sent: &[u8], began: Instant) -> Result<Duration, Failure> {
    let took = began.elapsed();
    if received == sent { Ok(took) } else { Err("other bytes came back than were sent".into()) }
}
