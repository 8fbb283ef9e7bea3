//! slurmctld is dead, or hangs: every call ends, and none of them takes that for an answer.

use std::cell::Cell;
use std::fmt::Debug;

use libra_engines::slurm::{Error, LIST_PATIENCE, Slurm};
use libra_testkit::slurm::Setup;
use libra_testkit::{SlurmCluster, wait};

use super::{ALWAYS, doors, record, rest, submission, until_running};

/// A call fails within its limits, with an error that leaves open what is true.
async fn is_unclear<T: Debug>(what: &str, call: impl Future<Output = Result<T, Error>>) {
    // Two of the longest calls and a little: one that hangs ends the test here.
    let answer = tokio::time::timeout(LIST_PATIENCE * 3, call).await;
    let error = answer.unwrap_or_else(|_| panic!("{what} hangs")).unwrap_err();
    assert!(error.is_unclear(), "{what}: {error}");
    assert!(!error.hint().is_empty());
}

async fn nothing_is_known(cluster: &SlurmCluster, slurm: &Slurm, id: &str, token: &str) {
    let submission = submission(cluster, token, "sleep 600");
    tokio::join!(
        is_unclear("ping", slurm.ping()),
        is_unclear("look", slurm.look(None)),
        is_unclear("job", slurm.job(id)),
        is_unclear("find", slurm.find("first", ALWAYS.0, ALWAYS.1)),
        is_unclear("cancel", slurm.cancel(id)),
        is_unclear("submit", slurm.submit(&submission)),
    );
}

#[tokio::test]
async fn a_slurmctld_that_is_dead_or_hangs_is_no_answer() {
    let mut cluster = Setup::new().nodes(1).start();
    let slurm = rest(&cluster);
    let id = slurm.submit(&submission(&cluster, "first", "sleep 600")).await.unwrap();
    until_running(&slurm, &id).await;
    let both = doors(&cluster);
    // It writes its state every five seconds, and a job is to be in it.
    wait::until_true("the state is on disk", || {
        let state = std::fs::read(cluster.dir().join("state/job_state")).unwrap_or_default();
        state.windows(5).any(|text| text == b"first")
    })
    .await;
    cluster.kill_controller();
    tokio::join!(
        nothing_is_known(&cluster, &both[0], &id, "dead-0"),
        nothing_is_known(&cluster, &both[1], &id, "dead-1"),
    );
    cluster.start_controller();
    for slurm in &both {
        slurm.ping().await.unwrap();
        assert_eq!(record(slurm, &id).await.comment.as_deref(), Some("first"));
        for token in ["dead-0", "dead-1"] {
            assert!(
                slurm.find(token, ALWAYS.0, ALWAYS.1).await.unwrap().ids.is_empty(),
                "nobody was there to take it"
            );
        }
    }
    cluster.pause_controller();
    tokio::join!(
        nothing_is_known(&cluster, &both[0], "99999", "hung-0"),
        nothing_is_known(&cluster, &both[1], "99999", "hung-1"),
    );
    cluster.resume_controller();
    let answers = async || slurm.ping().await.is_ok();
    wait::until_async("slurmctld answers", answers).await;
    // What reached it while it hung it may carry out now: once.
    for token in ["hung-0", "hung-1"] {
        assert!(slurm.find(token, ALWAYS.0, ALWAYS.1).await.unwrap().ids.len() <= 1);
    }
    slurm.cancel(&id).await.unwrap();
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let cluster = Setup::new().nodes(1).start();
    let slurm = rest(&cluster);
    let id = slurm.submit(&submission(&cluster, "first", "sleep 600")).await.unwrap();
    until_running(&slurm, &id).await;
    let mark = Cell::new(None);
    // Something changes for a moment after a job's start.
    wait::until_async("nothing changes", async || {
        let look = slurm.look(mark.get()).await.unwrap();
        assert!(look.mark.is_some() && look.load.threads.is_some());
        mark.set(look.mark);
        look.jobs.is_none()
    })
    .await;
    slurm.cancel(&id).await.unwrap();
    let look = slurm.look(mark.get()).await.unwrap();
    assert_eq!(look.jobs.map(|jobs| jobs.records.len()), Some(1), "a change is seen");
}

#[tokio::test]
async fn an_accounting_that_is_dead_is_not_taken_for_none() {
    let mut cluster = Setup::new().nodes(1).accounting().start();
    let both = doors(&cluster);
    for slurm in &both {
        slurm.accounted_between(ALWAYS.0, ALWAYS.1).await.unwrap();
    }
    cluster.kill_accounting();
    for slurm in &both {
        let between = slurm.accounted_between(ALWAYS.0, ALWAYS.1).await.unwrap_err();
        let one = slurm.accounted(&["1".to_owned()]).await.unwrap_err();
        for error in [between, one] {
            assert!(error.is_unclear(), "{error}");
            assert!(matches!(&error, Error::Failed(words) if words.contains("slurmdbd")), "{error:?}");
        }
    }
}
