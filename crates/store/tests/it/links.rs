//! Links are found through their indexes, however many there are.

use std::time::{Duration, Instant};

use chrono::{SubsecRound, Utc};
use diesel::QueryableByName;
use diesel::sql_types::BigInt;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use model::link::{LinkKind, LinkLabels, LinkPreview, QueryMode, RedirectStatus, Tracking};
use model::{DestinationUrl, Host, LinkId, PasswordHash, Slug, Utm, WorkspaceId};
use store::link_import::NewLink;
use store::links::{self, LinkFilter, LinkOptions};
use store::settings::LinkSettings;
use store::{Connection, link_import, routes, settings};
use testkit::{TestDatabase, given};

/// A password's hash as it is kept: hashing thousands takes long.
const KEPT_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$2Wk2bFJ8cHJrDnRFkKZLVwkRmYxo+WRUvBf7N3e6dSE";

#[derive(QueryableByName)]
struct Scans {
    #[diesel(sql_type = BigInt)]
    scans: i64,
}

/// How often an index was used, or the whole table `links` was read, until now.
async fn scans(conn: &mut Connection, index: Option<&str>) -> i64 {
    // what a session has counted is published at the end of its next statement
    conn.batch_execute("SELECT pg_stat_force_next_flush()").await.unwrap();
    let query = match index {
        Some(index) => {
            format!("SELECT idx_scan AS scans FROM pg_stat_user_indexes WHERE indexrelname = '{index}'")
        }
        None => "SELECT seq_scan AS scans FROM pg_stat_user_tables WHERE relname = 'links'".to_owned(),
    };
    diesel::sql_query(query).get_result::<Scans>(conn).await.unwrap().scans
}

/// Twenty thousand links of two workspaces, one in a hundred in campaign `few` and with tag `few`.
async fn twenty_thousand(conn: &mut Connection) -> WorkspaceId {
    let (ours, others) = (given::workspace(conn).await, given::workspace(conn).await);
    for (workspace_id, host) in [(ours, "a.example"), (others, "b.example")] {
        let domain = given::domain(conn, workspace_id, host).await;
        let insert = format!(
            "INSERT INTO links (id, workspace_id, domain_id, slug, original_url, campaign_id, tags, created_at, updated_at)
             SELECT gen_random_uuid(), '{}', '{}', 'slug-' || n, 'https://example.com/' || n,
                 CASE WHEN n % 100 = 0 THEN 'few' WHEN n % 2 = 0 THEN 'many' END,
                 CASE WHEN n % 100 = 0 THEN '{{few}}'::text[] ELSE '{{}}' END, now(), now()
             FROM generate_series(1, 10000) AS n",
            workspace_id.uuid(),
            domain.id.uuid(),
        );
        conn.batch_execute(&insert).await.unwrap();
    }
    conn.batch_execute("ANALYZE links").await.unwrap();
    ours
}

#[tokio::test]
async fn a_redirect_finds_its_link_with_one_look_into_one_index() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    twenty_thousand(&mut conn).await;
    let (host, slug): (Host, Slug) = ("a.example".parse().unwrap(), "slug-77".parse().unwrap());
    let index = Some("links_domain_id_slug_key");
    let before = (scans(&mut conn, index).await, scans(&mut conn, None).await);

    let found = routes::find_for_redirect(&mut conn, &host, &slug).await.unwrap();

    assert_eq!(found.unwrap().original_url.as_str(), "https://example.com/77");
    assert_eq!((scans(&mut conn, index).await, scans(&mut conn, None).await), (before.0 + 1, before.1));
}

