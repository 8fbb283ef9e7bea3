//! Submitting, finding again and cancelling, through slurmrestd and through Slurm's commands.

use std::path::Path;

use libra_core::allocation::Allocation;
use libra_core::hpc::end::End;
use libra_engines::slurm::{Access, Error, Rest, Signal, Slurm, Submission, TokenFrom};
use libra_testkit::slurm::Setup;
use libra_testkit::{SlurmCluster, wait};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::{ALWAYS, access, doors, record, rest, submission, until_ended, until_running, until_written};

#[tokio::test]
async fn what_is_asked_for_is_what_the_job_gets() {
    let cluster = Setup::new().accounting().gpus(2).start();
    for (door, slurm) in doors(&cluster).into_iter().enumerate() {
        let token = format!("libra-{door}");
        let plain = submission(&cluster, &token, "echo \"$SAID\" in $(pwd); echo complaint >&2; sleep 600");
        let asked = Submission {
            environment: [("SAID".to_owned(), "two words, and \"more\"".to_owned())].into(),
            asked: Allocation {
                partition: Some("debug".to_owned()),
                account: Some("lab".to_owned()),
                time_limit_minutes: Some(7),
                nodes: Some(2),
                tasks: Some(2),
                cpus_per_task: Some(2),
                memory_mb: Some(100),
                gpus: Some(2),
                stderr: Some("%x-%j.err".to_owned()),
                ..plain.asked.clone()
            },
            ..plain
        };
        let id = slurm.submit(&asked).await.unwrap();
        until_running(&slurm, &id).await;
        let job = record(&slurm, &id).await;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        assert_eq!((text(&job.name), text(&job.comment)), (token.clone(), token.clone()));
        assert_eq!((text(&job.partition), text(&job.account)), ("debug".to_owned(), "lab".to_owned()));
        assert_eq!((text(&job.user), job.time_limit_minutes), (cluster.user(), Some(7)));
        assert_eq!(job.nodes, [cluster.node(1), cluster.node(2)]);
        let requested = job.requested;
        assert_eq!((requested.cpus, requested.memory_mb, requested.gpus), (Some(4), Some(200), Some(2)));
        assert_eq!(job.allocated.gpus, Some(2));
        assert_eq!((job.ended, job.exit), (None, None), "its limit is no end");
        let found = slurm.find(&token, ALWAYS.0, ALWAYS.1).await.unwrap();
        assert_eq!((found.ids, found.accounted), (vec![id.clone()], false));
        let (out, err) = (job.places.stdout.unwrap(), job.places.stderr.unwrap());
        until_written(Path::new(&err), "complaint").await;
        slurm.cancel(&id).await.unwrap();
        assert_eq!(until_ended(&slurm, &id).await.0, End::Cancelled);
        slurm.cancel(&id).await.unwrap();
        let [out, err] = [out, err].map(|path| std::fs::read_to_string(path).unwrap());
        assert_eq!(out, format!("two words, and \"more\" in {}\n", cluster.work().display()));
        assert!(err.starts_with("complaint\n"), "{err}");
    }
    // slurmctld forgets, accounting does not; it is told a little later.
    let slurm = rest(&cluster);
    let kept = async || {
        let kept = slurm.accounted_between(ALWAYS.0, ALWAYS.1).await.unwrap().records;
        let comments: Vec<&str> = kept.iter().filter_map(|record| record.comment.as_deref()).collect();
        comments == ["libra-0", "libra-1"]
    };
    wait::until_async("accounting has both", kept).await;
    let nothing = slurm.find("libra-2", ALWAYS.0, ALWAYS.1).await.unwrap();
    assert_eq!((nothing.ids.len(), nothing.accounted), (0, true));
}

#[tokio::test]
async fn an_array_is_one_submission_and_signals_reach_a_script() {
    let cluster = SlurmCluster::start();
    for (door, slurm) in doors(&cluster).into_iter().enumerate() {
        let token = format!("array-{door}");
        let mut asked = submission(&cluster, &token, "exit $SLURM_ARRAY_TASK_ID");
        asked.asked.array = Some("1-3".to_owned());
        let id = slurm.submit(&asked).await.unwrap();
        until_ended(&slurm, &id).await;
        let found = slurm.find(&token, ALWAYS.0, ALWAYS.1).await.unwrap();
        assert_eq!((found.ids, found.accounted), (vec![id], false), "there is no accounting here");
        let token = format!("signal-{door}");
        // The shell runs its trap when sleep is over, which the signal ends too.
        let line = "trap 'exit 7' USR1; echo ready; while :; do sleep 1; done";
        let id = slurm.submit(&submission(&cluster, &token, line)).await.unwrap();
        until_written(&cluster.work().join(format!("{token}.out")), "ready").await;
        slurm.signal(&id, Signal::User1).await.unwrap();
        let (end, fate) = until_ended(&slurm, &id).await;
        assert_eq!((end, fate.exit.unwrap().code), (End::Failed, 7));
    }
}

