//! Submitting a job: check, store, answer. One transaction, no engine is asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use libra_api::fields::escape;
use libra_api::problem::{Code, Violation};
use libra_api::submit::{self as wire, Parsed, webhook_address};
use libra_api::views::{LimitsView, SubmitView};
use libra_core::admission;
use libra_core::allocation::{self, spark::Layout};
use libra_core::artifact::{self, Named};
use libra_core::id::JobId;
use libra_core::job::{Draft, Job, TimeLimits};
use libra_core::lifecycle;
use libra_core::mode::{self, Mode, ModeChoice};
use libra_core::requirement::{self, Requirement, Surroundings};
use libra_core::spec::{JobSpec, Kind, MAX_CODE_BYTES, Source};
use libra_core::time::Timestamp;
use libra_store::StoreError;
use libra_store::lane::{Idempotency, Origin, Submission, Submitted};
use libra_store::tables::idempotency;
use serde_json::Value;

use super::turns::queue_of;
use super::{Service, ServiceError, notify, view};
use crate::auth::{Principal, Role};
use crate::webhooks;

/// After a full queue: try again after this many seconds.
const QUEUE_FULL_RETRY_SECONDS: u64 = 5;

/// A request to run something.
pub(crate) struct Submit<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) body: &'a Value,
    pub(crate) correlation_id: &'a str,
    /// Scope, key and hash of the body, when the client gave a key.
    pub(crate) idempotency: Option<(String, String, String)>,
}

/// The answer, and whether it was given before.
pub(crate) struct SubmitAnswer {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) job_id: String,
    pub(crate) replayed: bool,
}

impl Service {
    /// Checks and stores a job.
    pub(crate) async fn submit(self: &Arc<Self>, request: Submit<'_>) -> Result<SubmitAnswer, ServiceError> {
        let answer = self.try_submit(request).await;
        if answer.is_err() {
            self.metrics.rejected();
        }
        answer
    }

    async fn try_submit(self: &Arc<Self>, request: Submit<'_>) -> Result<SubmitAnswer, ServiceError> {
        // Before any check: the first answer is given again even if the configuration has changed since.
        if let Some(answer) = self.replay(request.idempotency.as_ref()).await? {
            return Ok(answer);
        }
        let Parsed { mut spec, unsupported } = wire::parse(request.body).map_err(refused_fields)?;
        if is_for_slurm(&spec) {
            self.lead_to_slurm(&mut spec)?;
        } else {
            self.lead_to_cluster(&mut spec)?;
        }
        let needed = self.requirement(&spec.spark_config)?;
        if !unsupported.is_empty() {
            return Err(ServiceError::violations(Code::Unsupported, unsupported));
        }
        let uploads = self.uploads_of(&spec, &request.principal.tenant).await?;
        Self::check_supported(&spec, request.principal)?;
        let webhook = spec.notifications.as_ref().map(|wanted| wanted.webhook.as_str());
        self.check_webhook("/notifications/webhook", webhook)?;
        let mode = self.mode(&spec, &needed)?;
        if spec.slurm.is_some() && mode != Mode::Slurm {
            let reason = format!("is for execution mode slurm, and this job runs in {}", mode.as_str());
            return Err(ServiceError::fields(vec![Violation::new("/slurm", reason)]));
        }
        self.name_cluster(&mut spec, mode);
        if mode == Mode::Slurm {
            self.check_cluster_of(&spec, request.principal)?;
        }
        // The settings of the configuration are those of every driver, unless the job has its own.
        let settings = || {
            let mut settings = self.config.spark_submit.conf.clone();
            settings.extend(spec.spark_config.clone());
            settings
        };
        let needed = if mode == Mode::SparkSubmit { self.requirement(&settings())? } else { needed };
        let needed = match &spec.slurm {
            Some(asked) if mode == Mode::Slurm && spec.kind == Kind::Script => {
                Requirement::of_allocation(asked)
            }
            Some(asked) if mode == Mode::Slurm => {
                let layout = Layout::of(&settings(), asked).map_err(|misfit| {
                    ServiceError::fields(vec![Violation::new(misfit.pointer, misfit.reason)])
                })?;
                Requirement::of_allocation(&layout.allocation(asked))
            }
            Some(_) | None => requirement::in_mode(needed, mode),
        };
        let rules = self.rules();
        let queue = queue_of(spec.queue.as_deref());
        rules
            .policy
            .queue(queue)
            .map_err(|unknown| ServiceError::fields(vec![Violation::new("/queue", unknown.to_string())]))?;
        if let Some(never) = admission::never_fits(mode, &needed, &rules.limits, &self.standing.hosts()) {
            let message = format!("this job can never run here: it {} ({})", never.message, never.limit);
            return Err(ServiceError::new(Code::NeverFits, message));
        }
        if let Some(engine) = self.engines.get(&mode) {
            // An engine sees paths only.
            let wrong: Vec<Violation> = engine
                .validate(&artifact::at(&spec, &self.files_dir))
                .into_iter()
                .map(|(pointer, reason)| Violation::new(pointer, reason))
                .collect();
            if !wrong.is_empty() {
                return Err(ServiceError::violations(Code::Unsupported, wrong));
            }
        }
        self.store(request, spec, mode, needed, &uploads).await
    }