#[tokio::test]
async fn a_link_that_cannot_be_read_is_named_with_its_column() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let domain = given::domain(&mut conn, workspace_id, "a.example").await;
    let (options, slug) =
        (LinkOptions::to("https://example.com/".parse().unwrap()), "abc".parse::<Slug>().unwrap());
    let id = given::link(&mut conn, workspace_id, domain.id, slug.as_str(), &options).await;
    conn.batch_execute("UPDATE links SET original_url = 'nowhere'").await.unwrap();

    let error = routes::find_for_redirect(&mut conn, &domain.host, &slug).await.expect_err("unreadable");

    assert!(store::is_unreadable(&error));
    let mut said = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        said.push_str(&format!("{error}: "));
        cause = error.source();
    }
    assert!(said.contains(&id.to_string()) && said.contains("column original_url"), "{said}");
}

#[tokio::test]
async fn a_link_stays_of_the_kind_that_it_was_made_as() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let honeypot =
        LinkOptions { kind: LinkKind::Honeypot, ..LinkOptions::to("https://example.com/".parse().unwrap()) };
    let id = made(&mut conn, workspace_id, "a.example", &honeypot).await;

    let changed = LinkOptions::to("https://example.com/other".parse().unwrap());
    links::update(&mut conn, workspace_id, id, &changed, Utc::now()).await.unwrap();

    let link = links::find(&mut conn, workspace_id, id).await.unwrap().unwrap();
    assert_eq!(link.options, LinkOptions { kind: LinkKind::Honeypot, ..changed });
    assert_eq!(link.revision, 2);
}

#[tokio::test]
async fn undoing_the_kinds_archives_links_to_apps_and_makes_honeypots_shareable() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let web = LinkOptions::to("https://example.com/".parse().unwrap());
    let honeypot = LinkOptions { kind: LinkKind::Honeypot, ..web.clone() };
    let app = LinkOptions::to(DestinationUrl::of_any_scheme("mailto:a@example.com").unwrap());
    let honeypot = made(&mut conn, workspace_id, "a.example", &honeypot).await;
    let app = made(&mut conn, workspace_id, "b.example", &app).await;
    let web = made(&mut conn, workspace_id, "c.example", &web).await;

    for sql in [
        include_str!("../../migrations/00000000000014_links_kind_checked/down.sql"),
        include_str!("../../migrations/00000000000013_clicks_of_kinds/down.sql"),
        include_str!("../../migrations/00000000000010_link_details/down.sql"),
        include_str!("../../migrations/00000000000010_link_details/up.sql"),
        include_str!("../../migrations/00000000000013_clicks_of_kinds/up.sql"),
        include_str!("../../migrations/00000000000014_links_kind_checked/up.sql"),
    ] {
        conn.batch_execute(sql).await.unwrap();
    }

    for (id, is_archived) in [(honeypot, false), (app, true), (web, false)] {
        let link = links::find(&mut conn, workspace_id, id).await.unwrap().unwrap();
        assert_eq!((link.options.kind, link.archived_at.is_some()), (LinkKind::Shareable, is_archived));
    }
}

#[tokio::test]
async fn undoing_the_tracking_of_campaigns_has_no_click_recorded_that_was_not() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let says = |name: &str, tracking| [(name.to_owned(), tracking)].into();
    let decided = LinkSettings {
        channel_tracking: says("sms", Tracking::Anonymous),
        campaign_tracking: says("spring", Tracking::Off),
        ..LinkSettings::default()
    };
    settings::save(&mut conn, workspace_id, &decided, Utc::now()).await.unwrap();
    let options = |campaign_id: Option<&str>, tracking| {
        let labels = LinkLabels {
            channel: Some("sms".to_owned()),
            campaign_id: campaign_id.map(str::to_owned),
            ..LinkLabels::default()
        };
        LinkOptions { labels, tracking, ..LinkOptions::to("https://example.com/".parse().unwrap()) }
    };
    let by_channel = made(&mut conn, workspace_id, "a.example", &options(None, Tracking::Inherit)).await;
    let by_campaign =
        made(&mut conn, workspace_id, "b.example", &options(Some("spring"), Tracking::Inherit)).await;
    let by_link = made(&mut conn, workspace_id, "c.example", &options(Some("spring"), Tracking::Full)).await;

    for sql in [
        include_str!("../../migrations/00000000000028_tracking_full/down.sql"),
        include_str!("../../migrations/00000000000027_tracking_and_destinations/down.sql"),
        include_str!("../../migrations/00000000000027_tracking_and_destinations/up.sql"),
        include_str!("../../migrations/00000000000028_tracking_full/up.sql"),
    ] {
        conn.batch_execute(sql).await.unwrap();
    }

    for (id, tracking) in
        [(by_channel, Tracking::Anonymous), (by_campaign, Tracking::Off), (by_link, Tracking::Inherit)]
    {
        let link = links::find(&mut conn, workspace_id, id).await.unwrap().unwrap();
        assert_eq!(link.options.tracking, tracking);
    }
}

