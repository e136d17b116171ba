//! `net demo`: servers and clients over every transport, and a table of how fast they are.

use std::{
    io::{IsTerminal as _, stderr},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use indicatif::ProgressBar;

use crate::{
    bench::report::{align, table},
    failure::{Failure, Step},
    figures::{grouped, microseconds},
    options::WireFormat,
    output::{GOOD, Output, STRONG},
    signals::Signals,
};

mod round;
mod stage;

use round::{Extent, Row};
use stage::{Stage, Transport};

/// Start servers on free ports, run clients against them over every transport, and print how fast they are
///
/// It takes some ten seconds. Every answer is compared with what was sent; the exit status is 0 where all were right.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Demo {
    /// Measure over some thousand messages each instead of half a second, for a quick look or a test
    #[arg(long)]
    quick: bool,
}

const EXAMPLES: &str = "\
Examples:
  net demo
  net demo --quick
  net demo --quick --json";

impl Demo {
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode, Failure> {
        let mut signals = Signals::listen().map_err(Failure::runtime)?;
        let extent = if self.quick { Extent::Quick } else { Extent::Full };
        let spinner = (!output.json && stderr().is_terminal()).then(ProgressBar::new_spinner);
        let began = Instant::now();
        tokio::select! {
            rows = measure_all(extent, spinner) => show(&rows?, began.elapsed(), output)?,
            // Ends by returning, so that what was put on disk goes.
            number = signals.next() => return Ok(ExitCode::from(128 + number)),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Measures every transport, with `spinner` telling which one it is at.
async fn measure_all(extent: Extent, spinner: Option<ProgressBar>) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for transport in Transport::ALL.iter().copied() {
        for format in [WireFormat::Raw, WireFormat::Message] {
            if let Some(spinner) = &spinner {
                spinner.enable_steady_tick(Duration::from_millis(100));
                spinner.set_message(format!("{}, {} format", transport.name(), format.as_str()));
            }
            rows.push(measure(transport, format, extent).await?);
        }
    }
    if let Some(spinner) = spinner {
        spinner.finish_and_clear();
    }
    Ok(rows)
}

/// Starts a server, measures it, and stops it.
async fn measure(transport: Transport, format: WireFormat, extent: Extent) -> Result<Row, Failure> {
    let stage = Stage::start(transport, format).await?;
    let row = round::measure(&stage, extent).await?;
    let report = stage.server.stop().await;
    if report.cut > 0 {
        let what = format!("{}: {} sessions did not end by themselves", row.address, report.cut);
        return Err(Failure::new(Step::Receive, what));
    }
    Ok(row)
}

fn show(rows: &[Row], elapsed: Duration, output: Output) -> Result<(), Failure> {
    if output.json {
        for row in rows {
            output.result(row, "")?;
        }
        return Ok(());
    }
    let mut shown = table(&[
        "transport",
        "format",
        "round trips/s",
        "p50",
        "p99",
        "messages/s",
        "64 KiB each way",
        "verified",
    ]);
    for row in rows {
        shown.add_row([
            row.transport.to_owned(),
            row.format.to_owned(),
            grouped(row.round_trips_per_second),
            microseconds(row.round_trip_us.p50),
            microseconds(row.round_trip_us.p99),
            grouped(row.messages_per_second),
            format!("{} MB/s", grouped(row.megabytes_per_second)),
            grouped(row.verified),
        ]);
    }
    align(&mut shown, 2);
    let verified: u64 = rows.iter().map(|row| row.verified).sum();
    output.text(shown)?;
    output.text(
        "Round trips: one message of 64 bytes in flight. Messages: 256 in flight. 64 KiB: 16 in flight. Over UDP 64 and 2 in \
         flight, and the longest datagram is a little shorter.",
    )?;
    output.text(format_args!(
        "{GOOD}ok{GOOD:#} {STRONG}{}{STRONG:#} answers, every one verified, in {:.1} s",
        grouped(verified),
        elapsed.as_secs_f64()
    ))
}
