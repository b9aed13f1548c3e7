//! Destinations that an operator has blocked.

use chrono::{SubsecRound as _, TimeDelta, Utc};
use model::{Host, LinkId};
use store::link_import::NewLink;
use store::links::{self, LinkOptions};
use store::{Connection, destinations};
use testkit::{TestDatabase, given};

fn host(text: &str) -> Host {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_blocked_destination_is_known_with_the_names_below_it() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let at = Utc::now().trunc_subsecs(3);
    let asked = ["evil.example", "a.b.evil.example", "notevil.example", "example"].map(host);

    assert_eq!(destinations::block(&mut conn, &host("evil.example"), at).await.unwrap(), at);
    let again =
        destinations::block(&mut conn, &host("evil.example"), at + TimeDelta::hours(1)).await.unwrap();
    assert_eq!(again, at, "it is blocked since then");

    let blocked = destinations::blocked_among(&mut conn, &asked).await.unwrap();
    assert_eq!(blocked, [host("evil.example"), host("a.b.evil.example")].into());
    assert_eq!(destinations::unblock(&mut conn, &host("evil.example")).await.unwrap(), Some(at));
    assert_eq!(destinations::unblock(&mut conn, &host("evil.example")).await.unwrap(), None);
    assert!(destinations::blocked_among(&mut conn, &asked).await.unwrap().is_empty());
}

async fn led(conn: &mut Connection, after: Option<LinkId>) -> (Vec<LinkId>, Option<LinkId>) {
    let (leading, next) = destinations::leading_to(conn, &host("evil.example"), after).await.unwrap();
    (leading.into_iter().map(|link| link.id).collect(), next)
}

#[tokio::test]
async fn links_that_lead_there_are_found_whosever_they_are_look_by_look() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let mut expected = Vec::new();
    for served in ["a.example", "b.example"] {
        let workspace_id = given::workspace(&mut conn).await;
        let domain = given::domain(&mut conn, workspace_id, served).await;
        for (n, url) in [
            "https://evil.example/x",
            "https://www.evil.example/",
            "https://notevil.example/",
            "https://example.com/",
        ]
        .into_iter()
        .cycle()
        .take(800)
        .enumerate()
        {
            let (id, slug) = (LinkId::generate(), format!("s{n}").parse().unwrap());
            let options = LinkOptions::to(url.parse().unwrap());
            let new =
                NewLink { id, domain_id: domain.id, slug: &slug, options: &options, created_by: "test" };
            links::insert(&mut conn, workspace_id, &new, Utc::now()).await.unwrap();
            if url.contains("/evil") || url.contains("www.") {
                expected.push(id);
            }
        }
    }
    expected.sort();

    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (ids, next) = led(&mut conn, after).await;
        found.extend(ids);
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }

    assert!(found == expected, "{} of {}, each once", found.len(), expected.len());
    let at = Utc::now().trunc_subsecs(3);
    destinations::set_links(&mut conn, &found[..1], Some(at)).await.unwrap();
    let (leading, _) = destinations::leading_to(&mut conn, &host("evil.example"), None).await.unwrap();
    assert_eq!((leading[0].blocked_at, leading[1].blocked_at), (Some(at), None));
}
