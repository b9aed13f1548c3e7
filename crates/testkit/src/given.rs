//! What tests begin with. Unusual values belong in the test; these are the usual ones.

use chrono::Utc;
use model::event_type::EventTypePattern;
use model::secret::ApiKey;
use model::{DomainId, Host, LinkId, WorkspaceId};
use store::Connection;
use store::api_keys::NewKey;
use store::domains::Domain;
use store::endpoints::{EndpointOptions, Kind};
use store::link_import::NewLink;
use store::links::{Insertion, LinkOptions};

/// A workspace without anything in it.
///
/// # Panics
/// When the database refuses.
pub async fn workspace(conn: &mut Connection) -> WorkspaceId {
    store::workspaces::insert(conn, "Given", Utc::now()).await.expect("a workspace").id
}

/// A domain of the workspace; its first one is its default.
///
/// # Panics
/// When the host is not one, or is taken.
pub async fn domain(conn: &mut Connection, workspace_id: WorkspaceId, host: &str) -> Domain {
    let host: Host = host.parse().expect("a host");
    let domain = store::domains::insert(conn, workspace_id, &host, Utc::now()).await;
    domain.expect("a domain").expect("a free host")
}

/// A link under a domain of the workspace.
///
/// # Panics
/// When the slug is not one, or is taken.
pub async fn link(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    domain_id: DomainId,
    slug: &str,
    options: &LinkOptions,
) -> LinkId {
    let (id, slug) = (LinkId::generate(), slug.parse().expect("a slug"));
    let new = NewLink { id, domain_id, slug: &slug, options, created_by: "test" };
    let inserted = store::links::insert(conn, workspace_id, &new, Utc::now()).await;
    assert_eq!(inserted.expect("a link"), Insertion::Inserted);
    id
}

/// An endpoint at this URL that wants the clicks, with the defaults for everything else.
///
/// # Panics
/// When the URL is not one.
pub fn endpoint_options(url: &str) -> EndpointOptions {
    let url = url.parse().expect("a URL");
    EndpointOptions::to(Kind::Webhook, url, vec![EventTypePattern::link_clicked()])
}

/// An API key that may do everything in the workspace.
///
/// # Panics
/// When the database refuses.
pub async fn api_key(conn: &mut Connection, workspace_id: WorkspaceId) -> ApiKey {
    let key = ApiKey::generate();
    let scopes = ["*".to_owned()];
    let new = NewKey {
        workspace_id,
        name: "Given",
        key: &key,
        scopes: &scopes,
        expires_at: None,
        created_by: "operator",
    };
    store::api_keys::insert(conn, new, Utc::now()).await.expect("a key").expect("a new key");
    key
}
