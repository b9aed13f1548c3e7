//! A workspace whose test link is clicked, and the three that tell why nothing came of it.

use chrono::{DateTime, SecondsFormat, Utc};
use model::{Host, LinkId, WorkspaceId};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use store::link_import::NewLink;
use store::links::{self, LinkOptions};
use store::{domains, endpoints, routes};
use testkit::{Answer, Subscriber, given, until};

use crate::console::Session;
use crate::services::LIMIT;
use crate::stack::{Endpoint, HOST, Link, PERSON, Stack, body};

/// A webhook that is tried with the workspace's test link.
pub struct Trial<'a> {
    pub stack: &'a Stack,
    pub link: Link,
    session: Session<'a>,
}

impl<'a> Trial<'a> {
    /// In a workspace that has no test link yet: the wizard makes it.
    pub async fn of(stack: &'a Stack) -> Self {
        // cargo may have to build it first, and no wait is to count that
        stack.services.clickwire(&["--version"]).await;
        let session = Session::begin(stack).await;
        let subscriber = Subscriber::start(Answer::Status(200)).await;
        let endpoint = stack.endpoint(&subscriber, json!({})).await;
        session.submit(&format!("/settings/webhooks/{}/try", endpoint.id)).await;
        let trial = Self { stack, session, link: test_link(stack).await };
        trial.remove(endpoint).await;
        trial
    }

    /// With the test link that is there.
    pub async fn again(stack: &'a Stack) -> Self {
        Self { stack, session: Session::begin(stack).await, link: test_link(stack).await }
    }

    pub async fn remove(&self, endpoint: Endpoint) {
        self.delete(&format!("/v1/webhook-endpoints/{}", endpoint.id)).await;
    }

    pub async fn delete(&self, path: &str) {
        let (status, answer) = self.stack.api(Method::DELETE, path, Value::Null).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{path}: {answer}");
    }

