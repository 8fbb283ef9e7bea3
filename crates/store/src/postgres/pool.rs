//! A few connections, opened when they are needed and again when they were lost.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::connection::{Connection, Connector};
use crate::error::StoreError;

/// How many connections, and for how long. The names are those of the HPC reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// Connections at most (`MaxConns`).
    pub max: u32,
    /// Connections that are kept open (`MinConns`).
    pub min: u32,
    /// No connection is used for longer (`MaxConnLifetime`).
    pub max_lifetime: Duration,
    /// Those beyond the least are closed when they had nothing to do for this long (`MaxConnIdleTime`).
    pub max_idle: Duration,
    /// Whoever gets no connection within this time is refused.
    pub wait: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            max: 25,
            min: 5,
            max_lifetime: Duration::from_mins(5),
            max_idle: Duration::from_secs(30),
            wait: Duration::from_secs(10),
        }
    }
}

/// A server that is away is tried again for this long before somebody is refused: a restart takes less.
const RECONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The pause after the first refused connection; doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_millis(800);
/// How often idle connections are looked at.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// The pool.
pub(super) struct Pool {
    connector: Connector,
    settings: PoolSettings,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<(Connection, Instant)>>,
}

impl Pool {
    pub(super) fn new(connector: Connector, settings: PoolSettings) -> Arc<Self> {
        let most = settings.max.max(1) as usize;
        let pool = Arc::new(Self {
            connector,
            settings,
            permits: Arc::new(Semaphore::new(most)),
            idle: Mutex::default(),
        });
        tokio::spawn(tidy(Arc::downgrade(&pool)));
        pool
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Connection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of one's own until it is dropped. Waits for one that others use, and for a server that is away.
    pub(super) async fn get(self: &Arc<Self>) -> Result<Pooled, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned();
        let permit = match timeout(self.settings.wait, permit).await {
            Ok(permit) => permit.map_err(|_| StoreError::Closed)?,
            Err(_) => {
                return Err(StoreError::Unreachable(format!(
                    "all {} connections were busy for {} s",
                    self.settings.max,
                    self.settings.wait.as_secs()
                )));
            }
        };
        let kept = {
            let mut idle = self.idle();
            idle.retain(|(connection, _)| self.is_good(connection));
            idle.pop()
        };
        let connection = match kept {
            Some((connection, _)) => connection,
            None => self.open().await?,
        };
        Ok(Pooled { connection: Some(connection), clean: true, pool: Arc::clone(self), _permit: permit })
    }

    async fn open(&self) -> Result<Connection, StoreError> {
        let until = Instant::now() + RECONNECT_LIMIT;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.connector.open().await {
                Err(StoreError::Unreachable(why)) if Instant::now() + pause < until => {
                    tracing::debug!(%why, "the database is away, trying again");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                opened => return opened,
            }
        }
    }

    fn is_good(&self, connection: &Connection) -> bool {
        connection.is_open() && connection.age() < self.settings.max_lifetime
    }

    /// Forgets the connections that nobody uses: one of them turned out to be lost, so the others probably are.
    pub(super) fn forget_idle(&self) {
        self.idle().clear();
    }

    /// Connections in use, and open ones that nobody uses.
    pub(super) fn load(&self) -> (usize, usize) {
        let most = self.settings.max.max(1) as usize;
        (most - self.permits.available_permits().min(most), self.idle().len())
    }

    fn close_idle(&self) -> bool {
        let mut idle = self.idle();
        idle.retain(|(connection, _)| self.is_good(connection));
        let least = self.settings.min as usize;
        let mut spare = idle.len().saturating_sub(least);
        idle.retain(|(_, since)| {
            let close = spare > 0 && since.elapsed() > self.settings.max_idle;
            spare -= usize::from(close);
            !close
        });
        idle.len() < least && self.permits.available_permits() > idle.len()
    }
}

/// Closes what is too much or too old, and keeps the least number open.
async fn tidy(pool: Weak<Pool>) {
    loop {
        sleep(TIDY_EVERY).await;
        let Some(pool) = pool.upgrade() else { return };
        while pool.close_idle() {
            let Ok(connection) = pool.connector.open().await else { break };
            pool.idle().push((connection, Instant::now()));
        }
    }
}

/// A connection from the pool; goes back when it is dropped.
pub(super) struct Pooled {
    connection: Option<Connection>,
    clean: bool,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Pooled {
    /// A connection in the middle of something does not go back.
    pub(super) fn set_clean(&mut self, clean: bool) {
        self.clean = clean;
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.clean
            && self.pool.is_good(&connection)
        {
            self.pool.idle().push((connection, Instant::now()));
        }
    }
}

#[expect(clippy::expect_used, reason = "taken by Drop alone")]
impl Deref for Pooled {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("present until it is dropped")
    }
}

#[expect(clippy::expect_used, reason = "taken by Drop alone")]
impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("present until it is dropped")
    }
}
