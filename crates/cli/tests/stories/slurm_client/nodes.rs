//! Jobs whose node dies, and jobs that are put back into the queue.

use libra_core::hpc::end::End;
use libra_core::hpc::raw_state::Standing;
use libra_testkit::slurm::Setup;
use libra_testkit::wait;

use super::{doors, record, rest, standing, until_ended, until_running};

#[tokio::test]
async fn a_job_whose_node_dies_fails_or_begins_again_under_its_number() {
    let mut cluster = Setup::new().accounting().start();
    let slurm = rest(&cluster);
    let on_first = format!("--nodelist={}", cluster.node(1));
    let lost = cluster.sbatch(&[&on_first, "--no-requeue"], "sleep 600");
    let again = cluster
        .sbatch(&["--requeue", "--exclude", &cluster.node(2)], "[ $SLURM_RESTART_COUNT ] || sleep 600");
    for id in [&lost, &again] {
        until_running(&slurm, id).await;
    }
    let first = record(&slurm, &again).await;
    cluster.kill_node(1);
    cluster.declare_lost(1);
    let (end, fate) = until_ended(&slurm, &lost).await;
    assert_eq!((end, fate.nodes), (End::NodeFail, vec![cluster.node(1)]));
    assert_eq!(cluster.state(&lost), "NODE_FAIL");
    // The other one waits for its node to come back.
    for slurm in doors(&cluster) {
        let waits = async || standing(&record(&slurm, &again).await) == Some(Standing::Waits);
        wait::until_async("it waits again", waits).await;
        let waiting = record(&slurm, &again).await;
        assert_eq!((waiting.started, waiting.ended, waiting.exit), (None, None, None));
        assert_eq!(waiting.restarts, Some(1));
    }
    cluster.start_node(1);
    // Slurm makes what it puts back wait for two minutes; this is not what is told here.
    cluster.command(&["scontrol", "update", &format!("jobid={again}"), "starttime=now"]);
    let (end, fate) = until_ended(&slurm, &again).await;
    assert_eq!((end, fate.restarts), (End::Completed, Some(1)));
    assert!(fate.started > first.started, "it has begun anew");
}

#[tokio::test]
async fn a_job_that_is_put_back_is_the_same_job() {
    let cluster = Setup::new().nodes(1).start();
    let slurm = rest(&cluster);
    let id = cluster.sbatch(&["--requeue"], "[ $SLURM_RESTART_COUNT ] && exit 4; sleep 600");
    until_running(&slurm, &id).await;
    cluster.command(&["scontrol", "requeue", &id]);
    let waits = async || standing(&record(&slurm, &id).await) == Some(Standing::Waits);
    wait::until_async("it waits again", waits).await;
    let waiting = record(&slurm, &id).await;
    assert_eq!((waiting.started, waiting.ended, waiting.exit), (None, None, None));
    cluster.command(&["scontrol", "update", &format!("jobid={id}"), "starttime=now"]);
    let (end, fate) = until_ended(&slurm, &id).await;
    assert_eq!((end, fate.restarts, fate.exit.unwrap().code), (End::Failed, Some(1), 4));
}
