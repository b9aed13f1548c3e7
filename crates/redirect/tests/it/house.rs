//! What every test begins with: a workspace with a domain, and a redirect in front of it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bus::Message;
use chrono::Utc;
use model::link::LinkLabels;
use model::{Click, DestinationUrl, LinkId, Orphan, SlugCase, TypedSlug, WorkspaceId};
use redirect::{App, Settings};
use service::ops::Ops;
use store::domains::{self, Domain};
use store::link_import::NewLink;
use store::links::LinkOptions;
use store::{AsyncConnection as _, QueryError};
use testkit::{ScratchDir, TestDatabase, TestNats, until};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::Browser;

pub const LIMIT: Duration = Duration::from_secs(30);

pub struct House {
    pub nats: TestNats,
    pub workspace_id: WorkspaceId,
    pub domain: Domain,
    pub spool_dir: ScratchDir,
    pub database: store::Settings,
    pub pool: store::Pool,
    _database: Option<TestDatabase>,
}

/// A redirect that answers.
pub struct Running {
    pub addr: SocketAddr,
    ops: Ops,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

/// A link to https://example.com/offer.
pub fn options() -> LinkOptions {
    LinkOptions {
        labels: LinkLabels { contact_id: Some("cont_9".into()), ..LinkLabels::default() },
        ..LinkOptions::to("https://example.com/offer?utm_source=sms".parse().expect("a URL"))
    }
}

impl House {
    pub async fn new() -> Self {
        let database = TestDatabase::new().await;
        let house = Self::with(database.settings()).await;
        Self { _database: Some(database), ..house }
    }

    /// In a database of the test's own.
    pub async fn with(database: store::Settings) -> Self {
        let nats = TestNats::start().await;
        let pool = store::Pool::connect(&database).expect("the URL is ours");
        let mut conn = pool.get().await.expect("the database runs");
        let workspace_id = testkit::given::workspace(&mut conn).await;
        let domain = testkit::given::domain(&mut conn, workspace_id, "go.example.com").await;
        drop(conn);
        let spool_dir = ScratchDir::new("spool");
        Self { nats, workspace_id, domain, spool_dir, database, pool, _database: None }
    }

    pub async fn link(&self, slug: &str, options: LinkOptions) -> LinkId {
        self.link_under(self.workspace_id, &self.domain, slug, options).await
    }

    async fn link_under(
        &self,
        workspace_id: WorkspaceId,
        domain: &Domain,
        slug: &str,
        options: LinkOptions,
    ) -> LinkId {
        let id = LinkId::generate();
        let mut conn = self.pool.get().await.expect("the database runs");
        let slug = slug.parse::<TypedSlug>().expect("a slug");
        let found =
            domains::find(&mut conn, workspace_id, domain.id).await.expect("no error").expect("a domain");
        let slug = slug.of(found.slug_case);
        store::links::insert(
            &mut conn,
            workspace_id,
            &NewLink { id, domain_id: domain.id, slug, options: &options, created_by: "test" },
            Utc::now(),
        )
        .await
        .expect("inserted");
        id
    }

    /// Has the domain tell capital letters apart; it has no links yet.
    pub async fn make_sensitive(&self) {
        let mut conn = self.pool.get().await.expect("the database runs");
        let (workspace_id, id) = (self.workspace_id, self.domain.id);
        let done = conn
            .transaction::<_, QueryError, _>(async |conn| {
                domains::set_slug_case(conn, workspace_id, id, SlugCase::Sensitive).await
            })
            .await;
        assert_eq!(done.expect("no error"), domains::Recasing::Done);
    }

    /// Another workspace, with a domain and one link.
    pub async fn stranger(&self, host: &str, slug: &str) {
        let mut conn = self.pool.get().await.expect("the database runs");
        let workspace_id = testkit::given::workspace(&mut conn).await;
        let domain = testkit::given::domain(&mut conn, workspace_id, host).await;
        drop(conn);
        self.link_under(workspace_id, &domain, slug, options()).await;
    }

    /// Another domain of the workspace, with one link.
    pub async fn domain_of_its_own(&self, host: &str, slug: &str) {
        let mut conn = self.pool.get().await.expect("the database runs");
        let domain = testkit::given::domain(&mut conn, self.workspace_id, host).await;
        drop(conn);
        self.link_under(self.workspace_id, &domain, slug, options()).await;
    }

    pub async fn archive(&self, id: LinkId) {
        let mut conn = self.pool.get().await.expect("the database runs");
        store::links::archive(&mut conn, self.workspace_id, id, Utc::now()).await.expect("archived");
    }

    pub async fn edit(&self, id: LinkId, options: LinkOptions) {
        let mut conn = self.pool.get().await.expect("the database runs");
        store::links::update(&mut conn, self.workspace_id, id, &options, Utc::now()).await.expect("updated");
    }

    pub async fn decide(&self, decided: store::settings::LinkSettings) {
        let mut conn = self.pool.get().await.expect("the database runs");
        store::settings::save(&mut conn, self.workspace_id, &decided, Utc::now()).await.expect("saved");
    }

