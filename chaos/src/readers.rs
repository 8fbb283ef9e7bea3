//! Readers: jobs that were acknowledged are there at once and for every replica, an end stays, and the feed of all
//! replicas is one, gapless and in order.

use std::time::Duration;

use libra_api::client::Client;
use rand::Rng;
use tokio::time::sleep;

use crate::callers::{Callers, random};

/// Between two reads of a job.
const PAUSE: Duration = Duration::from_millis(200);
/// Reads are of jobs that are not much older than this, in submissions.
const RECENT: usize = 300;
/// How long a reader of the feed waits for news.
const NEWS: Duration = Duration::from_secs(2);
/// Events on a page of the feed.
const PAGE: u32 = 500;

/// A state that nothing leaves.
pub(crate) fn is_end(state: &str) -> bool {
    matches!(state, "SUCCEEDED" | "FAILED" | "CANCELLED" | "TIMEOUT")
}

/// Reads jobs, for ever.
pub(crate) async fn jobs(callers: &Callers, seed: u64) {
    let mut dice = random(seed, 7);
    loop {
        sleep(PAUSE).await;
        let Some(entry) = callers.ledger.recent(dice.random_range(0..RECENT)) else { continue };
        let Some(id) = entry.id() else { continue };
        let read = async move |client: Client| client.job(id, Duration::ZERO).await;
        match callers.once(&mut dice, read).await {
            Some(Ok(job)) => {
                if job.name.as_deref() != Some(entry.draft.name.as_str()) {
                    callers.ledger.wrong(format!("{id} is {:?}, not {}", job.name, entry.draft.name));
                }
                let before = if is_end(&job.status) {
                    callers.ledger.ended(entry.draft.number, &job.status)
                } else {
                    // What has ended must not be seen otherwise later.
                    entry.ended.clone().unwrap_or_else(|| job.status.clone())
                };
                if before != job.status {
                    callers.ledger.wrong(format!("{id} was {before} and is {}", job.status));
                }
            }
            Some(Err(no)) => {
                callers.ledger.wrong(format!("{id} was acknowledged, but: {} {}", no.status, no.message));
            }
            None => {}
        }
    }
}

/// Reads the feed, from any replica, for ever. Answers through `read` how far it has come.
pub(crate) async fn feed(callers: &Callers, seed: u64, read: &std::sync::atomic::AtomicI64) {
    let mut dice = random(seed, 8);
    let mut after = 0;
    loop {
        let query = [("after", after.to_string()), ("limit", PAGE.to_string())];
        let read_on = async move |client: Client| client.feed(&query, NEWS).await;
        let page = callers.once(&mut dice, read_on).await;
        match page {
            Some(Ok(page)) => {
                for event in &page.events {
                    let seq = event.event.seq.unwrap_or_default();
                    if seq != after + 1 {
                        callers.ledger.wrong(format!("the feed goes from {after} to {seq}"));
                    }
                    after = seq;
                }
                if page.next_after < after {
                    callers.ledger.wrong(format!("the feed goes back from {after} to {}", page.next_after));
                }
                after = page.next_after;
                read.store(after, std::sync::atomic::Ordering::Relaxed);
            }
            Some(Err(no)) => {
                callers.ledger.wrong(format!("the feed: {} {}", no.status, no.message));
                sleep(NEWS).await;
            }
            None => sleep(PAUSE).await,
        }
    }
}