    /// A webhook that would never be delivered is refused at once, where its address alone tells: None names none, and
    /// `pointer` is where it stands.
    pub(super) fn check_webhook(&self, pointer: &str, address: Option<&str>) -> Result<(), ServiceError> {
        let Some(address) = address else { return Ok(()) };
        let wrong = webhook_address(address).err();
        let wrong = wrong.or_else(|| webhooks::refused(address, self.config.webhooks.allow_private));
        match wrong {
            None => Ok(()),
            Some(why) => Err(ServiceError::fields(vec![Violation::new(pointer, why)])),
        }
    }

    async fn replay(
        &self,
        key: Option<&(String, String, String)>,
    ) -> Result<Option<SubmitAnswer>, ServiceError> {
        let Some((scope, key, hash)) = key.cloned() else { return Ok(None) };
        match self.db.read(move |tx| idempotency::get(tx, &scope, &key)).await? {
            None => Ok(None),
            Some(kept) if kept.body_hash == hash => Ok(Some(replayed(kept.status, kept.response))),
            Some(_) => Err(key_reused()),
        }
    }

    /// The answer that was stored under the submission's key by now.
    async fn stored_before(&self, submission: &Submission) -> Result<Option<Submitted>, ServiceError> {
        let Some(key) = submission.idempotency.clone() else { return Ok(None) };
        let key = (key.scope, key.key, key.body_hash);
        let before = self.replay(Some(&key)).await?;
        Ok(before.map(|answer| Submitted::Replayed { status: answer.status, response: answer.body }))
    }

    fn requirement(&self, settings: &BTreeMap<String, String>) -> Result<Requirement, ServiceError> {
        let around = Surroundings {
            host_cores: u32::try_from(self.rules().limits.host_cores).unwrap_or(u32::MAX),
            default_master: &self.config.spark_submit.master,
        };
        requirement::requirement(settings, around).map_err(|wrong| {
            let violations = wrong
                .into_iter()
                .map(|b| Violation::new(format!("/sparkConfig/{}", escape(&b.key)), b.reason))
                .collect();
            ServiceError::fields(violations)
        })
    }

    /// A script's own lines say what it asks for, as far as the request does not; and where there is one cluster it is
    /// meant.
    fn lead_to_slurm(&self, spec: &mut JobSpec) -> Result<(), ServiceError> {
        let beside = spec.slurm.take().unwrap_or_default();
        if let (Kind::Script, Source::Code(script)) = (spec.kind, &spec.source) {
            let (within, name, rest) = allocation::of_script(script)
                .map_err(|why| ServiceError::fields(vec![Violation::new("/code", why)]))?;
            spec.name = spec.name.take().or(name);
            spec.slurm = Some(beside.or(within));
            spec.source = Source::Code(rest);
        } else {
            spec.slurm = Some(beside);
        }
        spec.cluster = spec.cluster.take().or_else(|| self.slurm.only().map(str::to_owned));
        Ok(())
    }

