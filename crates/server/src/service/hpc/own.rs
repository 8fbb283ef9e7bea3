//! What attempts of Libra's own use, as agents tell it (contract H3, H7).

use std::collections::{BTreeSet, HashMap};

use libra_api::hpc::efficiency::EfficiencyView;
use libra_api::hpc::samples::JobSample;
use libra_api::problem::Code;
use libra_core::attempt::Attempt;
use libra_core::hpc::efficiency::{Efficiency, Given};
use libra_core::hpc::job::HpcJob;
use libra_core::hpc::raw_state::HpcState;
use libra_core::hpc::record::Amounts;
use libra_core::hpc::usage::{Sample, Span, Totals};
use libra_core::id::{JobId, Token};
use libra_core::job::{Job, State};
use libra_core::memory::MIB;
use libra_core::mode::Mode;
use libra_core::time::Timestamp;
use libra_store::tables::hpc::jobs as rows;
use libra_store::tables::hpc::own::{self, Measured};
use libra_store::tables::hpc::samples;

use super::batch::measured;
use super::efficiency::shown;
use super::{ByWhom, Service, ServiceError};
use crate::auth::Principal;
use crate::service::expiry::before;

/// A job that has samples.
pub(super) enum Known {
    /// A scheduler's.
    Observed(Box<HpcJob>),
    /// One that Libra runs itself.
    Own(Box<Job>, Vec<Attempt>),
}

impl Known {
    /// The id of its samples.
    pub(super) fn id(&self) -> JobId {
        match self {
            Self::Observed(job) => job.id,
            Self::Own(job, _) => job.id,
        }
    }

    /// What people call it.
    pub(super) fn name(self) -> String {
        match self {
            Self::Observed(job) => job.client_id.unwrap_or_else(|| job.id.to_string()),
            Self::Own(job, _) => job.id.to_string(),
        }
    }
}

/// The attempts that samples name, by their tokens.
pub(super) type Attempts = HashMap<Token, Measured>;

impl Service {
    /// The attempts that these samples name.
    pub(super) async fn attempts_of(&self, samples: &[(u32, &JobSample)]) -> Result<Attempts, ServiceError> {
        let named = samples.iter().filter_map(|(_, sample)| sample.attempt.as_ref()?.parse().ok());
        let tokens: Vec<Token> = named.collect::<BTreeSet<Token>>().into_iter().collect();
        if tokens.is_empty() {
            return Ok(Attempts::new());
        }
        let found = self.db.read(move |tx| own::with_tokens(tx, &tokens)).await?;
        Ok(found.into_iter().map(|attempt| (attempt.token, attempt)).collect())
    }

    /// The job of the attempt with this token, or why the sample is nobody's.
    pub(super) fn placed_with_attempt(
        &self,
        by: &ByWhom,
        (token, sample): (&str, &JobSample),
        attempts: &Attempts,
        (at, now): (Timestamp, Timestamp),
    ) -> Result<(JobId, Sample), String> {
        let known = token.parse().ok().and_then(|token: Token| attempts.get(&token));
        let known = known.filter(|attempt| attempt.tenant == by.who.tenant);
        let attempt = known.ok_or_else(|| format!("attempt: no attempt {token} is known"))?;
        let kept_from = self.config.retention.samples.map(|kept| before(now, kept));
        let span = Span { started: Some(attempt.begun), ended: attempt.ended, kept_from };
        span.takes(at, now).map_err(|why| format!("timestamp {} {why}", sample.timestamp))?;
        Ok((attempt.job, measured(sample, at)))
    }