#[tokio::test]
async fn what_slurm_refuses_is_refused_and_not_there() {
    let cluster = Setup::new().nodes(1).start();
    for slurm in doors(&cluster) {
        let mut wrong = submission(&cluster, "wrong", "exit 0");
        wrong.asked.partition = Some("nowhere".to_owned());
        let refused = slurm.submit(&wrong).await.unwrap_err();
        assert!(matches!(&refused, Error::Refused(why) if why.contains("nvalid partition")), "{refused}");
        assert!(slurm.find("wrong", ALWAYS.0, ALWAYS.1).await.unwrap().ids.is_empty());
        // More memory than any node has: it is told at once.
        let mut large = submission(&cluster, "large", "exit 0");
        large.asked.memory_mb = Some(1 << 30);
        let refused = slurm.submit(&large).await.unwrap_err();
        assert!(matches!(refused, Error::Refused(_)), "{refused}");
        for id in ["99999", "99999_1", "0", "1; id", "../nodes"] {
            assert_eq!(slurm.job(id).await.unwrap_err(), Error::UnknownJob, "{id}");
        }
        assert_eq!(slurm.cancel("99999").await, Err(Error::UnknownJob));
        assert!(matches!(slurm.accounted(&["1".to_owned()]).await, Err(Error::NoAccounting(_))));
        // What can't run now is no refusal: a node is down.
        cluster.declare_lost(1);
        let id = slurm.submit(&submission(&cluster, "waits", "exit 0")).await.unwrap();
        slurm.cancel(&id).await.unwrap();
        let node = format!("nodename={}", cluster.node(1));
        cluster.command(&["scontrol", "update", &node, "state=resume"]);
    }
}

#[tokio::test]
async fn slurmrestd_wants_a_token_of_its_own_key() {
    let cluster = Setup::new().nodes(1).start();
    let with = |token: TokenFrom| Slurm::Rest(Rest::new(&Access { token, ..access(&cluster) }).unwrap());
    let file = cluster.work().join("token");
    let user = cluster.user();
    let token = cluster.command(&["scontrol", "token", &format!("username={user}"), "lifespan=600"]);
    assert!(token.starts_with("SLURM_JWT="), "{token}");
    std::fs::write(&file, token).unwrap();
    with(TokenFrom::File(file.clone())).ping().await.unwrap();
    with(TokenFrom::Key(cluster.key())).ping().await.unwrap();
    let none = with(TokenFrom::Nowhere).ping().await.unwrap_err();
    assert!(matches!(none, Error::Unauthorised(_)), "{none}");
    // Its signature is looked at by slurmctld alone, and slurmrestd does not say what was wrong.
    let other = cluster.work().join("other.key");
    std::fs::write(&other, "another key").unwrap();
    let wrong = with(TokenFrom::Key(other)).look(None).await.unwrap_err();
    assert!(matches!(&wrong, Error::ControllerAway(_)), "{wrong}");
    assert!(wrong.hint().contains("key"));
}

/// Passes everything on to a server, and loses the answers to what is posted once that has begun to give one.
async fn losing(server: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = TcpStream::connect(&server).await.unwrap();
            tokio::spawn(async move {
                let mut method = [0_u8; 4];
                near.peek(&mut method).await.unwrap();
                if &method == b"POST" {
                    let (mut request, _) = near.split();
                    let (mut answer, mut pass) = far.split();
                    tokio::select! {
                        _ = tokio::io::copy(&mut request, &mut pass) => {}
                        _ = answer.read(&mut method) => {}
                    }
                } else {
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn a_submission_whose_answer_is_lost_is_found_and_not_sent_again() {
    let cluster = Setup::new().nodes(1).start();
    let url = losing(cluster.url().replace("http://", "")).await;
    let slurm = Slurm::Rest(Rest::new(&Access { url, ..access(&cluster) }).unwrap());
    let id = slurm.submit(&submission(&cluster, "lost", "sleep 600")).await.unwrap();
    let all = rest(&cluster).look(None).await.unwrap().jobs.unwrap().records;
    let ids: Vec<&str> = all.iter().map(|record| record.external_id.as_str()).collect();
    assert_eq!(ids, [id.as_str()], "there is one");
    slurm.cancel(&id).await.unwrap();
}
