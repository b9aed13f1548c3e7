//! What a measurement puts straight into the tables: more than the API would make in its time.

use std::fmt::Write as _;

use model::secret::SigningSecret;
use model::{EndpointId, WorkspaceId};
use webhook::Keyring;

use super::{World, psql};

impl World {
    /// Puts links into the table, whose slugs are `b` and their numbers, from `first` to below `end`.
    pub async fn insert_links(&self, first: u64, end: u64) -> anyhow::Result<()> {
        let workspace_id = self.workspace_id.uuid();
        self.sql(&format!(
            "INSERT INTO links (id, workspace_id, domain_id, slug, original_url, campaign_id, created_at, updated_at)
             SELECT gen_random_uuid(), domains.workspace_id, domains.id, 'b' || n,
                 'https://example.com/offer/' || n, 'bench', now(), now()
             FROM domains, generate_series({first}, {end} - 1) AS n
             WHERE domains.workspace_id = '{workspace_id}' AND domains.host = '127.0.0.1'"
        ))
        .await?;
        // as a table is that was there for long: nothing of it waits to be written
        self.sql("VACUUM (ANALYZE) links").await?;
        self.sql("CHECKPOINT").await
    }

    /// Puts so many endpoints into the table, each in a workspace of its own, that nobody clicks in.
    pub async fn insert_endpoints(&self, count: usize, url: &str) -> anyhow::Result<()> {
        let keyring = Keyring::new(&self.sealing_key, &[])?;
        let file = self.file("endpoints.sql");
        let mut sql = String::from("BEGIN;\n");
        for _ in 0..count {
            let (workspace_id, endpoint_id) = (WorkspaceId::generate(), EndpointId::generate());
            let sealed = keyring.seal_secret(workspace_id, endpoint_id, &SigningSecret::generate());
            let sealed: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
            let (workspace, endpoint) = (workspace_id.uuid(), endpoint_id.uuid());
            writeln!(
                sql,
                "INSERT INTO workspaces (id, name, created_at) VALUES ('{workspace}', 'Bench', now()); \
                 INSERT INTO endpoints (id, workspace_id, url, event_types, owed_from, created_at, updated_at) \
                 VALUES ('{endpoint}', '{workspace}', '{url}', ARRAY['link.clicked'], now(), now(), now()); \
                 INSERT INTO endpoint_secrets (id, endpoint_id, workspace_id, sealed, created_at) \
                 VALUES (gen_random_uuid(), '{endpoint}', '{workspace}', '\\x{sealed}', now());"
            )?;
        }
        // one count of changes instead of one a row: they would all be versions of one row
        sql.insert_str(
            0,
            "ALTER TABLE endpoints DISABLE TRIGGER endpoints_changed; \
             ALTER TABLE endpoint_secrets DISABLE TRIGGER endpoint_secrets_changed;\n",
        );
        sql.push_str(
            "COMMIT;\nALTER TABLE endpoints ENABLE TRIGGER endpoints_changed; \
             ALTER TABLE endpoint_secrets ENABLE TRIGGER endpoint_secrets_changed; \
             UPDATE endpoint_changes SET version = version + 1; ANALYZE;\n",
        );
        std::fs::write(&file, sql)?;
        self.sql(&format!("\\i {}", file.display())).await
    }

    async fn sql(&self, statement: &str) -> anyhow::Result<()> {
        psql(&self.postgres.url("bench"), statement).await.map(|_| ())
    }
}
