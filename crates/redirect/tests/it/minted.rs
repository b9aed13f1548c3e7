//! Links that senders make themselves, one for each recipient.

use std::collections::BTreeSet;
use std::time::Duration;

use bus::{Changed, MINTING_KEYS, Table};
use chrono::{Days, Utc};
use model::link::LinkKind;
use model::minting::{EndDay, MintingKey, RecipientLink};
use model::{LinkId, MintingKeyId};
use redirect::Settings;
use store::links::LinkOptions;
use store::minting_keys::{self, NewKey};
use store::templates::{self, Template};
use testkit::until;
use webhook::Keyring;
use webhook::sealing::{KeyText, generate_key};

use crate::client::{Browser, get};
use crate::house::{House, LIMIT, Running, options};

/// A house with a template and a minting key.
struct Sender {
    house: House,
    link_id: LinkId,
    template: Template,
    key: MintingKey,
    key_id: MintingKeyId,
    sealing_key: String,
}

impl Sender {
    async fn new() -> Self {
        Self::of(options()).await
    }

    async fn of(options: LinkOptions) -> Self {
        let house = House::new().await;
        let link_id = house.link("abc", options).await;
        let (sealing_key, key_id) = (generate_key(), MintingKeyId::generate());
        let key = MintingKey::generate(7).expect("a number");
        let keyring = Keyring::new(&sealing_key, &[]).expect("a keyring");
        let sealed = keyring.seal_minting_key(house.workspace_id, key_id, &key);
        let mut conn = house.pool.get().await.expect("the database runs");
        let template = templates::insert(&mut conn, house.workspace_id, link_id, Utc::now()).await;
        let new = NewKey {
            id: key_id,
            workspace_id: house.workspace_id,
            number: key.number(),
            sealed: &sealed,
            created_by: "test",
        };
        minting_keys::insert(&mut conn, new, Utc::now()).await.expect("a query").expect("a free number");
        drop(conn);
        Self { house, link_id, template: template.expect("a template"), key, key_id, sealing_key }
    }

    fn settings(&self) -> Settings {
        let mut settings = self.house.settings();
        settings.minting.key = Some(KeyText(self.sealing_key.clone()));
        settings
    }

    fn says(&self, recipient: u64) -> RecipientLink {
        RecipientLink { template: self.template.number, recipient, ends_on: None }
    }

    fn path(&self, recipient: u64) -> String {
        self.path_of(&self.says(recipient))
    }

