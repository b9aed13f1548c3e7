//! Connections to PostgreSQL: bounded in number, in waiting and in the time of a statement.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use diesel::ConnectionError;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod, deadpool,
};
use serde::Deserialize;
use tokio::time::timeout;
use tokio_postgres::NoTls;

use crate::tls::{self, Encryption};

/// How connections name themselves in `pg_stat_activity`, unless the URL says otherwise.
const APPLICATION_NAME: &str = "clickwire";

/// Plans that read tables through their indexes alone: one that is made while the partition of a day is empty would read it from
/// end to end when it is not.
const THROUGH_INDEXES: &str = "-c enable_seqscan=off -c enable_bitmapscan=off";

/// How long what was sent may remain unacknowledged. A server that vanishes, without a word that its connections are closed, would
/// otherwise hold whoever asked it for the quarter of an hour that the system goes on sending.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);

/// How long a connection is quiet before its server is asked whether it is still there: whoever waits for an answer, having sent
/// everything, learns by nothing else that there is no server. By itself the system would ask after two hours.
const QUIET_MAX: Duration = Duration::from_secs(10);

/// How long after one such question comes the next.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Such questions without an answer end the connection.
const UNANSWERED_MAX: u32 = 3;

/// A connection, wherever it comes from.
pub type Connection = AsyncPgConnection;

/// A connection that goes back to its pool when it is dropped; use it as `&mut conn`.
pub type PooledConnection = deadpool::Object<Connection>;

/// What `[database]` says.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `postgres://user:password@host:5432/name`.
    pub url: String,
    /// Who signed the server's certificate; `None`: whom the machine trusts.
    #[serde(default)]
    pub tls_ca: Option<PathBuf>,
    /// Connections that are held at most.
    pub pool_max: usize,
    /// How long to wait for a connection.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How long one statement may take.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
}

/// Without the URL, which holds the password.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("pool_max", &self.pool_max).finish_non_exhaustive()
    }
}

impl Settings {
    /// Host and port of each server that is spoken to over TLS.
    pub fn encrypted_servers(&self) -> Vec<(String, u16)> {
        tls::encrypted_servers(&self.url)
    }

    /// The defaults of `defaults.toml` for the database at `url`.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            tls_ca: None,
            pool_max: 10,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
        }
    }
}

/// Why a database cannot be connected to, whatever happens to the network.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is not one.
    #[error("database.url: must be like postgres://user:password@host:5432/name")]
    Url(#[source] tokio_postgres::Error),
    /// An `sslmode` that does not exist.
    #[error("database.url: sslmode must be disable, require or verify-full, not `{0}`")]
    SslMode(String),
    /// A pool of no connections.
    #[error("database.pool_max: must be at least 1")]
    PoolMax,
    /// The file of `database.tls_ca` cannot be used.
    #[error("database.tls_ca: failed to read certificates from {}", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: std::io::Error,
    },
    /// Encryption was asked for and the machine trusts nobody.
    #[error(
        "no trusted certificate authorities on this machine: install `ca-certificates` or set database.tls_ca"
    )]
    NoTrust,
}

