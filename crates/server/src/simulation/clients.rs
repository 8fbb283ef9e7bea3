//! Those who use Libra: they submit through any replica, ask again when they got no answer, and cancel.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libra_core::id::JobId;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::dice::Dice;
use super::record::Promise;
use super::replica::Process;
use super::scene::Scene;
use crate::auth::Principal;
use crate::service::{ServiceError, Submit};

/// A client waits this long for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the clients were told.
#[derive(Default)]
pub(super) struct Told {
    /// Jobs that were acknowledged, by the client's own number.
    acknowledged: Mutex<BTreeMap<u64, JobId>>,
    /// Jobs whose cancellation was confirmed.
    cancelled: Mutex<Vec<JobId>>,
    /// Clients that have done what they wanted.
    content: AtomicU64,
}

impl Told {
    pub(super) fn acknowledged(&self) -> Vec<JobId> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).values().copied().collect()
    }

    /// Clients that have done what they wanted.
    pub(super) fn content(&self) -> u64 {
        self.content.load(Ordering::Relaxed)
    }

    pub(super) fn cancelled(&self) -> Vec<JobId> {
        self.cancelled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Starts the clients; each goes its own way.
pub(super) fn start(scene: &Arc<Scene>, told: &Arc<Told>) {
    for number in 0..scene.plan.jobs {
        let dice = scene.dice.fork("client");
        let (scene, told) = (Arc::clone(scene), Arc::clone(told));
        tokio::spawn(async move {
            let stormy = u64::try_from(scene.plan.stormy.as_millis()).unwrap_or(0);
            // Many at first, some later.
            let latest = if dice.chance(6_000) { 3_000 } else { stormy };
            sleep(dice.millis(0..=latest)).await;
            let client = Client { scene, told, dice, number };
            client.live().await;
            client.told.content.fetch_add(1, Ordering::Relaxed);
        });
    }
}

struct Client {
    scene: Arc<Scene>,
    told: Arc<Told>,
    dice: Dice,
    number: u64,
}

impl Client {
    async fn live(&self) {
        let keyed = self.dice.chance(8_000);
        let body = self.body(keyed);
        let Some(job) = self.submit(&body, keyed).await else { return };
        if keyed && self.dice.chance(2_000) {
            // It has forgotten the answer.
            sleep(self.dice.millis(0..=20_000)).await;
            self.submit(&body, keyed).await;
        }
        if self.dice.chance(2_000) {
            sleep(self.dice.millis(0..=30_000)).await;
            self.cancel(job).await;
        }
    }

    fn say(&self, what: std::fmt::Arguments<'_>) {
        self.scene.record.say(&format!("client{}", self.number), what);
    }

    async fn process(&self) -> Arc<Process> {
        loop {
            if let Some(process) = self.dice.pick(&self.scene.processes()) {
                return Arc::clone(process);
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    fn body(&self, keyed: bool) -> Value {
        let dice = &self.dice;
        let mut labels = json!({});
        if keyed {
            labels["key"] = json!(format!("k{}", self.number));
        }
        let mut body = json!({
            "kind": "sql",
            "code": format!("SELECT {}", self.number),
            "priority": dice.between(1..=10),
        });
        if dice.chance(5_000) {
            body["executionMode"] = json!("in-cluster");
        } else {
            body["executionMode"] = json!("spark-submit");
            let most = self.scene.plan.hosts.iter().map(|h| h.cores).max().unwrap_or(1);
            let cores = dice.between(1..=most);
            body["sparkConfig"] = json!({
                "spark.master": format!("local[{cores}]"),
                "spark.driver.memory": format!("{}m", dice.between(200..=2_000)),
            });
        }
        if dice.chance(700) {
            labels["hangs"] = json!("yes");
            body["timeoutMinutes"] = json!(1);
        } else if dice.chance(1_000) {
            body["timeoutMinutes"] = json!(1);
        }
        if dice.chance(1_000) {
            body["queueTimeoutMinutes"] = json!(1);
        }
        if dice.chance(4_000) {
            body["retryPolicy"] = json!({
                "maxRetries": dice.between(0..=3),
                "initialDelayMs": dice.between(100..=3_000),
                "maxDelayMs": 5_000,
            });
        }
        if dice.chance(4_000) {
            let events =
                if dice.chance(5_000) { json!([]) } else { json!(["RUNNING", "SUCCEEDED", "FAILED"]) };
            body["notifications"] = json!({"webhook": "http://example.org/hook", "events": events});
        }
        body["labels"] = labels;
        body
    }

    async fn submit(&self, body: &Value, keyed: bool) -> Option<JobId> {
        let principal = Principal::local();
        let key = keyed.then(|| ("submit".to_owned(), format!("k{}", self.number), body.to_string()));
        loop {
            let process = self.process().await;
            let request =
                Submit { principal: &principal, body, correlation_id: "sim", idempotency: key.clone() };
            self.say(format_args!("submits through {}", process.life.name));
            match timeout(PATIENCE, process.service.submit(request)).await {
                Ok(Ok(answer)) => {
                    let id: Option<JobId> = answer.job_id.parse().ok();
                    self.say(format_args!("was told {}", answer.job_id));
                    return id.inspect(|id| self.acknowledged(*id));
                }
                Ok(Err(e)) if is_final(&e) => {
                    self.say(format_args!("was refused: {}", e.message));
                    return None;
                }
                Ok(Err(e)) => self.say(format_args!("was told to wait: {}", e.message)),
                Err(_) => self.say(format_args!("got no answer")),
            }
            if !keyed {
                // Without a key nobody can ask again.
                return None;
            }
            sleep(self.dice.millis(200..=5_000)).await;
        }
    }

    fn acknowledged(&self, id: JobId) {
        let mut acknowledged = self.told.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        let first = *acknowledged.entry(self.number).or_insert(id);
        drop(acknowledged);
        if first != id {
            let what = format!("one request was answered with {first} and with {id}");
            self.scene.record.broken(Promise::NoJobTwice, what);
        }
        if self.scene.referee.whole(id).is_none() {
            self.scene.record.broken(Promise::NoJobLost, format!("{id} was acknowledged and is not there"));
        }
    }

    async fn cancel(&self, job: JobId) {
        let principal = Principal::local();
        let id = job.to_string();
        for _ in 0..20 {
            let process = self.process().await;
            self.say(format_args!("cancels {id} through {}", process.life.name));
            match timeout(PATIENCE, process.service.cancel(&principal, &id)).await {
                Ok(Ok((_, true))) => {
                    self.say(format_args!("was told that it is cancelled"));
                    self.told.cancelled.lock().unwrap_or_else(PoisonError::into_inner).push(job);
                    return;
                }
                Ok(Err(e)) if is_final(&e) => return,
                Ok(Ok(_) | Err(_)) | Err(_) => sleep(self.dice.millis(500..=5_000)).await,
            }
        }
    }
}

/// True when asking again makes no sense.
fn is_final(e: &ServiceError) -> bool {
    !matches!(e.code, libra_api::problem::Code::Unavailable | libra_api::problem::Code::QueueFull)
}
