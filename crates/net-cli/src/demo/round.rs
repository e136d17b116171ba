//! What the demo measures of one server: round trips, messages, bytes.

use std::{sync::Arc, time::Duration};

use net_core::Transport as _;
use serde::Serialize;

use super::stage::Stage;
use crate::{
    bench::{
        load::{Goal, LOSS_TIMEOUT, Load, Measured, State},
        report::Latency,
    },
    failure::Failure,
    figures::float,
};

/// What was measured of one server.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) transport: &'static str,
    pub(crate) format: &'static str,
    pub(crate) address: String,
    /// One message of 64 bytes in flight.
    pub(crate) round_trips_per_second: f64,
    pub(crate) round_trip_us: Latency,
    /// 256 messages of 64 bytes in flight.
    pub(crate) messages_per_second: f64,
    /// 16 messages of 64 KiB in flight; payload in one direction.
    pub(crate) megabytes_per_second: f64,
    pub(crate) verified: u64,
}

const SMALL: usize = 64;
const LARGE: usize = 64 * 1024;

/// How long each measurement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Half a second, after a warm-up.
    Full,
    /// Some thousand messages, however long they take.
    Quick,
}

impl Extent {
    fn warm_up(self) -> Duration {
        Duration::from_millis(if self == Self::Full { 100 } else { 0 })
    }

    fn goal(self, quick: u64) -> Goal {
        match self {
            Self::Full => Goal::Time(Duration::from_millis(500)),
            Self::Quick => Goal::Count(quick),
        }
    }
}

/// Measures round trips, messages and bytes of one server.
pub(crate) async fn measure(stage: &Stage, extent: Extent) -> Result<Row, Failure> {
    // Where nothing holds a sender back, no more is sent at once than a socket's buffer keeps.
    let reliable = stage.client()?.guarantees().reliable;
    let (many, large) = if reliable { (256, 16) } else { (64, 2) };
    let max_len = stage.client()?.guarantees().max_message_len - stage.format.head_len();
    let large_len = LARGE.min(max_len);
    let alone = load(stage, 1, SMALL, extent.warm_up(), extent.goal(1000)).await?;
    let many = load(stage, many, SMALL, extent.warm_up(), extent.goal(20_000)).await?;
    let large = load(stage, large, large_len, extent.warm_up(), extent.goal(500)).await?;
    Ok(Row {
        transport: stage.transport.name(),
        format: stage.format.as_str(),
        address: stage.server.local().to_string(),
        round_trips_per_second: alone.rate(),
        round_trip_us: Latency::of(&alone.latency),
        messages_per_second: many.rate(),
        megabytes_per_second: large.rate() * float(large_len as u64) / 1e6,
        verified: alone.verified + many.verified + large.verified,
    })
}

async fn load(
    stage: &Stage,
    in_flight: usize,
    payload_len: usize,
    warm_up: Duration,
    goal: Goal,
) -> Result<Measured, Failure> {
    let transport = stage.client()?;
    let load = Load {
        loss_timeout: (!transport.guarantees().reliable).then_some(LOSS_TIMEOUT),
        transport,
        address: stage.server.local().clone(),
        format: stage.format,
        heartbeats: false,
        connections: 1,
        in_flight,
        payload_len,
        rate: None,
        warm_up,
        goal,
        timeout: Duration::from_secs(5),
        threads: 1,
        state: State::default(),
    };
    Arc::new(load).run().await
}
