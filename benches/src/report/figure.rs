//! The figures that are reported, what they are called, and how they are read off an outcome.

use serde::Serialize;

use crate::outcome::Outcome;
use crate::plan::Kind;

/// Messages from this length on are counted by their bytes, too.
const BULK: usize = 16 * 1_024;

/// One figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Server CPU, user and system, microseconds for each message (or connection, or session opened).
    CpuUs,
    /// The same in multiples of the baseline's in the same round.
    CpuRatio,
    /// Server CPU, nanoseconds for each byte of payload that came and went back.
    CpuNsPerByte,
    /// Megabytes of payload echoed a second.
    MegabytesPerSecond,
    /// Messages (connections, sessions opened) a second.
    PerSecond,
    /// The same in multiples of the baseline's in the same round.
    PerSecondRatio,
    /// Median latency in microseconds.
    P50,
    /// The same in multiples of the baseline's in the same round.
    P50Ratio,
    /// 99th percentile in microseconds.
    P99,
    /// 99.9th percentile in microseconds.
    P999,
    /// Median time to connect in microseconds.
    ConnectP50,
    /// The most memory that was ever resident, in MiB.
    PeakMib,
    /// Server memory for each idle session, in KiB.
    KibPerSession,
    /// Server memory while all sessions are held, in MiB.
    HeldMib,
    /// Server CPU while all sessions are idle, in per cent of a core.
    IdleCpuPercent,
}

