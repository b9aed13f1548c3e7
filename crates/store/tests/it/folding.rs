//! Slugs of before they were folded as they are now.

use chrono::Utc;
use model::link::Tracking;
use model::{DomainId, Host, LinkId, Slug, SlugCase, TypedSlug};
use store::domains::{self, Recasing};
use store::link_import::NewLink;
use store::links::{self, Insertion, LinkFilter, LinkOptions};
use store::{AsyncConnection as _, QueryError, routes};
use testkit::{TestDatabase, given};

#[tokio::test]
async fn slugs_of_before_are_folded_as_visitors_slugs_are() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let domain_id = given::domain(&mut conn, workspace_id, "a.example").await.id;
    let host: Host = "a.example".parse().unwrap();
    let long = "ß".repeat(60);
    // what was kept, what is kept now, and whether visitors who type the first get there
    let cases = [
        ("plain", "plain", true),
        ("café", "café", true),
        ("straße", "strasse", true),
        ("οδος", "οδοσ", true),
        ("ſale", "sale", true),
        ("\u{b5}g", "μg", true),
        ("և", "եւ", true),
        ("ϑ", "θ", true),
        ("ꭰꭱ", "ᎠᎡ", true),
        ("ŉ", "ʼn", true),
        ("ss1", "ss1", true),
        ("ß1", "ß1", true),
        ("ß2", "ss2", true),
        ("ſſ2", "ſſ2", true),
        (&long, &long, false),
    ];
    let mut ids = Vec::new();
    for (at, (slug, ..)) in cases.iter().enumerate() {
        let id = LinkId::generate_at(Utc::now() + chrono::TimeDelta::seconds(at as i64));
        let options = LinkOptions::to("https://example.com/".parse().unwrap());
        let slug = Slug::kept((*slug).to_owned());
        let made = links::insert(
            &mut conn,
            workspace_id,
            &NewLink { id, domain_id, slug: &slug, options: &options, created_by: "test" },
            Utc::now(),
        )
        .await;
        assert_eq!(made.unwrap(), Insertion::Inserted);
        ids.push(id);
    }

    store::setup(&database.settings(), Utc::now()).await.unwrap();
    store::setup(&database.settings(), Utc::now()).await.unwrap();

    let mut listed = links::list(&mut conn, workspace_id, &LinkFilter::default(), None, 100).await.unwrap();
    listed.reverse();
    let slugs: Vec<&str> = listed.iter().map(|link| link.slug.as_str()).collect();
    assert_eq!(slugs, cases.map(|(_, slug, _)| slug));
    assert_eq!(links::addresses(&mut conn, &ids).await.unwrap().len(), ids.len());
    for (typed, _, is_found) in cases {
        let found = match typed.parse() {
            Ok(slug) => routes::find_for_redirect(&mut conn, &host, &slug).await.unwrap(),
            Err(_) => None,
        };
        assert_eq!(found.is_some(), is_found, "{typed}");
    }
}

#[tokio::test]
async fn slugs_of_a_domain_that_tells_capital_letters_apart_stay_as_they_are() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let domain = given::domain(&mut conn, workspace_id, "a.example").await;
    let set = async |conn: &mut store::Connection, case| {
        let set = conn.transaction::<_, QueryError, _>(async |conn| {
            domains::set_slug_case(conn, workspace_id, domain.id, case).await
        });
        set.await.unwrap()
    };
    assert_eq!(set(&mut conn, SlugCase::Sensitive).await, Recasing::Done);
    let options = LinkOptions::to("https://example.com/".parse().unwrap());
    let typed: TypedSlug = "ÅRE".parse().unwrap();
    let slug = typed.of(SlugCase::Sensitive);
    let new =
        NewLink { id: LinkId::generate(), domain_id: domain.id, slug, options: &options, created_by: "test" };
    links::insert(&mut conn, workspace_id, &new, Utc::now()).await.unwrap();

    store::setup(&database.settings(), Utc::now()).await.unwrap();

    let found = routes::find_as_typed(&mut conn, &domain.host, &typed, false).await.unwrap().unwrap();
    assert_eq!((found.slug.as_str(), found.slug_case), ("ÅRE", SlugCase::Sensitive));
    let other = "åre".parse().unwrap();
    assert_eq!(
        routes::find_as_typed(&mut conn, &domain.host, &other, false).await.unwrap().map(|link| link.id),
        None
    );
    // it has a link now
    assert_eq!(set(&mut conn, SlugCase::Insensitive).await, Recasing::HasLinks);
    assert_eq!(set(&mut conn, SlugCase::Sensitive).await, Recasing::Done);
    let nobody = DomainId::generate_at(Utc::now());
    let nobodys = domains::set_slug_case(&mut conn, workspace_id, nobody, SlugCase::Sensitive);
    assert_eq!(nobodys.await.unwrap(), Recasing::NotFound);
}

#[tokio::test]
async fn a_word_of_a_newer_release_for_tracking_claims_the_least() {
    use diesel_async::SimpleAsyncConnection as _;

    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let domain_id = given::domain(&mut conn, workspace_id, "a.example").await.id;
    let options = LinkOptions::to("https://example.com/".parse().unwrap());
    let id = given::link(&mut conn, workspace_id, domain_id, "abc", &options).await;
    let newer =
        "ALTER TABLE links DROP CONSTRAINT links_tracking_check; UPDATE links SET tracking = 'aggregated'";
    conn.batch_execute(newer).await.unwrap();

    let found = links::find(&mut conn, workspace_id, id).await.unwrap().unwrap();

    assert_eq!(found.options.tracking, Tracking::Anonymous);
}
