//! Sending the outbox's messages to webhooks (contract A12). The leader does it alone.
//!
//! A message is claimed in the store before it is sent: a claim is a try, and lasts longer than a request can. A
//! leader that comes next therefore sends nothing that its predecessor may still be sending, and what was claimed
//! by one that died is due again when the claim has run out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use libra_core::id::JobId;
use libra_core::time::Timestamp;
use libra_store::StoreError;
use libra_store::lane::Fence;
use libra_store::tables::outbox::{self, Due, Report, Verdict};
use libra_store::tx::Tx;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::Shutdown;
use crate::service::Service;
use crate::service::standing::leader_fence;
use crate::webhooks::{Message, Secret, Sender, Settings, host_of, message_id, verdict};

/// It looks for messages this often.
const LOOK: Duration = Duration::from_millis(250);
/// A request gets this long in all (contract A12).
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// A claim lasts this long: longer than a request and the record of what came of it.
const CLAIM: Duration = Duration::from_secs(20);
/// Requests under way at once.
const MAX_UNDER_WAY: usize = 64;
/// Requests under way at once to one host: a host that hangs must leave room for the others.
const MAX_PER_HOST: usize = 8;
/// Messages looked at at once.
const WINDOW: u32 = 512;
/// Messages whose turn it is not, or whose host is busy, make room for others for so long at least, microseconds.
const STEP_ASIDE_MICROS: i64 = 1_000_000;
/// At the end, requests under way get this long.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// After a failure of the store, of the certificates or of the secret's file.
const TRY_AGAIN: Duration = Duration::from_secs(5);

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown) {
    let sender = tokio::select! {
        () = shutdown.wait() => return,
        sender = make_sender(&service) => Arc::new(sender),
    };
    while !shutdown.is_now() {
        let epoch = tokio::select! {
            () = shutdown.wait() => return,
            epoch = service.standing.leads() => epoch,
        };
        let courier = Courier {
            service: Arc::clone(&service),
            sender: Arc::clone(&sender),
            fence: leader_fence(epoch),
            epoch,
            under_way: JoinSet::new(),
            going: HashMap::new(),
        };
        courier.work(&mut shutdown).await;
    }
}

/// The sender, as soon as everything that it needs is there.
async fn make_sender(service: &Service) -> Sender {
    loop {
        match try_sender(service).await {
            Ok(sender) => return sender,
            Err(e) => tracing::error!(error = %e, "webhooks can't be sent; trying again"),
        }
        sleep(TRY_AGAIN).await;
    }
}

async fn try_sender(service: &Service) -> Result<Sender, String> {
    let config = &service.config.webhooks;
    let secret = if let Some(text) = &config.secret {
        Secret::parse(&text.0).map_err(|e| format!("libra.webhooks.secret {e}"))?
    } else {
        if !service.alone && service.config.shared_dir.is_none() {
            tracing::warn!(
                "every replica signs webhooks with a secret of its own: set libra.webhooks.secret or libra.shared-dir"
            );
        }
        let dir = service.files_dir.clone();
        let kept = tokio::task::spawn_blocking(move || Secret::kept_in(&dir)).await;
        kept.map_err(|e| e.to_string())?.map_err(|e| format!("the secret's file: {e}"))?
    };
    Sender::new(secret, config.allow_private, REQUEST_LIMIT)
}

/// What must not be sent at the same time: messages about one job to one target.
type Line = (JobId, String);

/// Sends while this replica leads.
struct Courier {
    service: Arc<Service>,
    sender: Arc<Sender>,
    fence: Fence,
    epoch: i64,
    under_way: JoinSet<Option<Report>>,
    /// What the tasks under way are about, and which host they talk to.
    going: HashMap<Id, (Line, String)>,
}

impl Courier {
    async fn work(mut self, shutdown: &mut Shutdown) {
        while self.service.leader_epoch() == Some(self.epoch) {
            let wait = match self.look().await {
                Ok(()) => LOOK,
                Err(e) => {
                    tracing::warn!(error = %e, "webhooks could not be looked for; trying again");
                    TRY_AGAIN
                }
            };
            tokio::select! {
                () = shutdown.wait() => break,
                () = sleep(wait) => {}
                Some(first) = self.under_way.join_next_with_id() => self.ended(first).await,
            }
        }
        // Answers that still come are recorded, if the lease allows it: less is sent twice.
        let rest = async {
            while let Some(ended) = self.under_way.join_next_with_id().await {
                self.ended(ended).await;
            }
        };
        // The others are sent again by whoever leads next.
        let _ = timeout(LAST_WORDS, rest).await;
    }

