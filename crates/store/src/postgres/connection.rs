//! One connection: made as Libra wants it, with the statements that it has prepared.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Socket, Statement};

use super::errors;
use super::tls::{MakeTls, Stream};
use crate::error::StoreError;
use crate::url::PgUrl;

/// A connection that is not open after this long is given up.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The server ends a statement after this long.
const STATEMENT_LIMIT: Duration = Duration::from_secs(30);
/// The server gives up waiting for a row that another transaction has after this long.
const LOCK_LIMIT: Duration = Duration::from_secs(10);
/// The server ends a transaction in which nothing happens for this long: its client is gone, or stands still. Shorter
/// than others wait for what it has locked, and than leases usually last.
const IDLE_LIMIT: Duration = Duration::from_secs(5);
/// An answer that is later than the server's own limit by this much won't come: the network is cut.
const GRACE: Duration = Duration::from_secs(5);
/// Silence on the network before the kernel asks whether the other side is there, and between its questions.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// What was sent and not confirmed by the other side's kernel after this long ends the connection.
const UNCONFIRMED_LIMIT: Duration = Duration::from_secs(15);
/// Prepared statements kept by each connection. Lists have many shapes.
const STATEMENTS: usize = 256;
/// The oldest server that is supported.
pub const OLDEST_SERVER: i64 = 14;

/// Libra's settings of a session. Every query of Libra's is made to walk along an index: a plan that was chosen while
/// a table was empty must not read all of it when it is full. Merging stays: without it the lanes took half as many
/// transitions. Compiling such short queries, or sharing them out, costs more than it saves.
/// A commit that was answered is durable, whatever the server's default.
const SETTINGS: &str = "SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off; \
     SET enable_hashjoin = off; SET max_parallel_workers_per_gather = 0; SET client_min_messages = warning; \
     SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// The other half of a connection: has to be polled for anything to happen.
pub(crate) type Driver = tokio_postgres::Connection<Socket, Stream<Socket>>;

/// Knows how to connect to one server.
#[derive(Clone)]
pub(crate) struct Connector {
    url: Arc<PgUrl>,
    tls: MakeTls,
}

impl Connector {
    pub(crate) fn new(url: PgUrl) -> Result<Self, StoreError> {
        let tls = MakeTls::new(&url)?;
        Ok(Self { url: Arc::new(url), tls })
    }

    /// Connects; the caller polls the driver, and hears notices and notifications through it.
    pub(crate) async fn connect(&self) -> Result<(Client, Driver), StoreError> {
        let mut config = self.url.config().clone();
        config
            .application_name("libra")
            .connect_timeout(CONNECT_LIMIT)
            .keepalives(true)
            .keepalives_idle(KEEPALIVE)
            .keepalives_interval(KEEPALIVE)
            .keepalives_retries(3)
            .tcp_user_timeout(UNCONFIRMED_LIMIT);
        let Ok(connected) = timeout(CONNECT_LIMIT, config.connect(self.tls.clone())).await else {
            let why = format!("{}: no connection within {} s", self.url, CONNECT_LIMIT.as_secs());
            return Err(StoreError::Unreachable(why));
        };
        connected.map_err(|e| errors::not_connected(&e, &self.url))
    }

    /// Connects, and sets the session up.
    pub(super) async fn open(&self) -> Result<Connection, StoreError> {
        let (client, driver) = self.connect().await?;
        tokio::spawn(async move {
            if let Err(e) = driver.await {
                tracing::debug!(error = %errors::story(&e), "a connection to the database ended");
            }
        });
        let mut connection =
            Connection { client, statements: HashMap::new(), born: Instant::now(), silent: false };
        let limits = format!(
            "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}; {SETTINGS}",
            STATEMENT_LIMIT.as_millis(),
            LOCK_LIMIT.as_millis(),
            IDLE_LIMIT.as_millis(),
        );
        connection.batch(&limits).await.map_err(|e| match e {
            Failure::Server(e) => errors::not_connected(&e, &self.url),
            Failure::Silence => StoreError::Unreachable(format!("{}: no answer", self.url)),
        })?;
        Ok(connection)
    }