/// A link `abc` under a new domain.
async fn made(conn: &mut Connection, workspace_id: WorkspaceId, host: &str, options: &LinkOptions) -> LinkId {
    let domain = given::domain(conn, workspace_id, host).await;
    given::link(conn, workspace_id, domain.id, "abc", options).await
}

#[tokio::test]
async fn links_of_a_campaign_and_links_with_a_tag_are_found_through_their_indexes() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = twenty_thousand(&mut conn).await;
    let few = Some("few".to_owned());
    let by_campaign = LinkFilter { campaign_id: few.clone(), ..LinkFilter::default() };
    let by_tag = LinkFilter { tag: few, ..LinkFilter::default() };
    let read_whole = scans(&mut conn, None).await;

    for (filter, index) in [(by_campaign, "links_of_campaign"), (by_tag, "links_tagged")] {
        let before = scans(&mut conn, Some(index)).await;

        let found = links::list(&mut conn, workspace_id, &filter, None, 1000).await.unwrap();

        assert_eq!(found.len(), 100, "{index}");
        assert!(found.iter().map(|link| link.id).is_sorted_by(|a, b| a > b));
        assert_eq!(scans(&mut conn, Some(index)).await, before + 1, "{index}");
    }
    assert_eq!(scans(&mut conn, None).await, read_whole);
}

#[tokio::test]
async fn of_many_links_those_are_made_whose_names_are_free() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let domain_id = given::domain(&mut conn, workspace_id, "a.example").await.id;
    let options = |external_id: Option<&str>| {
        let mut options = LinkOptions::to("https://example.com/".parse().unwrap());
        options.labels.external_id = external_id.map(str::to_owned);
        options
    };
    let wanted = [("a", None), ("b", Some("1")), ("a", None), ("c", Some("1")), ("d", None)]
        .map(|(slug, external_id)| (LinkId::generate(), slug.parse::<Slug>().unwrap(), options(external_id)));
    let new: Vec<_> = wanted
        .iter()
        .map(|(id, slug, options)| NewLink { id: *id, domain_id, slug, options, created_by: "test" })
        .collect();

    let made = link_import::insert(&mut conn, workspace_id, &new, Utc::now()).await.unwrap();

    let made: Vec<bool> = wanted.iter().map(|(id, ..)| made.contains(id)).collect();
    assert_eq!(made, [true, true, false, false, true]);
    let taken = link_import::taken_external_ids(&mut conn, workspace_id, &["1", "2"]).await.unwrap();
    assert_eq!(taken, ["1".to_owned()].into());
}

