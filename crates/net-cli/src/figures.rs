//! Figures as people read them.

/// A whole number as a measured one: beyond 2⁵³ the last digits are lost, which no rate or share shows.
#[allow(clippy::cast_precision_loss, reason = "a figure of a report has fewer digits than an f64")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// A number without its fraction, in groups of three digits.
pub(crate) fn grouped(number: impl std::fmt::Display) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Microseconds in the unit that is read most easily.
pub(crate) fn microseconds(value: f64) -> String {
    match value {
        value if value < 1e3 => format!("{value:.1} µs"),
        value if value < 1e6 => format!("{:.2} ms", value / 1e3),
        value => format!("{:.2} s", value / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(grouped(0.4), "0");
        assert_eq!(grouped(999.0), "999");
        assert_eq!(grouped(1_234_567_u64), "1 234 567");
        assert_eq!(microseconds(4.12), "4.1 µs");
        assert_eq!(microseconds(1_500_000.0), "1.50 s");
    }
}
