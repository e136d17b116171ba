//! What is drawn of a report: for each load cost on the left, rate or memory on the right.

use super::{Figure, Report, Table};
use crate::plot::{Bar, Panel, svg};

/// The report as an SVG document.
pub(super) fn draw(report: &Report) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let mode = if report.pinned_to.is_some() { "pinned to one core" } else { "unpinned" };
    let heading = format!("bench {}, {mode}; {}", report.suite, report.machine.cpu);
    let pairs: Vec<_> = report
        .tables
        .iter()
        .map(|table| [Figure::CpuUs, right(table)].map(|figure| panel(table, figure, report.base)))
        .collect();
    svg(&heading, &pairs)
}

fn right(table: &Table) -> Figure {
    let has = |figure| table.columns.contains(&figure);
    if has(Figure::KibPerSession) {
        Figure::KibPerSession
    } else if has(Figure::MegabytesPerSecond) {
        Figure::MegabytesPerSecond
    } else {
        Figure::PerSecond
    }
}

fn panel<'a>(table: &'a Table, figure: Figure, base: &str) -> Panel<'a> {
    let bars = table.rows.iter().map(|row| Bar {
        title: row.title,
        is_ours: row.server.starts_with("net"),
        value: match row.figures.get(&figure) {
            Some(spread) => Ok((*spread, figure.format(spread.median))),
            None => Err(row.note.as_deref().unwrap_or("no figure")),
        },
    });
    Panel { heading: format!("{}: {}", table.title, figure.title(base)), bars: bars.collect() }
}
