//! Telling a host's replicas that an attempt waits for one of them, and showing drivers that their host is not lost.

use std::path::PathBuf;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use libra_core::attempt::Attempt;
use libra_store::handoff::{Entry, HandOffError, RedisHandOff, Taken};
use libra_store::signals::Signal;

use tokio::time::Instant;

use super::{Service, machine_of};

/// Nothing is launched when the store was last reached longer ago than this. A driver that starts then ends itself
/// after the time for which a host is kept less a minute: half of that minute is left for it.
const LAUNCH_AFTER_LIFE: Duration = Duration::from_secs(30);

/// Hands scheduled attempts on, one by one (contract Q2). It may lose them, repeat them or bring them late: the store
/// stays the truth.
pub(crate) trait HandOff: Send + Sync {
    /// Puts attempts where the replicas of their hosts find them.
    fn push<'a>(&'a self, entries: &'a [Entry]) -> BoxFuture<'a, Result<(), HandOffError>>;

    /// At most `most` attempts for `host`, waiting for the first one at most so long; `consumer` is who asks.
    fn take<'a>(
        &'a self,
        host: &'a str,
        consumer: &'a str,
        most: usize,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Vec<Taken>, HandOffError>>;

    /// Nobody needs these any more.
    fn settle<'a>(&'a self, taken: &'a [Taken]) -> BoxFuture<'a, Result<(), HandOffError>>;
}

impl HandOff for RedisHandOff {
    fn push<'a>(&'a self, entries: &'a [Entry]) -> BoxFuture<'a, Result<(), HandOffError>> {
        Self::push(self, entries).boxed()
    }

    fn take<'a>(
        &'a self,
        host: &'a str,
        consumer: &'a str,
        most: usize,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Vec<Taken>, HandOffError>> {
        Self::take(self, host, consumer, most, wait).boxed()
    }

    fn settle<'a>(&'a self, taken: &'a [Taken]) -> BoxFuture<'a, Result<(), HandOffError>> {
        Self::settle(self, taken).boxed()
    }
}

impl Service {
    /// True when each waiting attempt is handed to one replica, rather than all being told to look.
    pub(crate) fn hands_off_singly(&self) -> bool {
        self.redis.is_some()
    }

    /// Hands a scheduled attempt to the replicas of its host. Nothing is lost when it fails: they sweep as well.
    pub(crate) async fn hand_off(&self, attempt: &Attempt) {
        let host = machine_of(&attempt.host).to_owned();
        let Some(redis) = &self.redis else {
            self.signals.tell(Signal::Claim(host));
            return;
        };
        // Replicas of one host that use different files can't look after each other's attempts.
        let host = handed_to(&host, &attempt.storage);
        let entry = Entry { job_id: attempt.job_id, attempt: attempt.number, host };
        if let Err(e) = redis.push(&[entry]).await {
            tracing::debug!(job_id = %attempt.job_id, error = %e, "Redis did not take an attempt; it is swept from the store");
        }
    }

    /// The moment after which nothing may be launched: so long before its host would be given up that the driver
    /// ends itself in time.
    pub(crate) fn launch_until(&self) -> Option<Instant> {
        (!self.alone).then(|| self.standing.proven_at() + LAUNCH_AFTER_LIFE)
    }

    /// Shows the drivers of this host that one of its replicas reaches the database.
    pub(crate) fn show_life(&self) {
        if self.alone {
            return;
        }
        let file = host_lease_file(&self.files_dir, machine_of(&self.standing.me.host));
        if let Err(e) = self.files.touch(&file) {
            tracing::warn!(error = %e, file = %file.display(), "the drivers of this host can't be shown that it lives");
        }
    }
}

/// The name under which those who share a machine and its files are handed attempts.
pub(crate) fn handed_to(machine: &str, storage: &str) -> String {
    format!("{machine}/{storage}")
}

/// The file that the drivers of a host watch (design §6).
pub(crate) fn host_lease_file(files_dir: &std::path::Path, machine: &str) -> PathBuf {
    files_dir.join("hosts").join(machine).join("alive")
}
