//! What our own server is to reach, as bounds on figures, and whether a run reached it.

use std::borrow::Cow;

use serde::Serialize;

use crate::plan;
use crate::report::{Figure, Report};

/// A bound that was compared with what was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// The load.
    pub case: Cow<'static, str>,
    /// The server.
    pub server: &'static str,
    /// The figure.
    pub figure: Figure,
    /// The figure in words.
    pub what: String,
    /// The bound.
    pub bound: f64,
    /// Whether the bound is an upper one.
    pub at_most: bool,
    /// The median over the rounds.
    pub measured: f64,
    /// Whether it holds.
    pub met: bool,
}

/// In which runs a figure can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pinned,
    Unpinned,
    Either,
}

/// One bound.
struct Target {
    case: &'static str,
    figure: Figure,
    bound: f64,
    at_most: bool,
    mode: Mode,
}

const fn most(case: &'static str, figure: Figure, bound: f64, mode: Mode) -> Target {
    Target { case, figure, bound, at_most: true, mode }
}

const fn least(case: &'static str, figure: Figure, bound: f64, mode: Mode) -> Target {
    Target { case, figure, bound, at_most: false, mode }
}

/// Ratios decide, since absolute times are the machine's.
///
/// What idle sessions with heartbeats cost is judged by `connections`: a server of raw frames sends none.
const TCP: [Target; 15] = [
    most("64B/1x256", Figure::CpuRatio, 3.0, Mode::Pinned),
    most("64B/64x16", Figure::CpuRatio, 1.35, Mode::Pinned),
    most("1KiB/64x16", Figure::CpuRatio, 1.35, Mode::Pinned),
    most("64KiB/64x16", Figure::CpuRatio, 1.08, Mode::Pinned),
    most("64B/1x1", Figure::P50Ratio, 1.08, Mode::Pinned),
    most("churn", Figure::CpuRatio, 1.5, Mode::Pinned),
    least("64B/1x256", Figure::PerSecondRatio, 0.55, Mode::Unpinned),
    least("64B/64x16", Figure::PerSecond, 500_000.0, Mode::Unpinned),
    least("1KiB/64x16", Figure::PerSecond, 305_000.0, Mode::Unpinned),
    least("64KiB/64x16", Figure::PerSecond, 50_000.0, Mode::Unpinned),
    most("churn", Figure::ConnectP50, 1_000.0, Mode::Unpinned),
    most("idle-10000", Figure::KibPerSession, 2.0, Mode::Either),
    // MB, not MiB, is what is asked for: 50 and 200.
    most("idle-1000", Figure::HeldMib, 47.7, Mode::Either),
    most("idle-10000", Figure::HeldMib, 190.7, Mode::Either),
    most("idle-10000", Figure::PeakMib, 190.7, Mode::Either),
];

/// How much more the 13 bytes of message header may cost than raw frames.
const HEADER_SHARE: f64 = 1.10;

/// No more CPU for a message, a byte or a handshake than `Framed` over tokio-rustls, whatever the load.
const TLS: [Target; 10] = [
    most("64B/1x1", Figure::CpuRatio, 1.0, Mode::Pinned),
    most("64B/1x256", Figure::CpuRatio, 1.0, Mode::Pinned),
    most("64B/64x16", Figure::CpuRatio, 1.0, Mode::Pinned),
    most("1KiB/64x16", Figure::CpuRatio, 1.0, Mode::Pinned),
    most("64KiB/1x16", Figure::CpuRatio, 1.0, Mode::Pinned),
    most("64KiB/64x16", Figure::CpuRatio, 1.0, Mode::Pinned),
    most("handshake-full", Figure::CpuRatio, 1.0, Mode::Pinned),
    most("handshake-resumed", Figure::CpuRatio, 1.0, Mode::Pinned),
    most("handshake-full-any-suite", Figure::CpuRatio, 1.0, Mode::Pinned),
    most("handshake-resumed-any-suite", Figure::CpuRatio, 1.0, Mode::Pinned),
];

