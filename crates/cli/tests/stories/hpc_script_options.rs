//! What people's scripts for Slurm ask for, and what they are called with, through both doors of a real Slurm.

use libra_testkit::slurm::Setup as Slurm;
use libra_testkit::{SlurmCluster, wait, write};
use serde_json::json;

use crate::hpc_submission::{number_of, script, set, submit, through_commands, through_rest};
use crate::surroundings::sleepy;

/// What Slurm says of a job, a field each.
fn shown(cluster: &SlurmCluster, number: &str) -> Vec<String> {
    let text = cluster.command(&["scontrol", "show", "job", number]);
    text.split_whitespace().map(str::to_owned).collect()
}

fn has(shown: &[String], all: &[&str]) {
    for one in all {
        assert!(shown.iter().any(|field| field == one), "{one} is not in {shown:#?}");
    }
}

async fn options_arrive(cluster: &SlurmCluster, door: &str, to_script: bool) {
    let libra = set(door).start().await;
    let api = libra.api();
    let (first, second) = (cluster.node(1), cluster.node(2));

    // As people write it. Slurm's own numbers are of jobs that are there.
    let before = api.submit(&script("until [ -e go ]; do sleep 0.2; done")).await;
    api.reaches(&before, "RUNNING").await;
    let before_number = number_of(&api, &before).await;
    let lines = format!(
        "#!/bin/bash\n#SBATCH -N 1-2 --ntasks-per-node=2 --mem-per-cpu=60\n#SBATCH --gpus-per-node=a100:1 --exclude={second}\n\
         #SBATCH -w {first} --exclusive=user --open-mode=truncate --comment=\"a trial, of mine\"\n\
         #SBATCH --mail-type=END,FAIL --mail-user=ada@site --signal=USR1@60 --export=ALL\n\
         #SBATCH --dependency=afterok:{before_number}\n\
         echo \"$SLURM_NTASKS_PER_NODE $SLURM_GPUS_PER_NODE $SLURM_MEM_PER_CPU on $SLURM_JOB_NODELIST\"\n\
         for word; do echo \"[$word]\"; done\necho \"$(basename \"$0\")\"; head -n 2 \"$0\"\n"
    );
    let file = write(&libra.scratch("options.sh"), &lines);
    let said = submit(&libra, &[&file, "--", "a b", "it's", "$x", "", "--help"]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let id = String::from_utf8(said.stdout).unwrap().trim().to_owned();
    let number = number_of(&api, &id).await;
    let fields = shown(cluster, &number);
    has(&fields, &["NumNodes=1-2", "MinMemoryCPU=60M", "NtasksPerN:B:S:C=2:0:*:*", "OverSubscribe=USER"]);
    has(&fields, &["TresPerNode=gres:gpu:a100:1", "MailUser=ada@site", "MailType=END,FAIL"]);
    has(&fields, &[&format!("ReqNodeList={first}"), &format!("ExcNodeList={second}")]);
    has(&fields, &[&format!("Dependency=afterok:{before_number}(unfulfilled)"), "a", "trial,", "mine"]);

    // It is held until the other has ended well.
    let says =
        async || api.get(&format!("/api/v1/jobs/{id}/explain")).await.expect(200)["reason"].to_string();
    wait::until_async("it says what it waits for", async || says().await.contains("Dependency")).await;
    assert_eq!(api.job(&id).await["status"], "SCHEDULED");
    std::fs::write(libra.attempt_dir(&before, 1).join("work/go"), "").unwrap();
    assert_eq!(api.ended(&before).await["status"], "SUCCEEDED");
    let job = api.ended(&id).await;
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
    let out = api.log(&id, "stdout").await;
    let words = "[a b]\n[it's]\n[$x]\n[]\n[--help]\nslurm_script\n#!/bin/bash\n##SBATCH -N 1-2";
    assert!(out.starts_with(&format!("2 a100:1 60 on {first}\n{words}")), "{out}");

    // What is said beside a script counts before its lines; numbers and flags may be written as such.
    let mut beside = script("#SBATCH --gres=gpu:1\nsleep 600");
    beside["slurm"] = json!({"gres": "gpu:a100:2", "exclusive": true, "nodelist": second});
    let id = api.submit(&beside).await;
    api.reaches(&id, "RUNNING").await;
    let fields = shown(cluster, &number_of(&api, &id).await);
    has(&fields, &["TresPerNode=gres:gpu:a100:2", "OverSubscribe=NO", &format!("NodeList={second}")]);
    api.delete(&format!("/api/v1/jobs/{id}")).await;
    api.ended(&id).await;

    // A signal to the script itself slurmrestd of 22.05 takes from nobody, and it is not left out without a word.
    let mut signalled = script("trap 'echo told; exit 0' USR1; sleep 600 & wait");
    signalled["slurm"] = json!({"signal": "B:USR1@60", "timeLimitMinutes": 1});
    let job = api.run(&signalled).await;
    if to_script {
        assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
        assert_eq!(api.log(job["jobId"].as_str().unwrap(), "stdout").await, "told\n");
    } else {
        assert_eq!(job["error"]["code"], "slurm_refused", "{job:#}");
        assert!(job["error"]["message"].as_str().unwrap().contains("sbatch: always"), "{job:#}");
    }
}

#[tokio::test]
async fn what_peoples_scripts_ask_for_arrives_through_slurmrestd() {
    // contract: H6
    let cluster = Slurm::new().gpus(2).line("MailProg=/bin/true").start();
    options_arrive(&cluster, &through_rest(&cluster, &cluster.url()), false).await;
}

#[tokio::test]
async fn what_peoples_scripts_ask_for_arrives_through_sbatch() {
    // contract: H6
    let cluster = Slurm::new().gpus(2).line("MailProg=/bin/true").start();
    options_arrive(&cluster, &through_commands(&cluster), true).await;
}

/// Slurm itself puts a job back: it waits there and says so, and what is told of its run is of the last one.
async fn what_slurm_puts_back_is_told_truly(cluster: &SlurmCluster, door: &str) {
    let libra = set(door).start().await;
    let api = libra.api();
    let mut body = script(
        "echo run $SLURM_RESTART_COUNT; [ -n \"$SLURM_RESTART_COUNT\" ] || sleep 600; until [ -e go ]; do sleep 0.2; done",
    );
    body["slurm"] = json!({"requeue": true});
    let id = api.submit(&body).await;
    let first = api.reaches(&id, "RUNNING").await["attempts"][0]["startedAt"].clone();
    let number = number_of(&api, &id).await;
    cluster.command(&["scontrol", "requeue", &number]);
    let stage = async || api.job(&id).await["progress"]["currentStage"].to_string();
    wait::until_async("it says that it was put back", async || stage().await.contains("put job")).await;
    let why = api.get(&format!("/api/v1/jobs/{id}/explain")).await.expect(200);
    assert!(
        why["reason"].as_str().is_some_and(|why| why.contains("back once, and it waits there: BeginTime")),
        "{why:#}"
    );
    assert_eq!(api.job(&id).await["status"], "RUNNING", "it is Slurm's to run it again, and no new attempt");
    // So long as Slurm would have it wait is its own business.
    cluster.command(&["scontrol", "update", &format!("jobid={number}"), "starttime=now"]);
    wait::until_async("it runs again", async || stage().await.contains("run 2")).await;
    let began = api.job(&id).await["attempts"][0]["startedAt"].clone();
    assert_ne!(began, first, "it has begun anew");
    std::fs::write(libra.attempt_dir(&id, 1).join("work/go"), "").unwrap();
    let job = api.ended(&id).await;
    assert_eq!(
        (&job["status"], job["attempts"].as_array().map(Vec::len)),
        (&"SUCCEEDED".into(), Some(1)),
        "{job:#}"
    );
    assert_eq!(job["attempts"][0]["startedAt"], began);
    assert_eq!(job["startedAt"], began, "{job:#}");
    assert_eq!(api.log(&id, "stdout").await, "run\nrun 1\n");
}

#[tokio::test]
async fn what_slurm_puts_back_is_told_truly_through_slurmrestd() {
    // contract: H6, L7
    let cluster = SlurmCluster::start();
    what_slurm_puts_back_is_told_truly(&cluster, &through_rest(&cluster, &cluster.url())).await;
}

#[tokio::test]
async fn what_slurm_puts_back_is_told_truly_through_its_commands() {
    // contract: H6, L7
    let cluster = SlurmCluster::start();
    what_slurm_puts_back_is_told_truly(&cluster, &through_commands(&cluster)).await;
}

#[test]
fn the_doctor_asks_each_cluster() {
    // contract: H6, D3
    let cluster = SlurmCluster::start();
    let dir = tempfile::tempdir().unwrap();
    let key = write(&dir.path().join("wrong.key"), "another key of nobody's");
    let rest = cluster.url();
    let clusters = [
        format!("name: rest, {}", through_rest(&cluster, &rest)),
        format!("name: commands, {}", through_commands(&cluster)),
        "name: nowhere, rest-url: 'http://127.0.0.1:1', user: ada".to_owned(),
        format!("name: stranger, rest-url: '{rest}', user: ada, jwt-key-file: '{key}'"),
        format!("name: bare, slurm-conf: '{}', sbatch: always, path: /nonexistent", cluster.conf().display()),
    ];
    let text = format!("libra: {{slurm: {{clusters: [{{{}}}]}}}}", clusters.join("}, {"));
    let file = write(&dir.path().join("libra.yaml"), &text);
    let said = sleepy().run(&["doctor", "--config", &file]);
    let out = String::from_utf8(said.stdout).unwrap();
    let has = |part: &str| assert!(out.contains(part), "{part:?} is not in {out}");
    has(
        "slurm          rest: slurmrestd v0.0.38; 0 jobs can be read, jobs are sent to it; it keeps no accounting",
    );
    has("slurm          commands: sbatch of slurm");
    has("slurm          nowhere: slurmrestd can't be reached");
    has("hint: look whether slurmrestd runs");
    has("slurm          stranger: slurmctld gave no answer");
    has("the token's user or key is not the one of slurm.conf");
    has("slurm          bare: a command of Slurm's can't be run");
    has("hint: install Slurm's client commands, or name a rest-url");
    assert_eq!(said.status.code(), Some(1), "{out}");
}
