//! Scripts that are submitted to a real Slurm through Libra: once, whatever is lost on the way.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use libra_testkit::{Api, Libra, Setup, SlurmCluster, slurm, wait, write};
use serde_json::{Value, json};

use crate::proxy::{Fault, Proxy};
use crate::surroundings::sleepy;

/// How Libra reaches the cluster, as its configuration says it.
pub fn through_rest(cluster: &SlurmCluster, url: &str) -> String {
    let (user, key) = (cluster.user(), cluster.key().display().to_string());
    format!("rest-url: '{url}', user: {user}, jwt-key-file: '{key}'")
}

pub fn through_commands(cluster: &SlurmCluster) -> String {
    format!("slurm-conf: '{}', sbatch: always", cluster.conf().display())
}

pub fn set(door: &str) -> Setup {
    sleepy().config(format!(
        "libra: {{slurm: {{clusters: [{{name: lab, {door}, interval: 1s, requests-per-minute: 1200}}]}}}}"
    ))
}

/// The numbers of all jobs of the cluster and their comments.
fn in_slurm(cluster: &SlurmCluster) -> Vec<(String, String)> {
    let text = cluster.command(&["squeue", "--all", "--states=all", "--noheader", "--format=%i %k"]);
    let lines = text.lines().filter_map(|line| line.trim().split_once(' '));
    lines.map(|(number, comment)| (number.to_owned(), comment.trim().to_owned())).collect()
}

pub fn script(text: &str) -> Value {
    json!({"kind": "script", "code": format!("#!/bin/sh\n{text}\n")})
}

pub fn submit(libra: &Libra, words: &[&str]) -> Output {
    let all = [&["submit", "--url", libra.url()], words].concat();
    sleepy().run(&all)
}

pub async fn number_of(api: &Api, id: &str) -> String {
    wait::until_async("Slurm has it", async || api.job(id).await["applicationId"].is_string()).await;
    api.job(id).await["applicationId"].as_str().unwrap().to_owned()
}

fn is(text: &Value, part: &str) {
    assert!(text.as_str().is_some_and(|text| text.contains(part)), "{part:?} is not in {text}");
}

