//! How in-cluster Python programs end: what they have left open, who ends them, and what goes on without them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use libra_testkit::{processes, wait};
use serde_json::{Value, json};

use crate::surroundings::{quoted, setup, shared, turn};

/// Long enough for the server to have done something, if it still does.
const A_WHILE: Duration = Duration::from_secs(4);

fn python(code: &str) -> Value {
    json!({
        "code": code, "kind": "python", "executionMode": "in-cluster", "retryPolicy": {"maxRetries": 0}
    })
}

/// A function of Spark's, `slow`, that writes to a file for as long as it works.
fn slow(marks: &Path) -> String {
    format!(
        "from pyspark.sql.functions import udf\n@udf('long')\ndef slow(n):\n    import time\n\
         \x20   for _ in range(5000):\n        open({}, 'a').write('x')\n        time.sleep(0.2)\n    return n\n",
        quoted(marks)
    )
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |m| m.len())
}

async fn nothing_is_added_to(marks: &Path) {
    // Spark gives a Python worker two seconds after it has ended its task (spark.python.task.killTimeout).
    tokio::time::sleep(A_WHILE).await;
    let before = size(marks);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(size(marks), before, "the server works on");
}

#[tokio::test]
async fn what_a_program_has_left_open_is_brought_to_its_end() {
    // contract: S1, L7
    let _turn = turn().await;
    let libra = shared().await;
    let api = libra.api();
    let (plain, zipped) = (libra.scratch("plain.txt"), libra.scratch("zipped.gz"));
    let code = format!(
        "import atexit, gzip, threading, time\nfrom concurrent.futures import ThreadPoolExecutor\n\
         file = open({}, 'w')\nfile.write('precious\\n')\npacked = gzip.open({}, 'wt')\npacked.write('packed\\n')\n\
         def later():\n    time.sleep(1)\n    print('thread', spark.range(3).count())\n\
         atexit.register(lambda: print('exit', spark.range(4).count()))\n\
         pool = ThreadPoolExecutor(1)\npool.submit(lambda: print('pool', spark.range(5).count()))\n\
         threading.Thread(target=later).start()\n",
        quoted(&plain),
        quoted(&zipped)
    );
    let job = api.run(&python(&code)).await;
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
    let log = api.log(job["jobId"].as_str().unwrap(), "stdout").await;
    // The threads work beside each other, and what was asked for the exit comes after both.
    assert!(["pool 5\nthread 3\nexit 4\n", "thread 3\npool 5\nexit 4\n"].contains(&log.as_str()), "{log}");
    assert_eq!(fs::read_to_string(&plain).unwrap(), "precious\n");
    let unpacked = Command::new("gzip").arg("-dc").arg(&zipped).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&unpacked.stdout), "packed\n", "{unpacked:?}");
}

#[tokio::test]
async fn a_program_tells_how_far_it_is() {
    // contract: A2, S1
    let _turn = turn().await;
    let libra = shared().await;
    let api = libra.api();
    let gate = libra.scratch("gate");
    let code = format!(
        "from pyspark.sql.functions import udf\n@udf('long')\ndef step(n):\n    import os, time\n\
         \x20   while n >= 4 and not os.path.exists({}): time.sleep(0.05)\n    return n\n\
         spark.range(0, 8, 1, 8).select(step('id')).collect()",
        quoted(&gate)
    );
    let id = api.submit(&python(&code)).await;
    let percentage = async || api.job(&id).await["progress"]["percentage"].as_u64();
    wait::until_async("half of it is done", async || percentage().await.is_some_and(|p| p >= 25)).await;
    assert!(percentage().await.unwrap() < 99);
    fs::write(&gate, "").unwrap();
    let job = api.ended(&id).await;
    assert_eq!(
        (&job["status"], &job["progress"]["percentage"]),
        (&json!("SUCCEEDED"), &json!(100)),
        "{job:#}"
    );
    assert!(job["usage"]["peakMemoryBytes"].as_u64().unwrap() > 0, "{job:#}");
}

