//! How long a delivery waits between its attempts, by names that people know.

const MINUTE: u32 = 60;
const HOUR: u32 = 60 * MINUTE;

/// A schedule with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryPreset {
    /// The example of Standard Webhooks 1.0.0: ten attempts over three days.
    Default,
    /// Ten attempts within an hour: for conversations that are going on now.
    Fast,
    /// Fourteen attempts over seven days: for receivers that are looked after on weekdays.
    Long,
}

impl RetryPreset {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Default, Self::Fast, Self::Long];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Fast => "fast",
            Self::Long => "long",
        }
    }

    /// The preset with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.as_str() == name)
    }

    /// The preset with these pauses.
    pub fn of(seconds: &[u32]) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.seconds() == seconds)
    }

    /// Seconds after the first, second, … failed attempt.
    pub const fn seconds(self) -> &'static [u32] {
        match self {
            Self::Default => {
                &[5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR]
            }
            Self::Fast => &[5, 15, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 15 * MINUTE],
            Self::Long => &[
                5,
                5 * MINUTE,
                30 * MINUTE,
                2 * HOUR,
                5 * HOUR,
                10 * HOUR,
                14 * HOUR,
                20 * HOUR,
                24 * HOUR,
                24 * HOUR,
                24 * HOUR,
                24 * HOUR,
                24 * HOUR,
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_spans_what_it_says() {
        let total = |preset: RetryPreset| preset.seconds().iter().sum::<u32>();

        assert_eq!(total(RetryPreset::Default), 75 * HOUR + 35 * MINUTE + 5);
        // jitter adds up to a fifth
        assert!(total(RetryPreset::Fast) * 6 / 5 <= HOUR);
        assert!((7 * 24 * HOUR..9 * 24 * HOUR).contains(&total(RetryPreset::Long)));
    }

    #[test]
    fn a_preset_is_known_by_its_name_and_by_its_pauses() {
        for preset in RetryPreset::ALL {
            assert_eq!(RetryPreset::named(preset.as_str()), Some(preset));
            assert_eq!(RetryPreset::of(preset.seconds()), Some(preset));
        }
        assert_eq!((RetryPreset::named("slow"), RetryPreset::of(&[1])), (None, None));
    }
}
