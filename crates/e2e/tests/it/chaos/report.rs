//! What a run has shown: how long it took after each kind of fault until all was well, and which faults kept
//! clicks from their redirect and made deliveries come again. Pure, but for the file that a program may read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::strike::{Instance, Strike};
use super::subscribers::Doubled;
use super::visitors::Waited;

/// The kind of a fault that is two things at once: how long each of them took is not known.
const TWO_AT_ONCE: &str = "two at once";

/// The cause of what happened although nothing failed meanwhile: an answer that took too long, mostly.
const NO_FAULT: &str = "no fault near";

/// A fault that is over.
pub struct Suffered {
    pub strikes: Vec<Strike>,
    pub began_at: DateTime<Utc>,
    /// When all was ready again.
    pub ready_at: DateTime<Utc>,
    /// How long that took from the end of the fault.
    pub recovery: Duration,
}

/// What there is to say of a run that lost nothing.
pub struct Report {
    pub seed: u32,
    pub seconds: u32,
    pub clicks_made: usize,
    pub clicks_redirected: usize,
    /// When visitors waited who got no redirect.
    pub in_vain: Vec<Waited>,
    pub suffered: Vec<Suffered>,
    pub doubled: Vec<Doubled>,
    /// The most bytes of memory that each process had resident.
    pub resident_max: BTreeMap<Instance, u64>,
}

/// How long it took after faults of one kind.
struct Recovery {
    faults: usize,
    median: Duration,
    longest: Duration,
}

impl Suffered {
    fn kind(&self) -> &'static str {
        match self.strikes.as_slice() {
            [only] => only.kind(),
            _ => TWO_AT_ONCE,
        }
    }
}

impl Report {
    /// Prints it for people.
    pub fn tell(&self) {
        eprintln!("until all was ready after the end of a fault, in seconds:");
        for (kind, recovery) in self.recoveries() {
            let (median, longest) = (recovery.median.as_secs_f64(), recovery.longest.as_secs_f64());
            eprintln!("  {kind}: median {median:.1}, at most {longest:.1}, of {}", recovery.faults);
        }
        eprintln!("clicks that got no redirect, by what failed meanwhile:");
        for (cause, number) in self.in_vain_by_cause() {
            eprintln!("  {cause}: {number}");
        }
        eprintln!("deliveries that came again after 200, by what failed between:");
        for (cause, number) in self.doubled_by_cause() {
            eprintln!("  {cause}: {number}");
        }
        eprintln!(
            "seed {}: {} clicks redirected of {} made, {} faults with {} kills, {} deliveries doubled, none lost",
            self.seed,
            self.clicks_redirected,
            self.clicks_made,
            self.suffered.len(),
            self.kills(),
            self.doubled.len(),
        );
    }

    /// Writes it for programs, as JSON.
    pub fn write(&self, path: &Path) {
        let text = format!("{:#}\n", self.json());
        fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    fn json(&self) -> Value {
        let recoveries = self.recoveries().into_iter().map(|(kind, recovery)| {
            let (median, longest) = (recovery.median.as_secs_f64(), recovery.longest.as_secs_f64());
            (kind.to_owned(), json!({"faults": recovery.faults, "median": median, "max": longest}))
        });
        let doubled = self.doubled.iter().map(|doubled| {
            json!({
                "webhook_id": doubled.webhook_id,
                "accepted_at": doubled.between.since.to_rfc3339(),
                "again_at": doubled.between.until.to_rfc3339(),
                "cause": self.cause(doubled.between),
            })
        });
        let resident = self.resident_max.iter().map(|(instance, bytes)| (instance.to_string(), json!(bytes)));
        json!({
            "seed": self.seed,
            "seconds": self.seconds,
            "clicks": {"made": self.clicks_made, "redirected": self.clicks_redirected},
            "faults": self.suffered.len(),
            "strikes": self.strikes_by_kind(),
            "kills": self.kills(),
            "recovery_seconds": recoveries.collect::<serde_json::Map<String, Value>>(),
            "not_redirected_by_cause": self.in_vain_by_cause(),
            "doubled_by_cause": self.doubled_by_cause(),
            "doubled": doubled.collect::<Vec<Value>>(),
            "resident_bytes_max": resident.collect::<serde_json::Map<String, Value>>(),
        })
    }

    fn strikes(&self) -> impl Iterator<Item = Strike> {
        self.suffered.iter().flat_map(|suffered| suffered.strikes.iter().copied())
    }

    fn kills(&self) -> usize {
        self.strikes().map(Strike::kills).sum()
    }

    fn strikes_by_kind(&self) -> BTreeMap<&'static str, usize> {
        let mut by_kind = BTreeMap::new();
        for strike in self.strikes() {
            *by_kind.entry(strike.kind()).or_default() += 1;
        }
        by_kind
    }

