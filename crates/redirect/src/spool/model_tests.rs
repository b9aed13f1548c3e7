//! The spool as a state machine: whatever happens in whatever order, and wherever the process or the power ends.
//!
//! The spool is the real one, in a directory of its own. Made up are the disk, as far as it is about what it keeps when the
//! power is lost ([`disk`]), and stream and database ([`outside`]). After every step holds what [`World::check`] says, and in
//! the end, when everything works again, each click that was answered for comes to rest and its file goes.

mod disk;
mod outside;
mod process;
mod world;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::settings::SyncMode;
use disk::{Fate, fate};
use outside::Answer;
use world::World;

/// What happens.
#[derive(Debug, Clone)]
enum Step {
    /// So many clicks of each worker come at once.
    Append(Vec<usize>),
    /// It is time to flush, or to try again.
    Flush,
    /// So many flushes of a file fail.
    FailFlushes(u32),
    /// No file can be made any more, or again.
    FillDisk(bool),
    /// The growing file is old enough.
    Close,
    /// A file of zeros is made ready.
    MakeSpare,
    /// The shipper publishes once; answers come in turn.
    Ship(Vec<Answer>),
    SaveCursor,
    /// The stream loses what nobody has read.
    LoseStream,
    /// So many clicks get from the stream into the database.
    Record(usize),
    /// The confirmer looks at its files.
    Confirm {
        answers: Vec<Answer>,
        is_behind: bool,
        is_database_away: bool,
    },
    /// Shipped files give way if the spool is nearly full.
    MakeRoom,
    /// The process ends, perhaps in the middle of appending so many clicks, and another begins.
    Kill(Option<(usize, Index)>),
    /// The power is lost, and with it what was not flushed.
    LosePower {
        fates: Vec<Fate>,
        cursor: LostCursor,
    },
}

/// What becomes of the cursor, which is never flushed.
#[derive(Debug, Clone, Copy)]
enum LostCursor {
    AsSaved,
    AsSavedBefore,
    Missing,
    Damaged,
}

fn answers() -> impl Strategy<Value = Vec<Answer>> {
    let answer =
        prop_oneof![4 => Just(Answer::Taken), 1 => Just(Answer::Unconfirmed), 1 => Just(Answer::Away)];
    vec(answer, 1..5)
}

fn step() -> impl Strategy<Value = Step> {
    let clicks = vec(1_usize..4, 1..3);
    let torn = proptest::option::of((1_usize..4, any::<Index>()));
    let cursor = prop_oneof![
        Just(LostCursor::AsSaved),
        Just(LostCursor::AsSavedBefore),
        Just(LostCursor::Missing),
        Just(LostCursor::Damaged),
    ];
    let confirm = (answers(), any::<bool>(), proptest::bool::weighted(0.2));
    prop_oneof![
        8 => clicks.prop_map(Step::Append),
        2 => Just(Step::Flush),
        1 => (1_u32..4).prop_map(Step::FailFlushes),
        1 => any::<bool>().prop_map(Step::FillDisk),
        2 => Just(Step::Close),
        2 => Just(Step::MakeSpare),
        6 => answers().prop_map(Step::Ship),
        2 => Just(Step::SaveCursor),
        1 => Just(Step::LoseStream),
        3 => (1_usize..20).prop_map(Step::Record),
        3 => confirm.prop_map(|(answers, is_behind, is_database_away)| {
            Step::Confirm { answers, is_behind, is_database_away }
        }),
        1 => Just(Step::MakeRoom),
        1 => torn.prop_map(Step::Kill),
        1 => (vec(fate(), 1..6), cursor).prop_map(|(fates, cursor)| Step::LosePower { fates, cursor }),
    ]
}

fn mode() -> impl Strategy<Value = SyncMode> {
    prop_oneof![Just(SyncMode::Os), Just(SyncMode::Interval), Just(SyncMode::Always)]
}

proptest! {
    #[test]
    fn whatever_happens_each_click_that_was_answered_for_comes_to_rest(sync in mode(), steps in vec(step(), 1..40)) {
        let mut world = World::new(sync);
        for step in &steps {
            world.take(step);
            world.check();
        }
        world.come_to_rest();
    }
}
