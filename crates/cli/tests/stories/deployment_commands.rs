//! The commands of deployments against a real Flink: as a person would use them, file by file.

use std::path::Path;
use std::process::Output;

use libra_testkit::{FlinkCluster, Libra, flink};
use serde_json::Value;

use crate::deployments::{alive, programs, with_flink};
use crate::surroundings::setup;

fn libra(server: &Libra, arguments: &[&str]) -> Output {
    setup().env("LIBRA_URL", server.url()).run(arguments)
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What a command that has to succeed prints as JSON.
fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", told(output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", told(output)))
}

fn write(file: &Path, progress: &Path, rate: u32) {
    let yaml = format!(
        "job_id: shop\njob_type: stream\nartifact_path: {}\nentry_class: libra.jobs.Counter\n\
         args: [--progress, {}, --every, '50', --rate, '{rate}']\n\
         deployment: {{checkpoint_interval: 300ms}}\nstability: {{window_seconds: 1}}\n",
        flink::jobs_jar().display(),
        progress.display()
    );
    std::fs::write(file, yaml).unwrap();
}

#[tokio::test]
async fn a_file_is_planned_applied_changed_and_taken_back() {
    // contract: D1, F1, F2, F3
    let cluster = FlinkCluster::shared().await;
    let server = with_flink(cluster, &programs()).start().await;
    let (file, progress) = (server.scratch("shop.yaml"), server.scratch("progress"));
    let path = file.to_str().unwrap();
    write(&file, &progress, 200);

    let plan = libra(&server, &["plan", "-f", path, "--exit-code"]);
    assert_eq!(plan.status.code(), Some(2), "there is something to do: {}", told(&plan));
    assert!(told(&plan).contains("deployed for the first time"), "{}", told(&plan));
    let applied = libra(&server, &["apply", "-f", path, "--yes", "--wait"]);
    assert_eq!(applied.status.code(), Some(0), "{}", told(&applied));
    assert_eq!(
        libra(&server, &["plan", "-f", path, "--exit-code"]).status.code(),
        Some(0),
        "nothing is left to do"
    );

    write(&file, &progress, 300);
    let changed = libra(&server, &["apply", "-f", path, "--yes", "--wait"]);
    assert_eq!(changed.status.code(), Some(0), "{}", told(&changed));
    assert!(told(&changed).contains("stopped with a savepoint and started from it"), "{}", told(&changed));
    let shown = json(&libra(&server, &["deployment", "shop", "-o", "json"]));
    assert_eq!(
        (&shown["generation"], &shown["stable"], &shown["state"]),
        (&2.into(), &true.into(), &"stable".into())
    );
    assert!(shown["lastSavepoint"].is_string() && shown["jobId"].is_string(), "{shown:#}");
    flink::assert_nothing_twice(&progress);

    for arguments in [
        vec!["deployments"],
        vec!["deployment", "shop"],
        vec!["history", "shop"],
        vec!["savepoint", "shop", "--wait"],
        vec!["rollback", "shop"],
    ] {
        let output = libra(&server, &arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", told(&output));
        assert!(told(&output).contains("shop"), "{arguments:?}: {}", told(&output));
    }
    assert_eq!(libra(&server, &["deployment", "none"]).status.code(), Some(6));
    let schema = json(&libra(&server, &["schema", "deployment"]));
    assert_eq!(schema, server.api().get("/api/v1/schemas/deployment").await.expect(200));
    assert!(schema["properties"]["job_id"].is_object(), "{schema:#}");

    std::fs::write(&file, "job_id: shop\njob_type: stream\nparalelism: 2\n").unwrap();
    let wrong = libra(&server, &["apply", "-f", path, "--yes"]);
    assert!(!wrong.status.success() && told(&wrong).contains("line 3"), "{}", told(&wrong));
    assert_eq!(libra(&server, &["delete", "shop", "--no-savepoint", "--yes"]).status.code(), Some(0));
    libra_testkit::wait::until_async("it is gone", async || alive(cluster, "shop").await.is_empty()).await;
}