    fn recoveries(&self) -> BTreeMap<&'static str, Recovery> {
        let mut by_kind: BTreeMap<&'static str, Vec<Duration>> = BTreeMap::new();
        for suffered in &self.suffered {
            by_kind.entry(suffered.kind()).or_default().push(suffered.recovery);
        }
        let summary = |mut all: Vec<Duration>| {
            all.sort_unstable();
            Recovery { faults: all.len(), median: all[all.len() / 2], longest: all[all.len() - 1] }
        };
        by_kind.into_iter().map(|(kind, all)| (kind, summary(all))).collect()
    }

    fn in_vain_by_cause(&self) -> BTreeMap<String, usize> {
        self.by_cause(self.in_vain.iter().copied())
    }

    fn doubled_by_cause(&self) -> BTreeMap<String, usize> {
        self.by_cause(self.doubled.iter().map(|doubled| doubled.between))
    }

    fn by_cause(&self, times: impl Iterator<Item = Waited>) -> BTreeMap<String, usize> {
        let mut by_cause = BTreeMap::new();
        for time in times {
            *by_cause.entry(self.cause(time)).or_default() += 1;
        }
        by_cause
    }

    /// Everything that failed, or had not recovered, in that time.
    fn cause(&self, time: Waited) -> String {
        let meanwhile = self
            .suffered
            .iter()
            .filter(|suffered| suffered.began_at <= time.until && time.since <= suffered.ready_at);
        let kinds: BTreeSet<&str> =
            meanwhile.flat_map(|suffered| suffered.strikes.iter()).map(|strike| strike.kind()).collect();
        if kinds.is_empty() {
            return NO_FAULT.to_owned();
        }
        kinds.into_iter().collect::<Vec<_>>().join(" + ")
    }
}

#[test]
fn what_came_again_is_put_down_to_what_failed_between() {
    let at = |seconds| DateTime::from_timestamp(seconds, 0).expect("a moment");
    let suffered = |strikes: &[Strike], began, ready| Suffered {
        strikes: strikes.to_vec(),
        began_at: at(began),
        ready_at: at(ready),
        recovery: Duration::from_secs(1),
    };
    let doubled = |accepted, again| Doubled {
        webhook_id: "evt".to_owned(),
        between: Waited { since: at(accepted), until: at(again) },
    };
    let redirect = Instance::all()[0];
    let report = Report {
        seed: 1,
        seconds: 60,
        clicks_made: 10,
        clicks_redirected: 9,
        in_vain: vec![Waited { since: at(19), until: at(22) }],
        suffered: vec![
            suffered(&[Strike::Kill(redirect)], 10, 20),
            suffered(&[Strike::KillBroker, Strike::Freeze(redirect)], 30, 40),
        ],
        doubled: vec![doubled(5, 9), doubled(5, 12), doubled(15, 16), doubled(15, 30), doubled(21, 29)],
        resident_max: BTreeMap::from([(redirect, 7)]),
    };

    let told = report.json();

    assert_eq!(report.kills(), 4);
    assert_eq!(told["not_redirected_by_cause"], json!({"process killed": 1}));
    assert_eq!(told["doubled_by_cause"]["process killed"], 2);
    assert_eq!(told["doubled_by_cause"]["no fault near"], 2);
    let all = "all nodes of NATS killed + process frozen + process killed";
    assert_eq!(told["doubled_by_cause"][all], 1);
    assert_eq!(told["doubled"][3]["cause"], all);
    assert_eq!(told["recovery_seconds"]["two at once"]["max"], 1.0);
    assert_eq!(told["strikes"]["process frozen"], 1);
    assert_eq!(told["resident_bytes_max"][redirect.to_string()], 7);
}
