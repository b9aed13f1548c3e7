//! What a new installation begins with: workspace Default and a domain to serve its links under.

use chrono::{DateTime, Utc};
use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use model::Host;

use crate::domains::{self, Domain};
use crate::workspaces::{self, Workspace};
use crate::{Connection, QueryResult};

/// The name of the workspace that is there from the beginning.
pub const WORKSPACE_NAME: &str = "Default";

/// Held while it is made, so that several may try at once ("firstrun" in ASCII).
const FIRST_RUN_LOCK: i64 = 0x6669_7273_7472_756e;

/// The workspace that every installation has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstRun {
    /// Workspace Default.
    pub workspace: Workspace,
    /// Its default domain; `None` when another workspace has the host.
    pub domain: Option<Domain>,
}

/// Makes workspace Default, and `host` its default domain, unless they are there. Safe to run again.
pub async fn ensure(conn: &mut Connection, host: &Host, now: DateTime<Utc>) -> QueryResult<FirstRun> {
    conn.transaction(async |conn| {
        conn.batch_execute(&format!("SELECT pg_advisory_xact_lock({FIRST_RUN_LOCK})")).await?;
        let workspace = match workspaces::find_by_name(conn, WORKSPACE_NAME).await? {
            Some(workspace) => workspace,
            None => workspaces::insert(conn, WORKSPACE_NAME, now).await?,
        };
        let domain = match domains::default(conn, workspace.id).await? {
            Some(domain) => Some(domain),
            None => domains::insert(conn, workspace.id, host, now).await?,
        };
        Ok(FirstRun { workspace, domain })
    })
    .await
}
