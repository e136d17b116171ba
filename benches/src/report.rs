//! What a run found: figures with their spread over the rounds, as a table, as JSON and as a plot.

mod figure;
mod panels;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use figure::{Figure, Spread};
use serde::Serialize;
pub(crate) use table::align;

use crate::comparison::Comparison;
use crate::machine::Machine;
use crate::plan::{Case, Effort};
use crate::servers::Server;
use crate::suite::Sample;
use crate::targets::Verdict;

/// All that a run found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Name of the suite, as in `bench tcp`.
    pub suite: &'static str,
    /// The server that ratios are taken against.
    pub baseline: &'static str,
    /// That server in headings.
    pub base: &'static str,
    /// What it ran on.
    pub machine: Machine,
    /// The core that servers and load generator shared, when they were pinned.
    pub pinned_to: Option<usize>,
    /// Rounds.
    pub rounds: u32,
    /// Turns that every server had in a round, where a load has any.
    pub turns: u32,
    /// Measured window of an echo load, or of one turn, in seconds.
    pub window_s: f64,
    /// One table for each load.
    pub tables: Vec<Table>,
    /// What was to be reached, and whether it was.
    pub targets: Vec<Verdict>,
    /// Every single measurement.
    pub samples: Vec<Sample>,
}

/// The servers under one load.
#[derive(Debug, Serialize)]
pub struct Table {
    /// The load's name.
    pub case: String,
    /// What it does.
    pub title: String,
    /// Figures of the columns, in order.
    pub columns: &'static [Figure],
    /// The most CPU, in cores, that other processes used during any of its samples.
    pub others: f64,
    /// One row for each server.
    pub rows: Vec<Row>,
}

/// One server under one load.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The server's name.
    pub server: &'static str,
    /// Its name in tables.
    pub title: &'static str,
    /// Why there are no figures, or not from every round.
    pub note: Option<String>,
    /// What was measured.
    pub figures: BTreeMap<Figure, Spread>,
}

impl Report {
    /// An empty report of a run that is about to begin.
    #[must_use]
    pub fn new(comparison: &Comparison, pinned_to: Option<usize>, machine: Machine, effort: &Effort) -> Self {
        Self {
            suite: comparison.name,
            baseline: comparison.baseline,
            base: comparison.base,
            machine,
            pinned_to,
            rounds: effort.rounds,
            turns: effort.turns,
            window_s: effort.duration.as_secs_f64(),
            tables: Vec::new(),
            targets: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// Adds the samples of one load; `servers` with a reason instead of samples become rows that show it.
    pub fn add(&mut self, case: &Case, servers: &[(Server, Option<String>)], samples: Vec<Sample>) {
        let rows = servers
            .iter()
            .map(|(server, missing)| match missing {
                Some(reason) => Row {
                    server: server.id,
                    title: server.title,
                    note: Some(reason.clone()),
                    figures: BTreeMap::new(),
                },
                None => Row::new(server, self.baseline, &samples),
            })
            .collect();
        let others =
            samples.iter().filter_map(|sample| sample.outcome.as_ref()).map(|outcome| outcome.others);
        self.tables.push(Table {
            others: others.fold(0.0, f64::max),
            case: case.id.clone(),
            title: case.title.clone(),
            columns: Figure::columns(case.kind),
            rows,
        });
        self.samples.extend(samples);
    }

    /// A figure of one server under one load.
    #[must_use]
    pub fn figure(&self, case: &str, server: &str, figure: Figure) -> Option<Spread> {
        let table = self.tables.iter().find(|table| table.case == case)?;
        table.rows.iter().find(|row| row.server == server)?.figures.get(&figure).copied()
    }

    /// Samples that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(|sample| sample.failure.is_some())
    }

    /// The latest table as text.
    #[must_use]
    pub fn last_table(&self) -> String {
        self.tables.last().map(|table| table::markdown(table, self.base)).unwrap_or_default()
    }

    /// The verdicts as text.
    #[must_use]
    pub fn targets_table(&self) -> String {
        table::targets(&self.targets)
    }

    /// The whole report as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        table::report(self)
    }