    pub async fn patch(&self, path: &str, change: Value) {
        let (status, answer) = self.stack.api(Method::PATCH, path, change).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    pub async fn patch_link(&self, change: Value) {
        self.patch(&format!("/v1/links/{}", self.link.id), change).await;
    }

    pub async fn patch_settings(&self, change: Value) {
        self.patch("/v1/settings/links", change).await;
    }

    /// A command of the operator's about the test link.
    pub async fn operator(&self, command: &str) {
        let output = self.stack.services.clickwire(&[command, &url(HOST, &self.link)]).await;
        assert!(output.status.success(), "{output:?}");
    }

    /// Waits until all three name the cause and what to do about it. Returns what the wizard says of it.
    pub async fn is_told(&self, endpoint: &Endpoint, since: DateTime<Utc>, code: &str) -> String {
        let finding = self.wizard_tells(endpoint, since, code).await;
        self.link_is_told(HOST, &self.link, code).await;
        finding
    }

    /// Waits until the wizard names the cause and what to do about it.
    pub async fn wizard_tells(&self, endpoint: &Endpoint, since: DateTime<Utc>, code: &str) -> String {
        let since = since.to_rfc3339_opts(SecondsFormat::Millis, true);
        self.page_tells(&format!("/settings/webhooks/{}/try/progress?since={since}", endpoint.id), code).await
    }

    /// The same of a link that is not the wizard's.
    pub async fn link_is_told(&self, host: &str, link: &Link, code: &str) {
        self.page_tells(&format!("/links/{}", link.id), code).await;
        self.why_tells(&url(host, link), code).await;
    }

    async fn page_tells(&self, path: &str, code: &str) -> String {
        let mark = format!("data-code=\"{code}\"");
        let finding = until(LIMIT, async || {
            let text = self.session.open(path).await;
            let (_, finding) = text.split_once(&mark)?;
            Some(finding.split("</li>").next()?.to_owned())
        })
        .await;
        assert!(finding.contains("What to do:"), "{path}, {code}: {finding}");
        assert!(finding.contains(&format!("/docs/troubleshooting#{code}")), "{path}, {code}: {finding}");
        finding
    }

    /// Waits until `clickwire why` names the cause and what to do about it.
    pub async fn why_tells(&self, url: &str, code: &str) {
        let why = until(LIMIT, async || {
            let output = self.stack.services.clickwire(&["why", url, "--json"]).await;
            let findings: Vec<Value> = serde_json::from_slice(&output.stdout).ok()?;
            findings.into_iter().find(|finding| finding["code"] == code)
        })
        .await;
        assert!(why["fix"].is_string(), "{why}");
    }

    /// A webhook, a click by a person, and the cause.
    pub async fn click_is_told(&self, subscriber: &Subscriber, options: Value, code: &str) {
        let endpoint = self.stack.endpoint(subscriber, options).await;
        let since = Utc::now();
        self.stack.click(&self.link).await;
        self.is_told(&endpoint, since, code).await;
        self.remove(endpoint).await;
    }

    /// A link under a domain of which nobody has shown whose it is: what was made before a proof was asked for.
    pub async fn link_of_a_domain_that_is_only_claimed(&self) {
        let host: Host = "claimed.example.com".parse().expect("a host");
        let mut conn = self.stack.database.pool().get().await.expect("a connection");
        let workspace_id = self.workspace_id().await;
        let domain = domains::claim(&mut conn, workspace_id, &host, Utc::now()).await.expect("a query");
        let options = LinkOptions::to("https://example.com/".parse().expect("a URL"));
        let slug = "early".parse().expect("a slug");
        let new = NewLink {
            id: LinkId::generate(),
            domain_id: domain.expect("it is free").id,
            slug: &slug,
            options: &options,
            created_by: "test",
        };
        links::insert(&mut conn, workspace_id, &new, Utc::now()).await.expect("a link");
        drop(conn);
        let link = Link { id: new.id.to_string(), slug: slug.to_string() };
        self.link_is_told(host.as_str(), &link, "domain_not_verified").await;
    }

    /// The test link leads to a host under which links are served since.
    pub async fn destination_that_became_a_link_domain(&self, endpoint: &Endpoint) {
        let mut conn = self.stack.database.pool().get().await.expect("a connection");
        let domain = given::domain(&mut conn, self.workspace_id().await, "example.com").await;
        drop(conn);
        self.is_told(endpoint, Utc::now(), "link_loops").await;
        self.delete(&format!("/v1/domains/{}", domain.id)).await;
    }

    /// The test link had as many clicks as it may have; then it may have more again.
    pub async fn clicks_that_are_used_up(&self, endpoint: &Endpoint) {
        self.patch_link(json!({"max_clicks": 2})).await;
        let visit = async || self.stack.visit(&self.link.slug, &PERSON).await.status();
        until(LIMIT, async || {
            visit().await;
            let (_, link) =
                self.stack.api(Method::GET, &format!("/v1/links/{}", self.link.id), Value::Null).await;
            link["exhausted_at"].is_string().then_some(())
        })
        .await;
        self.is_told(endpoint, Utc::now(), "link_exhausted").await;
        self.patch_link(json!({"max_clicks": null})).await;
        until(LIMIT, async || (visit().await == StatusCode::FOUND).then_some(())).await;
    }

    /// A URL that was allowed when it was saved, and leads inside by now.
    pub async fn address_that_is_forbidden_later(&self) {
        let subscriber = Subscriber::start(Answer::Status(200)).await;
        let endpoint = self.stack.endpoint(&subscriber, json!({"retry_schedule": [600]})).await;
        self.stack.click(&self.link).await;
        let told = body(&subscriber.received(1).await[0]);
        let workspace_id = told["data"]["workspace_id"].as_str().expect("an id").parse().expect("an id");
        let id = endpoint.id.parse().expect("an id");
        let mut conn = self.stack.database.pool().get().await.expect("a connection");
        let found = endpoints::find(&mut conn, workspace_id, id).await.expect("a query");
        let mut options = found.expect("there").options;
        options.url = "http://10.0.0.1/".parse().expect("a URL");
        endpoints::update(&mut conn, workspace_id, id, &options, Utc::now()).await.expect("a change");
        drop(conn);
        let since = Utc::now();
        self.stack.click(&self.link).await;
        self.is_told(&endpoint, since, "blocked").await;
    }

    async fn workspace_id(&self) -> WorkspaceId {
        let mut conn = self.stack.database.pool().get().await.expect("a connection");
        let domain = routes::domain(&mut conn, &HOST.parse().expect("a host")).await.expect("a query");
        domain.expect("the stack's").workspace_id
    }
}

fn url(host: &str, link: &Link) -> String {
    format!("https://{host}/{}", link.slug)
}

async fn test_link(stack: &Stack) -> Link {
    let (_, links) = stack.api(Method::GET, "/v1/links", Value::Null).await;
    let mut links = links["data"].as_array().expect("links").iter();
    let link = links.find(|link| link["campaign_id"] == "clickwire-test").expect("the wizard made it");
    let text = |name: &str| link[name].as_str().expect("a text").to_owned();
    Link { id: text("id"), slug: text("slug") }
}