    pub(crate) fn url(&self) -> &PgUrl {
        &self.url
    }
}

/// A statement that failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server said so, or the connection ended.
    Server(tokio_postgres::Error),
    /// There was no answer in time.
    Silence,
}

impl Failure {
    /// True when the connection is of no more use, and what was asked may have taken effect.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Server(e) => errors::is_lost(e),
            Self::Silence => true,
        }
    }

    /// True when what was asked in a batch may succeed in part when it is asked one by one.
    pub(super) fn perhaps_one_by_one(&self) -> bool {
        match self {
            Self::Server(e) => errors::perhaps_one_by_one(e),
            Self::Silence => false,
        }
    }

    /// True when a row with the same key is there already.
    pub(super) fn is_unique_violation(&self) -> bool {
        match self {
            Self::Server(e) => errors::is_unique_violation(e),
            Self::Silence => false,
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Server(e) => errors::failed(&e),
            Failure::Silence => Self::Interrupted("no answer in time".into()),
        }
    }
}

/// An open connection.
pub(super) struct Connection {
    client: Client,
    statements: HashMap<String, Statement>,
    born: Instant,
    /// An answer is missing: the server may still be working on what was asked.
    silent: bool,
}

impl Connection {
    pub(super) fn is_open(&self) -> bool {
        !self.silent && !self.client.is_closed()
    }

    pub(super) fn age(&self) -> Duration {
        self.born.elapsed()
    }

    /// Runs statements without arguments or answers.
    pub(super) async fn batch(&mut self, sql: &str) -> Result<(), Failure> {
        in_time(self.client.batch_execute(sql), &mut self.silent).await
    }

    /// The same for as long as it takes; the session has to allow it.
    pub(super) async fn batch_unlimited(&self, sql: &str) -> Result<(), Failure> {
        self.client.batch_execute(sql).await.map_err(Failure::Server)
    }

    /// Prepares a statement, once. Parameters are written `?1`, `?2` … or `$1`, `$2` ….
    pub(super) async fn prepare(&mut self, sql: &str) -> Result<Statement, Failure> {
        if let Some(known) = self.statements.get(sql) {
            return Ok(known.clone());
        }
        let prepared = in_time(self.client.prepare(&translated(sql)), &mut self.silent).await?;
        if self.statements.len() >= STATEMENTS {
            self.statements.clear();
        }
        self.statements.insert(sql.to_owned(), prepared.clone());
        Ok(prepared)
    }

    /// Runs a query.
    pub(super) async fn query(
        &mut self,
        sql: &str,
        args: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Failure> {
        let statement = self.prepare(sql).await?;
        in_time(self.client.query(&statement, args), &mut self.silent).await
    }

    /// Runs a statement; says how many rows it changed.
    pub(super) async fn execute(&mut self, sql: &str, args: &[&(dyn ToSql + Sync)]) -> Result<u64, Failure> {
        let statement = self.prepare(sql).await?;
        in_time(self.client.execute(&statement, args), &mut self.silent).await
    }
}

async fn in_time<T>(
    asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
    silent: &mut bool,
) -> Result<T, Failure> {
    let Ok(answer) = timeout(STATEMENT_LIMIT + GRACE, asked).await else {
        *silent = true;
        return Err(Failure::Silence);
    };
    answer.map_err(Failure::Server)
}

/// `?1` → `$1`, outside of texts in quotes.
fn translated(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut quoted = false;
    let mut chars = sql.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\'' {
            quoted = !quoted;
        }
        let place = c == '?' && !quoted && chars.peek().is_some_and(char::is_ascii_digit);
        out.push(if place { '$' } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::translated;

    #[test]
    fn places_are_written_as_the_database_wants_them() {
        assert_eq!(translated("a = ?1 AND b = '?1' AND c = ?12"), "a = $1 AND b = '?1' AND c = $12");
        assert_eq!(translated("a = 'it''s ?1' OR b = ?2"), "a = 'it''s ?1' OR b = $2");
    }
}
