//! Every page of the console, for tests that go through all of them.

use std::path::Path;

use crate::world::World;

/// What is answered to GET and is no page: parts of pages, files, and a way to another page.
const NO_PAGES: [&str; 11] = [
    "/assets/console.css",
    "/assets/console.js",
    "/assets/icon.svg",
    "/live/clicks",
    "/links/export",
    "/links/{id}/qr",
    "/settings",
    "/settings/webhooks/{id}/dead.ndjson",
    "/settings/webhooks/{id}/try/progress",
    "/settings/webhooks/{id}/replays/progress",
    "/quarantine/{id}/payload",
];

/// The pages of whoever is signed in, by the name of its picture. Who adds a page adds it here.
pub fn signed_in(world: &World) -> Vec<(&'static str, String)> {
    let World { link, expired, click, endpoint, delivery, quarantined } = world;
    vec![
        ("overview", "/".to_owned()),
        ("overview-30d", "/?range=30d".to_owned()),
        ("links", "/links".to_owned()),
        ("links-most-clicked", "/links?sort=clicks".to_owned()),
        ("links-nothing-found", "/links?q=nothing".to_owned()),
        ("link", format!("/links/{link}")),
        ("link-90d", format!("/links/{link}?range=90d")),
        ("link-expired", format!("/links/{expired}")),
        ("link-new", "/links/new".to_owned()),
        ("link-edit", format!("/links/{link}/edit")),
        ("link-import", "/links/import".to_owned()),
        ("clicks", "/clicks".to_owned()),
        ("click", format!("/clicks/{click}")),
        ("delivery", format!("/deliveries/{delivery}")),
        ("webhooks", "/settings/webhooks".to_owned()),
        ("webhook", format!("/settings/webhooks/{endpoint}")),
        ("webhook-new", "/settings/webhooks/new".to_owned()),
        ("webhook-edit", format!("/settings/webhooks/{endpoint}/edit")),
        ("replays", format!("/settings/webhooks/{endpoint}/replays")),
        ("webhook-try", format!("/settings/webhooks/{endpoint}/try")),
        ("webhook-verify", format!("/settings/webhooks/{endpoint}/verify")),
        ("webhook-deliveries", format!("/settings/webhooks/{endpoint}/deliveries")),
        ("settings", "/settings/links".to_owned()),
        ("retention", "/settings/retention".to_owned()),
        ("people", "/settings/people".to_owned()),
        ("activity", "/settings/activity".to_owned()),
        ("account", "/account".to_owned()),
        ("quarantine", "/quarantine".to_owned()),
        ("quarantined", format!("/quarantine/{quarantined}")),
        ("troubleshooting", "/docs/troubleshooting".to_owned()),
        ("docs", "/docs".to_owned()),
        ("keys", "/settings/keys".to_owned()),
        ("nowhere", "/nowhere".to_owned()),
        ("minting", "/settings/minting".to_owned()),
        ("link-template", format!("/links/{link}/template")),
    ]
}

/// The pages of whoever is not, one of them the one to which a link invites that has this path.
pub fn signed_out(invitation: &str) -> Vec<(&'static str, String)> {
    vec![
        ("sign-in", "/login".to_owned()),
        ("sign-in-key", "/login?with=key".to_owned()),
        ("welcome", invitation.to_owned()),
        ("welcome-over", "/welcome/nothing".to_owned()),
    ]
}

/// The paths that the console's files answer with GET.
fn routes() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/console");
    let mut routes = vec!["/docs".to_owned()];
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a file");
        let of_line = |line: &str| Some(line.trim().strip_prefix("#[get(\"")?.split('"').next()?.to_owned());
        routes.extend(text.lines().filter_map(of_line));
    }
    routes
}

/// The route that answers a path: that with the most words of its own.
fn route_of<'a>(routes: &'a [String], path: &str) -> Option<&'a str> {
    let path = path.split('?').next().unwrap_or_default();
    let fits = |route: &&String| {
        let is_same = |(word, given): (&str, &str)| word.starts_with('{') || word == given;
        route.split('/').count() == path.split('/').count()
            && route.split('/').zip(path.split('/')).all(is_same)
    };
    routes.iter().filter(fits).min_by_key(|route| route.matches('{').count()).map(String::as_str)
}

#[test]
fn every_page_of_the_console_is_listed() {
    let id = "01jd8m3x5v9k2n4p6q8r0s1t3w".to_owned();
    let world = World {
        link: id.clone(),
        expired: id.clone(),
        click: id.clone(),
        endpoint: id.clone(),
        delivery: id.clone(),
        quarantined: id,
    };
    let routes = routes();
    let listed = [signed_in(&world), signed_out("/welcome/token")].concat();
    let answered: Vec<Option<&str>> = listed.iter().map(|(_, path)| route_of(&routes, path)).collect();

    let missing: Vec<&String> = routes
        .iter()
        .filter(|route| !NO_PAGES.contains(&route.as_str()) && !answered.contains(&Some(route)))
        .collect();
    assert!(missing.is_empty(), "pages that no test goes through: {missing:?}");
    for ((name, path), route) in listed.iter().zip(&answered) {
        assert_eq!(route.is_none(), *name == "nowhere", "{path}");
    }
    for other in NO_PAGES {
        assert!(routes.iter().any(|route| route == other), "{other} is not answered any more");
    }
}