    /// A Slurm cluster is of one tenant, whose are all jobs that are seen there.
    fn check_cluster_of(&self, spec: &JobSpec, principal: &Principal) -> Result<(), ServiceError> {
        let cluster = spec.cluster.as_deref().unwrap_or_default();
        match self.slurm.tenant(cluster) {
            Some(tenant) if tenant != principal.tenant => {
                let reason = format!(
                    "the Slurm cluster `{cluster}` is another tenant's; set `tenant` of it in libra.slurm.clusters"
                );
                Err(ServiceError::fields(vec![Violation::new("/cluster", reason)]))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// A job that names a cluster has its master.
    fn lead_to_cluster(&self, spec: &mut JobSpec) -> Result<(), ServiceError> {
        let Some(name) = &spec.cluster else { return Ok(()) };
        let rules = self.rules();
        let wrong =
            |pointer: &str, reason: String| ServiceError::fields(vec![Violation::new(pointer, reason)]);
        let Some(cluster) = rules.clusters.get(name) else {
            let known: Vec<&str> = rules.clusters.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(wrong(
                "/cluster",
                format!("no cluster of this name is configured; configured: {known}"),
            ));
        };
        match spec.spark_config.get("spark.master") {
            Some(master) if *master != cluster.master => Err(wrong(
                "/sparkConfig/spark.master",
                format!("is {master}, and the cluster `{name}` has {}; send one of them", cluster.master),
            )),
            Some(_) => Ok(()),
            None => {
                spec.spark_config.insert("spark.master".to_owned(), cluster.master.clone());
                Ok(())
            }
        }
    }

    /// A job whose executors are on a cluster that has a name here is held against its limits.
    fn name_cluster(&self, spec: &mut JobSpec, mode: Mode) {
        if mode == Mode::SparkSubmit && spec.cluster.is_none() {
            let master = spec.spark_config.get("spark.master").unwrap_or(&self.config.spark_submit.master);
            if let Some(name) = self.rules().cluster_at(master) {
                let master = master.clone();
                spec.cluster = Some(name.to_owned());
                // Another default meanwhile would lead it elsewhere.
                spec.spark_config.insert("spark.master".to_owned(), master);
            }
        }
    }

    /// What this Libra as a whole can't do; what a mode or an engine can't do comes after.
    fn check_supported(spec: &JobSpec, principal: &Principal) -> Result<(), ServiceError> {
        let mut wrong = Vec::new();
        if !Mode::ALL.iter().any(|mode| mode.runs(spec.kind)) {
            let reason = format!("`{}` jobs are not available in this version", spec.kind.as_str());
            wrong.push(Violation::new("/kind", reason));
        }
        if let Some(user) = &spec.proxy_user
            && principal.role != Role::Admin
            && *user != principal.user
        {
            wrong.push(Violation::new("/proxyUser", "only an admin may run as another user"));
        }
        if wrong.is_empty() { Ok(()) } else { Err(ServiceError::violations(Code::Unsupported, wrong)) }
    }

    fn mode(&self, spec: &JobSpec, needed: &Requirement) -> Result<Mode, ServiceError> {
        let unsupported = |pointer: &str, reason: String| {
            Err(ServiceError::violations(Code::Unsupported, vec![Violation::new(pointer, reason)]))
        };
        let enabled = &self.config.enabled;
        let takes = |mode: &Mode| {
            *mode != Mode::InCluster
                || spec.kind != Kind::Python
                || self.config.in_cluster.backend.takes_programs()
        };
        match spec.mode {
            ModeChoice::Auto => match mode::select(
                requirement::shape(spec, needed),
                &enabled.iter().copied().filter(takes).collect::<Vec<_>>(),
            ) {
                Some(mode) => Ok(mode),
                None => unsupported(
                    "/executionMode",
                    format!("no enabled execution mode can run this `{}` job", spec.kind.as_str()),
                ),
            },
            ModeChoice::Explicit(Mode::Flink) => unsupported(
                "/executionMode",
                "jobs on Flink are declared as deployments: send their specification to /api/v1/deployments, or use \
                 `libra apply`"
                    .to_owned(),
            ),
            ModeChoice::Explicit(Mode::Slurm) if !enabled.contains(&Mode::Slurm) => unsupported(
                "/executionMode",
                "no Slurm cluster is configured here; name one in libra.slurm.clusters".to_owned(),
            ),
            ModeChoice::Explicit(mode) if !enabled.contains(&mode) => unsupported(
                "/executionMode",
                format!(
                    "{} is not enabled here; enabled: {}",
                    mode.as_str(),
                    enabled.iter().map(|m| m.as_str()).collect::<Vec<_>>().join(", ")
                ),
            ),
            ModeChoice::Explicit(mode) if !mode.runs(spec.kind) => unsupported(
                "/executionMode",
                format!("{} does not run `{}` jobs; choose `auto`", mode.as_str(), spec.kind.as_str()),
            ),
            ModeChoice::Explicit(Mode::InCluster) if spec.needs_own_process() => unsupported(
                "/executionMode",
                "in-cluster shares one Spark, which can't honour file, env (of SQL), jars, pyFiles, files, archives, packages, \
                 proxyUser, cluster or spark.master; choose `auto` or `spark-submit`"
                    .to_owned(),
            ),
            ModeChoice::Explicit(mode) => Ok(mode),
        }
    }

    fn limits(&self, spec: &JobSpec, mode: Mode) -> TimeLimits {
        let seconds = |d: Option<Duration>| d.map(|d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX).max(1));
        let asked = |minutes: u32| Some(i64::from(minutes) * 60).filter(|s| *s > 0);
        // The job's own, else its queue's, else that of the configuration (contract L5). Zero is none.
        let rules = self.rules();
        let queue = rules.queue_times.get(queue_of(spec.queue.as_deref())).copied().unwrap_or_default();
        let set = |own: Option<Duration>, other: Option<Duration>| match own {
            Some(own) => Some(own).filter(|d| !d.is_zero()),
            None => other,
        };
        let run = set(queue.run, self.config.run_timeout.get(&mode).copied().flatten());
        let wait = set(queue.wait, self.config.queue_wait);
        TimeLimits {
            queue_seconds: spec.queue_timeout_minutes.map_or_else(|| seconds(wait), asked),
            run_seconds: spec.timeout_minutes.map_or_else(|| seconds(run), asked),
            // Who waits in Slurm's queue, or for Slurm, waits as long as it takes.
            launch_seconds: seconds(self.config.launch_timeout).filter(|_| mode != Mode::Slurm),
        }
    }

    async fn store(
        self: &Arc<Self>,
        request: Submit<'_>,
        spec: JobSpec,
        mode: Mode,
        needed: Requirement,
        uploads: &[Named],
    ) -> Result<SubmitAnswer, ServiceError> {
        let now = self.clock.now();
        let limits = self.limits(&spec, mode);
        let job = Job::received(Draft {
            id: JobId::new(now, self.clock.entropy()),
            submitted_at: now,
            user: request.principal.user.clone(),
            tenant: request.principal.tenant.clone(),
            spec,
            mode,
            requirement: needed,
            limits,
            correlation_id: request.correlation_id.to_owned(),
        });
        let step = lifecycle::submit(job, now);
        let candidate = self.candidate(&step.job);
        if let Some((limit, message)) = self.never_starts(&candidate) {
            let message = format!("this job can never run here: {message} ({limit})");
            return Err(ServiceError::new(Code::NeverFits, message));
        }
        let estimate = self.estimated_start(&candidate).await;
        let job_id = step.job.id.to_string();
        let view = SubmitView {
            job_id: job_id.clone(),
            status: step.job.state.as_str().to_owned(),
            submitted_at: now.rfc3339(),
            estimated_start_time: estimate.and_then(|estimate| estimate.at).map(Timestamp::rfc3339),
            execution_mode: mode.as_str().to_owned(),
            engine: mode.engine().to_owned(),
            resources: Some(view::resources(&step.job.requirement)),
            limits: LimitsView {
                queue_timeout_seconds: limits.queue_seconds.unwrap_or(0),
                timeout_seconds: limits.run_seconds.unwrap_or(0),
            },
            warnings: warnings(&step.job.spec, mode),
        };
        let body = serde_json::to_string(&view)
            .map_err(|e| ServiceError::new(Code::Internal, format!("the answer can't be written: {e}")))?;
        let submission = Submission {
            outbox: notify::outbox(&step, now),
            job: step.job.clone(),
            log: step.log.clone(),
            origin: Origin { at: now, actor: request.principal.user.clone(), metadata: None },
            idempotency: request.idempotency.map(|(scope, key, body_hash)| Idempotency {
                scope,
                key,
                body_hash,
                status: ACCEPTED,
                response: body.clone(),
            }),
            max_queued: self.rules().limits.max_queued,
        };
        let held = (!uploads.is_empty()).then(|| self.jobs_dir().join(&job_id));
        // A task of its own: the client may go away in the middle, and what is stored must be told all the same.
        let (service, uploads) = (Arc::clone(self), uploads.to_vec());
        let stored = tokio::spawn(async move {
            if let Err(refused) = service.hold_uploads(&submission.job, &uploads).await {
                if let Some(dir) = held {
                    service.let_go(dir).await;
                }
                return Err(refused);
            }
            // It counts until it is stored.
            let counted = match service.may_submit(&submission.job).await {
                Ok(counted) => counted,
                Err(refused) => {
                    if let Some(dir) = held {
                        service.let_go(dir).await;
                    }
                    // The same request may have come before, and be what is counted.
                    return match service.stored_before(&submission).await? {
                        Some(before) => Ok(before),
                        None => Err(refused),
                    };
                }
            };
            let mut submitted = service.db.submit(submission.clone()).await?;
            // A full queue refuses nobody whose turn it would be at once (contract R3: fits now, admitted).
            if submitted == Submitted::QueueFull && service.starts_at_once(&candidate).await? {
                submitted = service.db.submit(Submission { max_queued: u64::MAX, ..submission }).await?;
            }
            drop(counted);
            if submitted == Submitted::Stored {
                service.metrics.stored();
                service.announce(&step);
            } else if let Some(dir) = held {
                // No job of this id was stored, so nothing is needed for it.
                service.let_go(dir).await;
            }
            Ok::<_, ServiceError>(submitted)
        });
        match stored.await.map_err(|_| StoreError::Closed)?? {
            Submitted::Stored => Ok(SubmitAnswer { status: ACCEPTED, body, job_id, replayed: false }),
            Submitted::Replayed { status, response } => Ok(replayed(status, response)),
            Submitted::KeyReused => Err(key_reused()),
            Submitted::QueueFull => {
                let most = self.rules().limits.max_queued;
                let message = format!("{most} jobs are waiting, as many as the queue takes; try again later");
                Err(ServiceError::new(Code::QueueFull, message).retry_after(QUEUE_FULL_RETRY_SECONDS))
            }
        }
    }
}

/// What was taken but will not have the effect that one may expect.
fn warnings(spec: &JobSpec, mode: Mode) -> Vec<String> {
    if mode != Mode::InCluster {
        return Vec::new();
    }
    let idle: Vec<&str> = spec.settings_without_effect().collect();
    if idle.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "in-cluster shares one Spark, in which these settings have no effect: {}; choose `spark-submit` if the job needs them",
        idle.join(", ")
    )]
}

/// True for a job that Slurm runs: nobody else runs scripts.
fn is_for_slurm(spec: &JobSpec) -> bool {
    spec.kind == Kind::Script || spec.mode == ModeChoice::Explicit(Mode::Slurm)
}

/// An answer that was given before.
fn replayed(status: u16, response: String) -> SubmitAnswer {
    let job_id = serde_json::from_str::<SubmitView>(&response).map(|v| v.job_id).unwrap_or_default();
    SubmitAnswer { status, body: response, job_id, replayed: true }
}

pub(in crate::service) fn key_reused() -> ServiceError {
    ServiceError::new(
        Code::IdempotencyKeyReused,
        "this Idempotency-Key came before with another body; use a new key for a new request",
    )
}

/// 202.
const ACCEPTED: u16 = 202;

/// Wrong fields; code that is too long is a request that is too large.
fn refused_fields(violations: Vec<Violation>) -> ServiceError {
    let too_long = format!("at most {MAX_CODE_BYTES} are taken");
    let large = violations.iter().any(|v| v.pointer == "/code" && v.reason.contains(&too_long));
    ServiceError::violations(if large { Code::TooLarge } else { Code::InvalidRequest }, violations)
}