    /// The job that is meant by `id`: one that a scheduler tells of, or one of Libra's own. A script that Libra has given to
    /// Slurm is what Slurm has made of it.
    pub(super) async fn known_job(&self, who: &Principal, id: &str) -> Result<Known, ServiceError> {
        let missing = match self.hpc_job(who, id).await {
            Ok(job) => return Ok(Known::Observed(Box::new(job))),
            Err(error) if error.code == Code::JobNotFound && id.parse::<JobId>().is_ok() => error,
            Err(error) => return Err(error),
        };
        let (job, attempts) = self.job(who, id).await?;
        let of_slurm = attempts.last().filter(|_| job.mode == Mode::Slurm);
        let cluster = job.spec.cluster.as_deref().or(self.slurm.only()).map(str::to_owned);
        let (Some(last), Some(cluster)) = (of_slurm, cluster) else {
            return if job.mode == Mode::Flink {
                Err(missing)
            } else {
                Ok(Known::Own(Box::new(job), attempts))
            };
        };
        let Some(number) = last.application_id.clone() else {
            return Ok(Known::Own(Box::new(job), attempts));
        };
        let found = self.db.read(move |tx| rows::as_a_whole(tx, &cluster, &number)).await?;
        let token = last.token.to_string();
        let is_ours = |found: &HpcJob| found.record.marks().any(|mark| mark == token);
        let mut ours: Vec<HpcJob> = found.into_iter().filter(is_ours).collect();
        // Of what Slurm has put back after its end, the last run; runs come in order.
        ours.reverse();
        ours.dedup_by(|earlier, last| earlier.record.external_id == last.record.external_id);
        match (ours.pop(), ours.len()) {
            (Some(only), 0) => Ok(Known::Observed(Box::new(only))),
            (Some(last), others) => {
                let message = format!(
                    "{id} is {} jobs of Slurm, {} among them; ask for one of these (GET /v1/jobs lists them)",
                    others + 1,
                    last.id
                );
                Err(ServiceError::new(Code::Ambiguous, message))
            }
            (None, _) => Ok(Known::Own(Box::new(job), attempts)),
        }
    }

    /// What a job of Libra's own has made of what it was given.
    pub(super) async fn own_efficiency(
        &self,
        job: &Job,
        attempts: &[Attempt],
    ) -> Result<EfficiencyView, ServiceError> {
        let of = job.id;
        let series = self.db.read(move |tx| samples::of_job(tx, of)).await?;
        // Attempts are one after the other, on one host each.
        let usage = series.into_iter().map(|series| series.totals).reduce(Totals::and_elsewhere);
        let usage: Vec<Totals> = usage.into_iter().collect();
        let found = Efficiency::of_given(&given(job, attempts, self.clock.now()), &usage);
        let view = shown(&found, Vec::new());
        let (job_id, user, state) = (job.id.to_string(), job.user.clone(), state(job.state));
        Ok(EfficiencyView { job_id, user, state: state.as_str().to_owned(), ..view })
    }
}

/// What a job's attempts were given on the host on which they are measured.
fn given(job: &Job, attempts: &[Attempt], now: Timestamp) -> Given {
    let needed = &job.requirement;
    let ran: Vec<f64> = attempts
        .iter()
        .filter_map(|attempt| {
            // Of one that never began there is nothing to measure.
            let has_run = attempt.started_at.is_some() || attempt.ended_at.is_none();
            let begun = attempt.launched_at.filter(|_| has_run)?;
            Some(attempt.ended_at.unwrap_or(now).seconds_since(begun).max(0.0))
        })
        .collect();
    // What a shared server does for a job, and what a cluster's executors do, nobody measures here.
    let here = |amount: u64| Some(amount).filter(|amount| *amount > 0);
    let requested = Amounts {
        cpus: here(needed.host_cores()),
        memory_mb: here(needed.host_memory() / MIB),
        gpus: needed.executors_here.then(|| needed.gpus()),
    };
    Given {
        runtime: (!ran.is_empty()).then(|| ran.iter().sum()),
        requested,
        allocated: requested,
        nodes: 1,
        // Each of them has it anew.
        limit_seconds: job.limits.run_seconds.map(|seconds| seconds as f64 * ran.len().max(1) as f64),
    }
}

/// The same in the five words of this face.
fn state(state: State) -> HpcState {
    match state {
        State::Submitted | State::Validating | State::Queued | State::Scheduled | State::Retrying => {
            HpcState::Pending
        }
        State::Running => HpcState::Running,
        State::Succeeded => HpcState::Completed,
        State::Failed | State::Timeout => HpcState::Failed,
        State::Cancelled => HpcState::Cancelled,
    }
}
