//! From counts to what stands beside an axis.

/// A scale from zero to a round number, with a line at each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    step: u64,
    steps: u64,
}

/// Lines above the base line at most.
const STEPS_MAX: u64 = 4;

impl Scale {
    /// The smallest scale of round steps that reaches `most`.
    pub fn up_to(most: u64) -> Self {
        let least = most.div_ceil(STEPS_MAX).max(1);
        let mut power: u64 = 1;
        let step = loop {
            let round = [1, 2, 5].map(|digit| power.saturating_mul(digit));
            if let Some(step) = round.into_iter().find(|step| *step >= least) {
                break step;
            }
            power = power.saturating_mul(10);
        };
        Self { step, steps: most.div_ceil(step).max(1) }
    }

    /// Where it ends.
    pub const fn max(self) -> u64 {
        self.step.saturating_mul(self.steps)
    }

    /// Its lines, from zero.
    pub fn ticks(self) -> impl Iterator<Item = u64> {
        (0..=self.steps).map(move |step| self.step.saturating_mul(step))
    }
}

/// A number with commas: `12,345`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number in little room: `950`, `1.5k`, `20k`, `3M`.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub fn short(number: u64) -> String {
    let (divisor, unit) = match number {
        0..1_000 => return number.to_string(),
        1_000..1_000_000 => (1e3, "k"),
        1_000_000..1_000_000_000 => (1e6, "M"),
        _ => (1e9, "G"),
    };
    let text = format!("{:.1}", number as f64 / divisor);
    format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
}

/// A share of a whole in words: `37%`; of what is not nothing never `0%`.
pub fn share(part: u64, whole: u64) -> String {
    if part == 0 || whole == 0 {
        return "0%".to_owned();
    }
    match u128::from(part) * 1000 / u128::from(whole) {
        0..=4 => "<1%".to_owned(),
        thousandths => format!("{}%", (thousandths + 5) / 10),
    }
}

/// A width as an attribute: `12.5%`.
pub fn percent(share: f64) -> String {
    let text = format!("{share:.3}");
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_has_few_round_steps_and_reaches_the_highest_value() {
        let of = |most| Scale::up_to(most).ticks().collect::<Vec<_>>();

        assert_eq!(of(0), [0, 1]);
        assert_eq!(of(1), [0, 1]);
        assert_eq!(of(7), [0, 2, 4, 6, 8]);
        assert_eq!(of(41), [0, 20, 40, 60]);
        assert_eq!(of(100), [0, 50, 100]);
        assert_eq!(of(1_999), [0, 500, 1000, 1500, 2000]);
        for most in (0..2_000).chain([u64::MAX / 3, u64::MAX]) {
            let scale = Scale::up_to(most);
            assert!(scale.max() >= most && scale.ticks().count() <= 5, "{most}: {scale:?}");
        }
    }

    #[test]
    fn numbers_read_at_a_glance() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 950, 1_500, 20_000, 3_000_000].map(short), ["0", "950", "1.5k", "20k", "3M"]);
        let shares = [(0, 5), (5, 0), (1, 900), (1, 3), (2, 3), (5, 5)];
        assert_eq!(shares.map(|(part, whole)| share(part, whole)), ["0%", "0%", "<1%", "33%", "67%", "100%"]);
        assert_eq!([0.0, 12.5, 100.0 / 3.0, 100.0].map(percent), ["0%", "12.5%", "33.333%", "100%"]);
    }
}
