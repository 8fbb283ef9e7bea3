//! Why Flink refuses a run: who is to blame decides what Libra does next.

use std::fs;

use super::*;

/// A run of a class of the jobs' jar.
fn class(name: &str) -> RunRequest {
    let entry_class = Some(format!("libra.jobs.{name}"));
    RunRequest { job_id: Some(fresh()), entry_class, ..RunRequest::default() }
}

#[tokio::test]
async fn a_program_that_cannot_be_loaded_is_told_from_one_that_fails() {
    let cluster = FlinkCluster::shared().await;
    let client = client(cluster);
    let text = uploaded(&client, &flink::text_jar()).await;
    let jar = uploaded(&client, &flink::jobs_jar()).await;
    for entry_class in [None, Some("libra.jobs.Counter".to_owned())] {
        let run = RunRequest { job_id: Some(fresh()), entry_class, ..RunRequest::default() };
        let refused = client.run(&text, &run).await.unwrap_err();
        assert!(
            matches!(&refused, Error::BadProgram(words) if words.contains("zip END header not found")),
            "{refused:?}"
        );
    }
    let refused = client.run(&jar, &class("Nowhere")).await.unwrap_err();
    assert!(
        matches!(&refused, Error::BadProgram(words) if words.ends_with("libra.jobs.Nowhere")),
        "{refused:?}"
    );
    let run = class("BadMain");
    let refused = client.run(&jar, &run).await.unwrap_err();
    let words = "java.lang.IllegalArgumentException: no topic is named, on purpose";
    assert_eq!(refused, Error::MainFailed(words.to_owned()));
    let mut often = counter(cluster, "often").0;
    often.flink_configuration.insert("execution.checkpointing.interval".to_owned(), "often".to_owned());
    let refused = client.run(&jar, &often).await.unwrap_err();
    assert!(matches!(&refused, Error::MainFailed(words) if words.ends_with("often")), "{refused:?}");
    let refused = client.run("nowhere.jar", &run).await.unwrap_err();
    assert_eq!(refused, Error::MissingJar);
    // None of them left a job behind, so their ids are still good.
    for id in [run.job_id, often.job_id] {
        assert_eq!(line(&client, id.unwrap()).await, None);
    }
    let job = started(&client, &RunRequest { job_id: run.job_id, ..counter(cluster, "better").0 }).await;
    cancelled(&client, job).await;
}

#[tokio::test]
async fn a_state_that_is_not_there_leaves_the_ghost_of_a_job() {
    let cluster = FlinkCluster::shared().await;
    let client = client(cluster);
    let jar = uploaded(&client, &flink::jobs_jar()).await;
    let (run, progress) = counter(cluster, "ghost");
    let damaged = cluster.savepoints().join("damaged");
    let cut_short = cluster.savepoints().join("cut-short");
    for (dir, content) in [(&damaged, "no savepoint at all"), (&cut_short, "")] {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("_metadata"), content).unwrap();
    }
    let empty = directory(cluster, "empty");
    fs::create_dir_all(local(&empty)).unwrap();
    let of_files = [&damaged, &cut_short].map(|dir| format!("file://{}", dir.display()));
    for path in
        [directory(cluster, "nowhere"), empty, "s3://nowhere/savepoint".to_owned()].iter().chain(&of_files)
    {
        let run = again(&run, path);
        let job = run.job_id.unwrap();
        let refused = client.run(&jar, &run).await.unwrap_err();
        assert!(matches!(refused, Error::StateNotFound(_)), "{path}: {refused:?}");
        let ghost = of(&seen(&client, "ghost", job, None).await, job).clone();
        assert_eq!((ghost.state, ghost.all_tasks_run, ghost.checkpoints), (JobState::Failed, false, 0));
        assert!(ghost.failure.is_some());
        assert_eq!(line(&client, job).await.unwrap().tasks.total, 0);
        assert_eq!(client.run(&jar, &run).await, Err(Error::Duplicate), "its id is used up");
    }
    let refused = client.run(&jar, &again(&run, "")).await.unwrap_err();
    assert!(matches!(refused, Error::StateNotFound(_)), "Flink itself would begin without state");
    assert!(flink::progress(&progress).is_empty());
}

#[tokio::test]
async fn a_program_without_a_place_for_its_state_is_refused_unless_that_is_allowed() {
    let cluster = FlinkCluster::shared().await;
    let client = client(cluster);
    let jar = uploaded(&client, &flink::jobs_jar()).await;
    let (run, progress) = counter(cluster, "moved");
    let job = started(&client, &run).await;
    until_counting(&progress).await;
    let trigger = fresh();
    client.stop(job, trigger, &directory(cluster, "moved"), false).await.unwrap();
    let path = savepoint_of(until_settled(&client, job, trigger).await);
    let mut moved = again(&run, &path);
    moved.program_args_list.extend(["--uid", "another"].map(str::to_owned));
    let refused = client.run(&jar, &moved).await.unwrap_err();
    assert!(
        matches!(&refused, Error::StateMismatch(words) if words.contains("the operator is not available in the new program")),
        "{refused:?}"
    );
    assert_eq!(line(&client, moved.job_id.unwrap()).await.unwrap().state, JobState::Failed, "a ghost");
    let allowed = RunRequest { allow_non_restored_state: true, ..again(&moved, &path) };
    let job = started(&client, &allowed).await;
    let broken = || flink::progress(&progress).iter().any(|line| line.mark == flink::Mark::Broken);
    wait::until_true("the counter shows that its state is lost", broken).await;
    cancelled(&client, job).await;
}
