//! What the form of a webhook offers to choose from, in words.

use std::time::Duration;

use model::event_type::{ENDPOINT_CHECKPOINT, LINK_CLICKED};
use model::retry::RetryPreset;

/// What a webhook can be sent, and what that is for.
const EVENT_CHOICES: [(&str, &str); 5] = [
    (
        LINK_CLICKED,
        "Someone opened a tracked link: who, where, on which device. If a click turns out to be a scanner's, or not, \
         link.click.amended tells of it.",
    ),
    ("endpoint.*", "Another webhook was changed, paused, warned of, disabled, or works again."),
    ("delivery.*", "A click could not be delivered to another webhook; at most once an hour for each."),
    ("secret.*", "The signing secret of another webhook was replaced."),
    (
        ENDPOINT_CHECKPOINT,
        "What this webhook itself was owed, by number, so that it sees whether it has missed anything: as often as you say \
         under More options.",
    ),
];

/// Schedules with a name, and what they say of an endpoint that does not answer.
pub const SCHEDULES: [(&str, &str); 3] = [
    (RetryPreset::Default.as_str(), "Try for three days, ten times"),
    (RetryPreset::Fast.as_str(), "Try for an hour, ten times"),
    (RetryPreset::Long.as_str(), "Try for a week, fourteen times"),
];

/// Waits for evidence, in milliseconds, and what they are in words.
const WAITS: [(&str, &str); 6] = [
    ("0", "Do not wait: tell at once, and correct it later"),
    ("10000", "10 seconds"),
    ("30000", "30 seconds"),
    ("60000", "A minute"),
    ("300000", "Five minutes"),
    ("600000", "Ten minutes"),
];

/// Orders, and what they are in words.
pub const ORDERS: [(&str, &str); 3] = [
    ("none", "In no order: each event as soon as it can go"),
    ("per_link", "The clicks of a link one after the other"),
    ("strict", "Everything one after the other"),
];

/// Events that can be chosen together.
pub struct EventChoice {
    pub pattern: String,
    pub text: &'static str,
    pub is_chosen: bool,
}

/// The usual ones, and whatever else is chosen.
pub fn choices(chosen: &[&str]) -> Vec<EventChoice> {
    let usual = EVENT_CHOICES.into_iter();
    let others =
        chosen.iter().copied().filter(|pattern| EVENT_CHOICES.iter().all(|(usual, _)| usual != pattern));
    usual
        .chain(others.map(|pattern| (pattern, "Chosen over the API.")))
        .map(|(pattern, text)| EventChoice {
            pattern: pattern.to_owned(),
            text,
            is_chosen: chosen.contains(&pattern),
        })
        .collect()
}

/// How long a webhook may wait.
pub struct Wait {
    pub ms: String,
    pub text: String,
    pub is_chosen: bool,
}

/// The usual ones, and whatever else was chosen over the API.
pub fn waits(chosen: &str) -> Vec<Wait> {
    let chosen = if chosen.is_empty() { "0" } else { chosen };
    let own = WAITS.iter().all(|(ms, _)| *ms != chosen).then(|| Wait {
        ms: chosen.to_owned(),
        text: format!("{chosen} milliseconds"),
        is_chosen: true,
    });
    let usual = WAITS.into_iter().map(|(ms, text)| Wait {
        ms: ms.to_owned(),
        text: text.to_owned(),
        is_chosen: ms == chosen,
    });
    usual.chain(own).collect()
}

/// The pauses of a schedule that has no name.
pub fn schedule_text(seconds: &[u32]) -> String {
    let texts: Vec<String> = seconds.iter().map(|seconds| format!("{seconds} s")).collect();
    if texts.is_empty() { "one attempt".to_owned() } else { texts.join(", ") }
}

/// After what time an endpoint that only fails is disabled, and what follows.
pub fn auto_disable_text(after: Duration) -> String {
    if after.is_zero() {
        return "This Clickwire never does so: deliver.auto_disable_after is 0.".to_owned();
    }
    let hours = after.as_secs() / 3600;
    let time = match hours {
        0 => format!("{} seconds", after.as_secs()),
        hours if hours % 24 == 0 => format!("{} days", hours / 24),
        hours => format!("{hours} hours"),
    };
    format!("After {time} without a success. You are warned before, and what it misses can be replayed.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_until_an_endpoint_is_disabled_is_told_in_days_or_hours() {
        let text = |hours: u64| auto_disable_text(Duration::from_secs(hours * 3600));

        assert!(text(120).starts_with("After 5 days "), "{}", text(120));
        assert!(text(36).starts_with("After 36 hours "), "{}", text(36));
        assert!(text(0).contains("never"), "{}", text(0));
    }
}
