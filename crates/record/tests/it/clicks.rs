//! Each click is one row.

use bus::{ConsumerName, Handler, Message, Verdict, Verdicts};
use model::link::LinkKind;
use model::{EnrichedClick, WorkspaceId};
use testkit::{TestDatabase, TestNats, until};

use crate::support::{LIMIT, Running, amended, click, publish, recorded, recorder, when};

#[tokio::test]
async fn clicks_on_the_stream_become_rows_that_hold_the_message() {
    let (nats, database) = (TestNats::start().await, TestDatabase::new().await);
    let bus = nats.bus("enrich").await;
    let workspace_id = WorkspaceId::generate();
    let clicks: Vec<_> = (0..300).map(|_| click(workspace_id)).collect();
    let running = Running::start(nats.settings(), database.settings()).await;

    publish(&bus, &clicks).await;
    until(LIMIT, async || when(recorded(&database.pool(), workspace_id).await.len() == 300)).await;

    let first = recorded(&database.pool(), workspace_id).await.pop().unwrap();
    let told = clicks.iter().find(|click| click.click.id == first.id).unwrap();
    assert_eq!(EnrichedClick::decode(&first.event).unwrap(), *told);
    until(LIMIT, async || when(bus.pending(ConsumerName::Record).await.ok() == Some(0))).await;
    until(LIMIT, async || when(running.ops.readiness().ready)).await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_batch_with_duplicates_is_recorded_once() {
    let database = TestDatabase::new().await;
    let workspace_id = WorkspaceId::generate();
    let (one, other) = (click(workspace_id), click(workspace_id));

    let verdicts =
        recorder(database.pool()).await.handle(&[one.clone(), other.clone(), one.clone(), other, one]).await;

    assert_eq!(verdicts, Verdicts::all(Verdict::Done));
    assert_eq!(recorded(&database.pool(), workspace_id).await.len(), 2);
}

#[tokio::test]
async fn a_redelivered_click_changes_nothing() {
    let database = TestDatabase::new().await;
    let workspace_id = WorkspaceId::generate();
    let click = click(workspace_id);
    let recorder = recorder(database.pool()).await;
    recorder.handle(std::slice::from_ref(&click)).await;
    let before = recorded(&database.pool(), workspace_id).await;

    recorder.handle(&[click.clone(), click]).await;

    assert_eq!(recorded(&database.pool(), workspace_id).await, before);
}

#[tokio::test]
async fn of_several_revisions_the_highest_stays_in_whatever_order_they_come() {
    let database = TestDatabase::new().await;
    let workspace_id = WorkspaceId::generate();
    let original = click(workspace_id);
    let (first, second) = (amended(&original, 1, "Linköping"), amended(&original, 2, "Norrköping"));
    let recorder = recorder(database.pool()).await;

    for batch in [vec![original.clone()], vec![second.clone(), first.clone()], vec![first, original]] {
        assert_eq!(recorder.handle(&batch).await, Verdicts::all(Verdict::Done));
    }

    let rows = recorded(&database.pool(), workspace_id).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(EnrichedClick::decode(&rows[0].event).unwrap(), second);
}

#[tokio::test]
async fn a_click_keeps_the_sequence_and_the_kind_of_its_link() {
    let database = TestDatabase::new().await;
    let workspace_id = WorkspaceId::generate();
    let mut sent = click(workspace_id);
    sent.click.link.kind = LinkKind::Message;
    sent.click.link.labels.sequence_id = Some("seq_5".into());
    sent.click.link.labels.step_id = Some("step_2".into());

    assert_eq!(recorder(database.pool()).await.handle(&[sent]).await, Verdicts::all(Verdict::Done));

    let clicks = recorded(&database.pool(), workspace_id).await;
    let of = &clicks[0].link;
    let told = (of.kind.as_deref(), of.sequence_id.as_deref(), of.step_id.as_deref());
    assert_eq!(told, (Some("message"), Some("seq_5"), Some("step_2")));
}

#[tokio::test]
async fn a_sample_is_nobodys_click() {
    let database = TestDatabase::new().await;
    let workspace_id = WorkspaceId::generate();
    let sample = EnrichedClick { test: true, ..click(workspace_id) };

    let verdicts = recorder(database.pool()).await.handle(&[sample]).await;

    assert_eq!(verdicts, Verdicts::all(Verdict::Done));
    assert!(recorded(&database.pool(), workspace_id).await.is_empty());
}

#[tokio::test]
async fn a_label_that_postgresql_could_not_hold_does_not_stop_a_batch() {
    let database = TestDatabase::new().await;
    let workspace_id = WorkspaceId::generate();
    let mut odd = click(workspace_id);
    odd.click.link.labels.campaign_id = Some("nul\0nul".into());
    odd.click.clicked_at = chrono::DateTime::<chrono::Utc>::MIN_UTC;

    let verdicts = recorder(database.pool()).await.handle(&[odd, click(workspace_id)]).await;

    assert_eq!(verdicts, Verdicts::all(Verdict::Done));
    assert_eq!(recorded(&database.pool(), workspace_id).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_record_the_same_clicks_at_once_do_not_wait_for_each_other_in_a_circle() {
    let database = TestDatabase::new().await;
    let workspace_id = WorkspaceId::generate();
    let clicks: Vec<_> = (0..200).map(|_| click(workspace_id)).collect();
    let backwards: Vec<_> = clicks.iter().rev().map(|click| amended(click, 1, "Linköping")).collect();
    let recorder = recorder(database.pool()).await;

    for _ in 0..10 {
        let (one, other) = tokio::join!(recorder.handle(&clicks), recorder.handle(&backwards));
        assert_eq!((one, other), (Verdicts::all(Verdict::Done), Verdicts::all(Verdict::Done)));
    }

    assert_eq!(recorded(&database.pool(), workspace_id).await.len(), 200);
}
