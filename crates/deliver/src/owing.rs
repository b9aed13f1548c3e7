//! What an endpoint is owed by a telling of a click: the first one, or an amendment of it.
//!
//! | of the click, the endpoint | and wants it now | and does not |
//! |---|---|---|
//! | was told | `link.click.amended` | `link.click.amended` |
//! | was told nothing | `link.clicked` | nothing |
//!
//! Who was told is told of every change, whatever the filter says by now. Told is who has a delivery of `link.clicked`, or will
//! have one, because the filter lets an earlier revision through: that telling may still be on its way. `link.clicked` has the
//! id of the click alone (`evt_X`) whichever revision it tells, so that it is sent once; amendments have ids of their own
//! (`evt_X_1`). An endpoint that chose amendments only is owed those that its filter lets through, before or after.
//!
//! A click that is older than what the endpoint is owed (its creation, or its last enabling) is owed to it no more; whoever was
//! told of it is told of its change all the same.
//!
//! An endpoint that waits for the settled verdict (`settle_ms`) has its `link.clicked` as a row that is not due yet. An
//! amendment that comes before it is sent becomes part of it, or takes it back: [`Owing::Settling`]. One that finds the row in
//! somebody's hand comes again when it is known what was sent. One that finds no row, though one is to be expected
//! ([`Stance::expects_first`]), comes again until it is recorded: then what it amends is not told any more. At its first lease the
//! row is held against what is recorded ([`settled`](crate::settled)).

use chrono::{DateTime, TimeDelta, Utc};
use model::{EnrichedClick, EventId};

/// A click as one message tells it, and as the messages before told it.
#[derive(Debug)]
pub struct Telling<'a> {
    /// The message.
    pub click: &'a EnrichedClick,
    /// Earlier revisions, oldest first.
    before: Vec<EnrichedClick>,
}

impl<'a> Telling<'a> {
    /// What a message tells.
    pub fn of(click: &'a EnrichedClick) -> Self {
        let before = (0..click.event_id.revision()).map_while(|revision| click.as_of(revision));
        Self { click, before: before.collect() }
    }

    /// 0 for the first telling.
    pub fn revision(&self) -> u32 {
        self.click.event_id.revision()
    }

    /// The id of `link.clicked`, whichever revision it tells.
    pub fn first_id(&self) -> EventId {
        EventId::of_click(self.click.click.id, 0)
    }

    /// How an endpoint stands to it that wishes this, and whose filter is `matches`.
    pub fn stance(&self, wish: Wish, matches: impl Fn(&EnrichedClick) -> bool) -> Option<Stance> {
        if !wish.clicks && !wish.amendments {
            return None;
        }
        let stance = Stance {
            revision: self.revision(),
            wish,
            matches: matches(self.click),
            matched: self.before.iter().any(matches),
        };
        stance.may_be_owed().then_some(stance)
    }
}

/// What an endpoint asks for, whatever its filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// It chose `link.clicked`.
    pub clicks: bool,
    /// It chose `link.click.amended`.
    pub amendments: bool,
    /// It waits for the settled verdict.
    pub settles: bool,
    /// It is owed what was clicked then.
    pub is_owed: bool,
}

/// How an endpoint stands to a telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stance {
    /// Of the telling.
    revision: u32,
    /// Of the endpoint.
    wish: Wish,
    /// Its filter lets this telling through.
    pub matches: bool,
    /// Its filter let an earlier one through.
    matched: bool,
}

/// What an endpoint is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owing {
    /// Nothing, or nothing more.
    Nothing,
    /// `link.clicked`.
    Click,
    /// `link.click.amended`.
    Amendment,
    /// That its `link.clicked` tells this, or is taken back; and if it was sent, `link.click.amended`.
    Settling,
}

impl Stance {
    fn may_be_owed(self) -> bool {
        let is_owed = self.wish.is_owed;
        match (self.revision, self.wish.clicks) {
            (0, chose_clicks) => chose_clicks && is_owed && self.matches,
            // it may have been told before
            (_, true) => true,
            (_, false) => is_owed && (self.matches || self.matched),
        }
    }

