//! All promises at once, while everything fails that can: a schedule of faults from a seed, over two processes of each service,
//! PostgreSQL, three nodes of NATS and the network between, with visitors who go on clicking and subscribers who behave badly.
//!
//! `scripts/test` runs it for a moment; `scripts/chaos run` for as long as you like.

mod clock;
mod plan;
mod report;
mod strike;
mod subscribers;
mod verdict;
mod visitors;
mod world;

use std::path::Path;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::services::Service;
use crate::storm::amount;
use plan::plan;
use report::Report;
use strike::Instance;
use subscribers::Subscribers;
use world::World;

/// How many seconds of faults are planned, the seed they follow from, and the variables that say otherwise.
const SECONDS: (u32, &str) = (20, "CLICKWIRE_CHAOS_SECONDS");
const SEED: (u32, &str) = (1, "CLICKWIRE_CHAOS_SEED");

/// Where endpoints are made.
const API: Instance = Instance { service: Service::Api, number: 0 };

/// The variable that names kinds of faults, separated by commas, when there are to be no others.
const FAULTS: &str = "CLICKWIRE_CHAOS_FAULTS";

/// The variable that names the file that the report is written to, as JSON.
const REPORT: &str = "CLICKWIRE_CHAOS_REPORT";

/// Says how to run it again when it fails.
struct Again {
    seconds: u32,
    seed: u32,
    faults: String,
}

impl Drop for Again {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seconds, seed, faults } = self;
            let minutes = seconds.div_ceil(60);
            let only = if faults.is_empty() { String::new() } else { format!(" --faults '{faults}'") };
            eprintln!(
                "failed with seed {seed} over {seconds} s of faults; again: \
                 scripts/chaos run --minutes {minutes} --seed {seed}{only}"
            );
        }
    }
}

#[tokio::test]
async fn whatever_fails_each_click_is_recorded_once_and_told_to_every_subscriber() {
    let (seconds, seed) = (amount(SECONDS), amount(SEED));
    let named = std::env::var(FAULTS).unwrap_or_default();
    let _again = Again { seconds, seed, faults: named.clone() };
    let only: Vec<&str> = named.split(',').map(str::trim).filter(|kind| !kind.is_empty()).collect();
    let faults = plan(seed.into(), Duration::from_secs(seconds.into()), &only);
    let mut world = World::start().await;
    // an endpoint is owed what was clicked after it was made, by the clock of the redirect: none is newer than a clock that is
    // behind will say
    world.set_clock(API, -2 * plan::STEP_MAX);
    let mut subscribers = Subscribers::start(&world.stack).await;
    world.set_clock(API, 0);
    let visitors = world.visitors().await;
    let (stop, began) = (CancellationToken::new(), Instant::now());

    let suffer = async {
        let mut suffered = Vec::new();
        for (number, fault) in faults.iter().enumerate() {
            let one = world.suffer(fault).await;
            let seconds = began.elapsed().as_secs();
            let (number, recovery) = (number + 1, one.recovery.as_secs_f64());
            eprintln!(
                "{seconds} s, fault {number} of {}: {fault}; ready {recovery:.1} s after",
                faults.len()
            );
            suffered.push(one);
        }
        stop.cancel();
        suffered
    };
    let (suffered, clicks, ()) =
        tokio::join!(suffer, visitors.click_until(&stop), subscribers.behave_until(&stop));

    let doubled = verdict::assert_all_kept(&world, &clicks, &mut subscribers).await;
    let report = Report {
        seed,
        seconds,
        clicks_made: clicks.made as usize,
        clicks_redirected: clicks.redirected.len(),
        in_vain: clicks.in_vain,
        suffered,
        doubled,
        resident_max: std::mem::take(&mut world.resident_max),
    };
    report.tell();
    if let Some(path) = std::env::var_os(REPORT) {
        report.write(Path::new(&path));
    }
}
