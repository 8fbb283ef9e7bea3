//! Where programs have to be signed: what Flink has already is checked before it runs again, and statements bring nothing
//! along.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use libra_testkit::flink::{self, FlinkCluster};
use libra_testkit::{Setup, wait};
use serde_json::{Value, json};

use crate::deployment_outages::cancel;
use crate::deployment_programs::{Signer, directory, with_programs};
use crate::deployments::{alive, apply, away, counter, stable, told, until, view};

const PATH: &str = "/api/v1/deployments";

/// A Libra that trusts a key.
fn with_policy(cluster: &FlinkCluster, programs: &Path, key: &Signer, policy: &str) -> Setup {
    let artifacts = format!(", signatures: {policy}, public-keys: [\"{}\"]", key.public_key());
    with_programs(cluster, programs, &artifacts)
}

fn refused(view: &Value, words: &str) -> bool {
    let said = view["trouble"]["message"].as_str().unwrap_or_default();
    view["trouble"]["reason"] == "program_refused" && said.contains(words)
}

#[tokio::test]
async fn a_program_that_flink_has_already_is_checked_before_each_run() {
    // contract: F6
    let cluster = FlinkCluster::shared().await;
    let programs = directory();
    let job = programs.path().join("job.jar");
    let (one, two) = (flink::jobs_jar_version("unsigned"), flink::jobs_jar_version("unsigned2"));
    fs::copy(one, &job).unwrap();
    let key = Signer::new([3; 8]);
    let mut libra = with_policy(cluster, programs.path(), &key, "if-present").start().await;
    let (api, progress) = (libra.api(), libra.scratch("progress"));
    let mut spec = counter("unsigned", &progress);
    spec["artifact_path"] = json!("job.jar");
    spec["artifact_watch"] = json!(false);
    apply(&api, &spec).await;
    stable(&api, "unsigned").await;
    fs::copy(two, &job).unwrap();
    apply(&api, &spec).await;
    let before = stable(&api, "unsigned").await;
    assert_eq!(before["generation"], 2, "{before:#}");

    // From now on programs have to be signed. What runs stays as it is.
    libra.stop();
    let required = with_policy(cluster, programs.path(), &key, "required");
    libra.start(&required).await;
    let api = libra.api();
    let back = api.post(&format!("{PATH}/unsigned/rollback"), &json!({"generation": 1})).await;
    assert_eq!(back.status, 409, "{}", back.text);
    assert!(
        back.text.contains("generation 1 can't come back") && back.text.contains("not signed"),
        "{}",
        back.text
    );
    let now = stable(&api, "unsigned").await;
    assert_eq!((&now["jobId"], &now["trouble"]), (&before["jobId"], &Value::Null), "{now:#}");

    // It does not run again, though Flink has it.
    cancel(cluster, before["jobId"].as_str().unwrap()).await;
    let held = until(&api, "unsigned", "refused", |view| refused(view, "not signed")).await;
    assert!(held["trouble"]["hint"].as_str().unwrap().contains("sign it"), "{held:#}");
    assert!(told(&api, "unsigned", "program_refused").await);
    assert_eq!(alive(cluster, "unsigned").await, [""; 0]);

    // The same bytes with a signature are a change.
    fs::write(programs.path().join("job.jar.minisig"), key.sign(&job)).unwrap();
    let plan = api.post(&format!("{PATH}/plan"), &spec).await.expect(200);
    assert!(plan["lines"].to_string().contains("by 0303030303030303"), "{plan:#}");
    apply(&api, &spec).await;
    let signed = stable(&api, "unsigned").await;
    assert_eq!((&signed["generation"], &signed["trouble"]), (&json!(3), &Value::Null), "{signed:#}");
    assert_eq!(apply(&api, &spec).await, "none");
    assert_eq!(view(&api, "unsigned").await["generation"], 3, "once");
    // A signature vouches for what is in the jar, and not for what a class of the cluster makes of its arguments.
    let mut foreign = spec.clone();
    foreign["entry_class"] = json!("org.apache.flink.client.python.PythonDriver");
    let answer = api.post(PATH, &foreign).await;
    assert_eq!((answer.status, answer.pointers()), (400, vec!["/entry_class".to_owned()]), "{}", answer.text);

    // Bytes that somebody has changed where Libra holds them are noticed, and put right by another apply.
    let digest = flink::digest(&job);
    let mut tenants = fs::read_dir(libra.data_dir().join("artifacts/held")).unwrap();
    let kept =
        tenants.find_map(|tenant| Some(tenant.unwrap().path().join(&digest)).filter(|file| file.exists()));
    let kept = kept.unwrap();
    api.post(&format!("{PATH}/unsigned/suspend"), &json!({})).await.expect(202);
    until(&api, "unsigned", "suspended", |view| view["state"] == "suspended").await;
    fs::set_permissions(&kept, Permissions::from_mode(0o600)).unwrap();
    let mut bytes = fs::read(&kept).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&kept, bytes).unwrap();
    api.post(&format!("{PATH}/unsigned/resume"), &json!({})).await.expect(202);
    wait::until_async("it is refused", async || {
        view(&api, "unsigned").await["trouble"]["reason"] == "program_refused"
    })
    .await;
    assert_eq!(alive(cluster, "unsigned").await, [""; 0]);
    apply(&api, &spec).await;
    api.post(&format!("{PATH}/unsigned/resume"), &json!({})).await.expect(202);
    stable(&api, "unsigned").await;
    // Who was cancelled from outside goes on from a checkpoint.
    flink::assert_unbroken(&progress);
    away(&api, cluster, "unsigned").await;
}