    /// What it is owed, when its `link.clicked` is in the table and tells the revision `told`, or is not.
    pub fn owing(self, told: Option<u32>) -> Owing {
        if !self.wish.clicks {
            return Owing::Amendment;
        }
        if told.is_none() && !self.wish.is_owed {
            return Owing::Nothing;
        }
        // by this telling, when it comes again, or by a later one
        if told.is_some_and(|told| told >= self.revision) {
            return Owing::Nothing;
        }
        match (told.is_some() || self.matched, self.matches) {
            (true, _) if self.wish.settles => Owing::Settling,
            (true, _) => Owing::Amendment,
            (false, true) => Owing::Click,
            (false, false) => Owing::Nothing,
        }
    }

    /// Whether a `link.clicked` that neither waits nor was sent is to be expected: by this telling or by any before it, which may
    /// come later than this one, or have come in the same batch.
    pub fn expects_first(self) -> bool {
        self.wish.is_owed && (self.matches || self.matched)
    }
}

/// When a click is told of to an endpoint that waits for evidence, however wrong the clock was that dated it.
pub fn settled_at(clicked_at: DateTime<Utc>, settle: TimeDelta, now: DateTime<Utc>) -> DateTime<Utc> {
    clicked_at.checked_add_signed(settle).unwrap_or(DateTime::<Utc>::MAX_UTC).clamp(now, now + settle)
}

#[cfg(test)]
mod tests {
    use model::WorkspaceId;
    use model::automation::Automation;
    use model::automation::Verdict::{self, Automated, Human, Unknown};

    use super::*;

    /// A click that was told with these verdicts, oldest first.
    fn click(verdicts: &[Verdict]) -> EnrichedClick {
        let mut click = webhook::payload::sample(WorkspaceId::generate(), Utc::now());
        click.automation.verdict = verdicts[0];
        for verdict in &verdicts[1..] {
            let automation = Automation { verdict: *verdict, ..click.automation.clone() };
            click = click.amended(automation, Utc::now()).expect("few");
        }
        click
    }

    #[test]
    fn a_telling_of_before_says_of_the_first_click_what_its_verdict_allows() {
        let told = click(&[Human, Automated, Human, Unknown]);
        assert_eq!(told.first_click_before, Some(true));
        let told_first = |revision| told.as_of(revision).and_then(|telling| telling.is_first_click);

        assert_eq!([0, 1, 2].map(told_first), [Some(true), Some(false), None]);
    }

    const CLICKS: Wish = Wish { clicks: true, amendments: false, settles: false, is_owed: true };

    /// What an endpoint is owed that wants these verdicts.
    fn owed(verdicts: &[Verdict], wish: Wish, wanted: &[Verdict], told: Option<u32>) -> Owing {
        let click = click(verdicts);
        let telling = Telling::of(&click);
        let stance = telling.stance(wish, |click| wanted.contains(&click.automation.verdict));
        stance.map_or(Owing::Nothing, |stance| stance.owing(told))
    }

