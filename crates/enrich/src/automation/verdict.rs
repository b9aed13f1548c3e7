//! The sum of the signals: score, verdict, class and reasons.

use model::automation::{Automation, Reason, Verdict};

use super::Signal;

/// Version of signals, weights and lists: a click tells which rules judged it.
pub const RULESET: &str = "2026-11.6";

/// Weight of a signal that needs no other: the program says what it is.
pub const DECISIVE: i16 = 100;

/// Weight of a signal that is rarely wrong.
pub const STRONG: i16 = 75;

/// Weight of a signal that people hardly ever show, but that decides nothing alone.
pub const LIKELY: i16 = 60;

/// Weight of a signal that people show too.
pub const MEDIUM: i16 = 35;

/// Weight of a signal that says little by itself.
pub const WEAK: i16 = 15;

/// Score from which a click is a machine's.
const AUTOMATED_MIN: u8 = 70;

/// Score up to which a click is a person's; between the two nobody can tell.
const HUMAN_MAX: u8 = 30;

/// The verdict that follows from what fired.
pub fn of(signals: &[Signal]) -> Automation {
    let (score, verdict) = scored(signals.iter().map(|signal| signal.weight));
    let heaviest = signals.iter().rev().max_by_key(|signal| signal.weight);
    Automation {
        verdict,
        class: heaviest.filter(|_| verdict == Verdict::Automated).map(|signal| signal.class),
        score,
        reasons: signals
            .iter()
            .map(|signal| Reason { code: signal.code.to_owned(), weight: signal.weight })
            .collect(),
        ruleset: RULESET.to_owned(),
    }
}

/// A verdict with the signals that came after it.
pub fn extended(automation: &Automation, late: impl Iterator<Item = Signal>) -> Automation {
    let mut reasons = automation.reasons.clone();
    let mut heaviest: Option<Signal> = None;
    for signal in late {
        reasons.push(Reason { code: signal.code.to_owned(), weight: signal.weight });
        if heaviest.is_none_or(|heaviest| heaviest.weight < signal.weight) {
            heaviest = Some(signal);
        }
    }
    let (score, verdict) = scored(reasons.iter().map(|reason| reason.weight));
    let class = automation.class.or(heaviest.map(|signal| signal.class));
    Automation {
        verdict,
        class: class.filter(|_| verdict == Verdict::Automated),
        score,
        reasons,
        ruleset: RULESET.to_owned(),
    }
}

fn scored(weights: impl Iterator<Item = i16>) -> (u8, Verdict) {
    let sum = weights.fold(0, i16::saturating_add);
    let score = u8::try_from(sum.clamp(0, 100)).expect("it was cut to 100");
    let verdict = match score {
        AUTOMATED_MIN.. => Verdict::Automated,
        0..=HUMAN_MAX => Verdict::Human,
        _ => Verdict::Unknown,
    };
    (score, verdict)
}

#[cfg(test)]
mod tests {
    use model::automation::MachineClass;

    use super::*;

    const fn signal(weight: i16, class: MachineClass) -> Signal {
        Signal { code: "a_signal", weight, class }
    }

    #[test]
    fn nothing_suspicious_is_a_person() {
        let automation = of(&[]);

        assert_eq!((automation.verdict, automation.score, automation.class), (Verdict::Human, 0, None));
        assert_eq!(automation.reasons, []);
    }

    #[test]
    fn one_doubtful_signal_decides_nothing() {
        let automation = of(&[signal(MEDIUM, MachineClass::Library)]);

        assert_eq!((automation.verdict, automation.score, automation.class), (Verdict::Unknown, 35, None));
    }

    #[test]
    fn doubts_add_up_and_the_heaviest_gives_the_class() {
        let automation = of(&[signal(MEDIUM, MachineClass::Other), signal(DECISIVE, MachineClass::Preview)]);

        assert_eq!((automation.verdict, automation.score), (Verdict::Automated, 100));
        assert_eq!(automation.class, Some(MachineClass::Preview));
        assert_eq!(automation.reasons.len(), 2);
    }

    #[test]
    fn the_score_ends_at_both_ends() {
        assert_eq!(of(&[signal(-30, MachineClass::Other)]).score, 0);
        assert_eq!(of(&[signal(DECISIVE, MachineClass::Other); 200]).score, 100);
    }
}
