//! Broken twins: for each promise a variant of the store or of the engine that breaks it on purpose. They test the
//! test: a simulator that does not catch them proves nothing.

use std::sync::Arc;

use libra_core::attempt::{Progress, Usage};
use libra_core::time::Timestamp;
use libra_store::backend::{Kind, Pending, Work};
use libra_store::lane::{
    AttemptNote, AttemptWrite, Change, Fence, Note, Outcome, Seen, Submission, Submitted,
};
use libra_store::tables::jobs;
use libra_store::tx::{Arg, Row, Tx};
use libra_store::{Backend, StoreError};

use super::dice::Dice;
use super::record::Promise;

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Twin {
    /// Changes are applied whatever the writer's epoch.
    IgnoresFences,
    /// Changes are applied whatever the job's revision.
    IgnoresRevisions,
    /// A step loses a row of its log.
    DropsLogRows,
    /// A step loses a message.
    DropsMessages,
    /// Leases are taken under the epoch of before.
    ReusesEpochs,
    /// Whose attempt is taken over is said to be fenced off, and is not.
    TakesOverUnfenced,
    /// The feed leaves a number out.
    SkipsFeedNumbers,
    /// A submission is answered and not stored.
    LosesSubmissions,
    /// Keys of submissions are not kept.
    ForgetsKeys,
    /// Admission sees no usage.
    SeesNoUsage,
    /// Open attempts are not found.
    SeesNoOpenAttempts,
    /// The engine says that it was not launched, whatever is true.
    FindsNothing,
    /// The engine says so, and does not keep the launch from coming.
    FindsWithoutRevoking,
    /// A launch that arrives twice starts two drivers.
    LaunchesTwice,
    /// The engine takes a success for a failure.
    ForgetsSuccess,
    /// The engine confirms an end that has not come.
    SaysGoneTooEarly,
    /// Drivers go on when their host does not reach the store.
    DriversOutliveTheirHost,
    /// Progress and usage begin anew with every look.
    ForgetsProgress,
}

impl Twin {
    pub(super) const ALL: [Self; 18] = [
        Self::IgnoresFences,
        Self::IgnoresRevisions,
        Self::DropsLogRows,
        Self::DropsMessages,
        Self::ReusesEpochs,
        Self::TakesOverUnfenced,
        Self::SkipsFeedNumbers,
        Self::LosesSubmissions,
        Self::ForgetsKeys,
        Self::SeesNoUsage,
        Self::SeesNoOpenAttempts,
        Self::FindsNothing,
        Self::FindsWithoutRevoking,
        Self::LaunchesTwice,
        Self::ForgetsSuccess,
        Self::SaysGoneTooEarly,
        Self::DriversOutliveTheirHost,
        Self::ForgetsProgress,
    ];

    /// The promises, one of which it must be caught breaking.
    pub(super) fn breaks(self) -> &'static [Promise] {
        match self {
            Self::IgnoresFences => &[Promise::Fenced],
            Self::IgnoresRevisions | Self::DropsLogRows => &[Promise::Sane, Promise::EveryStepLogged],
            Self::DropsMessages => &[Promise::EveryStateTold],
            Self::ReusesEpochs => &[Promise::EpochsUnique],
            Self::TakesOverUnfenced => &[Promise::FencedBeforeTakeover],
            Self::SkipsFeedNumbers => &[Promise::FeedWhole],
            Self::LosesSubmissions => &[Promise::NoJobLost],
            Self::ForgetsKeys => &[Promise::NoJobTwice],
            Self::SeesNoUsage => &[Promise::WithinLimits],
            Self::SeesNoOpenAttempts => &[Promise::Ends, Promise::NothingLeft],
            Self::FindsNothing | Self::LaunchesTwice | Self::SaysGoneTooEarly => {
                &[Promise::OneDriver, Promise::NothingLeft]
            }
            Self::FindsWithoutRevoking => &[Promise::NoLateDriver, Promise::OneDriver],
            Self::ForgetsSuccess => &[Promise::SuccessStays],
            Self::DriversOutliveTheirHost => &[Promise::OneDriver, Promise::NothingLeft],
            Self::ForgetsProgress => &[Promise::NothingFalls],
        }
    }
}

/// The store with what is broken about it.
pub(super) fn store(twin: Option<Twin>, inner: Arc<dyn Backend>, dice: Dice) -> Arc<dyn Backend> {
    match twin {
        None => inner,
        Some(twin) => Arc::new(Broken { twin, inner, dice }),
    }
}

struct Broken {
    twin: Twin,
    inner: Arc<dyn Backend>,
    dice: Dice,
}

impl Broken {
    /// Work that sees the database through the twin's eyes.
    fn through(&self, work: Work) -> Work {
        let twin = self.twin;
        Box::new(move |tx| work(&mut Distorted { twin, tx }))
    }

