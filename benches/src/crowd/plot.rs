//! Plots of crowds, as bars, and of a soak, as memory over connections.

use plotters::prelude::*;

use super::report::Crowds;
use super::soak::Soaked;

type Drawn = Result<String, Box<dyn std::error::Error + Send + Sync>>;

const WIDTH: u32 = 900;
const ROW: i32 = 24;
const NAME: i32 = 330;

/// Memory a session and the slowest broadcast of each crowd.
///
/// # Errors
/// When it cannot be drawn.
pub fn crowds(report: &Crowds) -> Drawn {
    let rows = i32::try_from(report.crowds.len())?;
    let panel = 40 + ROW * rows;
    let mut text = String::new();
    {
        let size = (WIDTH, u32::try_from(2 * panel + 10)?);
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE).map_err(|error| error.to_string())?;
        let memory = report.crowds.iter().map(|crowd| Some(crowd.kib_per_session()));
        let broadcasts = report.crowds.iter().map(super::connections::Measured::slowest_broadcast_ms);
        let panels: [(&str, Vec<Option<f64>>, i32); 2] = [
            ("process memory a session, KiB", memory.collect(), 0),
            ("slowest broadcast to all sessions, ms", broadcasts.collect(), panel),
        ];
        for (heading, values, top) in panels {
            area.draw(&Text::new(heading, (8, top + 12), ("sans-serif", 14)))
                .map_err(|error| error.to_string())?;
            let most = values.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
            for (crowd, (value, row)) in report.crowds.iter().zip(values.into_iter().zip(0..)) {
                let y = top + 36 + ROW * row;
                area.draw(&Text::new(crowd.title.clone(), (8, y), ("sans-serif", 12)))
                    .map_err(|error| error.to_string())?;
                let Some(value) = value else { continue };
                #[expect(clippy::cast_possible_truncation, reason = "a share of the width")]
                let end = NAME + (value / most * 450.0) as i32;
                let colour = if crowd.ours { RGBColor(214, 96, 41) } else { RGBColor(110, 140, 180) };
                area.draw(&Rectangle::new([(NAME, y), (end, y + 14)], colour.filled()))
                    .map_err(|error| error.to_string())?;
                area.draw(&Text::new(format!("{value:.2}"), (end + 6, y + 1), ("sans-serif", 12)))
                    .map_err(|error| error.to_string())?;
            }
        }
        area.present().map_err(|error| error.to_string())?;
    }
    Ok(text)
}

/// The server's memory over the connections that came and went.
///
/// # Errors
/// When it cannot be drawn.
pub fn soak(soaked: &Soaked) -> Drawn {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, 400)).into_drawing_area();
        area.fill(&WHITE).map_err(|error| error.to_string())?;
        let right = soaked.samples.last().map_or(1.0, |sample| sample.0);
        let top = soaked.samples.iter().map(|sample| sample.1).fold(1.0, f64::max) * 1.2;
        let mut chart = ChartBuilder::on(&area)
            .caption("server memory in KiB over connections that came and went", ("sans-serif", 14))
            .margin(10)
            .x_label_area_size(30)
            .y_label_area_size(70)
            .build_cartesian_2d(0.0..right, 0.0..top)
            .map_err(|error| error.to_string())?;
        chart.configure_mesh().draw().map_err(|error| error.to_string())?;
        let points =
            soaked.samples.iter().map(|sample| Circle::new(*sample, 2, RGBColor(214, 96, 41).filled()));
        chart.draw_series(points).map_err(|error| error.to_string())?;
        area.present().map_err(|error| error.to_string())?;
    }
    Ok(text)
}
