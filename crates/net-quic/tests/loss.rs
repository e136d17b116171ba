//! A path that loses: what is sent arrives whole. How long that takes, beside quinn alone, is for `cargo xtask bench quic`.

#[path = "../../net-core/tests/namespace/mod.rs"]
mod namespace;
mod rig;

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use net_core::testing::{Faults, RelayConfig};
use net_quic::{Quic, QuicConfig};
use rig::{authority::Authority, session_over, within};
use tokio::task::JoinSet;

const LEN: usize = 1 << 20;
/// How many transfers run at once, each with another sequence of losses.
const TRANSFERS: u64 = 8;
/// How long a datagram is on its way, in each direction.
const DELAY: Duration = Duration::from_millis(25);

/// In each direction 1 % of datagrams is lost, and 2 % are overtaken.
fn path(seed: u64) -> RelayConfig {
    RelayConfig::both(seed, Faults { delay: DELAY, loss: 0.01, reorder: 0.02, ..Faults::default() })
}

/// The kernel loses 1 % of what arrives, and carries 2 Mbit a second.
const SLOW_AND_LOSSY: &str = "ip link set lo up
iptables -A INPUT -i lo -p udp -m statistic --mode random --probability 0.01 -j DROP
tc qdisc add dev lo root tbf rate 2mbit burst 32kb latency 100ms";

/// What is sent: no place of it is like another's.
fn bytes(seed: u64) -> Vec<u8> {
    let mut dice = fastrand::Rng::with_seed(seed);
    (0..LEN).map(|_| dice.u8(..)).collect()
}

/// What was lost on a transfer that arrived whole.
#[derive(Debug, Default)]
struct Losses {
    /// Datagrams that the relay lost, in both directions.
    relay: u64,
    /// Packets that the sender found lost, and how often it took that for congestion.
    sender: u64,
    congestion: u64,
}

impl Losses {
    /// Waits for all transfers, and adds up what they lost.
    async fn of(transfers: JoinSet<Self>) -> Self {
        let all = transfers.join_all().await;
        all.into_iter().fold(Self::default(), |sum, one| Self {
            relay: sum.relay + one.relay,
            sender: sum.sender + one.sender,
            congestion: sum.congestion + one.congestion,
        })
    }

    fn assert_real(&self) {
        // A transfer takes some 750 datagrams there.
        assert!(self.relay > 4 * TRANSFERS, "the path loses: {self:?}");
        assert!(self.sender > 4 * TRANSFERS, "what is lost is found: {self:?}");
        assert!(self.congestion > 0, "{self:?}");
    }
}

async fn transfer(authority: &Authority, seed: u64, path: RelayConfig) -> Losses {
    let quic = Quic::new(QuicConfig::default())
        .with_server_tls(authority.server().build().expect("settings"))
        .with_client_tls(authority.client().build().expect("settings"));
    let (near, far, relay, _sessions) = session_over(&quic, path).await;
    let sent = bytes(seed);
    let sending = async {
        let mut tx = near.open_uni().await.expect("a stream");
        tx.write_all(&sent).await.expect("written");
        tx.finish().await.expect("acknowledged");
    };
    let receiving = async {
        let mut rx = far.accept_uni().await.expect("a stream");
        rx.read_to_end(LEN).await.expect("all")
    };
    let ((), received) = tokio::join!(sending, receiving);
    assert!(received == sent, "seed {seed}: {} of {LEN} bytes arrived, or others", received.len());
    let stats = near.stats();
    assert!(stats.min_round_trip >= 2 * DELAY, "{stats:?}");
    assert!(stats.bytes_sent > LEN as u64, "{stats:?}");
    Losses { relay: relay.lost(), sender: stats.lost_packets, congestion: stats.congestion_events }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a35_all_arrives_over_a_path_that_loses() {
    let authority = Arc::new(Authority::new("loss"));
    let mut transfers = JoinSet::new();
    for seed in 0..TRANSFERS {
        let authority = authority.clone();
        transfers.spawn(async move { transfer(&authority, seed, path(seed)).await });
    }
    within(Duration::from_secs(50), "the transfers", Losses::of(transfers)).await.assert_real();
}

/// Returns how many datagrams the kernel has lost by its rule.
fn dropped() -> u64 {
    let told = Command::new("iptables").args(["-nvxL", "INPUT"]).output().expect("iptables is there");
    let told = String::from_utf8(told.stdout).expect("text");
    let rule = told.lines().find(|line| line.contains("statistic")).expect("the rule");
    rule.split_whitespace().next().and_then(|count| count.parse().ok()).expect("a count")
}

#[test]
fn real_a35_all_arrives_where_the_kernel_loses_and_is_slow() {
    let test = "real_a35_all_arrives_where_the_kernel_loses_and_is_slow";
    if !namespace::is_inside(test, SLOW_AND_LOSSY) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let authority = Authority::new("kernel");
        let late = Faults { delay: DELAY, reorder: 0.02, ..Faults::default() };
        let began = Instant::now();
        let transfer = transfer(&authority, 0, RelayConfig::both(0, late));
        let losses = within(Duration::from_secs(50), "the transfer", transfer).await;
        // To the relay and on from there: 2 MiB, and what was in the bucket at first.
        assert!(began.elapsed() > Duration::from_secs(8), "it is as slow as that: {:?}", began.elapsed());
        assert!(losses.sender > 0, "what is lost is found: {losses:?}");
        assert_eq!(losses.relay, 0);
        assert!(dropped() > 0, "the kernel loses");
    });
}
