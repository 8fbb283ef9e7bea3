//! Connections to Redis: opened when needed, kept while they work, not tried too often while they don't.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, Pipeline, ProtocolVersion, RedisError,
    Value,
};
use tokio::time::Instant;

use super::HandOffError;

/// A connection that is not open after this long is given up.
const CONNECT_LIMIT: Duration = Duration::from_millis(500);
/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Connections kept for later. One waits for entries, others push and settle.
const KEPT: usize = 4;

/// What the commands of a pipeline came to, each for itself.
pub(super) type Answers = Vec<Result<Value, RedisError>>;

/// One Redis.
pub(super) struct Link {
    client: Client,
    address: String,
    kept: Mutex<Vec<MultiplexedConnection>>,
    outage: Mutex<Option<Outage>>,
}

/// Since a failure, and until something works again.
struct Outage {
    /// No try before then.
    retry_at: Instant,
    pause: Duration,
    why: HandOffError,
}

impl Link {
    /// Reads the URL; connects to nothing.
    pub(super) fn new(url: &str) -> Result<Self, HandOffError> {
        let refuse = |why: &str| Err(HandOffError::Url(why.to_owned()));
        match url.split_once("://") {
            Some(("redis", _)) => {}
            Some(("rediss", _)) => {
                // Fails when a provider is there already, which is as good.
                let _ = rustls::crypto::ring::default_provider().install_default();
            }
            // The URL itself may hold a password, so it is not repeated.
            _ => return refuse("write redis://[user:password@]host[:port][/database], or rediss:// for TLS"),
        }
        let Ok(info) = url.into_connection_info() else {
            return refuse(
                "it is not of the form redis://[user:password@]host[:port][/database]; \
                 special characters in the password have to be percent-encoded",
            );
        };
        // The answers are read as version 2 of the protocol has them, whatever the URL asks for.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        let address = info.addr().to_string();
        let client = Client::open(info.set_redis_settings(settings)).map_err(|e| {
            HandOffError::Url(format!("{} ({})", e.category(), e.detail().unwrap_or("no detail")))
        })?;
        Ok(Self { client, address, kept: Mutex::default(), outage: Mutex::default() })
    }

    /// Host and port.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// How long there is no point in another call.
    pub(super) fn pause(&self) -> Duration {
        let outage = lock(&self.outage);
        outage.as_ref().map_or(Duration::ZERO, |o| o.retry_at.saturating_duration_since(Instant::now()))
    }

    /// Sends the commands and waits for their answers, all within `limit`. The error is that of the whole call: no
    /// connection, no answer. What Redis refuses is in the answers. The commands may be sent twice.
    ///
    /// Cancel-safe: an unfinished call takes its connection with it.
    pub(super) async fn call(&self, commands: &Pipeline, limit: Duration) -> Result<Answers, HandOffError> {
        self.bounded(self.ask(commands), limit).await
    }

    /// The same for a command that waits by itself for a part of `limit`, and is sent once.
    pub(super) async fn wait(&self, commands: &Pipeline, limit: Duration) -> Result<Answers, HandOffError> {
        self.bounded(self.ask_once(commands), limit).await
    }

    async fn bounded(
        &self,
        asking: impl Future<Output = Result<(MultiplexedConnection, Answers), RedisError>>,
        limit: Duration,
    ) -> Result<Answers, HandOffError> {
        if let Some(outage) = &*lock(&self.outage)
            && Instant::now() < outage.retry_at
        {
            return Err(outage.why.clone());
        }
        let answered = match tokio::time::timeout(limit, asking).await {
            Ok(answered) => answered.map_err(|e| self.failure(&e)),
            Err(_) => Err(self.unreachable(format!("no answer within {limit:?}"))),
        };
        match answered {
            Ok((connection, answers)) => {
                self.works();
                let mut kept = lock(&self.kept);
                if kept.len() < KEPT {
                    kept.push(connection);
                }
                Ok(answers)
            }
            Err(why) => {
                self.fails(&why);
                Err(why)
            }
        }
    }

    async fn ask(&self, commands: &Pipeline) -> Result<(MultiplexedConnection, Answers), RedisError> {
        match self.ask_once(commands).await {
            // Redis was restarted since this connection was opened; so it was since the others were.
            Err(e) if e.is_connection_dropped() => {
                lock(&self.kept).clear();
                self.ask_once(commands).await
            }
            answered => answered,
        }
    }

    async fn ask_once(&self, commands: &Pipeline) -> Result<(MultiplexedConnection, Answers), RedisError> {
        let kept = lock(&self.kept).pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let answers = commands.query_async(&mut connection).await?;
        Ok((connection, answers))
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        // The limit of the whole call is the limit of the answer.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(None);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// What an error means to the caller.
    pub(super) fn failure(&self, e: &RedisError) -> HandOffError {
        let (code, why) = match e.kind() {
            // The crate keeps nothing of what Redis said.
            ErrorKind::AuthenticationFailed => {
                ("WRONGPASS", "it does not accept the user or the password of the URL")
            }
            ErrorKind::Server(_) | ErrorKind::Extension => {
                (e.code().unwrap_or("ERR"), e.detail().unwrap_or_else(|| e.category()))
            }
            ErrorKind::Parse => return self.unreachable("what answers there is not Redis".to_owned()),
            // No connection, or a broken one.
            _ => return self.unreachable(e.to_string()),
        };
        let (address, code) = (self.address.clone(), code.to_owned());
        HandOffError::Refused { address, why: format!("{code} {why}"), code }
    }

    fn unreachable(&self, why: String) -> HandOffError {
        HandOffError::Unreachable { address: self.address.clone(), why }
    }

    fn works(&self) {
        if lock(&self.outage).take().is_some() {
            tracing::info!(redis = self.address, "Redis hands scheduled work over again");
        }
    }

    fn fails(&self, why: &HandOffError) {
        lock(&self.kept).clear();
        let mut outage = lock(&self.outage);
        let pause = match &*outage {
            Some(before) => (before.pause * 2).min(LONGEST_PAUSE),
            None => FIRST_PAUSE,
        };
        // Once for each outage: it is tried again and again.
        if outage.is_none() {
            tracing::warn!("{why}; until it works, scheduled jobs are found by looking into the store");
        }
        *outage = Some(Outage { retry_at: Instant::now() + pause, pause, why: why.clone() });
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What is behind these locks is whole at any moment.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
