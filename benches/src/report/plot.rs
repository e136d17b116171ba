//! The plot: for each load two panels of bars, cost on the left, rate or memory on the right, ranges as whiskers.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Figure, Report, Spread, Table};

const PANEL_WIDTH: i32 = 620;
const NAME_WIDTH: i32 = 190;
const VALUE_WIDTH: i32 = 90;
const BAR: i32 = 18;
const HEADING: i32 = 34;

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// The report as an SVG document.
pub(super) fn svg(report: &Report) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let height: i32 = report.tables.iter().map(panel_height).sum::<i32>() + HEADING;
    let mut text = String::new();
    {
        let size = (u32::try_from(PANEL_WIDTH * 2)?, u32::try_from(height)?);
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE).map_err(|error| error.to_string())?;
        let mode = if report.pinned_to.is_some() { "pinned to one core" } else { "unpinned" };
        let heading = format!("bench {}, {mode}; {}", report.suite, report.machine.cpu);
        write(&area, &heading, (8, HEADING / 2), 16.0, HPos::Left)?;
        let mut top = HEADING;
        for table in &report.tables {
            let right = if table.columns.contains(&Figure::KibPerSession) {
                Figure::KibPerSession
            } else if table.columns.contains(&Figure::MegabytesPerSecond) {
                Figure::MegabytesPerSecond
            } else {
                Figure::PerSecond
            };
            panel(&area, table, (Figure::CpuUs, report.base), (0, top))?;
            panel(&area, table, (right, report.base), (PANEL_WIDTH, top))?;
            top += panel_height(table);
        }
        area.present().map_err(|error| error.to_string())?;
    }
    Ok(text)
}

fn panel_height(table: &Table) -> i32 {
    HEADING + BAR * i32::try_from(table.rows.len()).unwrap_or(0) + 12
}

fn panel(area: &Area<'_>, table: &Table, (figure, base): (Figure, &str), (left, top): (i32, i32)) -> Drawn {
    let heading = format!("{}: {}", table.title, figure.title(base));
    write(area, &heading, (left + 8, top + HEADING / 2), 13.0, HPos::Left)?;
    let spread = |index: usize| table.rows.get(index).and_then(|row| row.figures.get(&figure));
    let most = (0..table.rows.len()).filter_map(spread).map(|spread| spread.max).fold(0.0, f64::max);
    for (index, row) in table.rows.iter().enumerate() {
        let y = top + HEADING + BAR * i32::try_from(index)?;
        let middle = y + BAR / 2;
        write(area, row.title, (left + NAME_WIDTH - 6, middle), 12.0, HPos::Right)?;
        let Some(spread) = spread(index) else {
            let note = row.note.as_deref().unwrap_or("no figure");
            write(area, note, (left + NAME_WIDTH + 4, middle), 11.0, HPos::Left)?;
            continue;
        };
        bar(area, figure, *spread, most, (left + NAME_WIDTH, y), row.server.starts_with("net"))?;
    }
    Ok(())
}

fn bar(
    area: &Area<'_>,
    figure: Figure,
    spread: Spread,
    most: f64,
    (left, top): (i32, i32),
    ours: bool,
) -> Drawn {
    #[expect(clippy::cast_possible_truncation, reason = "a share of the width of the panel")]
    let at = |value: f64| {
        let full = f64::from(PANEL_WIDTH - NAME_WIDTH - VALUE_WIDTH);
        left + (value / most.max(f64::MIN_POSITIVE) * full) as i32
    };
    let colour = if ours { RGBColor(214, 96, 41) } else { RGBColor(110, 140, 180) };
    let middle = top + BAR / 2;
    let body = Rectangle::new([(left, top + 3), (at(spread.median), top + BAR - 3)], colour.filled());
    let whisker = PathElement::new([(at(spread.min), middle), (at(spread.max), middle)], BLACK);
    area.draw(&body).map_err(|error| error.to_string())?;
    area.draw(&whisker).map_err(|error| error.to_string())?;
    write(area, &figure.format(spread.median), (at(spread.max) + 6, middle), 11.0, HPos::Left)
}

fn write(area: &Area<'_>, text: &str, at: (i32, i32), size: f64, horizontal: HPos) -> Drawn {
    let style = ("sans-serif", size).into_font().color(&BLACK).pos(Pos::new(horizontal, VPos::Center));
    Ok(area.draw(&Text::new(text, at, style)).map_err(|error| error.to_string())?)
}