    /// Writes `SUITE-pinned` or `SUITE-unpinned` with the endings `.md`, `.json` and `.svg` into `directory`.
    ///
    /// # Errors
    /// As writing gives them.
    pub fn write(&self, directory: &Path) -> io::Result<[PathBuf; 3]> {
        let mode = if self.pinned_to.is_some() { "pinned" } else { "unpinned" };
        let path = |ending| directory.join(format!("{}-{mode}.{ending}", self.suite));
        let paths = [path("md"), path("json"), path("svg")];
        let [table, json, plot] = &paths;
        fs::create_dir_all(directory)?;
        fs::write(table, self.markdown())?;
        fs::write(json, serde_json::to_vec_pretty(self)?)?;
        fs::write(plot, panels::draw(self).map_err(io::Error::other)?)?;
        Ok(paths)
    }
}

impl Row {
    fn new(server: &Server, baseline: &str, samples: &[Sample]) -> Self {
        let of = |name| samples.iter().filter(move |sample| sample.server == name);
        let mut values: BTreeMap<Figure, Vec<f64>> = BTreeMap::new();
        for sample in of(server.id) {
            let Some(outcome) = &sample.outcome else { continue };
            let same_round = of(baseline).find(|other| other.round == sample.round);
            let baseline = same_round.and_then(|other| other.outcome.as_ref());
            for figure in Figure::ALL {
                if let Some(value) = figure.value(outcome, baseline) {
                    values.entry(figure).or_default().push(value);
                }
            }
        }
        let failed: Vec<_> = of(server.id).filter_map(|sample| sample.failure.as_deref()).collect();
        let note = failed.first().map(|first| format!("failed in {} rounds: {first}", failed.len()));
        let figures =
            values.into_iter().filter_map(|(figure, values)| Some((figure, Spread::of(values)?))).collect();
        Self { server: server.id, title: server.title, note, figures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::TCP;
    use crate::outcome::{Latency, Outcome};
    use crate::plan;

    fn sample(server: &'static str, round: u32, cpu_ns: u64) -> Sample {
        let outcome = Outcome {
            messages: 1_000,
            seconds: 1.0,
            server_cpu_ns: Some(cpu_ns),
            latency: Latency { p50: 4.0, ..Latency::default() },
            ..Outcome::default()
        };
        Sample { server, case: "64B/1x1".to_owned(), round, outcome: Some(outcome), failure: None }
    }

    fn report() -> Report {
        let case = plan::tcp().remove(0);
        let mut report = Report::new(&TCP, Some(1), Machine::this(), &Effort::QUICK);
        let servers: Vec<_> = TCP
            .servers
            .iter()
            .map(|server| (*server, (server.id == "asio").then(|| "not installed".to_owned())))
            .collect();
        let samples = vec![
            sample(TCP.baseline, 0, 1_000_000),
            sample("tokio", 0, 2_000_000),
            sample("tokio", 1, 6_000_000),
            sample(TCP.baseline, 1, 4_000_000),
        ];
        report.add(&case, &servers, samples);
        report
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let ratio = report().figure("64B/1x1", "tokio", Figure::CpuRatio).unwrap();
        assert!((ratio.max - 2.0).abs() < 1e-9 && (ratio.min - 1.5).abs() < 1e-9, "{ratio:?}");
    }

    #[test]
    fn a_server_that_is_not_there_says_so_in_its_row() {
        let text = report().markdown();
        assert!(
            text.lines().any(|line| line.contains("Boost.Asio") && line.contains("not installed")),
            "{text}"
        );
    }

    #[test]
    fn all_three_files_are_written() {
        let directory = std::env::temp_dir().join(format!("net-benches-report-{}", std::process::id()));
        let paths = report().write(&directory).unwrap();
        let svg = fs::read_to_string(&paths[2]).unwrap();
        assert!(svg.contains("<svg") && svg.contains("hand-rolled tokio"));
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&paths[1]).unwrap()).unwrap();
        assert_eq!(json["tables"][0]["rows"][3]["figures"]["cpu_us"]["max"], 6.0);
        assert_eq!(paths[0].file_name().unwrap(), "tcp-pinned.md");
        fs::remove_dir_all(directory).unwrap();
    }
}
