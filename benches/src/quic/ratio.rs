//! The ratio of two costs over the rounds, and how far chance may have moved it.

/// The geometric mean of the ratios of all rounds.
#[derive(Debug, Clone, Copy)]
pub struct Ratio {
    /// The mean.
    pub mean: f64,
    /// Its standard error, where there was more than one round.
    pub error: Option<f64>,
}

/// What a ratio is to its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is not above the bound.
    Met,
    /// It is above.
    Missed,
    /// So near that other rounds may well read otherwise: within twice its error.
    Open,
}

impl Ratio {
    /// The mean of `ratios`; `None` when there are none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "rounds are few")]
    pub fn of(ratios: &[f64]) -> Option<Self> {
        let logarithms: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
        let count = (!logarithms.is_empty()).then_some(logarithms.len() as f64)?;
        let mean = logarithms.iter().sum::<f64>() / count;
        let squares = logarithms.iter().map(|logarithm| (logarithm - mean).powi(2)).sum::<f64>();
        let error = (count > 1.0).then(|| (squares / (count - 1.0) / count).sqrt() * mean.exp());
        Some(Self { mean: mean.exp(), error })
    }

    /// What it is to `most`.
    #[must_use]
    pub fn standing(self, most: f64) -> Standing {
        match self.error {
            Some(error) if (self.mean - most).abs() < 2.0 * error => Standing::Open,
            _ if self.mean <= most => Standing::Met,
            _ => Standing::Missed,
        }
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3}", self.mean)?;
        self.error.map_or(Ok(()), |error| write!(f, " ± {error:.3}"))
    }
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::Open => "too near to tell",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_that_of_the_mean() {
        let ratio = Ratio::of(&[0.5, 2.0]).unwrap();
        assert!((ratio.mean - 1.0).abs() < 1e-9, "{ratio}");
        // Logarithms of ± ln 2 deviate by √2 ln 2, their mean by a √2nd of that.
        assert!((ratio.error.unwrap() - std::f64::consts::LN_2).abs() < 1e-9, "{ratio}");
        assert!(Ratio::of(&[]).is_none());
        assert_eq!(Ratio::of(&[1.25]).unwrap().to_string(), "1.250");
    }

    #[test]
    fn what_chance_may_have_done_is_neither_met_nor_missed() {
        let standing = |mean, error| Ratio { mean, error }.standing(1.03);
        assert_eq!(standing(1.01, Some(0.009)), Standing::Met);
        assert_eq!(standing(1.05, Some(0.009)), Standing::Missed);
        assert_eq!(standing(1.02, Some(0.009)), Standing::Open);
        assert_eq!(standing(1.04, Some(0.009)), Standing::Open);
        assert_eq!(standing(1.03, None), Standing::Met);
        assert_eq!(standing(1.04, None), Standing::Missed);
    }
}
