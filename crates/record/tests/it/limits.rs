//! Links that may have only so many clicks.

use bus::{Change, Changed, Handler, Table, Verdict, Verdicts};
use futures::StreamExt;
use model::automation::Verdict as Who;
use model::{EnrichedClick, WorkspaceId};
use store::Pool;
use store::links::{self, Link, LinkOptions};
use testkit::{TestDatabase, TestNats, given};

use crate::support::{LIMIT, amended, click, recorder, recorder_on};

/// A link of a workspace of its own that may have so many clicks.
async fn link(pool: &Pool, host: &str, max_clicks: Option<u32>) -> (WorkspaceId, Link) {
    let mut conn = pool.get().await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let domain = given::domain(&mut conn, workspace_id, host).await;
    let options = LinkOptions { max_clicks, ..LinkOptions::to("https://example.com/".parse().unwrap()) };
    let id = given::link(&mut conn, workspace_id, domain.id, "sale", &options).await;
    (workspace_id, links::find(&mut conn, workspace_id, id).await.unwrap().unwrap())
}

async fn find(pool: &Pool, workspace_id: WorkspaceId, link: &Link) -> Link {
    let mut conn = pool.get().await.unwrap();
    links::find(&mut conn, workspace_id, link.id).await.unwrap().unwrap()
}

fn click_on(workspace_id: WorkspaceId, link: &Link) -> EnrichedClick {
    let mut click = click(workspace_id);
    click.click.link.id = link.id;
    click
}

fn by(who: Who, mut click: EnrichedClick) -> EnrichedClick {
    click.automation.verdict = who;
    click
}

#[tokio::test]
async fn a_link_is_exhausted_by_people_and_not_by_previews() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let (workspace_id, link) = link(&pool, "a.example", Some(2)).await;
    let recorder = recorder(pool.clone()).await;
    let previews: Vec<_> = (0..5).map(|_| by(Who::Automated, click_on(workspace_id, &link))).collect();

    recorder.handle(&previews).await;
    let after_previews = find(&pool, workspace_id, &link).await;
    recorder.handle(&[by(Who::Unknown, click_on(workspace_id, &link))]).await;
    let after_one = find(&pool, workspace_id, &link).await;
    recorder.handle(&[by(Who::Human, click_on(workspace_id, &link))]).await;
    let after_two = find(&pool, workspace_id, &link).await;

    assert_eq!((after_previews.counted_clicks, after_previews.exhausted_at), (0, None));
    assert_eq!((after_one.counted_clicks, after_one.exhausted_at), (1, None));
    assert_eq!(after_two.counted_clicks, 2);
    assert!(after_two.exhausted_at.is_some());
    assert_eq!(after_two.revision, link.revision, "nobody changed the link");
}

#[tokio::test]
async fn a_click_counts_once_however_often_it_is_told_and_amended() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let (workspace_id, link) = link(&pool, "a.example", Some(100)).await;
    let recorder = recorder(pool.clone()).await;
    let clicks: Vec<_> = (0..3).map(|_| click_on(workspace_id, &link)).collect();
    let amendments: Vec<_> = clicks.iter().map(|click| amended(click, 1, "Linköping")).collect();
    let twice: Vec<_> = clicks.iter().chain(&clicks).cloned().collect();

    for batch in [&clicks, &twice, &amendments, &clicks] {
        assert_eq!(recorder.handle(batch).await, Verdicts::all(Verdict::Done));
    }
    let only_amended = amended(&click_on(workspace_id, &link), 1, "Norrköping");
    recorder.handle(&[only_amended]).await;

    assert_eq!(find(&pool, workspace_id, &link).await.counted_clicks, 4);
}