async fn what_is_asked_for_happens(cluster: &SlurmCluster, door: &str) {
    let libra = set(door).start().await;
    let api = libra.api();

    // As a user: a script with its own lines, followed.
    let text = "#!/bin/sh\n#SBATCH --job-name=hello --ntasks=2\n#SBATCH -t 7\necho \"$SAID in $SLURM_JOB_ID as $SLURM_JOB_NAME of $SLURM_NTASKS\"\n\
                echo complaint >&2\nexit 0\n";
    let file = write(&libra.scratch("hello.sh"), text);
    let said = submit(&libra, &[&file, "--env", "SAID=hello you", "--slurm", "memory-mb=100", "--follow"]);
    let out = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let list = api.get("/api/v1/jobs?kind=script").await.expect(200);
    let id = list["jobs"][0]["jobId"].as_str().unwrap().to_owned();
    let number = number_of(&api, &id).await;
    assert_eq!(out, format!("hello you in {number} as hello of 2\n"));
    assert_eq!(api.log(&id, "stderr").await, "complaint\n");
    let job = api.job(&id).await;
    assert_eq!(
        (&job["status"], &job["executionMode"], &job["engine"]),
        (&"SUCCEEDED".into(), &"slurm".into(), &"slurm".into())
    );
    assert_eq!((&job["name"], &job["cluster"]), (&"hello".into(), &"lab".into()), "{job:#}");
    let seen = api.get(&format!("/v1/jobs/{number}")).await.expect(200);
    assert_eq!(seen["scheduler"]["requested_cpus"], 2, "{seen:#}");
    // It is one job: by either id, and whose it is Libra knows, not Slurm, to which all are of one user.
    let same = api.get(&format!("/v1/jobs/{id}")).await.expect(200);
    assert_eq!((&same["id"], &same["user"]), (&seen["id"], &job["user"]), "{same:#}");
    assert_eq!(seen["scheduler"]["time_limit_minutes"], 7);
    let shown = cluster.command(&["scontrol", "show", "job", &number]);
    assert!(shown.contains("Requeue=0"), "it is for Libra to run it again: {shown}");

    // What goes wrong says so, and nothing of it is tried again behind the user's back.
    let job = api.run(&script("exit 3")).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&"FAILED".into(), &"exit_code".into()), "{job:#}");
    assert_eq!(job["attempts"][0]["exitCode"], 3);
    let nowhere = json!({"slurm": {"partition": "nowhere"}});
    let job = api.run(&merged(script("true"), &nowhere)).await;
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&"FAILED".into(), &"slurm_refused".into()),
        "{job:#}"
    );
    is(&job["error"]["message"], "artition");
    let array = merged(script("test $SLURM_ARRAY_TASK_ID != 2"), &json!({"slurm": {"array": "0-3"}}));
    let job = api.run(&array).await;
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&"FAILED".into(), &"tasks_failed".into()),
        "{job:#}"
    );
    is(&job["error"]["message"], "1 of its 4 tasks");
    is(&job["error"]["message"], "_2: its script ended with exit code 1");

    // An array is cancelled whole: what runs of it, and what waits.
    let array = merged(script("sleep 600"), &json!({"slurm": {"array": "0-4%2"}}));
    let id = api.submit(&array).await;
    let number = number_of(&api, &id).await;
    wait::until_async("two of its tasks run", async || {
        let stage = api.job(&id).await["progress"]["currentStage"].as_str().unwrap_or_default().to_owned();
        stage.contains("2 of 5 run")
    })
    .await;
    api.delete(&format!("/api/v1/jobs/{id}")).await;
    let job = api.ended(&id).await;
    assert_eq!(job["status"], "CANCELLED", "{job:#}");
    let open = cluster.command(&["squeue", "--noheader", "--format=%i %T", &format!("--job={number}")]);
    assert_eq!(open, "", "nothing of it is left");

    // Cancelled while it runs, while it waits there, and by somebody else.
    let runs = api.submit(&script("sleep 600")).await;
    api.reaches(&runs, "RUNNING").await;
    let waits = merged(script("true"), &json!({"slurm": {"nodes": 2, "memoryMb": 1}}));
    let number = number_of(&api, &runs).await;
    cluster.command(&["scontrol", "update", "partitionname=debug", "state=down"]);
    let waits = api.submit(&waits).await;
    wait::until_async("it says why it waits", async || {
        let job = api.job(&waits).await;
        let stage = job["progress"]["currentStage"].as_str().unwrap_or_default().to_owned();
        job["status"] == "SCHEDULED" && stage.contains("waits in Slurm") && stage.contains("PartitionDown")
    })
    .await;
    for id in [&waits, &runs] {
        api.delete(&format!("/api/v1/jobs/{id}")).await;
        let job = api.ended(id).await;
        assert_eq!(job["status"], "CANCELLED", "{job:#}");
    }
    assert_eq!(cluster.state(&number), "CANCELLED");
    cluster.command(&["scontrol", "update", "partitionname=debug", "state=up"]);
    let elsewhere = api.submit(&script("sleep 600")).await;
    api.reaches(&elsewhere, "RUNNING").await;
    cluster.command(&["scancel", &number_of(&api, &elsewhere).await]);
    let job = api.ended(&elsewhere).await;
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&"FAILED".into(), &"cancelled_elsewhere".into()),
        "{job:#}"
    );
    assert_eq!(job["attempts"].as_array().map(Vec::len), Some(1), "it is not run again: {job:#}");
}

fn merged(mut one: Value, other: &Value) -> Value {
    let (Value::Object(map), Value::Object(more)) = (&mut one, other) else { panic!("objects") };
    map.extend(more.clone());
    one
}

#[tokio::test]
async fn a_script_runs_through_slurmrestd_as_it_was_asked_for() {
    // contract: H6, L6, L7
    let cluster = SlurmCluster::start();
    what_is_asked_for_happens(&cluster, &through_rest(&cluster, &cluster.url())).await;
}

