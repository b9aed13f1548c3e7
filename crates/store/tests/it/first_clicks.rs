//! Places among first clicks: those that nobody can ask for any more are forgotten.

use std::collections::BTreeSet;

use chrono::{TimeDelta, Utc};
use diesel_async::SimpleAsyncConnection;
use model::link::LinkKind;
use model::{ClickId, LinkId};
use store::first_clicks::{self, Claim};
use store::links::LinkOptions;
use store::occurrences;
use testkit::{TestDatabase, given};

#[tokio::test]
async fn hashes_are_forgotten_when_their_salt_is_gone_and_contacts_that_look_like_one_are_not() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let domain = given::domain(&mut conn, workspace_id, "go.example.com").await;
    let mut options = LinkOptions::to("https://example.com/".parse().unwrap());
    options.kind = LinkKind::Message;
    options.labels.contact_id = Some("cont_1".to_owned());
    let message_link = given::link(&mut conn, workspace_id, domain.id, "message", &options).await;
    let now = Utc::now();
    let click = |hours| ClickId::generate_at(now - TimeDelta::hours(hours));
    let visitors: Vec<String> = (1..=5).map(|number| format!("{number:032x}")).collect();

    let claim = |index: usize, hours, contact_of| Claim {
        link_id: message_link,
        visitor: &visitors[index],
        click_id: click(hours),
        contact_of,
    };
    let claims = [claim(0, 49, None), claim(1, 47, None), claim(2, 49, Some(workspace_id))];
    first_clicks::claim(&mut conn, &claims, &BTreeSet::new()).await.unwrap();
    // as the release before took them: a link for everybody has visitors without a contact only
    let before = format!(
        "INSERT INTO first_clicks (link_id, visitor, click_id)
         VALUES ('{}', '{}', '{old}'), ('{}', '{}', '{old}')",
        LinkId::generate().uuid(),
        visitors[3],
        message_link.uuid(),
        visitors[4],
        old = click(49).uuid(),
    );
    conn.batch_execute(&before).await.unwrap();

    let forgotten = first_clicks::forget_hashes(&mut conn, now, 0).await.unwrap();

    assert_eq!((forgotten.rows, forgotten.next), (2, None));
    let mut kept = Vec::new();
    for (index, visitor) in visitors.iter().enumerate() {
        if !occurrences::tables(&mut conn, visitor.as_bytes()).await.unwrap().is_empty() {
            kept.push(index);
        }
    }
    assert_eq!(kept, [1, 2, 4]);
}