    /// Claims and sends what is due, as far as there is room.
    async fn look(&mut self) -> Result<(), StoreError> {
        let room = MAX_UNDER_WAY.saturating_sub(self.under_way.len());
        if room == 0 {
            return Ok(());
        }
        let due = self.service.db.read(|tx| outbox::due(tx, WINDOW)).await?;
        if due.is_empty() {
            return Ok(());
        }
        let (chosen, aside) = self.choose(due, room);
        if !aside.is_empty() {
            let fence = self.fence.clone();
            let step_aside = move |tx: &mut dyn Tx| outbox::postpone(tx, &fence, &aside, STEP_ASIDE_MICROS);
            self.service.db.write(step_aside).await?;
        }
        if chosen.is_empty() {
            return Ok(());
        }
        // Before the claim: whatever holds this process up from here on makes the claim run out earlier.
        let until = Instant::now() + CLAIM.saturating_sub(REQUEST_LIMIT);
        let micros = i64::try_from(CLAIM.as_micros()).unwrap_or(i64::MAX);
        let tries: Vec<(i64, u32)> = chosen.iter().map(|d| (d.id, d.tries)).collect();
        let fence = self.fence.clone();
        let claimed = self.service.db.write(move |tx| outbox::claim(tx, &fence, &tries, micros)).await?;
        let claimed: BTreeSet<i64> = claimed.into_iter().collect();
        for message in chosen.into_iter().filter(|d| claimed.contains(&d.id)) {
            let going = ((message.job_id, message.target.clone()), host_of(&message.target));
            let task = self.under_way.spawn(deliver(
                Arc::clone(&self.service),
                Arc::clone(&self.sender),
                message,
                until,
            ));
            self.going.insert(task.id(), going);
        }
        Ok(())
    }

    /// Those to be sent now, and those that step aside until some moment: it is not their turn, or, where the window
    /// holds no others, their host has enough to do.
    fn choose(&self, due: Vec<Due>, room: usize) -> (Vec<Due>, Vec<(i64, Timestamp)>) {
        let full_window = due.len() >= WINDOW as usize;
        let lines: BTreeSet<&Line> = self.going.values().map(|(line, _)| line).collect();
        let mut busy: BTreeMap<String, usize> = BTreeMap::new();
        for (_, host) in self.going.values() {
            *busy.entry(host.clone()).or_default() += 1;
        }
        let (mut chosen, mut aside) = (Vec::new(), Vec::new());
        for message in due {
            if let Some(until) = message.behind {
                aside.push((message.id, until));
                continue;
            }
            let with_host = busy.entry(host_of(&message.target)).or_default();
            if *with_host >= MAX_PER_HOST {
                aside.extend(full_window.then_some((message.id, Timestamp(0))));
            } else if chosen.len() < room && !lines.contains(&(message.job_id, message.target.clone())) {
                *with_host += 1;
                chosen.push(message);
            }
        }
        (chosen, aside)
    }

    /// Records what came of this task and of those that have ended since.
    async fn ended(&mut self, first: Result<(Id, Option<Report>), JoinError>) {
        let mut reports = Vec::new();
        let mut next = Some(first);
        while let Some(ended) = next {
            match ended {
                Ok((id, report)) => {
                    self.going.remove(&id);
                    reports.extend(report);
                }
                Err(e) => {
                    self.going.remove(&e.id());
                    tracing::error!(error = %e, "sending a webhook broke off; it is sent again");
                }
            }
            next = self.under_way.try_join_next_with_id();
        }
        let fence = self.fence.clone();
        match self.service.db.write(move |tx| outbox::record(tx, &fence, &reports)).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::info!("another replica leads now: it sends again what this one has just sent");
            }
            // The claim runs out, and they are sent again.
            Err(e) => {
                tracing::warn!(error = %e, "what came of webhooks could not be stored; they are sent again");
            }
        }
    }
}

/// Sends one message, and says what came of it; None when it is later than `until`, by when the request would outlive
/// the claim, and somebody else may send what comes next. Such a message is due again when the claim has run out.
async fn deliver(service: Arc<Service>, sender: Arc<Sender>, due: Due, until: Instant) -> Option<Report> {
    if Instant::now() >= until {
        return None;
    }
    let id = message_id(due.job_id, due.id);
    let message =
        Message { id: &id, target: &due.target, body: &due.payload, correlation_id: &due.correlation_id };
    let timestamp = service.clock.now().0 / libra_core::time::MICROS_PER_SECOND;
    let sent = sender.send(message, timestamp).await;
    let settings = Settings { give_up_after: service.config.webhooks.give_up_after };
    // The claim was a try.
    let tries = due.tries.saturating_add(1);
    let verdict = verdict(sent, tries, due.created_at, service.clock.now(), service.clock.jitter(), settings);
    let host = host_of(&due.target);
    match &verdict {
        Verdict::Delivered => {
            service.metrics.webhook_tried("delivered");
            tracing::debug!(
                job_id = %due.job_id, correlation_id = %due.correlation_id, webhook = due.id, host, tries,
                "a webhook was delivered"
            );
        }
        Verdict::Again { error, micros } => {
            service.metrics.webhook_tried("failed");
            tracing::info!(
                job_id = %due.job_id, correlation_id = %due.correlation_id, webhook = due.id, host, tries,
                again_in_ms = micros / 1_000, error, "a webhook was not taken; it is sent again"
            );
        }
        Verdict::Dead { error } => {
            service.metrics.webhook_tried("dead");
            tracing::warn!(
                job_id = %due.job_id, correlation_id = %due.correlation_id, webhook = due.id, host, tries, error,
                "a webhook is given up; `libra webhooks replay` sends it again"
            );
        }
    }
    Some(Report { id: due.id, job_id: due.job_id, target: due.target, verdict })
}
