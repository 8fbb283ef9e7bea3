//! What an attempt has on the server: its operations are interrupted, its session is let go of.

use std::convert::Infallible;
use std::time::Duration;

use uuid::Uuid;

use super::super::client::Operation;
use super::super::failure::{Verdict, judge};
use super::super::server::Live;
use super::files::Plan;

/// How often an interrupt is repeated: a program may begin another operation.
const INTERRUPT_EVERY: Duration = Duration::from_millis(200);
/// How often an interrupted operation is looked at until the server has let it go.
const IDLE_LOOK: Duration = Duration::from_millis(25);

/// Interrupts the attempt's operations again and again.
pub(super) async fn keep_interrupting(live: &Live, plan: &Plan) -> Infallible {
    let operations = plan.operations();
    loop {
        if let Err(status) = live.client.interrupt(&operations).await {
            tracing::debug!(%status, "an interrupt was not taken");
        }
        tokio::time::sleep(INTERRUPT_EVERY).await;
    }
}

/// Ends the attempt's operations and, if it is its own, its session; returns once the server works on none of them.
/// The attempt's process must be dead: it could begin another.
pub(super) async fn end(live: &Live, plan: &Plan) {
    let operations = plan.operations();
    let mut met: Vec<Uuid> = Vec::new();
    loop {
        match live.client.interrupt(&operations).await {
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
        wait_until_idle(live, &operations, &met).await;
    }
    if plan.isolated
        && let Err(status) = live.client.release_session(&operations).await
    {
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