/// Options of which none is left out, of link number `n`.
fn filled(n: usize) -> LinkOptions {
    let text = |name: &str| Some(format!("{name}-{n}"));
    let at = Utc::now().trunc_subsecs(3);
    LinkOptions {
        kind: LinkKind::Message,
        original_url: "https://example.com/".parse().unwrap(),
        utm: Utm {
            source: text("source"),
            medium: text("medium"),
            campaign: text("campaign"),
            term: text("term"),
            content: text("content"),
            id: text("id"),
        },
        labels: LinkLabels {
            external_id: text("external"),
            campaign_id: text("campaign"),
            conversation_id: text("conversation"),
            contact_id: text("contact"),
            message_id: text("message"),
            channel: text("channel"),
            sequence_id: text("sequence"),
            step_id: text("step"),
            tags: vec!["a".to_owned(), "b".to_owned()],
            metadata: [("source".to_owned(), "crm".to_owned())].into(),
        },
        sent_at: Some(at),
        status_code: RedirectStatus::TemporaryRedirect,
        query_mode: QueryMode::Append,
        tracking: Tracking::Anonymous,
        enabled: false,
        starts_at: Some(at),
        expires_at: Some(at),
        max_clicks: Some(1),
        password: Some(PasswordHash::from_kept(KEPT_HASH).unwrap()),
        expired_url: Some("https://example.com/over".parse().unwrap()),
        preview: Some(LinkPreview {
            title: format!("title-{n}"),
            description: text("description"),
            image_url: Some("https://example.com/a.png".parse().unwrap()),
        }),
    }
}

#[tokio::test]
async fn as_many_links_as_may_be_fit_into_one_statement() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let domain_id = given::domain(&mut conn, workspace_id, "a.example").await.id;
    let slugs: Vec<Slug> =
        (0..link_import::LINKS_MAX).map(|n| format!("slug-{n}").parse().unwrap()).collect();
    let filled: Vec<LinkOptions> = (0..link_import::LINKS_MAX).map(filled).collect();
    let new: Vec<_> = slugs
        .iter()
        .zip(&filled)
        .map(|(slug, options)| NewLink {
            id: LinkId::generate(),
            domain_id,
            slug,
            options,
            created_by: "test",
        })
        .collect();

    let made = link_import::insert(&mut conn, workspace_id, &new, Utc::now()).await.unwrap();

    assert_eq!(made.len(), link_import::LINKS_MAX);
    let kept = links::find(&mut conn, workspace_id, new[7].id).await.unwrap().unwrap();
    assert_eq!(kept.options, filled[7]);
}

#[tokio::test]
async fn a_search_finds_a_slug_however_its_letters_are_written() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let domain_id = given::domain(&mut conn, workspace_id, "a.example").await.id;
    for slug in ["Straße-7", "other"] {
        let options = LinkOptions::to("https://example.com/Offer".parse().unwrap());
        given::link(&mut conn, workspace_id, domain_id, slug, &options).await;
    }

    for (text, count) in [("straße", 1), ("STRASSE-", 1), ("offer", 2), ("Other", 1), ("%", 0)] {
        let filter = LinkFilter { text: Some(text.to_owned()), ..LinkFilter::default() };
        let found = links::list(&mut conn, workspace_id, &filter, None, 10).await.unwrap();
        assert_eq!(found.len(), count, "{text}");
    }
}

#[tokio::test]
async fn a_search_and_a_count_take_a_limited_time() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let mut other = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    other.batch_execute("BEGIN; LOCK TABLE links, clicks IN ACCESS EXCLUSIVE MODE").await.unwrap();

    let begun_at = Instant::now();
    let listed = links::list(&mut conn, workspace_id, &LinkFilter::default(), None, 10).await.unwrap_err();
    let took = begun_at.elapsed();
    let counted = links::count_clicks(&mut conn, workspace_id, LinkId::generate()).await.unwrap_err();

    assert!(store::is_out_of_time(&listed, took, links::LIST_TIME_MAX), "{listed} after {took:?}");
    assert!(!store::is_out_of_time(&listed, took, Duration::from_secs(60)));
    assert!(store::is_out_of_time(&counted, begun_at.elapsed() - took, links::COUNT_TIME_MAX), "{counted}");
    other.batch_execute("COMMIT").await.unwrap();
    links::list(&mut conn, workspace_id, &LinkFilter::default(), None, 10).await.unwrap();
}