    fn path_of(&self, says: &RecipientLink) -> String {
        format!("/_{}", self.key.token(says))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_recipients_cost_one_look_and_their_clicks_say_whose_they_are() {
    const RECIPIENTS: u64 = 300;
    let sender = Sender::new().await;
    let redirect = Running::start(sender.settings()).await;
    redirect.follows_changes().await;

    let mut browser = Browser::connect(redirect.addr).await.expect("the redirect listens");
    for recipient in 0..RECIPIENTS {
        let answer = browser.send("GET", &sender.path(recipient), &[]).await.expect("an answer");
        assert_eq!((answer.status, answer.location()), (302, "https://example.com/offer?utm_source=sms"));
    }

    assert_eq!(redirect.count("lookups", "database"), 1);
    let clicks = sender.house.clicks_when(usize::try_from(RECIPIENTS).expect("small")).await;
    let contacts: BTreeSet<_> =
        clicks.iter().filter_map(|click| click.link.labels.contact_id.clone()).collect();
    let recipients: BTreeSet<String> = (0..RECIPIENTS).map(|recipient| recipient.to_string()).collect();
    assert_eq!(contacts, recipients);
    for click in &clicks {
        assert_eq!((click.link.id, click.link.kind), (sender.link_id, LinkKind::Message));
        assert_eq!(
            click.link.tracked_url, "https://go.example.com/abc",
            "a token opens, and stands in no event"
        );
    }
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_templates_own_link_stays_as_it_is() {
    let sender = Sender::new().await;
    let redirect = Running::start(sender.settings()).await;

    assert_eq!(get(redirect.addr, "/abc", &[]).await.status, 302);

    let click = sender.house.clicks_when(1).await.remove(0);
    assert_eq!(click.link.labels.contact_id.as_deref(), Some("cont_9"));
    assert_eq!(click.link.kind, LinkKind::Shareable);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_up_is_a_guess_that_nobody_is_asked_about() {
    let sender = Sender::new().await;
    let mut settings = sender.settings();
    settings.redirect.not_found_per_minute = 4;
    let redirect = Running::start(settings).await;
    redirect.follows_changes().await;
    assert_eq!(get(redirect.addr, &sender.path(1), &[]).await.status, 302);
    let other = MintingKey::generate(7).expect("a number");
    let unknown = MintingKey::generate(8).expect("a number");
    let mut says = sender.says(2);
    let forged = [format!("/_{}", other.token(&says)), format!("/_{}", unknown.token(&says))];
    says.template += 1;
    let no_template = sender.path_of(&says);

    for path in &forged {
        assert_eq!(get(redirect.addr, path, &[]).await.status, 404, "{path}");
    }
    assert_eq!(redirect.count("lookups", "database"), 1);
    assert_eq!(get(redirect.addr, &no_template, &[]).await.status, 404);
    assert_eq!(get(redirect.addr, &forged[0], &[]).await.status, 404);
    assert_eq!(redirect.count("lookups", "database"), 2);
    for path in forged.iter().chain([&no_template]) {
        assert_eq!(get(redirect.addr, path, &[]).await.status, 429, "{path}");
    }
    assert_eq!(get(redirect.addr, &sender.path(3), &[]).await.status, 302, "what is true is no guess");
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_under_its_own_host_and_in_its_own_letters_alone() {
    let sender = Sender::new().await;
    sender.house.stranger("evil.example", "abc").await;
    let redirect = Running::start(sender.settings()).await;
    let path = sender.path(1);

    assert_eq!(get(redirect.addr, &path, &[("host", "evil.example")]).await.status, 404);
    assert_eq!(get(redirect.addr, &path, &[("host", "Go.Example.com:8080")]).await.status, 302);
    let folded = path.to_lowercase();
    assert_ne!(folded, path);
    assert_eq!(get(redirect.addr, &folded, &[]).await.status, 404);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipients_link_ends_on_its_day() {
    let sender = Sender::new().await;
    let redirect = Running::start(sender.settings()).await;
    let today = Utc::now().date_naive();
    let ending = |date| {
        let ends_on = Some(EndDay::of(date).expect("a day"));
        sender.path_of(&RecipientLink { ends_on, ..sender.says(5) })
    };

    assert_eq!(get(redirect.addr, &ending(today), &[]).await.status, 410);
    let (_, orphan) = sender.house.orphans_when(1).await.remove(0);
    assert_eq!(
        (orphan.path.as_str(), orphan.link_id),
        ("/_", Some(sender.link_id)),
        "the token is told nobody"
    );
    // also when a day begins meanwhile
    assert_eq!(get(redirect.addr, &ending(today + Days::new(2)), &[]).await.status, 302);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_is_denied_a_template_closed_and_a_key_revoked_with_one_notice() {
    let sender = Sender::new().await;
    let (house, workspace_id) = (&sender.house, sender.house.workspace_id);
    let mut settings = sender.settings();
    // age does not help
    settings.links.refresh = Duration::from_secs(3600);
    let redirect = Running::start(settings).await;
    let bus = house.nats.bus("test").await;
    let answers = async |recipient: u64, status: u16, key: &str| {
        let changed = Changed { table: Table::Links, workspace_id, keys: vec![key.to_owned()] };
        until(LIMIT, async || {
            bus.notify(&changed).await;
            (get(redirect.addr, &sender.path(recipient), &[]).await.status == status).then_some(())
        })
        .await;
    };
    let mut conn = house.pool.get().await.expect("the database runs");
    let link = "go.example.com/abc";
    answers(1, 302, link).await;

    templates::deny(&mut conn, &sender.template, &[1, u64::MAX], Utc::now()).await.expect("denied");
    answers(1, 410, link).await;
    answers(u64::MAX, 410, link).await;
    answers(2, 302, link).await;
    templates::allow(&mut conn, &sender.template, 1).await.expect("allowed");
    answers(1, 302, link).await;

    for (closed_at, status) in [(Some(Utc::now()), 410), (None, 302)] {
        templates::set_closed(&mut conn, workspace_id, sender.link_id, closed_at).await.expect("set");
        answers(2, status, link).await;
    }
    assert!(minting_keys::retire(&mut conn, workspace_id, sender.key_id, Utc::now()).await.expect("a query"));
    answers(2, 302, MINTING_KEYS).await;
    assert!(minting_keys::revoke(&mut conn, workspace_id, sender.key_id, Utc::now()).await.expect("a query"));
    answers(2, 404, MINTING_KEYS).await;
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_leads_nowhere_takes_its_recipients_along() {
    let sender = Sender::of(LinkOptions { enabled: false, ..options() }).await;
    let redirect = Running::start(sender.settings()).await;

    assert_eq!(get(redirect.addr, &sender.path(1), &[]).await.status, 410);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_first_is_shown_where_it_leads() {
    let sender = Sender::new().await;
    let redirect = Running::start(sender.settings()).await;
    redirect.follows_changes().await;

    let answer = get(redirect.addr, &format!("{}+", sender.path(1)), &[]).await;

    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("example.com"), "{}", answer.body);
    assert_eq!(redirect.count("lookups", "database"), 1);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_that_opens_minting_keys_nobody_is_told_that_there_is_no_link() {
    let sender = Sender::new().await;
    let redirect = Running::start(sender.house.settings()).await;

    assert_eq!(get(redirect.addr, &sender.path(1), &[]).await.status, 503);
    assert_eq!(get(redirect.addr, "/abc", &[]).await.status, 302);
    redirect.stop().await;
}