impl Figure {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::CpuUs,
        Self::CpuRatio,
        Self::CpuNsPerByte,
        Self::MegabytesPerSecond,
        Self::PerSecond,
        Self::PerSecondRatio,
        Self::P50,
        Self::P50Ratio,
        Self::P99,
        Self::P999,
        Self::ConnectP50,
        Self::PeakMib,
        Self::KibPerSession,
        Self::HeldMib,
        Self::IdleCpuPercent,
    ];

    /// The columns of the table of a load.
    #[must_use]
    pub const fn columns(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::Echo { payload: BULK.., .. } => &[
                Self::CpuUs,
                Self::CpuRatio,
                Self::CpuNsPerByte,
                Self::MegabytesPerSecond,
                Self::PerSecond,
                Self::PerSecondRatio,
                Self::P50,
                Self::P50Ratio,
                Self::P99,
                Self::P999,
                Self::PeakMib,
            ],
            Kind::Echo { .. } | Kind::Compressed { .. } | Kind::Datagrams { .. } => &[
                Self::CpuUs,
                Self::CpuRatio,
                Self::PerSecond,
                Self::PerSecondRatio,
                Self::P50,
                Self::P50Ratio,
                Self::P99,
                Self::P999,
                Self::PeakMib,
            ],
            Kind::Churn | Kind::Handshake { .. } => &[
                Self::CpuUs,
                Self::CpuRatio,
                Self::PerSecond,
                Self::PerSecondRatio,
                Self::ConnectP50,
                Self::P50,
                Self::P99,
                Self::P999,
                Self::PeakMib,
            ],
            Kind::Idle { .. } => &[
                Self::CpuUs,
                Self::CpuRatio,
                Self::KibPerSession,
                Self::HeldMib,
                Self::PeakMib,
                Self::IdleCpuPercent,
                Self::P50,
                Self::P99,
                Self::P999,
            ],
        }
    }

    /// The heading of its column, where ratios are taken against `base`.
    #[must_use]
    pub fn title(self, base: &str) -> String {
        let name = match self {
            Self::CpuRatio => return format!("CPU ÷ {base}"),
            Self::PerSecondRatio => return format!("rate ÷ {base}"),
            Self::P50Ratio => return format!("p50 ÷ {base}"),
            Self::CpuUs => "server CPU µs each",
            Self::CpuNsPerByte => "CPU ns a byte",
            Self::MegabytesPerSecond => "MB each second",
            Self::PerSecond => "each second",
            Self::P50 => "p50 µs",
            Self::P99 => "p99 µs",
            Self::P999 => "p99.9 µs",
            Self::ConnectP50 => "connect p50 µs",
            Self::PeakMib => "peak MiB",
            Self::KibPerSession => "KiB a session",
            Self::HeldMib => "held MiB",
            Self::IdleCpuPercent => "idle CPU %",
        };
        name.to_owned()
    }

    /// Its value in `outcome`; ratios need what the baseline did in the same round.
    #[must_use]
    pub fn value(self, outcome: &Outcome, baseline: Option<&Outcome>) -> Option<f64> {
        let ratio = |of: Self| Some(of.value(outcome, None)? / of.value(baseline?, None)?);
        match self {
            Self::CpuUs => outcome.cpu_us(),
            Self::CpuRatio => ratio(Self::CpuUs),
            Self::CpuNsPerByte => outcome.cpu_ns_per_byte(),
            Self::MegabytesPerSecond => outcome.megabytes_per_s(),
            Self::PerSecond => Some(outcome.messages_per_s()),
            Self::PerSecondRatio => ratio(Self::PerSecond),
            Self::P50 => Some(outcome.latency.p50),
            Self::P50Ratio => ratio(Self::P50),
            Self::P99 => Some(outcome.latency.p99),
            Self::P999 => Some(outcome.latency.p999),
            Self::ConnectP50 => outcome.connect.map(|connect| connect.p50),
            Self::PeakMib => outcome.memory.map(|memory| mib(memory.peak_kib)),
            Self::KibPerSession => outcome.idle.map(|idle| idle.kib_per_session()),
            Self::HeldMib => outcome.idle.map(|idle| mib(idle.held_kib)),
            Self::IdleCpuPercent => outcome.idle.map(|idle| idle.cpu_share * 100.0),
        }
    }

    /// The value with as many digits as it deserves.
    #[must_use]
    pub fn format(self, value: f64) -> String {
        match self {
            Self::PerSecond | Self::MegabytesPerSecond => thousands(value),
            Self::CpuRatio | Self::PerSecondRatio | Self::P50Ratio | Self::IdleCpuPercent => {
                format!("{value:.2}")
            }
            Self::PeakMib | Self::HeldMib | Self::KibPerSession => format!("{value:.1}"),
            _ if value < 0.1 => format!("{value:.4}"),
            _ if value < 1.0 => format!("{value:.3}"),
            _ if value < 100.0 => format!("{value:.2}"),
            _ => thousands(value),
        }
    }
}

/// A figure over the rounds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// The spread of `values`; `None` when there are none.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let middle = |index: usize| values.get(index).copied();
        let median = f64::midpoint(middle((values.len().max(1) - 1) / 2)?, middle(values.len() / 2)?);
        Some(Self { median, min: *values.first()?, max: *values.last()? })
    }
}

#[expect(clippy::cast_precision_loss, reason = "KiB of one process stay far below 2^52")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1_024.0
}

/// A whole number with a thin gap at each thousand.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_has_the_middle_value_or_the_mean_of_the_two() {
        let odd = Spread::of(vec![3.0, 1.0, 2.0]).unwrap();
        assert!(
            (odd.median - 2.0).abs() < 1e-9 && (odd.min - 1.0).abs() < 1e-9 && (odd.max - 3.0).abs() < 1e-9
        );
        assert!((Spread::of(vec![4.0, 1.0]).unwrap().median - 2.5).abs() < 1e-9);
        assert!(Spread::of(Vec::new()).is_none());
    }

    #[test]
    fn values_have_the_digits_that_they_deserve() {
        assert_eq!(Figure::CpuUs.format(0.012_34), "0.0123");
        assert_eq!(Figure::CpuUs.format(7.853), "7.85");
        assert_eq!(Figure::PerSecond.format(1_234_567.8), "1 234 568");
        assert_eq!(Figure::CpuRatio.format(1.349), "1.35");
    }
}
