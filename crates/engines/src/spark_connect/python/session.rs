//! What an attempt has on the server: its operations are interrupted, its sessions are let go of.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::super::client::Operation;
use super::super::failure::{Verdict, judge};
use super::super::server::Live;
use super::files::Plan;
use crate::attempt_dir::AttemptDir;

/// How often an interrupt is repeated: a program may begin another operation.
const INTERRUPT_EVERY: Duration = Duration::from_millis(200);
/// How often an interrupted operation is looked at until the server has let it go.
const IDLE_LOOK: Duration = Duration::from_millis(25);

/// Sessions that a program made for itself and that are looked after, at most.
const MAX_SESSIONS: usize = 1_000;

/// The attempt's operations in each session that it has: its own first, then those that its program has made. The
/// driver writes their names to the file `sessions`.
fn operations(plan: &Plan, dir: &AttemptDir) -> Vec<Operation> {
    let own = plan.operations();
    let text = std::fs::read_to_string(dir.path().join("sessions")).unwrap_or_default();
    let mut more: Vec<Uuid> = text.lines().filter_map(|line| line.parse().ok()).collect();
    more.sort_unstable();
    more.dedup();
    let more = more.into_iter().filter(|session| *session != own.session).take(MAX_SESSIONS);
    let more = more.map(|session| Operation { session, server_session: Arc::default(), ..own.clone() });
    std::iter::once(own.clone()).chain(more).collect()
}

/// Interrupts the attempt's operations again and again.
pub(super) async fn keep_interrupting(live: &Live, plan: &Plan, dir: &AttemptDir) -> Infallible {
    loop {
        for operations in operations(plan, dir) {
            if let Err(status) = live.client.interrupt(&operations).await {
                tracing::debug!(%status, "an interrupt was not taken");
            }
        }
        tokio::time::sleep(INTERRUPT_EVERY).await;
    }
}

/// Ends the attempt's operations and, where they are its own, its sessions; returns once the server works on none of
/// them. The attempt's process must be dead: it could begin another.
pub(super) async fn end(live: &Live, plan: &Plan, dir: &AttemptDir) {
    for operations in operations(plan, dir) {
        let own = plan.isolated || operations.session != plan.session;
        end_session(live, &operations, own).await;
    }
}

async fn end_session(live: &Live, operations: &Operation, own: bool) {
    let mut met: Vec<Uuid> = Vec::new();
    loop {
        match live.client.interrupt(operations).await {
            Ok(ids) => {
                let fresh = ids.iter().any(|id| !met.contains(id));
                met.extend(ids);
                if !fresh {
                    break;
                }
            }
            Err(status) if judge(&status) == Verdict::Retry && !live.is_dead() => {
                tokio::time::sleep(INTERRUPT_EVERY).await;
            }
            // A server that does not know the session, or is dead, does nothing.
            Err(_) => return,
        }
    }
    if !met.is_empty() {
        wait_until_idle(live, operations, &met).await;
    }
    if own && let Err(status) = live.client.release_session(operations).await {
        tracing::debug!(%status, "an ended session could not be released");
    }
}

async fn wait_until_idle(live: &Live, operations: &Operation, ids: &[Uuid]) {
    loop {
        match live.client.is_alive(operations, ids).await {
            Ok(true) => tokio::time::sleep(IDLE_LOOK).await,
            Err(status) if judge(&status) == Verdict::Retry && !live.is_dead() => {
                tokio::time::sleep(INTERRUPT_EVERY).await;
            }
            Ok(false) | Err(_) => return,
        }
    }
}
