//! A job as slurmdbd keeps it: `/slurmdb`, and `sacct --json`.

use libra_core::hpc::raw_state::Standing;
use libra_core::hpc::record::{Amounts, Places, Record};

use super::hostlist;
use super::job::{array, exit, only_facts, reason};
use super::tres;
use super::value::Field;

/// Reads one; None when it has no number or no state.
pub(super) fn read(job: Field<'_>) -> Option<Record> {
    let state = job.at("state");
    let raw_state = state.at("current").words()?;
    let id = job.at("job_id").positive()?;
    let (time, required, tres) = (job.at("time"), job.at("required"), job.at("tres"));
    let array_job = job.at("array");
    let requested = tres::listed(tres.at("requested"))
        .or(Amounts { cpus: required.at("CPUs").positive(), ..Amounts::default() });
    let array = array(array_job.at("job_id"), array_job.at("task_id"));
    let waits = Standing::of(&raw_state) == Some(Standing::Waits);
    let many = waits && array.is_none() && array_job.at("job_id").positive().is_some();
    Some(only_facts(Record {
        external_id: id.to_string(),
        cluster: job.at("cluster").text(),
        reason: reason(state.at("reason")),
        name: job.at("name").text(),
        submitted_by: None,
        user: job.at("user").text().or_else(|| job.at("association").at("user").text()),
        account: job.at("account").text(),
        partition: job.at("partition").text(),
        qos: job.at("qos").text(),
        priority: job.at("priority").number(),
        submitted: time.at("submission").time(),
        started: time.at("start").time(),
        ended: time.at("end").time(),
        time_limit_minutes: time.at("limit").small(),
        nodes: job.at("nodes").text().map(|list| hostlist::expand(&list)).unwrap_or_default(),
        node_count: job.at("allocation_nodes").small().filter(|count| *count > 0),
        requested,
        allocated: tres::listed(tres.at("allocated")),
        exit: exit(job.at("exit_code")),
        restarts: job.at("restart_cnt").small(),
        comment: job.at("comment").at("job").text(),
        array,
        array_waiting: if many { array_job.at("task").text() } else { None },
        het_job: job.at("het").at("job_id").positive(),
        places: Places {
            directory: job.at("working_directory").text(),
            stdout: job.at("stdout_expanded").text(),
            stderr: job.at("stderr_expanded").text(),
        },
        raw_state,
        made_up: false,
        said_of_slurm: false,
    }))
}
