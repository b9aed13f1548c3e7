//! What pages offer somebody is what they may do: no link that is closed to them, no form that is refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use api::Scope;

use crate::console::Browser;
use crate::harness::Api;
use crate::pages;
use crate::people::join;
use crate::world::world;

/// What pages were found to offer.
#[derive(Default)]
struct Offered {
    /// Links that are closed, each with the page that it stands on.
    closed: Vec<String>,
    /// The actions of forms that change something, and whether they send files.
    forms: BTreeMap<String, bool>,
    /// Pages that opened.
    opened: BTreeSet<String>,
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    tag.split_once(&format!(" {name}=\""))?.1.split('"').next()
}

/// Opens these pages, and all that they lead to, once each.
async fn walk(browser: &mut Browser<'_>, begin: Vec<String>) -> Offered {
    let mut offered = Offered::default();
    let mut waiting: VecDeque<(String, String)> =
        begin.into_iter().map(|path| (String::new(), path)).collect();
    let mut seen = BTreeSet::new();
    while let Some((from, path)) = waiting.pop_front() {
        let (status, page) = browser.open(&path).await;
        assert!(status < 500, "{path}: {page}");
        if status == 303 && page != "/login" && seen.insert(page.clone()) {
            waiting.push_back((path.clone(), page.clone()));
        }
        // an address that somebody types may be closed to them
        if status == 403 && !from.is_empty() {
            offered.closed.push(format!("{from} links to {path}"));
        }
        if status != 200 {
            continue;
        }
        offered.opened.insert(path.clone());
        for tag in page.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
            let posts = tag.starts_with("form ") && attribute(tag, "method") == Some("post");
            let action = attribute(tag, "action").filter(|_| posts).or_else(|| attribute(tag, "formaction"));
            if let Some(action) = action {
                let is_upload = attribute(tag, "enctype").is_some();
                offered.forms.insert(action.split('#').next().unwrap_or(action).to_owned(), is_upload);
            }
            let Some(href) = attribute(tag, "href").filter(|_| tag.starts_with("a ")) else { continue };
            let href = href.split('#').next().unwrap_or_default().replace("&amp;", "&");
            let place = href.split('?').next().unwrap_or_default().to_owned();
            if href.starts_with('/') && seen.insert(place) {
                waiting.push_back((path.clone(), href));
            }
        }
    }
    // what is everybody's own
    offered.forms.retain(|action, _| action != "/logout" && !action.starts_with("/account/"));
    offered
}

/// Sends each form with nothing but its token; those that are refused.
async fn refused(browser: &mut Browser<'_>, offered: &Offered) -> Vec<String> {
    let token = browser.token("/account").await;
    let mut refused = Vec::new();
    for (action, is_upload) in &offered.forms {
        let fields = [("csrf", token.as_str())];
        let (status, _) = match is_upload {
            true => browser.upload(action, &fields, None).await,
            false => browser.submit(action, &fields).await,
        };
        if status == 403 {
            refused.push(action.clone());
        }
    }
    refused
}

#[tokio::test]
async fn a_viewer_is_offered_nothing_that_changes_anything_on_any_page() {
    let api = Api::start_with_nats().await;
    let mut viewer = join(&api, "viewer@example.com", "viewer").await;
    let empty = walk(&mut viewer, vec!["/".to_owned()]).await;
    assert_eq!(empty.closed, Vec::<String>::new());
    assert_eq!(empty.forms.keys().collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(empty.opened.contains("/settings/webhooks") && empty.opened.contains("/links"));

    let world = world(&api).await;
    let pages = pages::signed_in(&world).into_iter().map(|(_, path)| path).collect();
    let full = walk(&mut viewer, pages).await;

    assert_eq!(full.closed, Vec::<String>::new());
    // that one only compares
    let changing: Vec<&String> = full.forms.keys().filter(|action| !action.ends_with("/verify")).collect();
    assert_eq!(changing, Vec::<&String>::new());
    assert_eq!(refused(&mut viewer, &full).await, Vec::<String>::new());
    for page in [format!("/settings/webhooks/{}/try", world.endpoint), "/settings/links".to_owned()] {
        assert!(full.opened.contains(&page), "{page}");
    }
    let (_, settings) = viewer.open("/settings/links").await;
    assert!(settings.contains("<fieldset class=\"fields in\" disabled>"), "{settings}");
}

#[tokio::test]
async fn an_operator_is_offered_the_daily_work_and_nothing_that_is_refused() {
    let api = Api::start_with_nats().await;
    let world = world(&api).await;
    let mut operator = join(&api, "operator@example.com", "operator").await;
    let pages = pages::signed_in(&world).into_iter().map(|(_, path)| path).collect();

    let offered = walk(&mut operator, pages).await;

    assert_eq!(offered.closed, Vec::<String>::new());
    for daily in [
        "/links".to_owned(),
        format!("/links/{}/archive", world.link),
        format!("/links/{}/template/deny", world.link),
        format!("/settings/webhooks/{}/pause", world.endpoint),
        format!("/deliveries/{}/retry", world.delivery),
    ] {
        assert!(offered.forms.contains_key(&daily), "{daily}: {:?}", offered.forms);
    }
    assert!(!offered.forms.contains_key("/settings/links"));
    assert_eq!(refused(&mut operator, &offered).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_key_with_one_scope_begins_where_it_may_and_is_offered_nothing_that_is_closed_to_it() {
    let api = Api::start_with_nats().await;
    let world = world(&api).await;
    for scope in Scope::EVERY {
        let scope = scope.as_str();
        let key = api.key_with(&[scope], None).await;
        let mut browser = Browser::signed_in_with(&api, &key).await;
        let first = match browser.open("/").await {
            (303, first) => first,
            (status, page) => {
                assert_eq!(status, 200, "{scope}: {page}");
                "/".to_owned()
            }
        };
        let (status, page) = browser.open(&first).await;
        assert_eq!(status, 200, "{scope} begins at {first}: {page}");
        let current = format!("<a href=\"{first}\" aria-current=\"page\">");
        assert!(page.contains(&current), "{scope} begins at {first}, which the navigation does not name");

        let pages = pages::signed_in(&world).into_iter().map(|(_, path)| path);
        let mut offered = walk(&mut browser, [first].into_iter().chain(pages).collect()).await;

        assert_eq!(offered.closed, Vec::<String>::new(), "{scope}");
        // other keys are needed still
        offered.forms.retain(|action, _| !action.starts_with("/settings/keys/"));
        assert_eq!(refused(&mut browser, &offered).await, Vec::<String>::new(), "{scope}");
    }
}
