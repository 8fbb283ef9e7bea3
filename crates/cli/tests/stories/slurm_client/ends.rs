//! How jobs end: the record's state is what Slurm itself says.

use libra_core::hpc::end::End;
use libra_core::hpc::raw_state::Standing;
use libra_core::hpc::record::{ExitStatus, Record};
use libra_engines::slurm::name_of;
use libra_testkit::slurm::Setup;
use libra_testkit::{SlurmCluster, wait};

use super::{ALWAYS, doors, rest, standing, until_ended, until_written};

struct Case {
    id: String,
    what: &'static str,
    end: End,
    /// As slurmctld tells it; None for a job that has not run.
    exit: Option<(i32, i32)>,
}

fn submitted(cluster: &SlurmCluster) -> Vec<Case> {
    let job = |what: &'static str, options: &[&str], script: &str, end: End, exit: Option<(i32, i32)>| {
        let name = format!("--job-name={what}");
        let id = cluster.sbatch(&[&[name.as_str()], options].concat(), script);
        Case { id, what, end, exit }
    };
    let (oom, oom_exit) =
        if cluster.has_cgroups() { (End::OutOfMemory, Some((0, 125))) } else { (End::Failed, Some((0, 9))) };
    vec![
        // A minute is the least, and Slurm looks every half of one.
        job("too-long", &["--time=1"], "sleep 600", End::Timeout, Some((0, 15))),
        job("ok", &[], "exit 0", End::Completed, Some((0, 0))),
        job("exit-3", &[], "exit 3", End::Failed, Some((3, 0))),
        job("no-command", &[], "no-such-command", End::Failed, Some((127, 0))),
        job("signal", &[], "kill -9 $$", End::Failed, Some((0, 9))),
        job("too-much", &["--mem=30"], "head -c 300M /dev/zero | tail", oom, oom_exit),
        job(
            "cancelled-running",
            &["--output=running.out"],
            "echo runs; sleep 600",
            End::Cancelled,
            Some((0, 15)),
        ),
        job("cancelled-pending", &["--begin=now+1hour"], "exit 3", End::Cancelled, None),
    ]
}

#[tokio::test]
async fn every_end_is_the_one_that_slurm_has() {
    let cluster = Setup::new().accounting().start();
    let slurm = rest(&cluster);
    let cases = submitted(&cluster);
    let of = |what: &str| cases.iter().find(|case| case.what == what).unwrap().id.clone();
    until_written(&cluster.work().join("running.out"), "runs").await;
    for what in ["cancelled-running", "cancelled-pending"] {
        slurm.cancel(&of(what)).await.unwrap();
    }
    for case in &cases {
        let (end, _) = until_ended(&slurm, &case.id).await;
        assert_eq!(end, case.end, "{}", case.what);
    }
    // slurmdbd is told a little later.
    let kept = |id: &str| cluster.accounted(id, "State").split(' ').next().unwrap_or_default().to_owned();
    for case in &cases {
        let agree = || kept(&case.id) == cluster.state(&case.id);
        wait::until_true("accounting knows the end", agree).await;
        for (door, slurm) in doors(&cluster).into_iter().enumerate() {
            let what = format!("{} through door {door}", case.what);
            let now = super::record(&slurm, &case.id).await;
            assert_eq!(now.raw_state, cluster.state(&case.id), "{what}");
            assert_eq!(now.exit, case.exit.map(|(code, signal)| ExitStatus { code, signal }), "{what}");
            let later = slurm.accounted(std::slice::from_ref(&case.id)).await.unwrap();
            // It tells of each run of a number that Slurm has put back.
            let later: &Record = later.records.last().unwrap();
            assert_eq!(
                (later.raw_state.as_str(), &later.name),
                (kept(&case.id).as_str(), &now.name),
                "{what}"
            );
            assert_eq!((later.ended, later.started), (now.ended, now.started), "{what}");
            // Accounting does not know them all, and says no wrong one: slurmrestd's tells no code of a failed job.
            assert!(later.exit.is_none() || later.exit == now.exit, "{what}: {:?}", later.exit);
            let by_itself = matches!(case.end, End::Completed | End::Failed | End::OutOfMemory);
            if by_itself && (door == 1 || case.exit.is_some_and(|(code, _)| code == 0)) {
                assert_eq!(later.exit, now.exit, "{what}");
            }
            assert_eq!(now.started.is_none(), case.what == "cancelled-pending", "{what}");
            assert!(now.ended >= now.started && now.ended.is_some(), "{what}");
        }
    }
    for slurm in doors(&cluster) {
        let all = slurm.accounted_between(ALWAYS.0, ALWAYS.1).await.unwrap();
        assert_eq!((all.records.len(), all.skipped), (cases.len(), 0));
    }
}

#[tokio::test]
async fn each_task_and_each_part_ends_by_itself() {
    let cluster = SlurmCluster::start();
    let slurm = rest(&cluster);
    let array = cluster.sbatch(&["--array=0-4%3"], "sleep 1; exit $SLURM_ARRAY_TASK_ID");
    let waiting = cluster.sbatch(&["--array=3-9", "--begin=now+1hour"], "exit 0");
    let script = cluster.work().join("het.sh");
    std::fs::write(&script, "#!/bin/sh\n#SBATCH --ntasks=1\n#SBATCH hetjob\n#SBATCH --ntasks=1\nexit 0\n")
        .unwrap();
    let het = cluster.command(&["sbatch", "--parsable", script.to_str().unwrap()]);
    for slurm in doors(&cluster) {
        let records = slurm.job(&waiting).await.unwrap();
        assert_eq!(records.len(), 1, "tasks that wait have one record for all");
        let one = &records[0];
        assert_eq!((one.array, one.array_waiting.as_deref()), (None, Some("3-9")));
        assert_eq!((one.started, one.ended), (None, None), "Slurm guesses when it will begin");
    }
    let ended = async |id: &str, count: usize| {
        let records = slurm.job(id).await.unwrap();
        let all = records.iter().all(|record| matches!(standing(record), Some(Standing::Ended(_))));
        all && records.len() == count
    };
    wait::until_async("all tasks end", async || ended(&array, 5).await).await;
    wait::until_async("both parts end", async || ended(&het, 2).await).await;
    for slurm in doors(&cluster) {
        let mut tasks = slurm.job(&array).await.unwrap();
        tasks.sort_by_key(|record| record.array.unwrap().task);
        let codes: Vec<i32> = tasks.iter().map(|record| record.exit.unwrap().code).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4]);
        let names: Vec<String> = tasks.iter().map(name_of).collect();
        assert_eq!(names, [0, 1, 2, 3, 4].map(|task| format!("{array}_{task}")));
        assert!(tasks.iter().all(|record| record.array.unwrap().job.to_string() == array));
        let last: Vec<&Record> = tasks.iter().filter(|record| record.external_id == array).collect();
        assert_eq!(last.len(), 1, "one task has the number of the whole");
        let parts = slurm.job(&het).await.unwrap();
        assert!(parts.iter().all(|part| part.het_job.is_some_and(|whole| whole.to_string() == het)));
        assert_eq!(slurm.look(None).await.unwrap().jobs.unwrap().skipped, 0);
    }
    // Cancelling one task leaves the others.
    slurm.cancel(&format!("{waiting}_5")).await.unwrap();
    let left = slurm.job(&waiting).await.unwrap();
    assert!(left.iter().any(|record| record.array_waiting.as_deref() == Some("3-4,6-9")), "{left:?}");
}
