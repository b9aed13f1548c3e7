//! Domains that are claimed and proven, and links that lead back to where links are served.

use chrono::Utc;
use model::{DestinationUrl, Host, Slug, WorkspaceId};
use store::links::{self, LinkOptions};
use store::obstacles::{self, Obstacle};
use store::{Connection, blocks, domain_proofs, domains, routes, settings};
use testkit::{TestDatabase, given};

fn host(text: &str) -> Host {
    text.parse().unwrap()
}

async fn link(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    domain: &domains::Domain,
    slug: &str,
    options: &LinkOptions,
) -> Slug {
    given::link(conn, workspace_id, domain.id, slug, options).await;
    slug.parse().unwrap()
}

#[tokio::test]
async fn nothing_is_served_under_a_domain_that_is_only_claimed() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let claimed = domains::claim(&mut conn, workspace_id, &host("go.example"), Utc::now()).await;
    let claimed = claimed.unwrap().unwrap();
    assert!(!claimed.is_default && !claimed.is_verified());
    // one that was made before, as a proof could be withdrawn some day
    let options = LinkOptions::to("https://example.com/".parse().unwrap());
    let slug = link(&mut conn, workspace_id, &claimed, "x1", &options).await;

    let find = async |conn: &mut Connection| {
        let served = routes::domain(conn, &host("go.example")).await.unwrap().is_some();
        (served, routes::find_for_redirect(conn, &host("go.example"), &slug).await.unwrap().is_some())
    };
    assert_eq!(find(&mut conn).await, (false, false));
    let made = obstacles::made_with(&mut conn, &host("go.example"), &"X1".parse().unwrap()).await.unwrap();
    let (of, id) = made.expect("it was made all the same");
    let made = links::find(&mut conn, of, id).await.unwrap().unwrap();
    let obstacle = async |conn: &mut Connection| obstacles::of_link(conn, of, &made, &[]).await.unwrap();
    assert_eq!((of, obstacle(&mut conn).await), (workspace_id, Some(Obstacle::DomainNotVerified)));
    let verified = domain_proofs::verified(&mut conn, workspace_id, claimed.id, Utc::now()).await;

    assert!(verified.unwrap().is_some_and(|domain| domain.is_verified() && domain.is_default));
    assert_eq!(find(&mut conn).await, (true, true));
    assert_eq!(obstacle(&mut conn).await, None);
    blocks::set_domain(&mut conn, &host("go.example"), Some(Utc::now())).await.unwrap();
    assert_eq!(obstacle(&mut conn).await, Some(Obstacle::DomainBlocked));
}

#[tokio::test]
async fn one_workspace_has_a_domain_and_what_is_blocked_stays_so_whoever_claims_it() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let (one, other) = (given::workspace(&mut conn).await, given::workspace(&mut conn).await);
    let name = host("go.example");
    let claim = async |conn: &mut Connection, workspace_id| {
        domains::claim(conn, workspace_id, &name, Utc::now()).await.unwrap()
    };
    let own = claim(&mut conn, one).await.unwrap();
    assert_eq!(claim(&mut conn, one).await, None, "it is claimed already");
    blocks::set_domain(&mut conn, &name, Some(Utc::now())).await.unwrap();
    let theirs = claim(&mut conn, other).await.unwrap();
    assert!(theirs.blocked_at.is_some());

    domain_proofs::verified(&mut conn, one, own.id, Utc::now()).await.unwrap();
    let late = domain_proofs::verified(&mut conn, other, theirs.id, Utc::now()).await;

    assert!(late.is_err_and(|error| store::is_taken(&error)));
    assert_eq!(blocks::set_domain(&mut conn, &name, None).await.unwrap(), Some(one));
    let third = given::workspace(&mut conn).await;
    assert_eq!(claim(&mut conn, third).await, None);
    assert_eq!(domains::insert(&mut conn, third, &name, Utc::now()).await.unwrap(), None);
}