#[tokio::test]
async fn a_script_runs_through_sbatch_as_it_was_asked_for() {
    // contract: H6, L6, L7
    let cluster = SlurmCluster::start();
    what_is_asked_for_happens(&cluster, &through_commands(&cluster)).await;
}

/// The job succeeds, and Slurm has exactly one job that carries the token of one of its attempts.
async fn ran_once(api: &Api, cluster: &SlurmCluster, id: &str, what: &str) {
    let job = api.ended(id).await;
    assert_eq!(job["status"], "SUCCEEDED", "{what}: {job:#}");
    let all = in_slurm(cluster);
    let number = job["applicationId"].as_str().unwrap();
    let same: Vec<_> = all.iter().filter(|(_, comment)| comment.contains('-')).collect();
    assert_eq!(same.len(), 1, "{what}: {all:?}");
    assert_eq!(same[0].0, number, "{what}");
}

#[tokio::test]
async fn a_lost_answer_of_slurmrestd_is_no_second_job() {
    // contract: H6, L3
    for fault in [Fault::Lost, Fault::Status(502), Fault::Garbage] {
        let cluster = SlurmCluster::start();
        let proxy = Proxy::before(&cluster.url()).await;
        let libra = set(&through_rest(&cluster, &proxy.url())).start().await;
        proxy.breaks("POST", "/job/submit", fault, 1);
        let id = libra.api().submit(&script("sleep 1")).await;
        ran_once(&libra.api(), &cluster, &id, &format!("{fault:?}")).await;
        proxy.assert_all_broken();
    }
}

#[tokio::test]
async fn an_sbatch_that_dies_with_its_answer_is_no_second_job() {
    // contract: H6, L3
    let cluster = SlurmCluster::start();
    let dir = cluster.work().join("bin");
    std::fs::create_dir_all(&dir).unwrap();
    let first = dir.join("first");
    // The real one does its work; what it says is lost, once.
    let text = format!(
        "#!/bin/sh\nif [ -e {0} ]; then exec /usr/bin/sbatch \"$@\"; fi\ntouch {0}\n/usr/bin/sbatch \"$@\" >/dev/null\nkill -9 $$\n",
        first.display()
    );
    let file = write(&dir.join("sbatch"), &text);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    let door = format!("{}, path: '{}:/usr/bin:/bin'", through_commands(&cluster), dir.display());
    let libra = set(&door).start().await;
    let id = libra.api().submit(&script("sleep 1")).await;
    ran_once(&libra.api(), &cluster, &id, "a dead sbatch").await;
    assert!(first.exists(), "it was called");
}

#[tokio::test]
async fn libra_dies_around_a_submission_and_it_is_made_once() {
    // contract: H6, L3
    for point in
        ["after-intent", "after-spawn", "after-launch", "after-handle", "before-result", "after-result"]
    {
        let cluster = SlurmCluster::start();
        let setup = set(&through_rest(&cluster, &cluster.url()));
        let mut libra = setup.clone().env("LIBRA_FAILPOINT", point).start().await;
        // Libra may die before it has answered; what it has stored counts.
        let _ = libra.api().try_post("/api/v1/jobs", &script("sleep 1")).await;
        let status = libra.end().await;
        assert!(!status.success(), "{point}: {status}");
        libra.start(&setup).await;
        let list = libra.api().get("/api/v1/jobs").await.expect(200);
        let id = list["jobs"][0]["jobId"].as_str().unwrap().to_owned();
        ran_once(&libra.api(), &cluster, &id, point).await;
    }
}

