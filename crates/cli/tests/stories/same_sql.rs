//! SQL through Libra is SQL in PySpark: the same schema, the same rows, the same errors, on the same server.
//!
//! What is compared and how is in `same_sql/*.py`, which run in Spark's own Python; the statements are in
//! `same_sql/statements` and `same_sql/tpch`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libra_engines::spark_home::SparkHome;
use libra_testkit::Libra;
use serde_json::{Value, json};

use crate::surroundings::{setup, turn};

/// The lists in their order: later ones use what earlier ones have made.
const LISTS: [&str; 8] = ["begin", "types", "ddl", "dml", "queries", "scripting", "errors", "end"];
/// Comparing takes memory, and a server that is replaced for that takes PySpark's session with it: Libra does not know it.
const RECYCLE_AT: (&str, &str) = ("LIBRA_EXECUTION_MODES_IN_CLUSTER_RECYCLE_AT", "64g");
/// The user of a Libra without authentication.
const USER: &str = "local";

fn place() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories/same_sql")
}

fn lists() -> Vec<PathBuf> {
    LISTS.iter().map(|list| place().join("statements").join(list).with_extension("sql")).collect()
}

/// The comparison, about to be started: a client of Libra, and of the Spark server that Libra started.
async fn comparison(libra: &Libra) -> Command {
    let api = libra.api();
    let started = api.run(&json!({"code": "SELECT 1", "kind": "sql", "executionMode": "in-cluster"})).await;
    assert_eq!(started["status"], "SUCCEEDED", "{started:#}");
    let connect = libra.data_dir().join("connect");
    let server = connect.join(fs::read_to_string(connect.join("current")).unwrap().trim());
    let record: Value = serde_json::from_slice(&fs::read(server.join("server.json")).unwrap()).unwrap();
    let log = fs::read_to_string(server.join("stderr.log")).unwrap();
    let address =
        log.lines().find_map(|line| line.split_once("Spark Connect server started at: ")).unwrap().1;
    let port = address.trim().rsplit(':').next().unwrap();
    let mut command = Command::new(SparkHome::find(None).unwrap().python.unwrap());
    command
        .arg(place().join("compare.py"))
        .args(["--libra", libra.url()])
        .env("SPARK_REMOTE", format!("sc://localhost:{port}/;user_id={USER}"))
        .env("SPARK_CONNECT_AUTHENTICATE_TOKEN", record["secret"].as_str().unwrap())
        .env("SPARK_CONNECT_MODE_ENABLED", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // PySpark gives timestamps in the time zone of its own process.
        .env("TZ", "UTC")
        // Whatever works below the directory of a Libra ends with it.
        .current_dir(libra.scratch("."))
        .stdin(Stdio::null());
    command
}

/// Runs it to its end, and shows what it said.
async fn succeeds(mut command: Command) {
    // PySpark logs every error that it raises on its standard error.
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let out = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    println!("{said}");
    let complained = String::from_utf8_lossy(&out.stderr);
    let complained: Vec<&str> = complained.lines().filter(|line| !line.starts_with("{\"ts\"")).collect();
    assert!(
        out.status.success(),
        "they differ, or could not be compared:\n{said}\n{}",
        complained.join("\n")
    );
}

#[tokio::test]
async fn sql_of_every_sort_gives_what_pyspark_gives() {
    // contract: A2, S1
    let _turn = turn().await;
    let libra = setup().env(RECYCLE_AT.0, RECYCLE_AT.1).start().await;
    let mut command = comparison(&libra).await;
    command.args(["--short", "--name"]).arg(format!("scratch={}", libra.scratch("same-sql").display()));
    command.arg("--lists").args(lists()).arg("--twisted").arg(place().join("twisted.sql"));
    succeeds(command).await;
}

#[tokio::test]
#[ignore = "a drill: make drills"]
async fn drill_every_statement_gives_what_pyspark_gives() {
    // contract: A2, S1
    let _turn = turn().await;
    let libra = setup().env(RECYCLE_AT.0, RECYCLE_AT.1).start().await;
    let mut command = comparison(&libra).await;
    command.arg("--name").arg(format!("scratch={}", libra.scratch("same-sql").display()));
    command.arg("--lists").args(lists()).arg("--twisted").arg(place().join("twisted.sql"));
    succeeds(command).await;
}

/// Scale factor 0.1, made by Spark itself; progress is a line for each table and query.
#[tokio::test]
#[ignore = "a drill: make drills"]
async fn drill_the_queries_of_tpc_h_give_what_pyspark_gives() {
    // contract: A2, S1
    let _turn = turn().await;
    let libra = setup().env(RECYCLE_AT.0, RECYCLE_AT.1).start().await;
    let tpch = place().join("tpch");
    let mut command = comparison(&libra).await;
    command.arg("--rows").arg("--prepare").arg(tpch.join("tables.sql"));
    command.arg("--lists").args([tpch.join("queries_1_to_11.sql"), tpch.join("queries_12_to_22.sql")]);
    let status = tokio::task::spawn_blocking(move || command.status().unwrap()).await.unwrap();
    assert!(status.success(), "they differ, or could not be compared");
}
