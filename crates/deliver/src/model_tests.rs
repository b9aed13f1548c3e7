//! Deliveries as a state machine: whatever happens in whatever order to clicks, what is learned of them, rows, leases and endpoints,
//! and between which two steps a process dies.
//!
//! Tables and statements are the real ones, in a real PostgreSQL, and so is what decides: who is owed what, what an answer means,
//! when it is tried again, what is rendered. Made up are the clock, the stream that brings a click again until it was acknowledged,
//! and the subscribers' answers. After every step holds what [`World::check`] says, and in the end, when everybody accepts,
//! nothing waits any more.

mod process;
mod world;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner, contextualize_config};
use store::endpoints::State;
use store::replays::What;
use tokio::runtime::Runtime;

use process::Ground;
use world::World;

const CASES: u32 = 60;

/// How many processes there are.
const PROCESSES: usize = 2;

/// How many endpoints there are.
const ENDPOINTS: usize = 3;

/// The one that wants people only, and waits for evidence. The others want every click at once.
const SETTLES: usize = 2;

/// What comes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Accepted,
    Failed,
    /// The owner said that such an answer is for good.
    Unwanted,
    TooOften,
    /// None in time.
    Missing,
}

/// What becomes of a delivery in the fast lane.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// There is no room for it.
    Later,
    /// It is answered before the batch is stored.
    Answered(Answer),
    /// It is answered later, if ever.
    UnderWay,
}

/// What happens; `at` is the process.
#[derive(Debug, Clone)]
enum Step {
    /// Somebody clicks.
    Click,
    /// Other clicks show that it was a machine after all, or a person.
    Amend(Index),
    /// What was amended is recorded.
    Record,
    /// The stream brings a telling that was not acknowledged, alone or with the one behind it: it is sent to those who are
    /// owed it.
    Dispatch {
        at: usize,
        telling: Index,
        with_next: bool,
        fates: Vec<Fate>,
    },
    /// What came of that is stored, and the click acknowledged.
    Keep {
        at: usize,
    },
    /// The endpoints are loaded again.
    Refresh {
        at: usize,
    },
    /// Of each endpoint so much that is due is leased.
    Lease {
        at: usize,
        quota: usize,
    },
    /// A delivery in hand is sent and answered.
    Send {
        at: usize,
        which: Index,
        answer: Answer,
    },
    /// A delivery in hand is not sent after all.
    GiveBack {
        at: usize,
        which: Index,
    },
    /// Leases are prolonged.
    Renew {
        at: usize,
    },
    /// Results are stored.
    Store {
        at: usize,
    },
    /// A process dies, and another begins in its place.
    Die {
        at: usize,
    },
    /// So many seconds pass.
    Pass(u32),
    /// A person changes an endpoint.
    Set {
        endpoint: usize,
        state: State,
    },
    Delete {
        endpoint: usize,
    },
    /// A person asks for a delivery again.
    Retry(Index),
    /// A person wants no more attempts of a delivery.
    GiveUp(Index),
    /// A person asks for what there was.
    Replay {
        endpoint: usize,
        what: What,
    },
    /// Replays go on.
    Advance,
    /// What nobody will send is ended.
    Tidy,
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        4 => Just(Answer::Accepted),
        3 => Just(Answer::Failed),
        1 => Just(Answer::Unwanted),
        1 => Just(Answer::TooOften),
        2 => Just(Answer::Missing),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        1 => Just(Fate::Later),
        2 => answer().prop_map(Fate::Answered),
        2 => Just(Fate::UnderWay),
    ]
}

fn at() -> std::ops::Range<usize> {
    0..PROCESSES
}

fn of_processes() -> impl Strategy<Value = Step> {
    let dispatch = (at(), any::<Index>(), any::<bool>(), vec(fate(), 1..4));
    let send = (at(), any::<Index>(), answer());
    prop_oneof![
        4 => Just(Step::Click),
        6 => dispatch.prop_map(|(at, telling, with_next, fates)| {
            Step::Dispatch { at, telling, with_next, fates }
        }),
        5 => at().prop_map(|at| Step::Keep { at }),
        1 => at().prop_map(|at| Step::Refresh { at }),
        6 => (at(), 1_usize..4).prop_map(|(at, quota)| Step::Lease { at, quota }),
        8 => send.prop_map(|(at, which, answer)| Step::Send { at, which, answer }),
        1 => (at(), any::<Index>()).prop_map(|(at, which)| Step::GiveBack { at, which }),
        2 => at().prop_map(|at| Step::Renew { at }),
        5 => at().prop_map(|at| Step::Store { at }),
        2 => at().prop_map(|at| Step::Die { at }),
    ]
}

fn of_others() -> impl Strategy<Value = Step> {
    let seconds = prop_oneof![Just(2_u32), Just(6), Just(120), Just(7200), Just(90_000)];
    let states = prop_oneof![Just(State::Active), Just(State::Paused), Just(State::Disabled)];
    let what = prop_oneof![Just(What::Dead), Just(What::Delivered), Just(What::Any), Just(What::Missing)];
    prop_oneof![
        8 => seconds.prop_map(Step::Pass),
        4 => any::<Index>().prop_map(Step::Amend),
        2 => Just(Step::Record),
        3 => (0..ENDPOINTS, states).prop_map(|(endpoint, state)| Step::Set { endpoint, state }),
        1 => (0..ENDPOINTS).prop_map(|endpoint| Step::Delete { endpoint }),
        3 => any::<Index>().prop_map(Step::Retry),
        1 => any::<Index>().prop_map(Step::GiveUp),
        2 => (0..ENDPOINTS, what).prop_map(|(endpoint, what)| Step::Replay { endpoint, what }),
        2 => Just(Step::Advance),
        1 => Just(Step::Tidy),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![3 => of_processes(), 1 => of_others()]
}

async fn happen(ground: &Ground, steps: &[Step]) {
    let mut world = World::new(ground).await;
    for step in steps {
        world.take(step).await;
        world.check().await;
    }
    world.come_to_rest().await;
}

#[test]
fn whatever_happens_each_click_is_told_to_whom_it_is_owed_and_nothing_waits_for_good() {
    let runtime = Runtime::new().expect("a runtime");
    let ground = runtime.block_on(Ground::new());
    // as `proptest!` has it: more cases when the environment says so, and what was found is kept
    let config = contextualize_config(Config { cases: CASES, ..Config::with_source_file(file!()) });
    let checked = TestRunner::new(config).run(&vec(step(), 1..40), |steps| {
        runtime.block_on(happen(&ground, &steps));
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}