#[tokio::test]
async fn a_link_to_a_host_that_became_a_link_domain_later_leads_nowhere() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let domain = given::domain(&mut conn, workspace_id, "go.example").await;
    let mut made = Vec::new();
    for (at, url) in [
        "https://later.example/x",
        "http://later.example?y",
        "https://later.example:8443/x",
        "https://not-later.example/x",
        "https://example.com/?to=https://later.example/",
        "https://later.example./x",
    ]
    .into_iter()
    .enumerate()
    {
        let options = LinkOptions::to(url.parse().unwrap());
        made.push(link(&mut conn, workspace_id, &domain, &format!("x{at}"), &options).await);
    }
    let mut options = LinkOptions::to("https://example.com/".parse().unwrap());
    options.enabled = false;
    made.push(link(&mut conn, workspace_id, &domain, "closed", &options).await);
    let saved = settings::LinkSettings {
        fallback_url: Some("https://later.example/x0".parse().unwrap()),
        ..settings::LinkSettings::default()
    };
    settings::save(&mut conn, workspace_id, &saved, Utc::now()).await.unwrap();

    let ask = async |conn: &mut Connection| {
        let mut told = Vec::new();
        for slug in &made {
            let link = routes::find_for_redirect(conn, &domain.host, slug).await.unwrap().unwrap();
            told.push((link.enabled, link.fallback_url.is_some()));
        }
        told
    };
    assert_eq!(ask(&mut conn).await.iter().filter(|(enabled, _)| *enabled).count(), 6);
    domains::claim(&mut conn, workspace_id, &host("later.example"), Utc::now()).await.unwrap();
    assert_eq!(ask(&mut conn).await[0], (true, true), "a claim changes nothing");
    let others = given::workspace(&mut conn).await;
    given::domain(&mut conn, others, "example.com").await;
    given::domain(&mut conn, workspace_id, "unrelated.example").await;
    let claimed =
        domains::find_by_host(&mut conn, workspace_id, &host("later.example")).await.unwrap().unwrap();
    domain_proofs::verified(&mut conn, workspace_id, claimed.id, Utc::now()).await.unwrap();

    let told = ask(&mut conn).await;
    let enabled: Vec<bool> = told.iter().map(|(enabled, _)| *enabled).collect();
    assert_eq!(enabled, [false, false, true, true, true, false, false]);
    let mut in_the_way = Vec::new();
    for slug in &made {
        let route = routes::find_for_redirect(&mut conn, &domain.host, slug).await.unwrap().unwrap();
        let link = links::find(&mut conn, workspace_id, route.id).await.unwrap().unwrap();
        in_the_way.push(obstacles::of_link(&mut conn, workspace_id, &link, &[]).await.unwrap());
    }
    let is_loop = in_the_way.iter().map(|obstacle| *obstacle == Some(Obstacle::Loop)).collect::<Vec<_>>();
    assert_eq!(is_loop, [true, true, false, false, false, true, false], "one that is only off is none");
    assert!(told.iter().all(|(_, has_fallback)| !has_fallback));
}

#[tokio::test]
async fn a_domains_fallback_goes_before_that_of_the_settings_and_leads_to_no_link_domain() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    let domain = given::domain(&mut conn, workspace_id, "go.example").await;
    let saved = settings::LinkSettings {
        fallback_url: Some("https://example.com/of-settings".parse().unwrap()),
        ..settings::LinkSettings::default()
    };
    settings::save(&mut conn, workspace_id, &saved, Utc::now()).await.unwrap();
    let mut options = LinkOptions::to("https://example.com/".parse().unwrap());
    let plain = link(&mut conn, workspace_id, &domain, "plain", &options).await;
    options.expired_url = Some("https://example.com/of-link".parse().unwrap());
    let own = link(&mut conn, workspace_id, &domain, "own", &options).await;

    let ask = async |conn: &mut Connection| {
        let mut told = Vec::new();
        for slug in [&plain, &own] {
            let link = routes::find_for_redirect(conn, &domain.host, slug).await.unwrap().unwrap();
            told.push(link.fallback_url);
        }
        told.push(routes::domain(conn, &domain.host).await.unwrap().unwrap().fallback_url);
        let path = |url: Option<DestinationUrl>| url.map(|url| url.url().path().to_owned());
        told.into_iter().map(path).collect::<Vec<_>>()
    };
    let paths = |expected: [Option<&str>; 3]| expected.map(|path| path.map(str::to_owned)).to_vec();
    let (of_link, of_settings) = (Some("/of-link"), Some("/of-settings"));
    assert_eq!(ask(&mut conn).await, paths([of_settings, of_link, None]));

    let fallback: DestinationUrl = "https://later.example/of-domain".parse().unwrap();
    assert!(domains::set_fallback(&mut conn, workspace_id, domain.id, Some(&fallback)).await.unwrap());
    let (of_domain, others) = (Some("/of-domain"), given::workspace(&mut conn).await);
    assert_eq!(ask(&mut conn).await, paths([of_domain, of_link, of_domain]));
    let kept = domains::find(&mut conn, workspace_id, domain.id).await.unwrap().unwrap();
    assert_eq!(kept.fallback_url, Some(fallback));
    assert!(!domains::set_fallback(&mut conn, others, domain.id, None).await.unwrap(), "it is not theirs");

    blocks::set_domain(&mut conn, &domain.host, Some(Utc::now())).await.unwrap();
    assert_eq!(ask(&mut conn).await[2], None, "it is as much the owner's as what was blocked");
    blocks::set_domain(&mut conn, &domain.host, None).await.unwrap();
    given::domain(&mut conn, workspace_id, "later.example").await;
    assert_eq!(ask(&mut conn).await, paths([None, of_link, None]), "nobody goes round in circles");
}
