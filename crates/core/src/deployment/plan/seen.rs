//! What is known of a deployment's job, from the reconciler's row and its look at the cluster.

use super::live::{ClusterView, Ending, Live, LiveJob, Newest, Snapshot, Wanted};
use crate::deployment::reconcile::{
    Cluster, End, Fate, FlinkId, Job, JobState, Kept, Mode, Observed, Row, Run,
};

impl Live {
    /// How things are, as the row and the last look say. `name` is that of the deployment's jobs; `parallelism` is what
    /// the living job was asked to have, where somebody has looked.
    pub fn seen(
        name: &str,
        mode: Mode,
        row: &Row,
        observed: &Observed,
        cluster: ClusterView,
        parallelism: Option<u32>,
    ) -> Self {
        let looked = match observed {
            Observed::Reachable(looked) => Some(looked.as_ref()),
            Observed::Unreachable(_) => None,
        };
        let own =
            row.run.as_ref().and_then(|run| looked.and_then(|l| l.jobs.iter().find(|j| j.id == run.id)));
        let alive = |job: &&Job| !job.state.is_terminal();
        let others = || looked.iter().flat_map(|l: &&Cluster| &l.jobs).filter(alive);
        let is_run = |id: FlinkId| row.run.as_ref().is_some_and(|run| run.id == id);
        let was_ours = |id: FlinkId| row.past.contains(&id) || row.strays.contains(&id);
        let ids = |jobs: Vec<&Job>| jobs.into_iter().map(|job| job.id.to_string()).collect();
        Self {
            wanted: match mode {
                Mode::Running => Wanted::Run,
                Mode::Suspended | Mode::Deleted { .. } => Wanted::Suspend,
            },
            cluster,
            job: job(row, looked.is_some(), own, parallelism),
            newest: newest(row, own),
            doubles: ids(others().filter(|job| was_ours(job.id) && !is_run(job.id)).collect()),
            foreign: ids(others()
                .filter(|job| job.name == name && !was_ours(job.id) && !is_run(job.id))
                .collect()),
        }
    }
}

fn job(row: &Row, answers: bool, own: Option<&Job>, parallelism: Option<u32>) -> LiveJob {
    let Some(run) = &row.run else {
        return if answers { LiveJob::Never } else { LiveJob::Unknown };
    };
    let id = run.id.to_string();
    match (&run.fate, own) {
        (Fate::Ended(end), _) => ended(row, run, *end),
        (Fate::Sent(_) | Fate::Live, _) if !answers => LiveJob::Unknown,
        (Fate::Sent(_) | Fate::Live, Some(job)) => match job.state {
            JobState::Failed => LiveJob::Ended { id, how: Ending::Failed },
            JobState::Canceled => LiveJob::Ended { id, how: Ending::Cancelled },
            JobState::Finished => LiveJob::Ended { id, how: Ending::Finished },
            JobState::Running => LiveJob::Alive { id, well: job.all_tasks_run, parallelism },
            JobState::Initializing
            | JobState::Created
            | JobState::Failing
            | JobState::Cancelling
            | JobState::Restarting
            | JobState::Suspended
            | JobState::Reconciling => LiveJob::Alive { id, well: false, parallelism },
        },
        // It may begin at any moment.
        (Fate::Sent(_), None) => LiveJob::Alive { id, well: false, parallelism },
        (Fate::Live, None) => LiveJob::Missing { id },
    }
}

fn ended(row: &Row, run: &Run, end: End) -> LiveJob {
    let id = run.id.to_string();
    match end {
        // By us: what it was stopped with is there, whether it was suspended or is being replaced.
        End::Stopped => LiveJob::Ended { id, how: Ending::Suspended },
        End::Finished => LiveJob::Ended { id, how: Ending::Finished },
        End::Outside => LiveJob::Ended { id, how: Ending::Cancelled },
        End::Vanished => LiveJob::Missing { id },
        // It has done nothing; the deployment may have run before.
        End::NeverRan | End::Refused if row.state.is_none() && row.past.is_empty() => LiveJob::Never,
        End::Failed | End::NeverRan | End::Refused => LiveJob::Ended { id, how: Ending::Failed },
    }
}

