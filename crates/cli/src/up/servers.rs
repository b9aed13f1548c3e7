//! The private PostgreSQL and nats-server, as far as settings name no others.

use anyhow::{Context, anyhow};
use embedded::{Nats, NatsOptions, Postgres, PostgresOptions, SyncInterval};
use tracing::info;

use crate::data_dir::{DataDir, private_dir};
use crate::layers::Named;

/// The database of Clickwire in its private cluster.
const DATABASE: &str = "clickwire";

/// What runs beside us, and ends with us.
#[derive(Debug)]
pub(super) struct Servers {
    postgres: Option<Postgres>,
    nats: Option<Nats>,
}

impl Servers {
    /// Starts what settings do not name.
    pub(super) async fn start(named: &Named, data_dir: &DataDir) -> anyhow::Result<Self> {
        let postgres = async {
            if named.database.url.is_some() {
                return Ok(None);
            }
            let options =
                PostgresOptions { dir: data_dir.path().join("postgres"), port: None, durable: true };
            let postgres = Postgres::start(options).await.context("PostgreSQL does not start")?;
            postgres.create_database(DATABASE, None).await.context("failed to make the database")?;
            anyhow::Ok(Some(postgres))
        };
        let nats = async {
            if named.nats.url.is_some() {
                return Ok(None);
            }
            let dir = data_dir.path().join("nats");
            private_dir(&dir).with_context(|| format!("failed to make {}", dir.display()))?;
            let options = NatsOptions::durable(dir, SyncInterval::Usual);
            anyhow::Ok(Some(Nats::start(options).await.context("nats-server does not start")?))
        };
        let (postgres, nats) = tokio::try_join!(postgres, nats)?;
        info!(servers = Self::list(postgres.as_ref(), nats.as_ref()), "servers are up");
        Ok(Self { postgres, nats })
    }

    /// URL of the private database, if it is private.
    pub(super) fn database_url(&self) -> Option<String> {
        self.postgres.as_ref().map(|postgres| postgres.url(DATABASE))
    }

    /// URL of the private broker, if it is private.
    pub(super) fn nats_url(&self) -> Option<String> {
        self.nats.as_ref().map(Nats::url)
    }

    /// One line for people.
    pub(super) fn describe(&self) -> Option<String> {
        let list = Self::list(self.postgres.as_ref(), self.nats.as_ref());
        (!list.is_empty()).then(|| format!("servers   {list}"))
    }

    fn list(postgres: Option<&Postgres>, nats: Option<&Nats>) -> String {
        let postgres = postgres.map(|postgres| format!("PostgreSQL on port {} (fsync on)", postgres.port()));
        let nats = nats.map(|nats| format!("NATS on port {} (flushed every 2 minutes)", nats.port()));
        postgres.into_iter().chain(nats).collect::<Vec<_>>().join(", ")
    }

    /// Waits until one of them ends by itself, which is a fault.
    pub(super) async fn ended(&self) -> anyhow::Error {
        let postgres = async {
            match &self.postgres {
                Some(postgres) => anyhow!(
                    "PostgreSQL ended by itself ({}): see postgres/postgres.log",
                    postgres.ended().await
                ),
                None => std::future::pending().await,
            }
        };
        let nats = async {
            match &self.nats {
                Some(nats) => {
                    anyhow!("nats-server ended by itself ({}): see nats/nats-server.log", nats.ended().await)
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            error = postgres => error,
            error = nats => error,
        }
    }

    /// Ends them in order: everything they hold is on disk afterwards.
    pub(super) async fn stop(&self) {
        let postgres = async {
            if let Some(postgres) = &self.postgres {
                postgres.stop().await;
            }
        };
        let nats = async {
            if let Some(nats) = &self.nats {
                nats.stop().await;
            }
        };
        tokio::join!(postgres, nats);
    }
}
