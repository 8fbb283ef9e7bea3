//! A job as slurmctld tells it: REST versions v0.0.38 to v0.0.42, and `squeue --json`.

use libra_core::hpc::end::End;
use libra_core::hpc::raw_state::Standing;
use libra_core::hpc::record::{Amounts, ArrayTask, ExitStatus, Places, Record};

use super::hostlist;
use super::places;
use super::tres;
use super::value::Field;

/// Reads one; None when it has no number or no state.
pub(super) fn read(job: Field<'_>) -> Option<Record> {
    let raw_state = job.at("job_state").words()?;
    let id = job.at("job_id").positive()?;
    let nodes = job.at("nodes").text().map(|list| hostlist::expand(&list)).unwrap_or_default();
    let mut record = Record {
        external_id: id.to_string(),
        cluster: job.at("cluster").text(),
        reason: reason(job.at("state_reason")),
        name: job.at("name").text(),
        // A user that the head node has no name for.
        submitted_by: None,
        user: job.at("user_name").text().or_else(|| job.at("user_id").number().map(|uid| uid.to_string())),
        account: job.at("account").text(),
        partition: job.at("partition").text(),
        qos: job.at("qos").text(),
        priority: job.at("priority").number(),
        submitted: job.at("submit_time").time(),
        started: job.at("start_time").time(),
        ended: job.at("end_time").time(),
        time_limit_minutes: job.at("time_limit").small(),
        node_count: job.at("node_count").small(),
        requested: requested(job),
        allocated: allocated(job),
        exit: exit(job.at("exit_code")),
        restarts: job.at("restart_cnt").small(),
        comment: job.at("comment").text(),
        array: array(job.at("array_job_id"), job.at("array_task_id")),
        array_waiting: job.at("array_task_string").text(),
        het_job: job.at("het_job_id").positive(),
        nodes,
        raw_state,
        places: Places::default(),
        made_up: false,
        said_of_slurm: false,
    };
    record.places = places::of(job, &record);
    Some(only_facts(record))
}

/// Leaves out what Slurm only guesses, or has no meaning in this state.
pub(super) fn only_facts(mut record: Record) -> Record {
    let standing = Standing::of(&record.raw_state);
    match standing {
        // When it may begin, and what that makes of its limit.
        Some(Standing::Waits) | None => (record.started, record.ended, record.exit) = (None, None, None),
        // When its limit ends it.
        Some(Standing::Runs | Standing::Suspended) => (record.ended, record.exit) = (None, None),
        Some(Standing::Ended(end)) => {
            // Cancelled before it had a node; Slurm tells the time of that as its start.
            if record.nodes.is_empty() {
                record.started = None;
            }
            // Accounting of 22.05 tells 0 for every exit code, and at times for what it has ended itself.
            if end != End::Completed && record.exit == Some(ExitStatus { code: 0, signal: 0 }) {
                record.exit = None;
            }
        }
    }
    record
}

pub(super) fn reason(field: Field<'_>) -> Option<String> {
    field.text().filter(|reason| reason != "None")
}

pub(super) fn array(job: Field<'_>, task: Field<'_>) -> Option<ArrayTask> {
    Some(ArrayTask { job: job.positive()?, task: task.number()? })
}

/// What `wait` told (v0.0.38), or what it means. None where it is none: `PENDING`, `INVALID`.
pub(super) fn exit(field: Field<'_>) -> Option<ExitStatus> {
    if let Some(status) = field.small() {
        return Some(ExitStatus::of_wait(status));
    }
    let number = |field: Field<'_>| field.number().and_then(|number| i32::try_from(number).ok());
    let code = number(field.at("return_code"));
    let signal = field.at("signal");
    let signal = number(signal.any(&["id", "signal_id"]));
    let told = code.is_some() || signal.is_some();
    told.then(|| ExitStatus { code: code.unwrap_or(0), signal: signal.unwrap_or(0) })
}

fn requested(job: Field<'_>) -> Amounts {
    let told = job.at("tres_req_str").text().map(|text| tres::amounts(&text)).unwrap_or_default();
    let nodes = job.at("node_count").positive();
    let memory =
        job.at("memory_per_node").positive().zip(nodes).map(|(each, nodes)| each.saturating_mul(nodes));
    let gpus = job.at("tres_per_job").text().and_then(|text| tres::gpus(&text)).or_else(|| {
        let each = job.at("tres_per_node").text().and_then(|text| tres::gpus(&text))?;
        Some(each.saturating_mul(nodes?))
    });
    told.or(Amounts { cpus: job.at("cpus").positive(), memory_mb: memory, gpus })
}

fn allocated(job: Field<'_>) -> Amounts {
    let told = job.at("tres_alloc_str").text().map(|text| tres::amounts(&text)).unwrap_or_default();
    // Slurm counts GPUs in the text only where the site has told it to; this is one line for each node.
    let each = job.at("gres_detail").each().filter_map(|line| tres::gpus(&line.text()?));
    let gpus = each.reduce(u64::saturating_add);
    told.or(Amounts { gpus, ..Amounts::default() })
}
