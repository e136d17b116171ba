//! What one run of the load generator found, as it crosses from that process to the orchestrator.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::measure::Measured;

/// The result of one run of the load generator against one server.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Messages (or connections, under churn; or sessions, when idle) that the figures count.
    pub messages: u64,
    /// Bytes of payload that the messages of an echo load carried there, and as many back.
    #[serde(default)]
    pub bytes: u64,
    /// Length of the measured window in seconds.
    pub seconds: f64,
    /// CPU time of the server (user and system) inside the window, in nanoseconds.
    pub server_cpu_ns: Option<u64>,
    /// Time from sending to having verified the answer.
    pub latency: Latency,
    /// Time of `connect` alone, where connections are what is measured.
    pub connect: Option<Latency>,
    /// Memory of the server.
    pub memory: Option<Memory>,
    /// Cores' worth of CPU that processes other than the server and the generator used inside the window.
    pub others: f64,
    /// What the sessions of the idle load cost.
    pub idle: Option<Idle>,
    /// How long transfers over a path that loses took.
    #[serde(default)]
    pub transfers: Option<Transfers>,
    /// Answers that were wrong, connections that broke.
    pub errors: u64,
    /// The first of them, in words.
    pub first_error: Option<String>,
}

impl Outcome {
    /// Takes over what the window found.
    pub const fn measured(&mut self, measured: Measured) {
        self.seconds = measured.seconds;
        self.server_cpu_ns = measured.server_cpu_ns;
        self.others = measured.others;
    }

    /// What several turns under the same load found together: counts and times are summed, points of latency are the means of the
    /// turns' (of `max` the most), memory is the last turn's.
    ///
    /// A mean, since the turns of servers that are compared alternate: whatever slows the machine for a while is in the same
    /// part of both.
    #[must_use]
    pub fn of_turns(turns: &[Self]) -> Self {
        let Some(last) = turns.last() else { return Self::default() };
        Self {
            messages: turns.iter().map(|turn| turn.messages).sum(),
            bytes: turns.iter().map(|turn| turn.bytes).sum(),
            seconds: turns.iter().map(|turn| turn.seconds).sum(),
            server_cpu_ns: turns.iter().map(|turn| turn.server_cpu_ns).sum(),
            latency: Latency::of_turns(&turns.iter().map(|turn| turn.latency).collect::<Vec<_>>()),
            connect: last.connect.map(|_| {
                Latency::of_turns(&turns.iter().filter_map(|turn| turn.connect).collect::<Vec<_>>())
            }),
            ..last.clone()
        }
    }

    /// Messages a second over the window; 0 when the window is empty.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub fn messages_per_s(&self) -> f64 {
        if self.seconds > 0.0 { self.messages as f64 / self.seconds } else { 0.0 }
    }

    /// Megabytes (10⁶ bytes) of payload a second, there and back counted once.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub fn megabytes_per_s(&self) -> Option<f64> {
        (self.bytes > 0 && self.seconds > 0.0).then(|| self.bytes as f64 / 1e6 / self.seconds)
    }

    /// Server CPU time in nanoseconds for each byte of payload that came and went back.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub fn cpu_ns_per_byte(&self) -> Option<f64> {
        let cpu = self.server_cpu_ns?;
        (self.bytes > 0).then(|| cpu as f64 / self.bytes as f64)
    }

    /// Server CPU time in microseconds for each message.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub fn cpu_us(&self) -> Option<f64> {
        let cpu = self.server_cpu_ns?;
        (self.messages > 0).then(|| cpu as f64 / 1_000.0 / self.messages as f64)
    }
}

/// Points of a latency distribution, in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

impl Latency {
    /// The means of several turns' points, and the most of their `max`.
    #[expect(clippy::cast_precision_loss, reason = "turns are a few hundred")]
    fn of_turns(turns: &[Self]) -> Self {
        let mean = |point: fn(&Self) -> f64| turns.iter().map(point).sum::<f64>() / turns.len().max(1) as f64;
        Self {
            p50: mean(|latency| latency.p50),
            p90: mean(|latency| latency.p90),
            p99: mean(|latency| latency.p99),
            p999: mean(|latency| latency.p999),
            max: turns.iter().map(|latency| latency.max).fold(0.0, f64::max),
        }
    }
}

