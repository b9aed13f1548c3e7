//! What axe-core says of every page: nothing that keeps somebody from using it.
//!
//! Runs when `CLICKWIRE_TEST_AXE` names the file `axe.min.js` of npm's axe-core (`scripts/test --all` fetches it).

use serde_json::Value;
use testkit::browser::{self, Browser, Options};

use crate::harness::Api;
use crate::pages;
use crate::people::{PASSWORD, invite, join};
use crate::world::world;

/// The file with axe-core.
const AXE: &str = "CLICKWIRE_TEST_AXE";

/// Looks at the whole page, what is folded too, and answers what is wrong in lines: rule, element.
const LOOK: &str = "
const done = arguments[arguments.length - 1];
for (const folded of document.querySelectorAll('details')) folded.open = true;
const lines = violation => violation.nodes.map(node =>
    `${violation.id} (${violation.impact}): ${node.target.join(' ')} ${node.html.slice(0, 200)} ${node.failureSummary}`);
axe.run(document, { resultTypes: ['violations'] }).then(
    found => done(found.violations.filter(v => ['serious', 'critical'].includes(v.impact)).flatMap(lines)),
    error => done([String(error)]));
";

/// A browser with axe-core at hand.
struct Looker<'a> {
    browser: Browser,
    axe: &'a str,
    /// How it looks at pages, for who reads what was found.
    how: &'static str,
}

impl Looker<'_> {
    /// What is wrong with pages.
    async fn look(&self, api: &Api, pages: &[(&str, String)]) -> Vec<String> {
        let mut found = Vec::new();
        for (name, path) in pages {
            self.browser.open(&format!("{}{path}", api.url)).await;
            self.browser.client.execute(self.axe, Vec::new()).await.expect("axe-core is read");
            let told = self.browser.client.execute_async(LOOK, Vec::new()).await.expect("axe-core looks");
            let lines = told.as_array().expect("lines").iter().filter_map(Value::as_str);
            found.extend(lines.map(|line| format!("{name}, {}: {line}", self.how)));
        }
        found
    }

    /// Signs in with these fields.
    async fn sign_in(&self, api: &Api, with: &str, fields: &[(&str, &str)]) {
        self.browser.open(&format!("{}/login?with={with}", api.url)).await;
        for (selector, value) in fields {
            self.browser.fill(selector, value).await;
        }
        self.browser.press("Sign in").await;
        self.browser.text("nav").await;
    }
}

#[tokio::test]
async fn no_page_has_a_serious_violation() {
    let Some(axe) = std::env::var_os(AXE).filter(|_| browser::is_asked_for()) else {
        println!("not asked for: set {AXE} to the file axe.min.js of npm's axe-core");
        return;
    };
    let axe = std::fs::read_to_string(axe).expect("axe-core is there");
    let api = Api::start_with_nats().await;
    let world = world(&api).await;
    let key = api.key_with(&["*", "admin"], None).await;
    for role in ["owner", "viewer"] {
        join(&api, &format!("{role}@example.com"), role).await;
    }
    let invitation = invite(&api, &api.key, "ada@example.com", "operator").await;
    let of_person: Vec<_> = pages::signed_in(&world)
        .into_iter()
        .filter(|(name, _)| ["account", "people"].contains(name))
        .collect();
    // what they may not change stands there otherwise
    let of_viewer: Vec<_> = pages::signed_in(&world)
        .into_iter()
        .filter(|(name, _)| ["settings", "webhooks", "webhook", "webhook-try"].contains(name))
        .collect();

    let mut found = Vec::new();
    for (how, is_dark, is_phone) in [("light", false, false), ("dark", true, false), ("phone", false, true)] {
        let size = if is_phone { (375, 900) } else { (1280, 900) };
        let browser = Browser::start(Options { size, is_dark, is_phone, ..Options::default() }).await;
        let looker = Looker { browser, axe: &axe, how };
        found.extend(looker.look(&api, &pages::signed_out(&invitation)).await);
        looker.sign_in(&api, "key", &[("#key", &key)]).await;
        found.extend(looker.look(&api, &pages::signed_in(&world)).await);
        for (email, pages) in [("owner@example.com", &of_person), ("viewer@example.com", &of_viewer)] {
            looker.browser.client.delete_all_cookies().await.expect("the session ends");
            looker.sign_in(&api, "password", &[("#email", email), ("#password", PASSWORD)]).await;
            found.extend(looker.look(&api, pages).await);
        }
        looker.browser.close().await;
    }
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}
