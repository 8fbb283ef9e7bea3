//! The end of a run: after the storm everything has ended or says why it waits, and nothing is left behind.

use std::collections::BTreeMap;
use std::time::Duration;

use libra_core::id::JobId;
use libra_core::job::State;
use libra_store::tables::feed::NUMBER;
use libra_store::tables::{attempts, jobs};
use libra_store::tx;
use tokio::time::sleep;

use super::clients::Told;
use super::database::given_up;
use super::record::Promise;
use super::scene::Scene;
use crate::auth::Principal;

/// Everything has ended after so long without faults.
const LONGEST_CALM: Duration = Duration::from_mins(15);
/// The last numbers of the feed are given, the last files let go.
const LAST_WORDS: Duration = Duration::from_secs(8);

/// Waits until all jobs have ended, or long enough.
pub(super) async fn settle(scene: &Scene, told: &Told) {
    let until = scene.record.elapsed() + LONGEST_CALM;
    while scene.record.elapsed() < until {
        sleep(Duration::from_secs(1)).await;
        let open = scene.referee.database.look(|tx| {
            let sql = format!(
                "SELECT (SELECT COUNT(*) FROM jobs WHERE completed_at IS NULL) \
                 + (SELECT COUNT(*) FROM transitions t WHERE {NUMBER} IS NULL)"
            );
            tx::first(tx, &sql, &[], |row| row.int(0))
        });
        let content = told.content() == scene.plan.jobs;
        if content && open.is_ok_and(|n| n == Some(0)) && scene.world.alive().is_empty() {
            break;
        }
    }
    sleep(LAST_WORDS).await;
}

/// What must hold then.
pub(super) async fn check(scene: &Scene, told: &Told) {
    let mut all_ended = true;
    for id in scene.referee.known() {
        let Some(whole) = scene.referee.whole(id) else {
            scene.record.broken(Promise::NoJobLost, format!("{id} is gone"));
            continue;
        };
        if !whole.job.state.is_terminal() {
            all_ended = false;
            check_waiting(scene, id, whole.job.state).await;
        }
    }
    for id in told.acknowledged() {
        if scene.referee.whole(id).is_none() {
            scene.record.broken(Promise::NoJobLost, format!("{id} was acknowledged and is not there"));
        }
    }
    for id in told.cancelled() {
        let state = scene.referee.whole(id).map(|w| w.job.state);
        if state != Some(State::Cancelled) {
            scene.record.broken(Promise::Sane, format!("{id} was cancelled and is {state:?}"));
        }
    }
    check_successes(scene);
    check_feed(scene);
    for driver in scene.world.alive() {
        let state = scene.referee.whole(driver.job).map(|w| w.job.state);
        if state.is_none_or(State::is_terminal) {
            let what = format!("driver {} of {} is alive, the job is {state:?}", driver.number, driver.job);
            scene.record.broken(Promise::NothingLeft, what);
        }
    }
    if all_ended {
        let held = scene.referee.database.look(|tx| Ok((jobs::holding(tx)?, attempts::open(tx)?)));
        if let Ok((holding, open)) = held
            && !(holding.is_empty() && open.is_empty())
        {
            scene
                .record
                .broken(Promise::NothingLeft, format!("all has ended, and {holding:?} {open:?} are held"));
        }
    }
}

/// A job may wait when a limit stands in its way and it says which.
async fn check_waiting(scene: &Scene, id: JobId, state: State) {
    let why = match scene.processes().first() {
        None => None,
        Some(process) => process.service.explain(&Principal::local(), &id.to_string()).await.ok(),
    };
    let stated = why.as_ref().is_some_and(|why| why.blocked_by.is_some() && !why.reason.is_empty());
    if state != State::Queued || !stated {
        let what = format!("{id} is {state} after {} min of calm: {why:?}", LONGEST_CALM.as_secs() / 60);
        scene.record.broken(Promise::Ends, what);
    }
}

/// What a driver has done is done; only a host that was given up with its files can't say so any more.
fn check_successes(scene: &Scene) {
    for (id, number) in scene.world.done() {
        let Some(whole) = scene.referee.whole(id) else { continue };
        let attempt = scene.world.driver(number).map_or(0, |d| d.attempt);
        if whole.job.state != State::Succeeded && !given_up(&whole.log, attempt) {
            let what = format!("driver {number} has done {id}, which is {}", whole.job.state);
            scene.record.broken(Promise::SuccessStays, what);
        }
    }
}

/// Every row is numbered, without gaps, and each job's rows are in their order.
fn check_feed(scene: &Scene) {
    let rows = scene.referee.database.look(|tx| {
        let sql = format!("SELECT {NUMBER}, t.job_id, t.id FROM transitions t ORDER BY 1");
        tx::all(tx, &sql, &[], |row| Ok((row.opt_int(0)?, row.text(1)?, row.int(2)?)))
    });
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    for ((seq, job, id), wanted) in rows.unwrap_or_default().into_iter().zip(1..) {
        if seq != Some(wanted) {
            scene.record.broken(Promise::FeedWhole, format!("number {wanted} of the feed is {seq:?}"));
            return;
        }
        if last.insert(job.clone(), id).is_some_and(|before| before > id) {
            scene.record.broken(Promise::FeedWhole, format!("the feed turns {job} around at {wanted}"));
        }
    }
}
