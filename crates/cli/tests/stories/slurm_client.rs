//! The client of Slurm against a real cluster: what it asks for happens, and what it tells of a job is what Slurm itself
//! says, through slurmrestd and through Slurm's commands.

mod ends;
mod nodes;
mod outages;
mod submitting;

use std::path::Path;

use libra_core::allocation::Allocation;
use libra_core::hpc::end::End;
use libra_core::hpc::raw_state::Standing;
use libra_core::hpc::record::Record;
use libra_core::time::Timestamp;
use libra_engines::slurm::{Access, Commands, Rest, Slurm, Submission, TokenFrom};
use libra_testkit::{SlurmCluster, wait};

fn access(cluster: &SlurmCluster) -> Access {
    Access {
        url: cluster.url(),
        user: Some(cluster.user()),
        token: TokenFrom::Key(cluster.key()),
        ..Access::default()
    }
}

fn rest(cluster: &SlurmCluster) -> Slurm {
    Slurm::Rest(Rest::new(&access(cluster)).unwrap())
}

/// Both doors of a cluster.
fn doors(cluster: &SlurmCluster) -> [Slurm; 2] {
    [rest(cluster), Slurm::Commands(Commands { conf: Some(cluster.conf()), path: None })]
}

/// A job of one line that carries this token.
fn submission(cluster: &SlurmCluster, token: &str, line: &str) -> Submission {
    Submission {
        script: format!("#!/bin/sh\n{line}\n"),
        token: token.to_owned(),
        name: Some(token.to_owned()),
        asked: Allocation {
            directory: Some(cluster.work().display().to_string()),
            stdout: Some("%x.out".to_owned()),
            ..Allocation::default()
        },
        ..Submission::default()
    }
}

/// The one record of a job, an array's task or a part.
async fn record(slurm: &Slurm, id: &str) -> Record {
    let records = slurm.job(id).await.unwrap();
    let one = records.into_iter().find(|record| record.external_id == id);
    one.unwrap_or_else(|| panic!("there is no job {id}"))
}

fn standing(record: &Record) -> Option<Standing> {
    Standing::of(&record.raw_state)
}

/// Waits until a job runs.
async fn until_running(slurm: &Slurm, id: &str) {
    let runs = async || standing(&record(slurm, id).await) == Some(Standing::Runs);
    wait::until_async(&format!("job {id} runs"), runs).await;
}

/// Waits until a job has written this into a file.
async fn until_written(file: &Path, text: &str) {
    let written = || std::fs::read_to_string(file).is_ok_and(|all| all.contains(text));
    wait::until_true(&format!("{text} is written"), written).await;
}

/// Waits until a job has ended; how, and what is known of it then.
async fn until_ended(slurm: &Slurm, id: &str) -> (End, Record) {
    let ended = async || matches!(standing(&record(slurm, id).await), Some(Standing::Ended(_)));
    wait::until_async(&format!("job {id} ends"), ended).await;
    let record = record(slurm, id).await;
    match standing(&record) {
        Some(Standing::Ended(end)) => (end, record),
        other => panic!("job {id} has ended, and is {other:?}"),
    }
}

/// A time long before and one long after the tests.
const ALWAYS: (Timestamp, Timestamp) = (Timestamp(1_000_000), Timestamp(4_000_000_000_000_000));
