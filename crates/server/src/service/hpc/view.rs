//! How observed jobs are shown.

use libra_api::hpc::jobs::{HpcFailureView, HpcJobView, SchedulerView};
use libra_core::hpc::job::HpcJob;
use libra_core::hpc::record::Record;
use libra_core::hpc::usage::{Figure, PER_PERCENT, Totals};
use libra_core::time::Timestamp;

/// A job with what it uses on each of its nodes.
pub(super) fn shown(job: &HpcJob, usage: &[Totals], now: Timestamp) -> HpcJobView {
    let Record { nodes, node_count, started, ended, .. } = &job.record;
    let text = |at: Option<Timestamp>| at.map(Timestamp::rfc3339);
    let figures = |of: fn(&Totals) -> &Figure| usage.iter().map(of).collect::<Vec<_>>();
    let (cpu, memory, gpu) = (figures(|t| &t.cpu), figures(|t| &t.memory_mb), figures(|t| &t.gpu));
    // What an ended job used last is not what it uses.
    let runs = !job.state.is_terminal();
    HpcJobView {
        id: job.client_id.clone().unwrap_or_else(|| job.id.to_string()),
        user: job.record.owner().to_owned(),
        nodes: nodes.clone(),
        node_count: node_count.or_else(|| u32::try_from(nodes.len()).ok().filter(|count| *count > 0)),
        state: job.hpc_state().as_str().to_owned(),
        status: job.state.as_str().to_owned(),
        start_time: text(*started),
        end_time: text(*ended),
        runtime_seconds: job.runtime_seconds(now),
        cpu_usage: if runs { mean(cpu.iter().filter_map(|figure| figure.last)) } else { None },
        memory_usage_mb: if runs { sum(memory.iter().filter_map(|figure| figure.last)) } else { None },
        gpu_usage: if runs { mean(gpu.iter().filter_map(|figure| figure.last)) } else { None },
        scheduler: scheduler(job),
        failure: job.failure.as_ref().map(|failure| HpcFailureView {
            class: failure.class.as_str().to_owned(),
            code: failure.code.clone(),
            message: failure.message.clone(),
            outcome_unknown: failure.outcome_unknown,
        }),
        last_sample_at: text(usage.iter().filter_map(|totals| totals.last_at).max()),
        sample_count: usage.iter().map(|totals| totals.samples).sum(),
        avg_cpu_usage: together(&cpu),
        max_cpu_usage: percent(cpu.iter().filter_map(|figure| figure.max).max()),
        max_memory_usage_mb: sum(memory.iter().filter_map(|figure| figure.max)),
        avg_gpu_usage: together(&gpu),
        max_gpu_usage: percent(gpu.iter().filter_map(|figure| figure.max).max()),
        created_at: job.created_at.rfc3339(),
        updated_at: job.updated_at.rfc3339(),
    }
}

fn scheduler(job: &HpcJob) -> SchedulerView {
    let record = &job.record;
    SchedulerView {
        kind: if is_mock(job) { "mock" } else { "slurm" }.to_owned(),
        external_job_id: record.external_id.clone(),
        raw_state: record.raw_state.clone(),
        state_reason: record.reason.clone(),
        name: record.name.clone(),
        partition: record.partition.clone(),
        account: record.account.clone(),
        qos: record.qos.clone(),
        priority: record.priority,
        submit_time: record.submitted.map(Timestamp::rfc3339),
        exit_code: record.exit.map(|exit| exit.code),
        signal: record.exit.map(|exit| exit.signal),
        time_limit_minutes: record.time_limit_minutes,
        requested_cpus: record.requested.cpus,
        allocated_cpus: record.allocated.cpus,
        requested_memory_mb: record.requested.memory_mb,
        allocated_memory_mb: record.allocated.memory_mb,
        requested_gpus: record.requested.gpus,
        allocated_gpus: record.allocated.gpus,
        restarts: record.restarts,
        array_job_id: record.array.map(|task| task.job),
        array_task_id: record.array.map(|task| task.task),
        het_job_id: record.het_job,
        cluster_name: job.cluster.clone(),
    }
}

/// True where no scheduler knows it: one that is made up tells of it, or somebody who has not said that it is Slurm's.
fn is_mock(job: &HpcJob) -> bool {
    job.record.made_up || (job.client_id.is_some() && !job.record.said_of_slurm)
}

/// Thousandths of a percent as percent.
pub(super) fn percent(thousandths: Option<i64>) -> Option<f64> {
    thousandths.map(|share| share as f64 / PER_PERCENT)
}

/// The mean of a figure, in percent.
pub(super) fn mean_percent(figure: &Figure) -> Option<f64> {
    figure.mean().map(|share| share / PER_PERCENT)
}

fn mean(values: impl Iterator<Item = i64>) -> Option<f64> {
    let mut figure = Figure::default();
    for value in values {
        figure.add(Some(value), true);
    }
    mean_percent(&figure)
}

/// None of nothing, which is not zero.
fn sum(values: impl Iterator<Item = i64>) -> Option<i64> {
    values.fold(None, |sum: Option<i64>, value| Some(sum.unwrap_or(0).saturating_add(value)))
}

/// The mean of all samples of all nodes.
fn together(figures: &[&Figure]) -> Option<f64> {
    let mut all = Figure::default();
    for figure in figures {
        all.count += figure.count;
        all.sum = all.sum.saturating_add(figure.sum);
    }
    mean_percent(&all)
}
