//! A straight line through samples, by least squares, and how sure its slope is.

use serde::Serialize;

/// The line through samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Slope {
    /// Rise for each step to the right.
    pub slope: f64,
    /// The standard error of the slope.
    pub error: f64,
}

/// Lays a line through `samples`; `None` with fewer than three, or when all stand above one another.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a few hundred samples")]
pub fn slope(samples: &[(f64, f64)]) -> Option<Slope> {
    let count = samples.len() as f64;
    if samples.len() < 3 {
        return None;
    }
    let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let spread: f64 = samples.iter().map(|sample| (sample.0 - x).powi(2)).sum();
    if spread <= 0.0 {
        return None;
    }
    let slope = samples.iter().map(|sample| (sample.0 - x) * (sample.1 - y)).sum::<f64>() / spread;
    let rest: f64 = samples.iter().map(|sample| (sample.1 - y - slope * (sample.0 - x)).powi(2)).sum();
    Some(Slope { slope, error: (rest / (count - 2.0) / spread).sqrt() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_exactly() {
        let samples: Vec<_> = (0..10).map(f64::from).map(|x| (x, 3.0 * x + 7.0)).collect();
        let found = slope(&samples).unwrap();
        assert!((found.slope - 3.0).abs() < 1e-9 && found.error < 1e-9, "{found:?}");
    }

    #[test]
    fn noise_without_a_trend_is_within_its_error() {
        let samples: Vec<_> = (0..100).map(|n| (f64::from(n), if n % 2 == 0 { 5.0 } else { 6.0 })).collect();
        let found = slope(&samples).unwrap();
        assert!(found.slope.abs() < 3.0 * found.error && found.error > 0.0, "{found:?}");
    }

    #[test]
    fn too_few_samples_have_no_line() {
        assert_eq!(slope(&[(0.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(slope(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
    }
}
