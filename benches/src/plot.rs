//! Plots: for each load two panels of bars side by side, ranges as whiskers.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::Spread;

const PANEL_WIDTH: i32 = 620;
const NAME_WIDTH: i32 = 190;
const VALUE_WIDTH: i32 = 90;
const BAR: i32 = 18;
const HEADING: i32 = 34;

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// One figure of several servers under one load.
pub(crate) struct Panel<'a> {
    pub(crate) heading: String,
    pub(crate) bars: Vec<Bar<'a>>,
}

/// One server's.
pub(crate) struct Bar<'a> {
    pub(crate) title: &'a str,
    /// It is one of this workspace's.
    pub(crate) is_ours: bool,
    /// What was measured and how it is written, or why there is nothing.
    pub(crate) value: Result<(Spread, String), &'a str>,
}

/// Draws pairs of panels below one another, as an SVG document.
pub(crate) fn svg(heading: &str, pairs: &[[Panel<'_>; 2]]) -> Drawn<String> {
    let height: i32 = pairs.iter().map(pair_height).sum::<i32>() + HEADING;
    let mut text = String::new();
    {
        let size = (u32::try_from(PANEL_WIDTH * 2)?, u32::try_from(height)?);
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE).map_err(|error| error.to_string())?;
        write(&area, heading, (8, HEADING / 2), 16.0, HPos::Left)?;
        let mut top = HEADING;
        for pair in pairs {
            for (panel, left) in pair.iter().zip([0, PANEL_WIDTH]) {
                draw(&area, panel, (left, top))?;
            }
            top += pair_height(pair);
        }
        area.present().map_err(|error| error.to_string())?;
    }
    Ok(text)
}

fn pair_height(pair: &[Panel<'_>; 2]) -> i32 {
    let bars = pair.iter().map(|panel| panel.bars.len()).max().unwrap_or(0);
    HEADING + BAR * i32::try_from(bars).unwrap_or(0) + 12
}

fn draw(area: &Area<'_>, panel: &Panel<'_>, (left, top): (i32, i32)) -> Drawn {
    write(area, &panel.heading, (left + 8, top + HEADING / 2), 13.0, HPos::Left)?;
    let spreads = panel.bars.iter().filter_map(|bar| bar.value.as_ref().ok());
    let most = spreads.map(|(spread, _)| spread.max).fold(0.0, f64::max);
    let mut y = top + HEADING;
    for Bar { title, is_ours, value } in &panel.bars {
        let middle = y + BAR / 2;
        write(area, title, (left + NAME_WIDTH - 6, middle), 12.0, HPos::Right)?;
        match value {
            Ok((spread, label)) => bar(area, (*spread, label), most, (left + NAME_WIDTH, y), *is_ours)?,
            Err(note) => write(area, note, (left + NAME_WIDTH + 4, middle), 11.0, HPos::Left)?,
        }
        y += BAR;
    }
    Ok(())
}

fn bar(
    area: &Area<'_>,
    (spread, label): (Spread, &str),
    most: f64,
    (left, top): (i32, i32),
    is_ours: bool,
) -> Drawn {
    #[expect(clippy::cast_possible_truncation, reason = "a share of the width of the panel")]
    let at = |value: f64| {
        let full = f64::from(PANEL_WIDTH - NAME_WIDTH - VALUE_WIDTH);
        left + (value / most.max(f64::MIN_POSITIVE) * full) as i32
    };
    let colour = if is_ours { RGBColor(214, 96, 41) } else { RGBColor(110, 140, 180) };
    let middle = top + BAR / 2;
    let body = Rectangle::new([(left, top + 3), (at(spread.median), top + BAR - 3)], colour.filled());
    let whisker = PathElement::new([(at(spread.min), middle), (at(spread.max), middle)], BLACK);
    area.draw(&body).map_err(|error| error.to_string())?;
    area.draw(&whisker).map_err(|error| error.to_string())?;
    write(area, label, (at(spread.max) + 6, middle), 11.0, HPos::Left)
}

fn write(area: &Area<'_>, text: &str, at: (i32, i32), size: f64, horizontal: HPos) -> Drawn {
    let style = ("sans-serif", size).into_font().color(&BLACK).pos(Pos::new(horizontal, VPos::Center));
    Ok(area.draw(&Text::new(text, at, style)).map_err(|error| error.to_string())?)
}
