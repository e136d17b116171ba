//! What is told of a load that was measured.

use std::fmt;

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, presets};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::load::{Load, Measured};
use crate::{
    figures::{float, grouped, microseconds},
    output::STRONG,
};

/// What is told of a load that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) address: String,
    pub(crate) framing: String,
    pub(crate) format: &'static str,
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    pub(crate) payload_bytes: usize,
    pub(crate) rate: Option<f64>,
    pub(crate) threads: usize,
    pub(crate) seconds: f64,
    pub(crate) messages: u64,
    pub(crate) messages_per_second: f64,
    /// Payload in one direction; as much comes back.
    pub(crate) megabytes_per_second: f64,
    pub(crate) latency_us: Latency,
    /// With a rate, latency counts from when a message was due, however late it was sent.
    pub(crate) latency_counts_from: &'static str,
    /// Messages that were due and could not be sent before the end: the rate was too high. They count as late.
    pub(crate) unsent: u64,
    /// Messages without an answer, where messages may be lost.
    pub(crate) lost: u64,
    pub(crate) verified: u64,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    #[serde(rename = "p99.9")]
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Latency {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let us = |nanoseconds: u64| float(nanoseconds) / 1e3;
        let at = |quantile| us(histogram.value_at_quantile(quantile));
        Self {
            mean: histogram.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: us(histogram.max()),
        }
    }
}

impl Measured {
    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        if self.elapsed.is_zero() { 0.0 } else { float(self.messages) / self.elapsed.as_secs_f64() }
    }
}

impl Report {
    pub(crate) fn new(load: &Load, framing: String, measured: &Measured) -> Self {
        let rate = measured.rate();
        Self {
            address: load.address.to_string(),
            framing,
            format: load.format.as_str(),
            connections: load.connections,
            in_flight: load.in_flight,
            payload_bytes: load.payload_len,
            rate: load.rate,
            threads: load.threads,
            seconds: measured.elapsed.as_secs_f64(),
            messages: measured.messages,
            messages_per_second: rate,
            megabytes_per_second: rate * float(load.payload_len as u64) / 1e6,
            latency_us: Latency::of(&measured.latency),
            latency_counts_from: if load.rate.is_some() { "due" } else { "sent" },
            unsent: measured.unsent,
            lost: measured.lost,
            verified: measured.verified,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} × {} in flight, {} bytes, {} format, {} framing, {:.1} s",
            self.connections, self.in_flight, self.payload_bytes, self.format, self.framing, self.seconds
        )?;
        writeln!(
            f,
            "{STRONG}{}{STRONG:#} messages/s, {:.1} MB/s each way; {} answers, every one verified",
            grouped(self.messages_per_second),
            self.megabytes_per_second,
            grouped(self.verified)
        )?;
        if self.unsent > 0 {
            let unsent = grouped(self.unsent);
            writeln!(
                f,
                "{unsent} messages were due and found no room before the end: lower --rate, or raise --in-flight"
            )?;
        }
        if self.lost > 0 {
            writeln!(f, "{} messages were lost: no answer came in time", grouped(self.lost))?;
        }
        let latency = &self.latency_us;
        let mut table = table(&["latency", "mean", "p50", "p90", "p99", "p99.9", "max"]);
        let from = if self.rate.is_some() { "from when due" } else { "from when sent" };
        let values = [latency.mean, latency.p50, latency.p90, latency.p99, latency.p999, latency.max];
        table.add_row(std::iter::once(from.to_owned()).chain(values.map(microseconds)));
        align(&mut table, 1);
        write!(f, "{table}")
    }
}

/// A table in the style of this command.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    let style = presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none());
    table.load_style(style).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table
}

/// Aligns all columns but the first `texts`, which are words, to the right.
pub(crate) fn align(table: &mut Table, texts: usize) {
    for column in table.column_iter_mut().skip(texts) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}
