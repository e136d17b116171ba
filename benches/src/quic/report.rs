//! What `bench quic` found: medians over the rounds, ratios against quinn, and which of them are above what is allowed.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::cases::{BASELINE, CASES, Case, MAX_LOSS_RATIO, MAX_RATIO, OURS, SERVERS};
use super::ratio::{Ratio, Standing};
use crate::machine::Machine;
use crate::outcome::Outcome;
use crate::plot::{self, Bar, Panel};
use crate::report::Spread;

/// What one server did under one load in one round.
#[derive(Debug, Serialize)]
pub struct Sample {
    /// The server's name.
    pub server: &'static str,
    /// The load's name.
    pub case: &'static str,
    /// Counted from 0.
    pub round: u32,
    /// What was measured, unless it failed.
    pub outcome: Option<Outcome>,
    /// Why it failed.
    pub failure: Option<String>,
}

impl Sample {
    /// Datagrams that the kernel dropped beside those that the path lost.
    fn dropped(&self) -> Option<u64> {
        Some(self.outcome.as_ref()?.transfers.as_ref()?.dropped)
    }
}

/// All that a run found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What it ran on.
    pub machine: Machine,
    /// The core that servers and load shared, when they were pinned.
    pub pinned_to: Option<usize>,
    /// Every single measurement.
    pub samples: Vec<Sample>,
}

/// How ours stands under one load.
#[derive(Debug)]
pub struct Held {
    /// The load's name.
    pub case: &'static str,
    /// What is allowed.
    pub most: f64,
    /// Its cost in quinn's.
    pub ratio: Ratio,
    /// Whether that is within what is allowed.
    pub standing: Standing,
}

/// What is compared: the server's CPU for each thing that is counted, its memory for each idle connection, or the time of a
/// transfer over a path that loses.
fn cost(outcome: &Outcome) -> Option<f64> {
    match (&outcome.idle, &outcome.transfers) {
        (Some(idle), _) => Some(idle.kib_per_session()),
        (None, Some(transfers)) => Some(transfers.mean_ms),
        (None, None) => outcome.cpu_us(),
    }
}