impl From<&Histogram<u64>> for Latency {
    /// Reads the points off a histogram of nanoseconds.
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of one run stay far below 2^52")]
    fn from(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / 1_000.0,
        }
    }
}

/// Memory of a process, in KiB.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Resident now.
    pub rss_kib: u64,
    /// Resident now, shared pages divided among their users.
    pub pss_kib: u64,
    /// The most that ever was resident.
    pub peak_kib: u64,
}

/// What a number of idle sessions cost the server.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Idle {
    /// Sessions held open, each having exchanged one message.
    pub sessions: u64,
    /// Server memory before the first of them, in KiB; one session had come and gone.
    pub before_kib: u64,
    /// Server memory while all are held, in KiB.
    pub held_kib: u64,
    /// Server CPU while all are held and nothing is sent, in parts of one core.
    pub cpu_share: f64,
}

/// What transfers over a path that loses took.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Transfers {
    /// The mean time of one, in milliseconds.
    pub mean_ms: f64,
    /// Datagrams that the path lost.
    pub lost: u64,
    /// Datagrams that the kernel dropped, since a socket had no room for them.
    pub dropped: u64,
}

impl Idle {
    /// KiB of server memory for each session.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "KiB of one process stay far below 2^52")]
    pub fn kib_per_session(&self) -> f64 {
        self.held_kib.saturating_sub(self.before_kib) as f64 / self.sessions.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_cpu_divided_by_messages() {
        let outcome =
            Outcome { messages: 1_000, seconds: 0.5, server_cpu_ns: Some(2_000_000), ..Outcome::default() };
        assert_eq!(outcome.cpu_us(), Some(2.0));
        assert_eq!((outcome.cpu_ns_per_byte(), outcome.megabytes_per_s()), (None, None));
        let bulk = Outcome { bytes: 4_000_000, ..outcome.clone() };
        assert_eq!((bulk.cpu_ns_per_byte(), bulk.megabytes_per_s()), (Some(0.5), Some(8.0)));
        assert!((outcome.messages_per_s() - 2_000.0).abs() < 1e-9);
        assert_eq!(Outcome::default().cpu_us(), None);
    }

    #[test]
    fn turns_are_summed_and_their_latencies_averaged() {
        let turn = |messages: u64, p50| Outcome {
            messages,
            seconds: 0.5,
            server_cpu_ns: Some(messages * 1_000),
            latency: Latency { p50, max: 2.0 * p50, ..Latency::default() },
            memory: Some(Memory { rss_kib: messages, ..Memory::default() }),
            connect: Some(Latency { p50: 2.0 * p50, ..Latency::default() }),
            ..Outcome::default()
        };
        let both = Outcome::of_turns(&[turn(100, 4.0), turn(300, 8.0)]);
        assert_eq!((both.messages, both.cpu_us()), (400, Some(1.0)));
        assert!((both.seconds - 1.0).abs() < 1e-9 && (both.latency.p50 - 6.0).abs() < 1e-9);
        assert!((both.latency.max - 16.0).abs() < 1e-9);
        assert!(both.connect.is_some_and(|connect| (connect.p50 - 12.0).abs() < 1e-9));
        assert_eq!(both.memory.map(|memory| memory.rss_kib), Some(300));
        let unwatched = Outcome { server_cpu_ns: None, ..turn(100, 4.0) };
        assert_eq!(Outcome::of_turns(&[turn(100, 4.0), unwatched]).server_cpu_ns, None);
        assert_eq!(Outcome::of_turns(&[]).messages, 0);
    }

    #[test]
    fn latency_points_are_microseconds() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        for us in 1..=1_000_u64 {
            histogram.record(us * 1_000).unwrap();
        }
        let latency = Latency::from(&histogram);
        assert!((latency.p50 - 500.0).abs() < 1.0, "{latency:?}");
        assert!((latency.p99 - 990.0).abs() < 1.0, "{latency:?}");
        assert!((latency.max - 1_000.0).abs() < 1.0, "{latency:?}");
    }

    #[test]
    fn idle_memory_never_goes_below_zero() {
        let idle = Idle { sessions: 10, before_kib: 100, held_kib: 90, cpu_share: 0.0 };
        assert!(idle.kib_per_session().abs() < f64::EPSILON);
    }
}