/// What framing and masks may cost beside the library that is known to be the fastest.
const WS: [Target; 4] = [
    most("64B/64x16", Figure::CpuRatio, 1.25, Mode::Pinned),
    most("16KiB/64x16", Figure::CpuRatio, 1.05, Mode::Pinned),
    most("64B/1x1", Figure::P50Ratio, 1.08, Mode::Pinned),
    most("idle-10000", Figure::KibPerSession, 3.0, Mode::Either),
];

/// Compares the rows of our server over WebSocket with what they are to reach; rows that were not measured give no verdict.
#[must_use]
pub fn ws(report: &Report) -> Vec<Verdict> {
    verdicts(&WS, report)
}

/// Compares the rows of our server over TLS with what they are to reach; rows that were not measured give no verdict.
#[must_use]
pub fn tls(report: &Report) -> Vec<Verdict> {
    verdicts(&TLS, report)
}

fn mode(report: &Report) -> Mode {
    if report.pinned_to.is_some() { Mode::Pinned } else { Mode::Unpinned }
}

fn verdicts(targets: &[Target], report: &Report) -> Vec<Verdict> {
    let mode = mode(report);
    targets
        .iter()
        .filter(|target| target.mode == mode || target.mode == Mode::Either)
        .filter_map(|target| {
            let measured = report.figure(target.case, "net", target.figure)?.median;
            let met = if target.at_most { measured <= target.bound } else { measured >= target.bound };
            Some(Verdict {
                case: target.case.into(),
                server: "net",
                figure: target.figure,
                what: target.figure.title(report.base),
                bound: target.bound,
                at_most: target.at_most,
                measured,
                met,
            })
        })
        .collect()
}

/// Compares the rows of our server over TCP with what they are to reach; rows that were not measured give no verdict.
#[must_use]
pub fn tcp(report: &Report) -> Vec<Verdict> {
    let mut verdicts = verdicts(&TCP, report);
    if mode(report) == Mode::Pinned {
        verdicts.extend(["64B/1x256", "64B/64x16", "1KiB/64x16", "64KiB/64x16"].into_iter().filter_map(
            |case| {
                let raw = report.figure(case, "net", Figure::CpuRatio)?.median;
                let message = report.figure(case, "net-message", Figure::CpuRatio)?.median;
                let measured = message / raw;
                Some(Verdict {
                    case: case.into(),
                    server: "net-message",
                    figure: Figure::CpuRatio,
                    what: "CPU ÷ raw framing".to_owned(),
                    bound: HEADER_SHARE,
                    at_most: true,
                    measured,
                    met: measured <= HEADER_SHARE,
                })
            },
        ));
    }
    verdicts
}

/// How much more than the batched loop our server may cost, and our socket alone.
const UDP_SHARE: f64 = 1.2;

/// Compares our server of datagrams with the loops: at most a fifth over the batched one, and below both others.
#[must_use]
pub fn udp(report: &Report) -> Vec<Verdict> {
    if report.pinned_to.is_none() {
        return Vec::new();
    }
    let mut verdicts = Vec::new();
    for case in plan::udp() {
        let cpu = |server| Some(report.figure(&case.id, server, Figure::CpuUs)?.median);
        let Some(measured) = cpu("net") else { continue };
        let against = [("batched", UDP_SHARE), ("std", 1.0), ("tokio", 1.0)];
        for (peer, bound) in against {
            let Some(theirs) = cpu(peer) else { continue };
            verdicts.push(Verdict {
                case: case.id.clone().into(),
                server: "net",
                figure: Figure::CpuUs,
                what: format!("CPU ÷ {peer}"),
                bound,
                at_most: true,
                measured: measured / theirs,
                met: measured <= bound * theirs,
            });
        }
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::ALL;

    #[test]
    fn every_target_is_about_a_load_that_exists() {
        for (comparison, targets) in ALL.into_iter().zip([&TCP[..], &TLS, &WS]) {
            let cases = (comparison.cases)();
            for target in targets {
                let case = cases.iter().find(|case| case.id == target.case);
                assert!(
                    case.is_some_and(|case| Figure::columns(case.kind).contains(&target.figure)),
                    "{} {} {:?}",
                    comparison.name,
                    target.case,
                    target.figure
                );
            }
        }
    }
}