/// A figure as it stands beside its bar.
fn written(value: f64) -> String {
    if value < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

impl Report {
    /// Values of one server under one load, in the order of the rounds.
    fn values(&self, case: &str, server: &str, of: impl Fn(&Outcome) -> Option<f64>) -> Vec<f64> {
        let of_both = |sample: &&Sample| sample.case == case && sample.server == server;
        self.samples.iter().filter(of_both).filter_map(|sample| of(sample.outcome.as_ref()?)).collect()
    }

    /// A figure of one server under one load over the rounds.
    fn spread(&self, case: &str, server: &str, of: impl Fn(&Outcome) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.values(case, server, of))
    }

    /// The ratio of a server's cost to the baseline's over the rounds, each with its own.
    #[must_use]
    pub fn ratio(&self, case: &str, server: &str) -> Option<Ratio> {
        let of = |server: &str, round: u32| {
            let mut samples = self.samples.iter();
            let sample = samples.find(|s| (s.case, s.server, s.round) == (case, server, round))?;
            cost(sample.outcome.as_ref()?)
        };
        let rounds = self.samples.iter().map(|sample| sample.round + 1).max()?;
        let ratio = |round| Some(of(server, round)? / of(BASELINE, round)?);
        Ratio::of(&(0..rounds).filter_map(ratio).collect::<Vec<_>>())
    }

    /// How ours stands under each load that there was.
    #[must_use]
    pub fn held(&self) -> Vec<Held> {
        let held = |case: &Case| {
            let (ratio, most) = (self.ratio(case.id, OURS)?, case.max_ratio());
            Some(Held { case: case.id, most, ratio, standing: ratio.standing(most) })
        };
        CASES.iter().filter_map(held).collect()
    }

    /// Samples that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(|sample| sample.failure.is_some())
    }

    /// The report as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::from("# bench quic\n");
        let pinned =
            self.pinned_to.map_or_else(|| "unpinned".to_owned(), |core| format!("pinned to core {core}"));
        let _ = writeln!(
            text,
            "\n{}, {} cores, {}; {pinned}.",
            self.machine.cpu, self.machine.cores, self.machine.kernel
        );
        for case in &CASES {
            if !self.samples.iter().any(|sample| sample.case == case.id) {
                continue;
            }
            let cost_of = case.cost();
            let _ = writeln!(text, "\n## {}\n{}\n", case.id, case.title);
            let _ = writeln!(
                text,
                "| server | {cost_of} a {0} | range | × quinn | {0}s/s | p50 µs | p99 µs |",
                case.unit
            );
            let _ = writeln!(text, "|---|---:|---|---:|---:|---:|---:|");
            for server in &SERVERS {
                let Some(costs) = self.spread(case.id, server.id, cost) else { continue };
                let of = |read: fn(&Outcome) -> f64| {
                    let spread = self.spread(case.id, server.id, |outcome| Some(read(outcome)));
                    spread.map_or(f64::NAN, |spread| spread.median)
                };
                let ratio = self.ratio(case.id, server.id).filter(|_| server.id != BASELINE);
                let _ = writeln!(
                    text,
                    "| {} | {:.3} | {:.3} to {:.3} | {} | {:.0} | {:.1} | {:.1} |",
                    server.title,
                    costs.median,
                    costs.min,
                    costs.max,
                    ratio.map_or_else(String::new, |ratio| ratio.to_string()),
                    of(Outcome::messages_per_s),
                    of(|outcome| outcome.latency.p50),
                    of(|outcome| outcome.latency.p99),
                );
            }
        }
        for server in &SERVERS {
            let dropped: u64 = self
                .samples
                .iter()
                .filter(|sample| sample.server == server.id)
                .filter_map(Sample::dropped)
                .sum();
            if dropped > 0 {
                let _ = writeln!(
                    text,
                    "\nUnder loss the kernel dropped {dropped} more for want of room: {}",
                    server.title
                );
            }
        }
        for sample in self.failures() {
            let why = sample.failure.as_deref().unwrap_or_default();
            let _ = writeln!(
                text,
                "\nfailed: {} under {}, round {}: {why}",
                sample.server, sample.case, sample.round
            );
        }
        let _ = writeln!(text, "\n## At most {MAX_RATIO} × quinn, under loss {MAX_LOSS_RATIO}\n");
        let _ = writeln!(text, "| load | net-quic ÷ quinn, ± standard error | at most | |");
        let _ = writeln!(text, "|---|---:|---:|---|");
        for Held { case, most, ratio, standing } in self.held() {
            let _ = writeln!(text, "| {case} | {ratio} | {most} | {standing} |");
        }
        text
    }

    /// The report as an SVG document: for each load the cost on the left, the rate on the right.
    fn plot(&self) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        let mode = self.pinned_to.map_or("unpinned", |_| "pinned to one core");
        let panel = |case: &Case, heading: String, of: fn(&Outcome) -> Option<f64>| {
            let bars = SERVERS.iter().filter_map(|server| {
                let tried = self
                    .samples
                    .iter()
                    .find(|sample| (sample.case, sample.server) == (case.id, server.id))?;
                let value = match self.spread(case.id, server.id, of) {
                    Some(spread) => Ok((spread, written(spread.median))),
                    None => Err(tried.failure.as_deref().unwrap_or("no figure")),
                };
                Some(Bar { title: server.title, is_ours: server.id == OURS, value })
            });
            Panel { heading, bars: bars.collect() }
        };
        let pairs: Vec<_> = CASES
            .iter()
            .filter(|case| self.samples.iter().any(|sample| sample.case == case.id))
            .map(|case| {
                let cost_of = format!("{}: {} a {}", case.id, case.cost(), case.unit);
                let rate = if case.has_rate() {
                    let heading = format!("{}: {}s/s", case.id, case.unit);
                    panel(case, heading, |outcome| Some(outcome.messages_per_s()))
                } else {
                    Panel { heading: String::new(), bars: Vec::new() }
                };
                [panel(case, cost_of, cost), rate]
            })
            .collect();
        plot::svg(&format!("bench quic, {mode}; {}", self.machine.cpu), &pairs)
    }

    /// Writes `quic-pinned` or `quic-unpinned` with the endings `.md`, `.json` and `.svg` into `directory`.
    ///
    /// # Errors
    /// As writing gives them.
    pub fn write(&self, directory: &Path) -> io::Result<[PathBuf; 3]> {
        let mode = if self.pinned_to.is_some() { "pinned" } else { "unpinned" };
        let path = |ending| directory.join(format!("quic-{mode}.{ending}"));
        let paths = [path("md"), path("json"), path("svg")];
        let [text, json, plot] = &paths;
        std::fs::write(text, self.markdown())?;
        std::fs::write(json, serde_json::to_vec_pretty(self)?)?;
        std::fs::write(plot, self.plot().map_err(io::Error::other)?)?;
        Ok(paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Transfers;

    fn sample(server: &'static str, round: u32, cpu_ns: u64) -> Sample {
        let outcome =
            Outcome { messages: 1_000, seconds: 1.0, server_cpu_ns: Some(cpu_ns), ..Outcome::default() };
        Sample { server, case: "bulk", round, outcome: Some(outcome), failure: None }
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let samples = vec![
            sample("net", 0, 1_000_000),
            sample(BASELINE, 0, 1_000_000),
            // A busy minute touches both.
            sample("net", 1, 5_000_000),
            sample(BASELINE, 1, 5_000_000),
            sample("net", 2, 1_100_000),
            sample(BASELINE, 2, 1_000_000),
        ];
        let report = Report { machine: Machine::this(), pinned_to: None, samples };
        let ratio = report.ratio("bulk", "net").unwrap();
        assert!((ratio.mean - 1.1_f64.cbrt()).abs() < 1e-9, "{ratio:?}");
        assert!(ratio.error.unwrap() < 0.04, "{ratio:?}");
    }

    #[test]
    fn a_round_in_which_one_failed_is_left_out() {
        let failed = Sample { outcome: None, failure: Some("gone".to_owned()), ..sample("net", 0, 0) };
        let samples = vec![
            failed,
            sample(BASELINE, 0, 1_000_000),
            sample("net", 1, 4_000_000),
            sample(BASELINE, 1, 4_000_000),
        ];
        let report = Report { machine: Machine::this(), pinned_to: None, samples };
        let text = report.markdown();
        assert!(text.contains("| bulk | 1.000 | 1.03 | met |"), "{text}");
        assert!(text.contains("failed: net under bulk, round 0: gone"), "{text}");
    }

    #[test]
    fn under_loss_the_time_of_a_transfer_is_held() {
        let under_loss = |server, mean_ms| Sample {
            server,
            case: "loss",
            round: 0,
            outcome: Some(Outcome {
                transfers: Some(Transfers { mean_ms, lost: 1, dropped: 0 }),
                server_cpu_ns: Some(1_000_000),
                messages: 1,
                ..Outcome::default()
            }),
            failure: None,
        };
        let report = |ours| Report {
            machine: Machine::this(),
            pinned_to: None,
            samples: vec![under_loss(OURS, ours), under_loss(BASELINE, 1_000.0)],
        };
        let standing = |ours| report(ours).held().remove(0).standing;
        assert_eq!([1_049.0, 1_051.0].map(standing), [Standing::Met, Standing::Missed]);
        assert!(report(1_051.0).markdown().contains("mean ms a transfer"));
    }

    #[test]
    fn what_is_dearer_is_told() {
        let samples = vec![sample("net", 0, 1_100_000), sample(BASELINE, 0, 1_000_000)];
        let report = Report { machine: Machine::this(), pinned_to: Some(1), samples };
        assert!(report.markdown().contains("| bulk | 1.100 | 1.03 | missed |"));
        let plot = report.plot().unwrap();
        assert!(
            plot.contains("<svg") && plot.contains("bulk: server CPU µs a MiB") && plot.contains("1.10"),
            "{plot}"
        );
    }
}