/// Why there is no connection right now.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The settings do not allow one.
    #[error(transparent)]
    Settings(#[from] ConnectError),
    /// The server cannot be reached, or refuses us.
    #[error("failed to connect to PostgreSQL")]
    Connect(#[source] ConnectionError),
    /// Every connection is in use.
    #[error("no connection to PostgreSQL within {0:?}")]
    Timeout(Duration),
    /// The pool was closed.
    #[error("the connection pool is closed")]
    Closed,
}

/// Up to `pool_max` connections, opened when they are needed. Clones share them.
#[derive(Clone)]
pub struct Pool {
    connections: deadpool::Pool<Connection>,
    wait_max: Duration,
}

impl Pool {
    /// A pool that has not connected yet: the database may still be away.
    ///
    /// # Errors
    /// [`ConnectError`] names the setting that can never work.
    pub fn connect(settings: &Settings) -> Result<Self, ConnectError> {
        Self::of(settings, "")
    }

    /// Like [`Pool::connect`], for who has the same few statements all the time and finds everything by an index.
    ///
    /// # Errors
    /// [`ConnectError`] names the setting that can never work.
    pub fn through_indexes(settings: &Settings) -> Result<Self, ConnectError> {
        Self::of(settings, THROUGH_INDEXES)
    }

    fn of(settings: &Settings, options: &str) -> Result<Self, ConnectError> {
        if settings.pool_max == 0 {
            return Err(ConnectError::PoolMax);
        }
        let mut server = Server::new(settings, Some(settings.statement_timeout))?;
        server.add_options(options);
        let mut config = ManagerConfig::<Connection>::default();
        // A connection whose socket has closed is found by looking, not by a round trip for every use.
        config.recycling_method = RecyclingMethod::Fast;
        config.custom_setup = Box::new(move |_url| {
            let server = server.clone();
            Box::pin(async move { server.open().await })
        });
        let manager = AsyncDieselConnectionManager::new_with_config(String::new(), config);
        let connections = deadpool::Pool::builder(manager)
            .max_size(settings.pool_max)
            .build()
            .expect("a pool without timeouts of its own needs no runtime");
        Ok(Self { connections, wait_max: settings.connect_timeout })
    }

    /// A connection, waited for up to `connect_timeout`.
    ///
    /// # Errors
    /// [`PoolError`] when the database is away or every connection stays in use.
    pub async fn get(&self) -> Result<PooledConnection, PoolError> {
        let connection = timeout(self.wait_max, self.connections.get());
        match connection.await.map_err(|_| PoolError::Timeout(self.wait_max))? {
            Ok(connection) => Ok(connection),
            Err(error) => Err(pool_error(error, self.wait_max)),
        }
    }
}

fn pool_error(error: deadpool::PoolError, wait_max: Duration) -> PoolError {
    match error {
        deadpool::PoolError::Backend(diesel_async::pooled_connection::PoolError::ConnectionError(source)) => {
            PoolError::Connect(source)
        }
        deadpool::PoolError::Backend(diesel_async::pooled_connection::PoolError::QueryError(source)) => {
            PoolError::Connect(ConnectionError::CouldntSetupConfiguration(source))
        }
        deadpool::PoolError::Closed => PoolError::Closed,
        _ => PoolError::Timeout(wait_max),
    }
}

/// One connection of its own, without a limit on the time of a statement: for setting up tables.
///
/// # Errors
/// [`PoolError`] when the settings cannot work or the database is away.
pub async fn connect(settings: &Settings) -> Result<Connection, PoolError> {
    let server = Server::new(settings, None)?;
    let connection = timeout(settings.connect_timeout, server.open());
    connection.await.map_err(|_| PoolError::Timeout(settings.connect_timeout))?.map_err(PoolError::Connect)
}

/// Where to connect to, and how.
#[derive(Clone)]
struct Server {
    config: tokio_postgres::Config,
    encryption: Encryption,
}

impl Server {
    fn new(settings: &Settings, statement_timeout: Option<Duration>) -> Result<Self, ConnectError> {
        let (url, encryption) = tls::of_url(&settings.url, settings.tls_ca.as_deref())?;
        let mut config: tokio_postgres::Config = url.parse().map_err(ConnectError::Url)?;
        if config.get_application_name().is_none() {
            config.application_name(APPLICATION_NAME);
        }
        config.connect_timeout(settings.connect_timeout);
        notice_lost_servers(&mut config);
        // statements of ours are many and short: compiling one takes longer than running it
        let mut options = vec!["-c jit=off".to_owned()];
        options.extend(statement_timeout.map(|limit| format!("-c statement_timeout={}", limit.as_millis())));
        options.extend(config.get_options().map(str::to_owned));
        config.options(options.join(" "));
        Ok(Self { config, encryption })
    }

    /// Adds options of the server, before those that there are: of one that is given twice the last counts, and the URL has it.
    fn add_options(&mut self, options: &str) {
        let own = self.config.get_options().unwrap_or_default().to_owned();
        self.config.options(format!("{options} {own}"));
    }

    async fn open(&self) -> diesel::ConnectionResult<Connection> {
        let refused = |error: tokio_postgres::Error| ConnectionError::BadConnection(chain(&error));
        match &self.encryption {
            Encryption::None => {
                let (client, connection) = self.config.connect(NoTls).await.map_err(refused)?;
                Connection::try_from_client_and_connection(client, connection).await
            }
            Encryption::Verified(connector) => {
                let (client, connection) = self.config.connect(connector.clone()).await.map_err(refused)?;
                Connection::try_from_client_and_connection(client, connection).await
            }
        }
    }
}

/// Has connections end whose server has vanished, unless the URL says how. Of sockets that are files it means nothing.
fn notice_lost_servers(config: &mut tokio_postgres::Config) {
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNACKNOWLEDGED_MAX);
    }
    // that the URL says what is the default anyway cannot be told from its saying nothing
    if config.get_keepalives_idle() == tokio_postgres::Config::new().get_keepalives_idle() {
        config.keepalives_idle(QUIET_MAX);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(ASK_AGAIN);
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(UNANSWERED_MAX);
    }
}

/// Diesel keeps a text: all of the causes, since the first alone says "error connecting to server".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> tokio_postgres::Config {
        Server::new(&Settings::at(url), None).expect("a server").config
    }

    #[test]
    fn a_connection_whose_server_has_vanished_ends_unless_the_url_says_otherwise() {
        let ours = config("postgres://user@host/name");
        assert_eq!(ours.get_tcp_user_timeout(), Some(&UNACKNOWLEDGED_MAX));
        assert!(ours.get_keepalives());
        assert_eq!(ours.get_keepalives_idle(), QUIET_MAX);
        assert_eq!(ours.get_keepalives_interval(), Some(ASK_AGAIN));
        assert_eq!(ours.get_keepalives_retries(), Some(UNANSWERED_MAX));

        let said = config(
            "postgres://user@host/name?tcp_user_timeout=70&keepalives=0&keepalives_idle=71\
             &keepalives_interval=72&keepalives_retries=73",
        );
        assert_eq!(said.get_tcp_user_timeout(), Some(&Duration::from_secs(70)));
        assert!(!said.get_keepalives());
        assert_eq!(said.get_keepalives_idle(), Duration::from_secs(71));
        assert_eq!(said.get_keepalives_interval(), Some(Duration::from_secs(72)));
        assert_eq!(said.get_keepalives_retries(), Some(73));
    }
}