    #[test]
    fn who_was_told_is_told_of_the_change_and_who_wants_it_now_is_told_of_the_click() {
        for (verdicts, wanted, told, owing) in [
            (&[Human][..], &[Human][..], None, Owing::Click),
            (&[Human], &[Human], Some(0), Owing::Nothing),
            (&[Automated], &[Human], None, Owing::Nothing),
            (&[Human, Automated], &[Human], Some(0), Owing::Amendment),
            (&[Human, Automated], &[Human], None, Owing::Amendment),
            (&[Human, Automated], &[Human, Automated], Some(0), Owing::Amendment),
            (&[Automated, Human], &[Human], None, Owing::Click),
            // it comes again
            (&[Automated, Human], &[Human], Some(1), Owing::Nothing),
            (&[Automated, Human, Automated], &[Human], Some(1), Owing::Amendment),
            (&[Human, Automated, Unknown], &[Human], Some(0), Owing::Amendment),
            (&[Automated, Unknown], &[Human], None, Owing::Nothing),
            // its filter was another when it was told
            (&[Automated, Unknown], &[Human], Some(0), Owing::Amendment),
            (&[Automated, Human], &[Human], Some(0), Owing::Amendment),
            // a later one was told
            (&[Automated, Unknown], &[Human], Some(2), Owing::Nothing),
        ] {
            let settling = if owing == Owing::Amendment { Owing::Settling } else { owing };
            for (wish, owing) in [
                (CLICKS, owing),
                (Wish { settles: true, ..CLICKS }, settling),
                (Wish { amendments: true, ..CLICKS }, owing),
            ] {
                let case = format!("{wish:?} {verdicts:?} {wanted:?} {told:?}");
                assert_eq!(owed(verdicts, wish, wanted, told), owing, "{case}");
            }
        }
    }

    #[test]
    fn who_chose_amendments_only_gets_those_that_its_filter_lets_through_before_or_after() {
        let amendments = Wish { clicks: false, amendments: true, ..CLICKS };
        for (verdicts, owing) in [
            (&[Human][..], Owing::Nothing),
            (&[Human, Automated], Owing::Amendment),
            (&[Automated, Human], Owing::Amendment),
            (&[Automated, Unknown], Owing::Nothing),
        ] {
            assert_eq!(owed(verdicts, amendments, &[Human], None), owing, "{verdicts:?}");
        }
        let neither = Wish { amendments: false, ..amendments };
        assert_eq!(owed(&[Human, Automated], neither, &[Human], None), Owing::Nothing);
    }

    #[test]
    fn of_a_click_that_is_owed_no_more_only_who_was_told_is_told_of_the_change() {
        let no_more = Wish { is_owed: false, ..CLICKS };
        for (verdicts, told, owing) in [
            (&[Human][..], None, Owing::Nothing),
            (&[Automated, Human], None, Owing::Nothing),
            (&[Human, Automated], None, Owing::Nothing),
            (&[Human, Automated], Some(0), Owing::Amendment),
            (&[Human, Automated], Some(1), Owing::Nothing),
        ] {
            assert_eq!(owed(verdicts, no_more, &[Human], told), owing, "{verdicts:?} {told:?}");
        }
        let amendments = Wish { clicks: false, amendments: true, ..no_more };
        assert_eq!(owed(&[Human, Automated], amendments, &[Human], None), Owing::Nothing);
    }

    #[test]
    fn whoever_dated_the_click_it_settles_between_now_and_the_whole_time_from_now() {
        let (now, settle) = (Utc::now(), TimeDelta::seconds(10));
        let at = |clicked_at| settled_at(clicked_at, settle, now);

        assert_eq!(at(now - TimeDelta::seconds(4)), now + TimeDelta::seconds(6));
        assert_eq!(at(now - TimeDelta::days(1)), now);
        assert_eq!(at(DateTime::<Utc>::MIN_UTC), now);
        assert_eq!(at(DateTime::<Utc>::MAX_UTC), now + settle);
    }

    #[test]
    fn a_first_telling_is_expected_of_whatever_the_filter_ever_let_through() {
        let settles = Wish { settles: true, ..CLICKS };
        for (verdicts, wish, is_expected) in [
            (&[Human][..], settles, true),
            (&[Human, Automated], settles, true),
            (&[Human, Automated, Unknown], settles, true),
            (&[Automated, Human], settles, true),
            (&[Automated, Unknown], settles, false),
            (&[Human, Automated], Wish { is_owed: false, ..settles }, false),
        ] {
            let click = click(verdicts);
            let stance = Telling::of(&click).stance(wish, |click| click.automation.verdict == Human);
            assert_eq!(stance.is_some_and(Stance::expects_first), is_expected, "{verdicts:?} {wish:?}");
        }
    }
}
