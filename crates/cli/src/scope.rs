//! Options of the commands that work on one workspace in the database.

use anyhow::Context;
use clap::Args;
use store::Connection;
use store::first_run::WORKSPACE_NAME;
use store::workspaces::{self, Workspace};

use crate::connections::{ConnectionOptions, Connections};

#[derive(Debug, Args)]
pub(crate) struct Scope {
    #[command(flatten)]
    connections: ConnectionOptions,

    /// Workspace, by its name
    #[arg(long, value_name = "NAME", default_value = WORKSPACE_NAME)]
    workspace: String,

    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
}

impl Scope {
    /// The database, and the workspace in it.
    pub(crate) async fn open(&self) -> anyhow::Result<(Connections, Connection, Workspace)> {
        let connections = self.connections.find()?;
        let mut conn = connections.database().await?;
        let workspace = workspaces::find_by_name(&mut conn, &self.workspace).await?;
        let workspace = workspace.with_context(|| {
            format!(
                "there is no workspace `{}`: `clickwire workspaces list` names those that there are, and `clickwire setup` makes \
                 {WORKSPACE_NAME}",
                self.workspace
            )
        })?;
        Ok((connections, conn, workspace))
    }
}