    async fn bypass_revision(&self, change: &mut Change) -> Result<(), StoreError> {
        let id = change.job.id;
        let (tell, told) = tokio::sync::oneshot::channel();
        let look: Work = Box::new(move |tx| {
            let revision = jobs::get(tx, id)?.map(|job| job.revision);
            // It is waited for below.
            let _ = tell.send(revision);
            Ok(())
        });
        self.inner.read(look).await?;
        if let Ok(Some(revision)) = told.await {
            change.expected_revision = revision;
            change.job.revision = revision + 1;
        }
        Ok(())
    }

    /// Lets what was seen fall, where that is what this twin does.
    fn distort(&self, seen: &mut Seen) {
        if self.twin != Twin::ForgetsProgress {
            return;
        }
        let half = |p: &Progress| Progress { percentage: p.percentage / 2, ..p.clone() };
        seen.progress = seen.progress.as_ref().map(half);
        let anew = || Usage { cpu_millis: u64::from(self.dice.chance(5_000)), ..Usage::default() };
        seen.usage = seen.usage.map(|_| anew());
    }
}

impl Backend for Broken {
    fn kind(&self) -> Kind {
        self.inner.kind()
    }

    fn write(&self, work: Work) -> Pending<'_, ()> {
        self.inner.write(self.through(work))
    }

    fn read(&self, work: Work) -> Pending<'_, ()> {
        self.inner.read(self.through(work))
    }

    fn submit(&self, mut new: Submission) -> Pending<'_, Submitted> {
        match self.twin {
            Twin::LosesSubmissions if self.dice.chance(2_000) => {
                return Box::pin(async { Ok(Submitted::Stored) });
            }
            Twin::ForgetsKeys => new.idempotency = None,
            _ => {}
        }
        self.inner.submit(new)
    }

    fn apply(&self, mut change: Change) -> Pending<'_, Outcome> {
        Box::pin(async move {
            match self.twin {
                Twin::IgnoresFences => change.fence = None,
                Twin::IgnoresRevisions => self.bypass_revision(&mut change).await?,
                Twin::DropsLogRows if self.dice.chance(2_000) => {
                    change.log.pop();
                }
                Twin::DropsMessages if self.dice.chance(5_000) => {
                    change.outbox.pop();
                }
                _ => {}
            }
            for write in &mut change.attempts {
                if let AttemptWrite::Look { seen, .. } = write {
                    self.distort(seen);
                }
            }
            self.inner.apply(change).await
        })
    }

    fn note(&self, mut note: AttemptNote) -> Pending<'_, Outcome> {
        if let Note::Seen(seen) = &mut note.what {
            self.distort(seen);
        }
        self.inner.note(note)
    }

    fn number_feed(&self, fence: Fence) -> Pending<'_, usize> {
        Box::pin(async move {
            if self.twin == Twin::SkipsFeedNumbers && self.dice.chance(2_000) {
                // The newest rows move on by one, and a number is left out.
                self.inner.write(Box::new(|tx| tx.execute(SKIP, &[]).map(|_| ()))).await?;
            }
            self.inner.number_feed(fence).await
        })
    }
}

/// Leaves a number out of the feed.
const SKIP: &str = "UPDATE feed_segments SET first_seq = first_seq + 1 \
     WHERE first_seq = (SELECT MAX(first_seq) FROM feed_segments)";

/// A transaction that is not what it seems.
struct Distorted<'a> {
    twin: Twin,
    tx: &'a mut dyn Tx,
}

impl Tx for Distorted<'_> {
    fn now(&mut self) -> Result<Timestamp, StoreError> {
        self.tx.now()
    }

    fn elements(&self) -> &'static str {
        self.tx.elements()
    }

    fn execute(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<u64, StoreError> {
        match self.twin {
            Twin::ReusesEpochs if sql.starts_with("INSERT INTO leases") => {
                self.tx.execute(&sql.replace("leases.epoch + 1", "leases.epoch"), args)
            }
            Twin::TakesOverUnfenced if sql.starts_with("UPDATE leases SET epoch = epoch + 1") => Ok(1),
            _ => self.tx.execute(sql, args),
        }
    }

    fn query(
        &mut self,
        sql: &str,
        args: &[Arg<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let blind = match self.twin {
            Twin::SeesNoUsage => sql.contains("state IN ('SCHEDULED', 'RUNNING')"),
            Twin::SeesNoOpenAttempts => sql.contains("FROM attempts") && sql.contains("ended_at IS NULL"),
            Twin::ForgetsKeys => sql.contains("FROM idempotency"),
            _ => false,
        };
        if blind { Ok(()) } else { self.tx.query(sql, args, each) }
    }
}
