//! A `record` that runs, and looks at what it keeps.

use std::time::Duration;

use bus::{Bus, Message};
use model::{Click, ClickId, EnrichedClick, EventId, WorkspaceId};
use record::{App, Metrics, Recorder, Settings};
use service::ops::Ops;
use store::Pool;
use store::click_log::{self, ClickFilter, RecordedClick};
use testkit::given;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Generous: it only ends tests that fail.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The service, running until it is stopped.
pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
    pub ops: Ops,
}

impl Running {
    pub async fn start(nats: bus::Settings, database: store::Settings) -> Self {
        let ops = Ops::new();
        let app = App::build_with(settings(nats, database), ops.clone()).await.unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(app.run(stop.clone()));
        Self { stop, task, ops }
    }

    /// Stops it and waits until it has drained.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.task.await.unwrap()
    }

    /// Waits until it ends by itself.
    pub async fn ended(self) -> anyhow::Result<()> {
        tokio::time::timeout(LIMIT, self.task).await.unwrap().unwrap()
    }
}

pub fn settings(nats: bus::Settings, database: store::Settings) -> Settings {
    let variables = [
        ("CLICKWIRE__RECORD__OPS_ADDR", "127.0.0.1:0"),
        ("CLICKWIRE__RECORD__RETRY_DELAY", "100ms"),
        ("CLICKWIRE__RECORD__OUTBOX_POLL", "50ms"),
        ("CLICKWIRE__RECORD__PARTITIONS_DAYS_AHEAD", "1"),
        ("CLICKWIRE__RECORD__ROLLUP_PAUSE", "100ms"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings: Settings = service::settings::load_from(Settings::DEFAULTS, None, variables).unwrap();
    Settings { nats, database, ..settings }
}

/// A recorder whose broker is away.
pub async fn recorder(pool: Pool) -> Recorder {
    let nats = testkit::defaults(bus::DEFAULTS, "nats");
    let nats = bus::Settings { url: "nats://127.0.0.1:9".to_owned(), ..nats };
    recorder_on(pool, Bus::connect(&nats, "record").await.unwrap())
}

pub fn recorder_on(pool: Pool, bus: Bus) -> Recorder {
    Recorder::new(pool, bus, Duration::from_millis(100), Metrics::register(&Default::default()).unwrap())
}

/// A click of this workspace that nobody has made before.
pub fn click(workspace_id: WorkspaceId) -> EnrichedClick {
    let sample = given::enriched_click();
    let id = ClickId::generate();
    EnrichedClick {
        event_id: EventId::of_click(id, 0),
        click: Click { id, workspace_id, ..sample.click },
        ..sample
    }
}

/// The click as it is told of again, with something learned.
pub fn amended(click: &EnrichedClick, revision: u32, city: &str) -> EnrichedClick {
    let mut amended = click.clone();
    amended.event_id = EventId::of_click(click.click.id, revision);
    amended.location.city = Some(city.to_owned());
    amended
}

/// Publishes until the stream has all of them.
pub async fn publish(bus: &Bus, clicks: &[EnrichedClick]) {
    let mut left: Vec<_> = clicks.iter().map(Message::outgoing).collect();
    while !left.is_empty() {
        let results = bus.publisher().publish_all(left.clone()).await;
        let mut results = results.into_iter();
        left.retain(|_| results.next().is_some_and(|result| result.is_err()));
    }
}

pub async fn recorded(pool: &Pool, workspace_id: WorkspaceId) -> Vec<RecordedClick> {
    let Ok(mut conn) = pool.get().await else { return Vec::new() };
    click_log::list(&mut conn, workspace_id, &ClickFilter::default(), None, 100_000).await.unwrap_or_default()
}

/// Something to wait for.
pub fn when(condition: bool) -> Option<()> {
    condition.then_some(())
}