#[tokio::test]
async fn odd_habits_of_a_program_do_not_change_how_it_ended() {
    // contract: L4, L7, A1
    let _turn = turn().await;
    let api = shared().await.api();
    for fine in [
        "spark.sql('SELECT NULL AS a').collect()",
        "import sys\nsys.stdout = None",
        "import sys\nsys.stderr.close()",
    ] {
        let job = api.run(&python(fine)).await;
        assert_eq!((&job["status"], &job["result"]), (&json!("SUCCEEDED"), &Value::Null), "{fine}: {job:#}");
    }
    let job = api.run(&python("import sys\nsys.stdout.close()\nraise ValueError('no till')")).await;
    assert_eq!(job["error"]["message"], "ValueError: no till", "{job:#}");
    let forks = "import os\npid = os.fork()\nif pid == 0:\n    raise ValueError('from the child')\n\
                 os.waitpid(pid, 0)\nraise SystemExit(3)";
    let job = api.run(&python(forks)).await;
    assert_eq!((&job["exitCode"], &job["error"]["code"]), (&json!(3), &json!("exit_code")), "{job:#}");

    let mut sized = python("pass");
    sized["sparkConfig"] = json!({"spark.executor.memory": "1g", "spark.sql.ansi.enabled": "false"});
    let answer = api.post("/api/v1/jobs", &sized).await.expect(202);
    let warning = answer["warnings"][0].as_str().unwrap();
    assert!(warning.contains("spark.executor.memory") && !warning.contains("ansi"), "{answer:#}");
    api.ended(answer["jobId"].as_str().unwrap()).await;
}

#[tokio::test]
async fn a_program_that_somebody_else_tells_to_end_is_no_success() {
    // contract: L4
    let _turn = turn().await;
    let api = shared().await.api();
    let code = "import time\nprint('here', flush=True)\ntry:\n    time.sleep(1000)\nexcept KeyboardInterrupt:\n    pass";
    let id = api.submit(&python(code)).await;
    let job = api.reaches(&id, "RUNNING").await;
    wait::until_async("it has begun", async || api.log(&id, "stdout").await == "here\n").await;
    let token = job["attempts"][0]["token"].as_str().unwrap();
    processes::of_attempt(token).into_iter().for_each(processes::terminate);
    let job = api.ended(&id).await;
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&json!("FAILED"), &json!("driver_terminated")),
        "{job:#}"
    );
    assert_eq!(
        (&job["error"]["class"], &job["error"]["outcome"]),
        (&json!("infrastructure"), &json!("unknown"))
    );
}

#[tokio::test]
async fn work_in_a_session_that_the_program_has_made_ends_with_it() {
    // contract: L6, S1
    let _turn = turn().await;
    let libra = shared().await;
    let api = libra.api();
    let marks = libra.scratch("session-marks");
    let code = format!("{}spark.newSession().range(1).select(slow('id')).collect()", slow(&marks));
    let id = api.submit(&python(&code)).await;
    wait::until_true("the server works", || size(&marks) > 0).await;
    while api.delete(&format!("/api/v1/jobs/{id}")).await.status == 202 {}
    assert_eq!(api.job(&id).await["status"], "CANCELLED");
    nothing_is_added_to(&marks).await;
}

#[tokio::test]
async fn a_server_that_has_lost_its_guard_is_ended_and_replaced() {
    // contract: S1, L7
    let _turn = turn().await;
    let libra = setup().start().await;
    let api = libra.api();
    let marks = libra.scratch("guard-marks");
    let id =
        api.submit(&python(&format!("{}spark.range(1).select(slow('id')).collect()", slow(&marks)))).await;
    wait::until_true("the server works", || size(&marks) > 0).await;
    let below = processes::working_below(&libra.data_dir().join("connect"));
    let is_guard = |pid: &i32| {
        let line = processes::command_line(*pid);
        line.contains(" shim ") && !line.contains("--cradle")
    };
    let guards: Vec<i32> = below.into_iter().filter(is_guard).collect();
    assert_eq!(guards.len(), 1);
    processes::kill(guards[0]);
    let job = api.ended(&id).await;
    assert_eq!(job["error"]["code"], "engine_lost", "{job:#}");
    nothing_is_added_to(&marks).await;
    let job = api.run(&python("print(spark.range(3).count())")).await;
    assert_eq!(job["status"], "SUCCEEDED", "the next job has a server: {job:#}");
}