#[tokio::test]
async fn statements_that_nobody_has_signed_bring_no_program_along() {
    // contract: F1, F6
    let cluster = FlinkCluster::shared().await;
    let programs = directory();
    let key = Signer::new([4; 8]);
    let libra = with_policy(cluster, programs.path(), &key, "required").start().await;
    let api = libra.api();
    let jar = flink::jobs_jar();
    let jar = jar.display();
    let rest = "CREATE TABLE ticks (n INT) WITH ('connector' = 'datagen', 'rows-per-second' = '1'); \
                CREATE TABLE sink (n INT) WITH ('connector' = 'blackhole'); INSERT INTO sink SELECT n FROM ticks";
    let spec = |id: &str, sql: &str| {
        json!({
            "job_id": id,
            "job_type": "stream",
            "sql": format!("{sql}; {rest}"),
            "deployment": {"checkpoint_interval": 300},
            "stability": {"checkpoints": 1, "window_seconds": 1},
        })
    };
    // What is plain is told at once.
    for sql in [
        format!("ADD JAR '{jar}'"),
        format!("CREATE FUNCTION f AS 'a.B' USING JAR '{jar}'"),
        format!("SET 'pipeline.jars' = 'file:{jar}'"),
    ] {
        let answer = api.post(PATH, &spec("brought", &sql)).await;
        assert_eq!(
            (answer.status, answer.pointers()),
            (400, vec!["/sql".to_owned()]),
            "{sql}: {}",
            answer.text
        );
        assert!(answer.text.contains("must not bring a program along"), "{}", answer.text);
    }
    // What only Flink's own parser sees is refused when it has.
    for (at, sql) in [
        format!("CREATE TEMPORARY FUNCTION f AS 'a.B' USING JAR'{jar}'"),
        format!("CREATE TEMPORARY SYSTEM FUNCTION f AS 'a.B' USING-- that\nJAR '{jar}'"),
        format!("CREATE FUNCTION f AS 'a.B' USING-- that\nJAR '{jar}'"),
    ]
    .iter()
    .enumerate()
    {
        let id = format!("hidden-{at}");
        apply(&api, &spec(&id, sql)).await;
        let view = until(&api, &id, "refused", |view| view["state"] == "failed").await;
        let said = view["trouble"]["message"].as_str().unwrap_or_default();
        assert!(said.contains("statement 1") && said.contains("brings a program along"), "{sql}: {view:#}");
        assert_eq!(alive(cluster, &id).await, [""; 0], "{sql}");
        away(&api, cluster, &id).await;
    }
    // Others run, and so does a file that is signed, whatever it brings.
    apply(&api, &spec("plain-sql", "CREATE TEMPORARY VIEW jar AS SELECT 1 AS jar")).await;
    stable(&api, "plain-sql").await;
    away(&api, cluster, "plain-sql").await;
    let file = programs.path().join("bring.sql");
    fs::write(&file, format!("ADD JAR '{jar}'; {rest}")).unwrap();
    fs::write(programs.path().join("bring.sql.minisig"), key.sign(&file)).unwrap();
    let mut signed = spec("signed-sql", "");
    signed["sql"] = Value::Null;
    signed["artifact_path"] = json!("bring.sql");
    apply(&api, &signed).await;
    stable(&api, "signed-sql").await;
    away(&api, cluster, "signed-sql").await;
}
