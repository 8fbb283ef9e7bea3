//! Programs of every kind, here and on a cluster, whose driver, guard or Libra is killed: a drill.

use std::path::{Path, PathBuf};

use libra_engines::spark_home::SparkHome;
use libra_testkit::{Libra, Setup, Standalone, processes, wait};
use serde_json::{Value, json};

use crate::kinds::{jar, on_cluster, python_files, scala};
use crate::surroundings::{quoted, submit_only, turn};

const KINDS: [&str; 3] = ["jar", "scala", "python"];

/// Who is killed while the program runs.
#[derive(Clone, Copy, Debug)]
enum Victim {
    /// Spark's JVM.
    Driver,
    /// The shim.
    Guard,
    /// Libra, which comes back; then the job is cancelled.
    Libra,
}

/// A program of this kind that makes the file `marker` and then sleeps.
async fn sleeper(libra: &Libra, kind: &str, marker: &Path) -> Value {
    match kind {
        "jar" => jar(&libra.api(), marker.to_str().unwrap()).await,
        "scala" => scala(&format!(
            "spark.range(3).count()\nnew java.io.File({}).createNewFile()\nThread.sleep(1000000)",
            quoted(marker)
        )),
        _ => {
            let [file, module, archive] = python_files(&libra.scratch("python"));
            let archives = [format!("{archive}#env")];
            json!({"file": file, "pyFiles": [module], "archives": archives, "args": ["x", marker]})
        }
    }
}

fn one_of(token: &str, mark: &str) -> i32 {
    let found =
        processes::of_attempt(token).into_iter().find(|pid| processes::command_line(*pid).contains(mark));
    found.unwrap_or_else(|| panic!("no process of the attempt is {mark}"))
}

/// Kills somebody and waits for the end of the job; answers it.
async fn kill(libra: &mut Libra, setup: &Setup, victim: Victim, id: &str, token: &str) -> Value {
    match victim {
        Victim::Driver => processes::kill(one_of(token, "org.apache.spark.deploy.SparkSubmit")),
        Victim::Guard => processes::kill(guard(&libra.attempt_dir(id, 1))),
        Victim::Libra => {
            libra.kill();
            libra.start(setup).await;
            assert_eq!(libra.api().job(id).await["status"], "RUNNING", "it is taken up again");
            while libra.api().delete(&format!("/api/v1/jobs/{id}")).await.status == 202 {}
        }
    }
    libra.api().ended(id).await
}

fn guard(attempt: &Path) -> i32 {
    let owner: Value = serde_json::from_slice(&std::fs::read(attempt.join("owner")).unwrap()).unwrap();
    let pid = owner["pid"].as_i64().unwrap_or_else(|| panic!("{owner}"));
    pid.try_into().unwrap()
}

#[tokio::test]
#[ignore = "a drill: make drills"]
async fn drill_whoever_is_killed_nothing_of_a_job_is_left() {
    // contract: L6, S2, S4
    let _turn = turn().await;
    let cluster = Standalone::start(&SparkHome::find(None).unwrap().home).await;
    let setup = submit_only();
    let mut libra = setup.start().await;
    for (n, (kind, there)) in KINDS.iter().flat_map(|kind| [(kind, false), (kind, true)]).enumerate() {
        for victim in [Victim::Driver, Victim::Guard, Victim::Libra] {
            eprintln!("{kind} on {}: {victim:?} is killed", if there { "a cluster" } else { "local[*]" });
            let marker: PathBuf = libra.scratch(&format!("runs-{n}-{victim:?}"));
            let mut body = sleeper(&libra, kind, &marker).await;
            if there {
                body = on_cluster(&cluster, body);
            }
            body["retryPolicy"] = json!({"maxRetries": 0});
            let id = libra.api().submit(&body).await;
            wait::until_true("the program runs", || marker.exists()).await;
            let job = libra.api().reaches(&id, "RUNNING").await;
            let token = job["attempts"][0]["token"].as_str().unwrap().to_owned();
            assert_eq!(cluster.executors().len(), usize::from(there));

            let job = kill(&mut libra, &setup, victim, &id, &token).await;
            let (status, code) = match victim {
                Victim::Driver => ("FAILED", json!("driver_killed")),
                Victim::Guard => ("FAILED", json!("driver_lost")),
                Victim::Libra => ("CANCELLED", Value::Null),
            };
            assert_eq!((&job["status"], &job["error"]["code"]), (&json!(status), &code), "{job:#}");
            assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
            assert_eq!(processes::of_attempt(&token), Vec::<i32>::new());
            wait::until_true("the executors end with their driver", || cluster.executors().is_empty()).await;
        }
    }
}