#[tokio::test]
async fn clicks_that_turn_out_to_be_a_machines_leave_their_places_to_people() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let (workspace_id, link) = link(&pool, "a.example", Some(2)).await;
    let (other_workspace, other) = self::link(&pool, "b.example", Some(2)).await;
    let recorder = recorder(pool.clone()).await;
    let clicks: Vec<_> = (0..2).map(|_| by(Who::Human, click_on(workspace_id, &link))).collect();
    let elsewhere = by(Who::Human, click_on(other_workspace, &other));
    let after = async |batch: &[EnrichedClick]| {
        assert_eq!(recorder.handle(batch).await, Verdicts::all(Verdict::Done));
        let link = find(&pool, workspace_id, &link).await;
        (link.counted_clicks, link.exhausted_at.is_some())
    };
    let gateways: Vec<_> =
        clicks.iter().map(|click| by(Who::Automated, amended(click, 1, "Linköping"))).collect();
    let overruled = by(Who::Human, amended(&clicks[0], 2, "Linköping"));

    assert_eq!(after(&[clicks.clone(), vec![elsewhere.clone()]].concat()).await, (2, true));
    assert_eq!(after(&gateways).await, (0, false));
    // neither told again nor told late does it count again
    assert_eq!(after(&gateways).await, (0, false));
    assert_eq!(after(&clicks).await, (0, false));
    assert_eq!(after(&[by(Who::Human, click_on(workspace_id, &link)), overruled]).await, (2, true));
    assert_eq!(find(&pool, other_workspace, &other).await.counted_clicks, 1);
}

#[tokio::test]
async fn a_link_without_a_most_is_not_counted() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let (workspace_id, link) = link(&pool, "a.example", None).await;

    recorder(pool.clone()).await.handle(&[click_on(workspace_id, &link)]).await;

    let after = find(&pool, workspace_id, &link).await;
    assert_eq!((after.counted_clicks, after.exhausted_at), (0, None));
}

#[tokio::test]
async fn who_follows_links_hears_at_once_that_one_is_exhausted_or_not_any_more_and_only_once() {
    let (database, nats) = (TestDatabase::new().await, TestNats::start().await);
    let pool = database.pool();
    let (workspace_id, link) = link(&pool, "a.example", Some(1)).await;
    let mut changes = nats.bus("redirect").await.changes(Table::Links);
    assert_eq!(changes.next().await, Some(Change::Reconnected));
    let recorder = recorder_on(pool, nats.bus("record").await);

    let last = click_on(workspace_id, &link);
    recorder.handle(std::slice::from_ref(&last)).await;
    let one_more = click_on(workspace_id, &link);
    recorder.handle(std::slice::from_ref(&one_more)).await;
    // one place is free while both turn out to be a machine's, and is told of once
    let gateways = [&last, &one_more].map(|click| by(Who::Automated, amended(click, 1, "Linköping")));
    recorder.handle(&gateways).await;
    let end = Changed { table: Table::Links, workspace_id, keys: vec!["end".into()] };
    nats.bus("test").await.notify(&end).await;

    let mut heard = Vec::new();
    loop {
        let change = tokio::time::timeout(LIMIT, changes.next()).await.unwrap();
        let Some(Change::Row(changed)) = change else { panic!("{change:?}") };
        if changed == end {
            break;
        }
        heard.push(changed);
    }
    let keys = vec!["a.example/sale".to_owned()];
    let told = Changed { table: Table::Links, workspace_id, keys };
    assert_eq!(heard, [told.clone(), told]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_count_for_the_same_links_at_once_count_every_click_and_never_wait_in_a_circle() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let mut all = Vec::new();
    for n in 0..8 {
        all.push(link(&pool, &format!("{n}.example"), Some(1_000_000)).await);
    }
    let recorder = recorder(pool.clone()).await;
    let batch = || -> Vec<EnrichedClick> {
        (0..5).flat_map(|_| all.iter().map(|(workspace_id, link)| click_on(*workspace_id, link))).collect()
    };

    for _ in 0..20 {
        let (one, mut other) = (batch(), batch());
        other.reverse();
        // some clicks are told to both
        other.extend_from_slice(&one[..10]);
        let (first, second) = tokio::join!(recorder.handle(&one), recorder.handle(&other));
        assert_eq!((first, second), (Verdicts::all(Verdict::Done), Verdicts::all(Verdict::Done)));
    }

    for (workspace_id, link) in &all {
        assert_eq!(find(&pool, *workspace_id, link).await.counted_clicks, 200);
    }
}
