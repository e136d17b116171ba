//! The report as Markdown: one table for each load, every figure as median and range over the rounds.

use std::fmt::Write as _;

use super::{Figure, Report, Row, Spread, Table};
use crate::suite::QUIET;
use crate::targets::Verdict;

/// The whole report.
pub(super) fn report(report: &Report) -> String {
    let mode = report.pinned_to.map_or_else(
        || "unpinned: read rates and tails here, cost in a pinned run".to_owned(),
        |core| {
            format!(
                "servers and load generator pinned to core {core}: read cost here, rates and tails unpinned"
            )
        },
    );
    let mut text = format!(
        "# bench {}\n\n{} cores of {}, {}; {mode}. {} rounds of {}{} s; median, in brackets least and most.\n",
        report.suite,
        report.machine.cores,
        report.machine.cpu,
        report.machine.kernel,
        report.rounds,
        if report.turns > 1 { format!("{} turns of ", report.turns) } else { String::new() },
        report.window_s,
    );
    for table in &report.tables {
        text.push('\n');
        text.push_str(&markdown(table, report.base));
    }
    if !report.targets.is_empty() {
        text.push_str("\n## Targets\n\n");
        text.push_str(&targets(&report.targets));
    }
    text
}

/// The table of one load.
pub(super) fn markdown(table: &Table, base: &str) -> String {
    let mut cells: Vec<Vec<String>> = Vec::new();
    cells.push(
        std::iter::once("server".to_owned())
            .chain(table.columns.iter().map(|column| column.title(base)))
            .collect(),
    );
    for row in &table.rows {
        let mut line = vec![title(row)];
        line.extend(table.columns.iter().map(|&column| {
            row.figures.get(&column).map_or_else(String::new, |spread| cell(column, *spread))
        }));
        cells.push(line);
    }
    let disturbed = if table.others > QUIET {
        format!("\nDisturbed: other processes used up to {:.2} cores during a sample.\n", table.others)
    } else {
        String::new()
    };
    format!("## {} (`{}`)\n\n{}{disturbed}", table.title, table.case, align(&cells))
}

/// The verdicts.
pub(super) fn targets(verdicts: &[Verdict]) -> String {
    let mut cells = vec![["target", "bound", "measured", ""].map(str::to_owned).to_vec()];
    for verdict in verdicts {
        let sign = if verdict.at_most { "≤" } else { "≥" };
        cells.push(vec![
            format!("`{}` {}, {}", verdict.case, verdict.server, verdict.what),
            format!("{sign} {}", verdict.figure.format(verdict.bound)),
            verdict.figure.format(verdict.measured),
            if verdict.met { "met" } else { "MISSED" }.to_owned(),
        ]);
    }
    align(&cells)
}

fn title(row: &Row) -> String {
    row.note.as_ref().map_or_else(|| row.title.to_owned(), |note| format!("{} ({note})", row.title))
}

fn cell(figure: Figure, spread: Spread) -> String {
    let [median, min, max] = [spread.median, spread.min, spread.max].map(|value| figure.format(value));
    if min == max { median } else { format!("{median} [{min}–{max}]") }
}

/// Lays the cells out in columns that stand below one another as text too; the first line is the heading.
pub(crate) fn align(cells: &[Vec<String>]) -> String {
    let columns = cells.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            cells
                .iter()
                .filter_map(|line| line.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for (number, line) in cells.iter().enumerate() {
        text.push('|');
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            // Writing to a string cannot fail.
            let _ = if column == 0 {
                write!(text, " {cell:<width$} |")
            } else {
                write!(text, " {cell:>width$} |")
            };
        }
        text.push('\n');
        if number == 0 {
            text.push('|');
            for (column, width) in widths.iter().enumerate() {
                let _ = write!(
                    text,
                    " {}{} |",
                    "-".repeat(width.max(&2) - 1),
                    if column == 0 { "-" } else { ":" }
                );
            }
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_one_another() {
        let text = align(&[
            vec!["server".to_owned(), "µs".to_owned()],
            vec!["a longer name".to_owned(), "1.50 [1–2]".to_owned()],
        ]);
        let widths: Vec<_> = text.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{text}");
    }

    #[test]
    fn one_round_has_no_range() {
        assert_eq!(cell(Figure::CpuUs, Spread { median: 1.5, min: 1.5, max: 1.5 }), "1.50");
        assert_eq!(cell(Figure::CpuUs, Spread { median: 1.5, min: 1.0, max: 2.0 }), "1.50 [1.00–2.00]");
    }
}