#[tokio::test]
async fn a_job_for_a_slurm_that_is_away_waits_and_says_so() {
    // contract: H6, A7
    let mut cluster = slurm::Setup::new().start();
    let libra = set(&through_rest(&cluster, &cluster.url())).start().await;
    let api = libra.api();
    let runs = api.submit(&script("sleep 20")).await;
    api.reaches(&runs, "RUNNING").await;
    // It writes its state every five seconds, and does not know afterwards what is not in it.
    let seen = std::time::SystemTime::now();
    let state = cluster.dir().join("state/job_state");
    wait::until_true("the state is on disk", || {
        std::fs::metadata(&state).and_then(|file| file.modified()).is_ok_and(|written| written > seen)
    })
    .await;
    cluster.kill_controller();
    let waits = api.submit(&script("true")).await;
    let never = api.submit(&script("true")).await;
    wait::until_async("it says what it waits for", async || {
        let page = api.get(&format!("/api/v1/jobs/{waits}/explain")).await;
        page.json().to_string().contains("slurmctld")
    })
    .await;
    // Nothing was sent of it: it need not wait for Slurm to be cancelled.
    api.delete(&format!("/api/v1/jobs/{never}")).await;
    assert_eq!(api.ended(&never).await["status"], "CANCELLED");
    assert_eq!(api.job(&waits).await["status"], "SCHEDULED");
    cluster.start_controller();
    for id in [&runs, &waits] {
        assert_eq!(api.ended(id).await["status"], "SUCCEEDED");
    }
    assert_eq!(in_slurm(&cluster).len(), 2, "{:?}", in_slurm(&cluster));
}

#[tokio::test]
async fn what_slurm_could_not_run_is_refused_at_the_door() {
    // contract: A9
    let cluster = SlurmCluster::start();
    let libra = set(&through_rest(&cluster, &cluster.url())).start().await;
    let api = libra.api();
    for (body, pointer) in [
        (json!({"kind": "script", "code": "echo no shebang"}), "/code"),
        (script("#SBATCH --contiguous"), "/code"),
        (script("#SBATCH --gres=gpu:"), "/code"),
        (script("#SBATCH --export=HOME"), "/code"),
        (merged(script("true"), &json!({"cluster": "elsewhere"})), "/cluster"),
        (merged(script("true"), &json!({"executionMode": "in-cluster"})), "/executionMode"),
        (merged(script("true"), &json!({"sparkConfig": {"spark.a": "b"}})), "/sparkConfig"),
        (merged(script("true"), &json!({"slurm": {"nodes": 0}})), "/slurm/nodes"),
        (merged(script("true"), &json!({"slurm": {"array": "all"}})), "/slurm/array"),
        (merged(script("true"), &json!({"slurm": {"directory": "here"}})), "/slurm/directory"),
        (merged(script("true"), &json!({"slurm": {"dependency": "afterok:job-1"}})), "/slurm/dependency"),
        (merged(script("true"), &json!({"slurm": {"nodelist": "n["}})), "/slurm/nodelist"),
        (merged(script("true"), &json!({"slurm": {"exclusive": "yes"}})), "/slurm/exclusive"),
        (merged(script("true"), &json!({"slurm": {"maxNodes": 2}})), "/slurm/maxNodes"),
        (
            merged(script("true"), &json!({"slurm": {"memoryMb": 1, "memoryPerCpuMb": 1}})),
            "/slurm/memoryPerCpuMb",
        ),
        (
            merged(script("true"), &json!({"slurm": {"array": "0-3", "openMode": "truncate"}})),
            "/slurm/openMode",
        ),
        (
            merged(script("true"), &json!({"slurm": {"comment": "of 019ab000-0000-7000-8000-000000000000"}})),
            "/slurm/comment",
        ),
        (json!({"kind": "sql", "code": "SELECT 1", "args": ["a"]}), "/args"),
        (merged(script("true"), &json!({"env": {"SLURM_CONF": "x"}})), "/env/SLURM_CONF"),
        (json!({"kind": "script", "file": "/tmp/a.sh"}), "/file"),
        (json!({"kind": "sql", "code": "SELECT 1", "slurm": {"nodes": 1}}), "/slurm"),
    ] {
        let answer = api.post("/api/v1/jobs", &body).await;
        assert!([400, 422].contains(&answer.status), "{body}: {}", answer.json());
        assert_eq!(answer.pointers(), [pointer], "{body}: {}", answer.json());
    }
    assert_eq!(api.total().await, 0, "nothing was stored");
}