    /// Where visitors go whom no link of the domain leads anywhere.
    pub async fn fall_back_to(&self, url: Option<&DestinationUrl>) {
        let mut conn = self.pool.get().await.expect("the database runs");
        let (workspace_id, id) = (self.workspace_id, self.domain.id);
        assert!(domains::set_fallback(&mut conn, workspace_id, id, url).await.expect("saved"));
    }

    pub fn settings(&self) -> Settings {
        let dir = self.spool_dir.path().join("spool");
        let variables = [
            ("CLICKWIRE__REDIRECT__ADDR", "127.0.0.1:0"),
            ("CLICKWIRE__REDIRECT__OPS_ADDR", "127.0.0.1:0"),
            ("CLICKWIRE__REDIRECT__WORKERS", "2"),
            ("CLICKWIRE__REDIRECT__SPOOL__DIR", dir.to_str().expect("text")),
            ("CLICKWIRE__LINKS__PUBLIC_URL", "https://go.example.com"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = service::settings::load_from(Settings::DEFAULTS, None, variables).expect("settings");
        Settings { nats: self.nats.settings(), database: self.database.clone(), ..settings }
    }

    pub async fn start(&self) -> Running {
        Running::start(self.settings()).await
    }

    /// The files in the spool with this extension, oldest first.
    pub fn spool_files(&self, extension: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.settings().redirect.spool.dir).expect("the spool");
        let entries = entries.map(|entry| entry.expect("an entry").path());
        let mut files: Vec<_> =
            entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
        files.sort();
        files
    }

    /// The clicks that CLICKS holds, oldest first.
    pub async fn clicks(&self) -> Vec<Click> {
        let messages = self.nats.messages("CLICKS").await;
        let clicks = messages.iter().filter(|(subject, _)| subject.starts_with("clickwire.clicks.raw."));
        clicks.map(|(_, payload)| Click::decode(payload).expect("a click")).collect()
    }

    /// Waits until CLICKS holds as many visits that led nowhere; their subjects, too.
    pub async fn orphans_when(&self, count: usize) -> Vec<(String, Orphan)> {
        until(LIMIT, async || {
            let messages = self.nats.messages("CLICKS").await;
            let orphans =
                messages.iter().filter(|(subject, _)| subject.starts_with("clickwire.clicks.orphan."));
            let orphans: Vec<_> = orphans
                .map(|(subject, payload)| (subject.clone(), Orphan::decode(payload).expect("an orphan")))
                .collect();
            (orphans.len() >= count).then_some(orphans)
        })
        .await
    }

    /// Waits until CLICKS holds as many clicks, and checks that none is there twice.
    pub async fn clicks_when(&self, count: usize) -> Vec<Click> {
        let clicks = until(LIMIT, async || {
            let clicks = self.clicks().await;
            (clicks.len() >= count).then_some(clicks)
        })
        .await;
        let mut ids: Vec<_> = clicks.iter().map(|click| click.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), clicks.len(), "a click stands on the stream twice");
        clicks
    }
}

impl Running {
    pub async fn start(settings: Settings) -> Self {
        let ops = Ops::new();
        let app = App::build_with(settings, ops.clone()).await.expect("the redirect starts");
        let addr = app.addr();
        let stop = CancellationToken::new();
        let task = tokio::spawn(app.run(stop.clone()));
        Self { addr, ops, stop, task }
    }

    /// The value of a counter `clickwire_redirect_{name}_total` whose one label has this value.
    pub fn count(&self, name: &str, label: &str) -> u64 {
        let name = format!("clickwire_redirect_{name}_total");
        let family = self.ops.registry().gather().into_iter().find(|family| family.name() == name);
        let family = family.expect("it is registered");
        let metric = family.get_metric().iter().find(|metric| metric.get_label()[0].value() == label);
        metric.map_or(0, |metric| metric.get_counter().get_value() as u64)
    }

    /// The value of a metric `clickwire_redirect_{rest}` without a label.
    pub fn metric(&self, rest: &str) -> f64 {
        let name = format!("clickwire_redirect_{rest}");
        let families = self.ops.registry().gather();
        let family = families.into_iter().find(|family| family.name() == name).expect("a metric");
        let metric = &family.get_metric()[0];
        metric.get_counter().get_value() + metric.get_gauge().get_value()
    }

    /// Waits until the redirect follows the notices of changes: each of their two subjects has what was met before looked up once
    /// more when it is first followed, and no notice is missed from there on.
    pub async fn follows_changes(&self) {
        self.metric_is("refreshes_total", 2.0).await;
    }

    pub async fn metric_is(&self, rest: &str, value: f64) {
        until(LIMIT, async || (self.metric(rest) == value).then_some(())).await;
    }

    pub fn is_ready(&self) -> bool {
        self.ops.readiness().ready
    }

    /// What a readiness check complains of.
    pub fn complaint(&self, check: &str) -> Option<String> {
        let checks = self.ops.readiness().checks;
        checks.into_iter().find(|found| found.name == check).expect("a check").error
    }

    /// Follows link `abc` so many times, on one connection.
    pub async fn click(&self, count: usize) {
        let mut browser = Browser::connect(self.addr).await.expect("the redirect listens");
        for _ in 0..count {
            assert_eq!(browser.send("GET", "/abc", &[]).await.expect("an answer").status, 302);
        }
    }

    /// Stops it in order.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic").expect("a clean end");
    }
}
