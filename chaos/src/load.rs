//! Jobs all the time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libra_api::client::Client;
use rand::Rng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::callers::{Callers, No, random};
use crate::clock::now;
use crate::cluster::Cluster;
use crate::draft::Draft;
use crate::ledger::Answer;
use crate::settings::Settings;

/// A caller that has no clear answer this long after its first try will get none.
const PATIENCE: Duration = Duration::from_mins(5);
/// Between two submissions that are sent again.
const AGAIN_EVERY: Duration = Duration::from_secs(1);
/// They are not much older than this, in submissions.
const RECENT: usize = 500;
/// A cancellation of a job that has already ended.
const ALREADY_ENDED: u16 = 409;
/// The queue is full.
const QUEUE_FULL: u16 = 429;

/// Submits jobs until `stop`; returns when each has its answer.
pub(crate) async fn submit(
    cluster: Arc<Cluster>,
    callers: Callers,
    settings: Settings,
    stop: watch::Receiver<bool>,
) {
    let mut dice = random(settings.seed, 1);
    let mut under_way = JoinSet::new();
    let mut number = 0;
    while !*stop.borrow() {
        let draft = Draft::draw(number, &settings, &mut dice);
        let seed = dice.random();
        // Of this run alone, should its seed come again.
        let key = format!("{}-{seed:016x}-{}", draft.name, std::process::id());
        callers.ledger.open(draft.clone(), key.clone());
        let (cluster, callers) = (Arc::clone(&cluster), callers.clone());
        under_way.spawn(async move { one(&cluster, &callers, draft, key, seed).await });
        number += 1;
        while under_way.try_join_next().is_some_and(|ended| ended.is_ok()) {}
        // Twice the mean at most: now and then several come at once.
        let pause = dice.random_range(0.0..2.0 / settings.jobs_per_second);
        sleep(Duration::from_secs_f64(pause)).await;
    }
    while let Some(ended) = under_way.join_next().await {
        ended.unwrap();
    }
}

/// Sends submissions again that were answered before, for ever: the answer is the same job.
pub(crate) async fn again(cluster: &Cluster, callers: &Callers, seed: u64) {
    let mut dice = random(seed, 11);
    loop {
        sleep(AGAIN_EVERY).await;
        let Some(entry) = callers.ledger.recent(dice.random_range(0..RECENT)) else { continue };
        let Some(id) = entry.id() else { continue };
        let request = entry.draft.request(&cluster.stand_in, &cluster.marks);
        let key = entry.key.clone();
        let submit = async move |client: Client| client.submit_under(&request, &key).await;
        match callers.once(&mut dice, submit).await {
            Some(Ok(view)) if view.job_id != id => {
                callers
                    .ledger
                    .wrong(format!("{id} was submitted again under its key and became {}", view.job_id));
            }
            Some(Err(no)) => {
                let No { status, message } = no;
                callers.ledger.wrong(format!("{id} was submitted again under its key: {status} {message}"));
            }
            Some(Ok(_)) | None => {}
        }
    }
}

/// One job, from its submission to its cancellation, if any.
async fn one(cluster: &Cluster, callers: &Callers, draft: Draft, key: String, seed: u64) {
    let mut dice = random(seed, 6);
    let request = draft.request(&cluster.stand_in, &cluster.marks);
    let begun = Instant::now();
    let submit = |client: Client| {
        let (request, key) = (&request, &key);
        async move { client.submit_under(request, key).await }
    };
    let answer = match callers.call(&mut dice, begun + PATIENCE, submit).await {
        Some(Ok(view)) => Answer::Taken(view.job_id),
        Some(Err(No { status: QUEUE_FULL, message })) => Answer::Refused(message),
        Some(Err(no)) => {
            callers.ledger.wrong(format!("{} was refused with {}: {}", draft.name, no.status, no.message));
            Answer::Refused(no.message)
        }
        None => {
            callers.ledger.wrong(format!("{} got no answer within {PATIENCE:?}", draft.name));
            return;
        }
    };
    callers.ledger.answered(draft.number, answer.clone(), begun.elapsed());
    let (Answer::Taken(id), Some(after)) = (answer, draft.cancel_after) else { return };
    sleep(Duration::from_secs_f64(after)).await;
    callers.ledger.cancelling(draft.number, now());
    let cancel = |client: Client| {
        let id = &id;
        async move { client.cancel(id).await }
    };
    match callers.call(&mut dice, Instant::now() + PATIENCE, cancel).await {
        Some(Ok(_) | Err(No { status: ALREADY_ENDED, .. })) => {}
        Some(Err(no)) => {
            let No { status, message } = no;
            callers.ledger.wrong(format!("{id} could not be cancelled: {status} {message}"));
        }
        None => callers.ledger.wrong(format!("{id} got no answer to its cancellation within {PATIENCE:?}")),
    }
}
