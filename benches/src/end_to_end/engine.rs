//! An engine that has nothing to do: every launch has succeeded when it is looked at.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt as _;
use futures::future::{BoxFuture, pending, ready};
use libra_core::attempt::{Exit, Handle, Outcome as Ended};
use libra_core::id::Token;
use libra_core::spec::JobSpec;
use libra_engines::engine::{
    CancelOutcome, Engine, EngineError, Launch, LaunchError, Launched, Observation, Running,
};
use serde_json::Value;
use tokio::sync::Notify;

use crate::jobs::now;

/// The engine, and how many attempts it was told to let go of: those whose end is durable.
#[derive(Default)]
pub(super) struct NoOp {
    released: AtomicU64,
    told: Notify,
}

impl NoOp {
    /// Returns when the ends of so many attempts are durable.
    pub(super) async fn released(&self, count: u64) {
        while self.released.load(Ordering::Acquire) < count {
            self.told.notified().await;
        }
    }
}

fn success() -> Exit {
    Exit { outcome: Ended::Succeeded, exit_code: Some(0), signal: None, began: None, at: now() }
}

fn launched() -> Launched {
    Launched { handle: Handle(Value::Null), running_since: Some(now()) }
}

impl Engine for NoOp {
    fn validate(&self, _: &JobSpec) -> Vec<(String, String)> {
        Vec::new()
    }

    fn launch<'a>(&'a self, _: &'a Launch) -> BoxFuture<'a, Result<Launched, LaunchError>> {
        ready(Ok(launched())).boxed()
    }

    fn find<'a>(&'a self, _: &'a Launch) -> BoxFuture<'a, Result<Option<Launched>, EngineError>> {
        ready(Ok(Some(launched()))).boxed()
    }

    fn observe<'a>(&'a self, attempts: &'a [(Launch, Handle)]) -> BoxFuture<'a, Vec<Observation>> {
        ready(attempts.iter().map(|_| Observation::Ended(success())).collect()).boxed()
    }

    fn traces(&self, _: &Launch) -> Running {
        Running::default()
    }

    fn cancel<'a>(
        &'a self,
        _: &'a Launch,
        _: &'a Handle,
    ) -> BoxFuture<'a, Result<CancelOutcome, EngineError>> {
        ready(Ok(CancelOutcome::Gone(success()))).boxed()
    }

    fn release<'a>(&'a self, _: &'a Launch, _: &'a Handle) -> BoxFuture<'a, ()> {
        self.released.fetch_add(1, Ordering::Release);
        // Keeps the wish where nobody waits yet, so that none is missed.
        self.told.notify_one();
        ready(()).boxed()
    }

    fn leave(&self, _: Token) {}

    fn changed(&self, _: Token) -> BoxFuture<'_, ()> {
        pending().boxed()
    }
}
