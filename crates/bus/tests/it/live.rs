//! ENRICHED is followed from any place on, by each reader for itself.

use bus::{Bus, EnrichedTail, Message as _, Stored};
use model::{ClickId, EnrichedClick, EventId, WorkspaceId};
use testkit::{TestNats, given};

fn click(workspace_id: WorkspaceId) -> EnrichedClick {
    let mut click = given::enriched_click();
    click.click.id = ClickId::generate();
    click.click.workspace_id = workspace_id;
    click.event_id = EventId::of_click(click.click.id, 0);
    click
}

async fn publish(bus: &Bus, clicks: &[EnrichedClick]) {
    for click in clicks {
        bus.publisher().publish(click.outgoing()).await.unwrap();
    }
}

async fn next(tail: &mut EnrichedTail, count: usize) -> Vec<Stored> {
    let mut found = Vec::new();
    while found.len() < count {
        found.extend(tail.next().await.unwrap());
    }
    found
}

#[tokio::test]
async fn what_comes_after_a_place_is_followed_and_what_was_before_is_read_again() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    let (own, other) = (WorkspaceId::generate(), WorkspaceId::generate());
    let before = [click(own), click(other), click(own)];
    publish(&bus, &before).await;
    let end = bus.enriched_end().await.unwrap();
    assert_eq!(end, 3);

    let mut tail = bus.follow_enriched(end).await.unwrap();
    let after = [click(other), click(own)];
    publish(&bus, &after).await;

    let found = next(&mut tail, 2).await;
    let sequences: Vec<u64> = found.iter().map(|stored| stored.sequence).collect();
    assert_eq!(sequences, [4, 5]);
    assert_eq!((found[0].workspace_id, found[1].workspace_id), (other, own));
    assert_eq!(EnrichedClick::decode(&found[1].payload).unwrap().click.id, after[1].click.id);

    let reread = bus.enriched_between(own, 1, end, 10).await.unwrap();
    let ids: Vec<ClickId> =
        reread.messages.iter().map(|s| EnrichedClick::decode(&s.payload).unwrap().click.id).collect();
    assert!(reread.is_whole);
    assert_eq!(ids, [before[2].click.id], "nothing of others, nothing later");
    assert!(!bus.enriched_between(own, 0, end, 2).await.unwrap().is_whole, "more than may be");
    assert!(!bus.enriched_between(own, 99, 100, 10).await.unwrap().is_whole, "another stream's place");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_says_when_the_broker_is_away_and_another_goes_on_after_it() {
    let mut nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    let workspace_id = WorkspaceId::generate();
    let mut tail = bus.follow_enriched(0).await.unwrap();
    publish(&bus, &[click(workspace_id)]).await;
    let last = next(&mut tail, 1).await[0].sequence;

    nats.kill().await;
    while tail.next().await.is_ok() {}
    nats.restart().await;
    bus.wait_connected(crate::support::LIMIT).await.unwrap();
    let missed = click(workspace_id);
    crate::support::publish_until_stored(&bus.publisher(), &missed).await;

    let mut again = bus.follow_enriched(last).await.unwrap();
    let found = next(&mut again, 1).await;
    assert_eq!(EnrichedClick::decode(&found[0].payload).unwrap().click.id, missed.click.id);
}
