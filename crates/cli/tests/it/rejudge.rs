//! Newer rules over recorded clicks.

use bus::Message as _;
use chrono::{TimeDelta, Utc};
use model::automation::{Automation, Verdict};
use model::link::LinkKind;
use model::{ClickId, EnrichedClick, EventId, WorkspaceId};
use store::clicks::{self, NewClick};
use store::first_run::WORKSPACE_NAME;
use store::workspaces;
use testkit::{OwnDatabase, TestNats};

use crate::command::Clickwire;

/// A click that older rules took for a person's.
fn click(workspace_id: WorkspaceId, agent: Option<&str>) -> EnrichedClick {
    let mut click = webhook::payload::sample(workspace_id, Utc::now() - TimeDelta::minutes(2));
    click.click.id = ClickId::generate_at(click.click.clicked_at);
    click.event_id = EventId::of_click(click.click.id, 0);
    click.test = false;
    click.click.request.user_agent = agent.map(str::to_owned);
    if agent.is_none() {
        click.redacted_fields.push("user_agent".to_owned());
    }
    click
}

/// What the command works on.
struct World {
    database: OwnDatabase,
    nats: TestNats,
    clickwire: Clickwire,
    workspace_id: WorkspaceId,
}

impl World {
    async fn start() -> Self {
        let (database, nats) = tokio::join!(OwnDatabase::start_empty(), TestNats::start_empty());
        let clickwire = Clickwire::new()
            .with("CLICKWIRE__DATABASE__URL", database.url())
            .with("CLICKWIRE__NATS__URL", nats.url())
            .with("CLICKWIRE__LINKS__PUBLIC_URL", "https://go.example.com");
        clickwire.ok(&["setup"]).await;
        let mut conn = database.pool().get().await.expect("a connection");
        let workspace = workspaces::find_by_name(&mut conn, WORKSPACE_NAME).await.expect("an answer");
        Self { database, nats, clickwire, workspace_id: workspace.expect("Default").id }
    }
}

async fn record(database: &OwnDatabase, recorded: &[&EnrichedClick]) {
    let mut conn = database.pool().get().await.expect("a connection");
    for click in recorded {
        let event = click.outgoing().payload;
        clicks::record(&mut conn, &[NewClick { click, event: &event }], Utc::now()).await.expect("written");
    }
}

#[tokio::test]
async fn newer_rules_tell_what_they_would_change_and_change_it_when_told_to() {
    let World { database, nats, clickwire, workspace_id } = World::start().await;
    let (machine, person) = (click(workspace_id, Some("curl/8.5.0")), click(workspace_id, Some(PERSON)));
    let mut overruled = click(workspace_id, Some("curl/8.5.0"));
    overruled.automation = Automation::overruled(Verdict::Human);
    record(&database, &[&machine, &person, &overruled, &click(workspace_id, None)]).await;

    let told = clickwire.ok(&["rejudge", "--since", "1h", "--json"]).await.json();

    assert_eq!((&told["judged"], &told["left_out"], &told["amended"]), (&4.into(), &2.into(), &0.into()));
    assert_eq!(told["changes"].to_string(), r#"{"human to automated":1}"#);
    assert_eq!(told["examples"][0]["click_id"], machine.click.id.to_string());
    assert!(nats.messages("ENRICHED").await.is_empty());

    let done = clickwire.ok(&["rejudge", "--since", "1h", "--apply"]).await;

    assert!(done.stdout.contains("human to automated: 1\n"), "{done:?}");
    assert!(done.stdout.ends_with("1 clicks amended.\n"), "{done:?}");
    let [(_, payload)] = &nats.messages("ENRICHED").await[..] else { panic!("one message") };
    let amended = EnrichedClick::decode(payload).expect("a click");
    assert_eq!(amended.event_id, EventId::of_click(machine.click.id, 1));
    assert_eq!(amended.automation.verdict, Verdict::Automated);
    assert_eq!(amended.earlier[0].verdict, Verdict::Human);
    let nothing = clickwire.ok(&["rejudge", "--since", "1h", "--until", "30min"]).await;
    assert!(nothing.stdout.ends_with("No verdict changes.\n"), "{nothing:?}");
}

#[tokio::test]
async fn of_two_clicks_that_turn_out_to_be_a_contacts_the_older_is_its_first() {
    let World { database, nats, clickwire, workspace_id } = World::start().await;
    let [mut later, first] = [1, 2].map(|minutes_ago| {
        let mut click = click(workspace_id, Some(PERSON));
        click.click.clicked_at -= TimeDelta::minutes(minutes_ago - 1);
        click.click.id = ClickId::generate_at(click.click.clicked_at);
        click.event_id = EventId::of_click(click.click.id, 0);
        click.click.link.kind = LinkKind::Message;
        click.automation.verdict = Verdict::Automated;
        click.is_first_click = Some(false);
        click
    });
    later.click.link = first.click.link.clone();
    assert!(store::first_clicks::contact(&first.click).is_some());
    record(&database, &[&later, &first]).await;

    clickwire.ok(&["rejudge", "--since", "1h", "--apply"]).await;

    let told: Vec<_> = nats.messages("ENRICHED").await;
    let told = told.iter().map(|(_, payload)| EnrichedClick::decode(payload).expect("a click"));
    let told: Vec<_> = told.map(|click| (click.click.id, click.is_first_click)).collect();
    assert_eq!(told, [(first.click.id, Some(true)), (later.click.id, Some(false))]);
}

const PERSON: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 \
                      (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1";
