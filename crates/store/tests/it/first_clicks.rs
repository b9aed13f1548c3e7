//! Places among first clicks: those that nobody can ask for any more are forgotten.

use std::collections::BTreeSet;

use chrono::{TimeDelta, Utc};
use diesel_async::SimpleAsyncConnection;
use model::automation::Verdict;
use model::link::LinkKind;
use model::{Click, ClickId, LinkId};
use store::first_clicks::{self, Claim};
use store::links::LinkOptions;
use store::{erasures, occurrences};
use testkit::{TestDatabase, given};

fn of_contact(contact: &str) -> Click {
    let mut click = given::click();
    click.link.kind = LinkKind::Message;
    click.link.labels.contact_id = Some(contact.to_owned());
    click.is_anonymous = false;
    click
}

#[test]
fn a_visitor_is_known_by_the_contact_whose_message_the_link_was_in() {
    assert_eq!(first_clicks::contact(&of_contact("cont_9")), Some("cont_9"));

    let mut passed_on = of_contact("cont_9");
    passed_on.link.kind = LinkKind::Shareable;
    let anonymous = Click { is_anonymous: true, ..of_contact("cont_9") };
    for unknown in [&passed_on, &anonymous] {
        assert_eq!(first_clicks::contact(unknown), None);
    }
    for unkept in ["a\0b".to_owned(), String::new(), "x".repeat(4000)] {
        assert_eq!(first_clicks::contact(&of_contact(&unkept)), None);
    }
}

#[tokio::test]
async fn a_click_that_turns_out_to_be_a_persons_is_first_if_no_other_is() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let told = |contact: &str, verdict| {
        let mut click = given::enriched_click();
        click.click = Click { workspace_id, ..of_contact(contact) };
        click.automation.verdict = verdict;
        click
    };
    let (first, machine) = (told("cont_1", Verdict::Human), told("cont_1", Verdict::Automated));
    let mut second = told("cont_1", Verdict::Unknown);
    second.click.id = ClickId::generate();
    second.click.link.id = first.click.link.id;
    let mut passed_on = told("cont_1", Verdict::Human);
    passed_on.click.link.kind = LinkKind::Shareable;
    let erased = told("cont_of_the_test", Verdict::Human);
    erasures::begin(&mut conn, workspace_id, "cont_of_the_test", "test", Utc::now()).await.unwrap();

    let mut answers = Vec::new();
    for click in [&first, &first, &second, &machine, &passed_on, &erased] {
        answers.push(first_clicks::claim_late(&mut conn, click).await.unwrap());
    }

    assert_eq!(answers, [Some(true), Some(true), Some(false), None, None, None]);
    let traces = occurrences::tables(&mut conn, b"cont_of_the_test").await.unwrap();
    assert_eq!(traces, Vec::<String>::new());
}

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
