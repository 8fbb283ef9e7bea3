//! The figures, by the names of the references (contract A11, O1). Labels are enums or known routes, so their
//! number is bounded.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use libra_core::admission::{Limits, Usage};
use libra_core::job::{Job, State};
use libra_core::memory::GIB;
use libra_core::mode::Mode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::flink::FlinkMetrics;
use super::hpc::HpcMetrics;
use super::storage::StorageMetrics;

/// Bounds of durations of jobs, seconds.
const JOB_SECONDS: [f64; 12] =
    [0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0];
/// Bounds of durations of requests, seconds.
const REQUEST_SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Status {
    status: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByMode {
    execution_mode: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Queue {
    queue: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Type {
    r#type: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Turn {
    turn: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Limit {
    limit: String,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Share {
    pool: String,
    queue: String,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    endpoint: String,
    status: &'static str,
}

type FloatGauge = Gauge<f64, AtomicU64>;
type Durations = Family<ByMode, Histogram, fn() -> Histogram>;

fn job_seconds() -> Histogram {
    Histogram::new(JOB_SECONDS)
}

/// All figures. One for each server, passed down; no globals.
pub struct Metrics {
    registry: Registry,
    /// One scrape at a time: what one has just set, another must not clear before it is written.
    rendering: Mutex<()>,
    submissions: Family<Status, Counter>,
    admitted: Counter,
    queued: Counter,
    rejected: Counter,
    succeeded: Counter,
    failed: Counter,
    durations: Durations,
    execution_time: Histogram,
    queue_wait: Histogram,
    queue_size: Family<Queue, Gauge>,
    executors: Family<ByMode, Gauge>,
    usage: Family<Type, FloatGauge>,
    limit: Family<Type, FloatGauge>,
    cpu: [FloatGauge; 3],
    memory: [FloatGauge; 3],
    active: Gauge,
    requests: Family<Request, Counter>,
    request_seconds: Histogram,
    webhook_tries: Family<Outcome, Counter>,
    webhooks_pending: Gauge,
    webhooks_dead: Gauge,
    webhook_oldest: FloatGauge,
    turns: Family<Turn, Counter>,
    queue_oldest: FloatGauge,
    blocked: Family<Limit, Gauge>,
    exceeded: Gauge,
    share_held: Family<Share, FloatGauge>,
    share_fair: Family<Share, FloatGauge>,
    share_deviation: Family<Share, FloatGauge>,
    /// Of Flink deployments.
    pub flink: FlinkMetrics,
    /// Of observed jobs.
    pub hpc: HpcMetrics,
    /// Of the store.
    pub storage: StorageMetrics,
}

/// How turns stand at the moment of a scrape.
#[derive(Clone, Debug, Default)]
pub struct TurnFigures {
    /// How long the job waits that has waited longest.
    pub oldest_seconds: f64,
    /// What the jobs that are next wait for, by the limit's key.
    pub blocked: BTreeMap<String, u64>,
    /// Limits that more is held of than they allow.
    pub exceeded: u64,
    /// By pool and queue: what it held over the past hour, and what would be its share of what all held; parts of the pool.
    pub shares: Vec<(String, String, f64, f64)>,
}

/// What the store says at the moment of a scrape.
#[derive(Clone, Debug, Default)]
pub struct Present {
    /// Jobs that wait.
    pub queued: u64,
    /// Jobs being launched.
    pub scheduled: u64,
    /// What running jobs hold.
    pub usage: Usage,
    /// Messages to webhooks that are neither delivered nor given up.
    pub webhooks_pending: u64,
    /// Messages to webhooks that were given up.
    pub webhooks_dead: u64,
    /// How long the oldest pending one has waited.
    pub webhook_oldest_seconds: f64,
    /// How turns stand.
    pub turns: TurnFigures,
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

impl Metrics {
    /// All figures at zero.
    pub fn new() -> Self {
        let mut r = Registry::default();
        macro_rules! figure {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                r.register($name, $help, metric.clone());
                metric
            }};
        }
        macro_rules! seconds {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                r.register_with_unit($name, $help, Unit::Seconds, metric.clone());
                metric
            }};
        }
        Self {
            submissions: figure!(
                "libra_job_submissions",
                "Jobs by what became of them: succeeded, failed (also cancelled and timed out), rejected",
                Family::default()
            ),
            admitted: figure!("libra_admission_admitted", "Jobs that were given room", Counter::default()),
            queued: figure!("libra_admission_queued", "Jobs that were queued", Counter::default()),
            rejected: figure!(
                "libra_admission_rejected",
                "Submissions that were refused",
                Counter::default()
            ),
            succeeded: figure!("libra_jobs_succeeded", "Jobs that ended SUCCEEDED", Counter::default()),
            failed: figure!("libra_jobs_failed", "Jobs that ended FAILED", Counter::default()),
            durations: seconds!(
                "libra_job_duration",
                "Run time of ended jobs",
                Family::new_with_constructor(job_seconds as fn() -> Histogram)
            ),
            execution_time: seconds!("libra_jobs_execution_time", "Run time of ended jobs", job_seconds()),
            queue_wait: seconds!("libra_queue_wait_time", "Time from QUEUED to SCHEDULED", job_seconds()),
            queue_size: figure!(
                "libra_queue_size",
                "Jobs that wait (pending) or are launched (scheduled)",
                Family::default()
            ),
            executors: figure!("libra_executor_count", "Executors of running jobs", Family::default()),
            usage: figure!(
                "libra_resource_usage",
                "Cores (cpu) and bytes (memory) that jobs hold",
                Family::default()
            ),
            limit: figure!(
                "libra_resource_limit",
                "Cores (cpu) and bytes (memory) that jobs may hold",
                Family::default()
            ),
            cpu: [
                figure!("libra_resources_cpu_used", "Cores that jobs hold", FloatGauge::default()),
                figure!("libra_resources_cpu_limit", "Cores that jobs may hold", FloatGauge::default()),
                figure!(
                    "libra_resources_cpu_utilization",
                    "Held share of the cores, 0 to 1",
                    FloatGauge::default()
                ),
            ],
            memory: [
                figure!("libra_resources_memory_used", "GiB that jobs hold", FloatGauge::default()),
                figure!("libra_resources_memory_limit", "GiB that jobs may hold", FloatGauge::default()),
                figure!(
                    "libra_resources_memory_utilization",
                    "Held share of the memory, 0 to 1",
                    FloatGauge::default()
                ),
            ],
            active: figure!(
                "libra_resources_jobs_active",
                "Jobs that are launched or running",
                Gauge::default()
            ),
            requests: figure!(
                "libra_http_requests",
                "HTTP requests by route and class of status",
                Family::default()
            ),
            request_seconds: seconds!(
                "libra_http_request_duration",
                "Time to answer HTTP requests",
                Histogram::new(REQUEST_SECONDS)
            ),
            webhook_tries: figure!(
                "libra_webhook_tries",
                "Webhook messages sent, by outcome: delivered, failed (to be sent again), dead (given up)",
                Family::default()
            ),
            webhooks_pending: figure!(
                "libra_webhooks_pending",
                "Webhook messages that wait to be delivered",
                Gauge::default()
            ),
            webhooks_dead: figure!(
                "libra_webhooks_dead",
                "Webhook messages that were given up and wait to be replayed",
                Gauge::default()
            ),
            webhook_oldest: seconds!(
                "libra_webhook_oldest_pending",
                "Age of the oldest webhook message that waits",
                FloatGauge::default()
            ),
            turns: figure!(
                "libra_admission_decisions",
                "Turns given: in order (turn), room that was kept (reserved), before another without delaying it (backfill)",
                Family::default()
            ),
            queue_oldest: seconds!(
                "libra_queue_oldest_wait",
                "How long the job waits that has waited longest",
                FloatGauge::default()
            ),
            blocked: figure!(
                "libra_queue_blocked",
                "Jobs among the next 200 of every pool that wait for this limit",
                Family::default()
            ),
            exceeded: figure!(
                "libra_limits_exceeded",
                "Limits that more is held of than they allow: lowered, or a host is gone",
                Gauge::default()
            ),
            share_held: figure!(
                "libra_share_held",
                "Part of its pool that a queue held over the past hour, 0 to 1",
                Family::default()
            ),
            share_fair: figure!(
                "libra_share_fair",
                "Part of what all queues held that a queue would have held by its share, 0 to 1",
                Family::default()
            ),
            share_deviation: figure!(
                "libra_share_deviation",
                "What a queue held less what it would have held by its share, parts of the pool, -1 to 1",
                Family::default()
            ),
            flink: FlinkMetrics::new(&mut r),
            hpc: HpcMetrics::new(&mut r),
            storage: StorageMetrics::new(&mut r),
            registry: r,
            rendering: Mutex::default(),
        }
    }

    /// A submission was refused.
    pub fn rejected(&self) {
        self.rejected.inc();
        self.submissions.get_or_create(&Status { status: "rejected" }).inc();
    }

    /// A job was stored.
    pub fn stored(&self) {
        self.queued.inc();
    }

    /// A job came to `state`.
    pub fn reached(&self, state: State, job: &Job) {
        match state {
            State::Scheduled => {
                self.admitted.inc();
                if let (Some(queued), Some(scheduled)) = (job.queued_at, job.scheduled_at) {
                    self.queue_wait.observe(scheduled.seconds_since(queued));
                }
            }
            State::Succeeded | State::Failed | State::Cancelled | State::Timeout => {
                let status = if state == State::Succeeded { "succeeded" } else { "failed" };
                self.submissions.get_or_create(&Status { status }).inc();
                if state == State::Succeeded {
                    self.succeeded.inc();
                } else if state == State::Failed {
                    self.failed.inc();
                }
                if let (Some(started), Some(ended)) = (job.started_at, job.completed_at) {
                    let seconds = ended.seconds_since(started);
                    let mode = ByMode { execution_mode: job.mode.as_str() };
                    self.durations.get_or_create(&mode).observe(seconds);
                    self.execution_time.observe(seconds);
                }
            }
            State::Submitted | State::Validating | State::Queued | State::Running | State::Retrying => {}
        }
    }

    /// A webhook message was sent.
    pub fn webhook_tried(&self, outcome: &'static str) {
        self.webhook_tries.get_or_create(&Outcome { outcome }).inc();
    }

    /// A job was given its turn.
    pub fn turn_given(&self, turn: &'static str) {
        self.turns.get_or_create(&Turn { turn }).inc();
    }

    /// How turns stand.
    fn show_turns(&self, turns: &TurnFigures) {
        let gauge = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.queue_oldest.set(turns.oldest_seconds);
        self.exceeded.set(gauge(turns.exceeded));
        // What is not in the way any more is not told of any more.
        self.blocked.clear();
        for (limit, jobs) in &turns.blocked {
            self.blocked.get_or_create(&Limit { limit: limit.clone() }).set(gauge(*jobs));
        }
        for family in [&self.share_held, &self.share_fair, &self.share_deviation] {
            family.clear();
        }
        for (pool, queue, held, fair) in &turns.shares {
            let of = Share { pool: pool.clone(), queue: queue.clone() };
            self.share_held.get_or_create(&of).set(*held);
            self.share_fair.get_or_create(&of).set(*fair);
            self.share_deviation.get_or_create(&of).set(held - fair);
        }
    }

    /// A request was answered.
    pub fn answered(&self, endpoint: &str, status: u16, seconds: f64) {
        let status = match status {
            0..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            500.. => "5xx",
        };
        self.requests.get_or_create(&Request { endpoint: endpoint.to_owned(), status }).inc();
        self.request_seconds.observe(seconds);
    }

    /// Everything in the text format of OpenMetrics.
    pub fn render(
        &self,
        present: &Present,
        limits: &Limits,
        machine: &str,
    ) -> Result<String, std::fmt::Error> {
        let _one = self.rendering.lock().unwrap_or_else(PoisonError::into_inner);
        let gauge = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.queue_size.get_or_create(&Queue { queue: "pending" }).set(gauge(present.queued));
        self.queue_size.get_or_create(&Queue { queue: "scheduled" }).set(gauge(present.scheduled));
        self.webhooks_pending.set(gauge(present.webhooks_pending));
        self.webhooks_dead.set(gauge(present.webhooks_dead));
        self.webhook_oldest.set(present.webhook_oldest_seconds);
        for mode in Mode::ALL {
            let executors = present.usage.executors.get(&mode).copied().unwrap_or(0);
            self.executors.get_or_create(&ByMode { execution_mode: mode.as_str() }).set(gauge(executors));
        }
        self.show_turns(&present.turns);
        self.active.set(present.usage.jobs.values().map(|n| i64::from(*n)).sum());
        let here = present.usage.on(machine);
        let (cpu, cpu_limit) = (here.cores as f64, limits.cores_for_jobs() as f64);
        let (memory, memory_limit) = (here.memory as f64, limits.memory_for_jobs() as f64);
        self.usage.get_or_create(&Type { r#type: "cpu" }).set(cpu);
        self.usage.get_or_create(&Type { r#type: "memory" }).set(memory);
        self.limit.get_or_create(&Type { r#type: "cpu" }).set(cpu_limit);
        self.limit.get_or_create(&Type { r#type: "memory" }).set(memory_limit);
        for (gauge, value) in self.cpu.iter().zip([cpu, cpu_limit, share(cpu, cpu_limit)]) {
            gauge.set(value);
        }
        let gib = GIB as f64;
        let memories = [memory / gib, memory_limit / gib, share(memory, memory_limit)];
        for (gauge, value) in self.memory.iter().zip(memories) {
            gauge.set(value);
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