/// The newest snapshot that the reconciler would begin the next run with. It looks at every checkpoint while the job
/// runs, so what it has not seen was never there.
fn newest(row: &Row, own: Option<&Job>) -> Newest {
    let kept = |kept: &Kept| kept.path.clone();
    let path = match &row.run {
        Some(run) if run.may_live() => {
            let listed = own.iter().flat_map(|job| [&job.checkpoint, &job.savepoint]).flatten();
            let newest = listed.chain(&run.kept).max_by_key(|kept| kept.number).map(kept);
            newest.or_else(|| run.from.as_ref().map(|from| from.path.clone()))
        }
        Some(_) | None => None,
    };
    match path.or_else(|| row.state.as_ref().map(|state| state.path.clone())) {
        Some(path) => Newest::Snapshot(Snapshot::in_directory(path, None)),
        None => Newest::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::reconcile::State;
    use crate::time::Timestamp;

    fn run(id: u128, fate: Fate) -> Run {
        Run {
            from: Some(State { path: "file:/s/savepoint-1".into(), generation: 0 }),
            ..Run::new(FlinkId(id), 1, 0, fate)
        }
    }

    fn listed(id: u128, state: JobState, name: &str) -> Job {
        Job {
            id: FlinkId(id),
            name: name.into(),
            state,
            all_tasks_run: true,
            restarts: 0,
            exceptions: 0,
            checkpoints: 1,
            checkpoint: Some(Kept { path: "file:/c/chk-4".into(), number: 4 }),
            savepoint: Some(Kept { path: "file:/s/savepoint-3".into(), number: 3 }),
            failure: None,
            pressure: None,
        }
    }

    fn look(row: &Row, jobs: Option<Vec<Job>>) -> Live {
        let observed = match jobs {
            Some(jobs) => Observed::Reachable(Box::new(Cluster { jobs, ..Cluster::default() })),
            None => Observed::Unreachable("no answer".into()),
        };
        let cluster = ClusterView { name: "main".into(), rescale: false, free_slots: None };
        Live::seen("etl", Mode::Running, row, &observed, cluster, None)
    }

    fn row(run: Option<Run>) -> Row {
        Row { run, past: vec![FlinkId(7)], ..Row::default() }
    }

    fn path(live: &Live) -> &str {
        match &live.newest {
            Newest::Snapshot(snapshot) => &snapshot.path,
            Newest::Never | Newest::Unknown => "",
        }
    }

    #[test]
    fn a_look_tells_how_the_job_is() {
        let id = format!("{:032x}", 1);
        let of = |fate: Fate, jobs: Option<Vec<Job>>| look(&row(Some(run(1, fate))), jobs);
        let live = of(Fate::Live, Some(vec![listed(1, JobState::Running, "etl")]));
        assert_eq!(live.job, LiveJob::Alive { id: id.clone(), well: true, parallelism: None });
        assert_eq!(path(&live), "file:/c/chk-4", "the newest by number");
        let live = of(Fate::Live, Some(vec![listed(1, JobState::Restarting, "etl")]));
        assert_eq!(live.job, LiveJob::Alive { id: id.clone(), well: false, parallelism: None });
        let live = of(Fate::Live, Some(vec![]));
        assert_eq!(live.job, LiveJob::Missing { id: id.clone() });
        assert_eq!(path(&live), "file:/s/savepoint-1", "what it began with");
        assert_eq!(of(Fate::Live, None).job, LiveJob::Unknown);
        let live = of(Fate::Live, Some(vec![listed(1, JobState::Failed, "etl")]));
        assert_eq!(live.job, LiveJob::Ended { id: id.clone(), how: Ending::Failed });
        let live = of(Fate::Ended(End::Stopped), None);
        assert_eq!(live.job, LiveJob::Ended { id, how: Ending::Suspended }, "known without asking");
        assert_eq!(live.newest, Newest::Never);
        assert_eq!(look(&row(None), Some(vec![])).job, LiveJob::Never);
    }

    #[test]
    fn other_jobs_are_told_apart() {
        let jobs = vec![
            listed(1, JobState::Running, "etl"),
            listed(7, JobState::Running, "etl"),
            listed(8, JobState::Running, "etl"),
            listed(9, JobState::Running, "another"),
            listed(10, JobState::Failed, "etl"),
        ];
        let live = look(&row(Some(run(1, Fate::Live))), Some(jobs));
        assert_eq!(live.doubles, [format!("{:032x}", 7)], "ours, of before");
        assert_eq!(live.foreign, [format!("{:032x}", 8)], "of our name, alive, and not ours");
    }

    #[test]
    fn a_refused_first_run_was_never_there() {
        let mut first = Row { run: Some(run(1, Fate::Ended(End::Refused))), ..Row::default() };
        assert_eq!(look(&first, Some(vec![])).job, LiveJob::Never);
        first.state = Some(State { path: "file:/s/savepoint-2".into(), generation: 1 });
        let live = look(&first, Some(vec![]));
        assert!(matches!(live.job, LiveJob::Ended { how: Ending::Failed, .. }));
        assert_eq!(path(&live), "file:/s/savepoint-2");
        let snapshot = Snapshot::in_directory("a/chk-12", Some(Timestamp(1)));
        assert!(!snapshot.savepoint && Snapshot::in_directory("a/savepoint-1/", None).savepoint);
    }
}
