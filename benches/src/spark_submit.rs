//! A small job's way through Libra by spark-submit, from the request to SUCCEEDED, beside spark-submit itself.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use libra_engines::spark_home::SparkHome;
use serde_json::json;

use crate::Outcome;
use crate::figures::{Samples, Table, aim};
use crate::http1::Connection;
use crate::service::{Service, run_job};

const CONFIG: &str = "\
libra.execution.modes.in-cluster.enabled: false
libra.execution.modes.spark-submit.master: local[2]
";
/// A program as people have it: it makes its session by itself.
const PROGRAM: &str = "\
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
print(spark.range(1000000).selectExpr('sum(id)').collect())
spark.stop()
";
/// Aimed at: this many times as long as spark-submit itself, at p50.
const AIM: f64 = 1.02;

/// Measures `jobs` of them, in turn with bare ones.
pub(crate) async fn measure(libra: &Path, jobs: usize, table: &mut Table) -> Outcome<()> {
    let scratch = tempfile::tempdir()?;
    let program = scratch.path().join("program.py");
    std::fs::write(&program, PROGRAM)?;
    let service = Service::start(libra, scratch.path(), CONFIG)?;
    let mut api = Connection::open(service.address).await?;
    // Both once before anything counts: the disk's cache is then as warm for one as for the other.
    through_libra(&mut api, &program).await?;
    bare(scratch.path(), &program)?;
    let (mut through, mut beside) = (Samples::default(), Samples::default());
    for _ in 0..jobs {
        let began = Instant::now();
        through_libra(&mut api, &program).await?;
        through.add(began.elapsed());
        let began = Instant::now();
        bare(scratch.path(), &program)?;
        beside.add(began.elapsed());
    }
    service.end()?;
    let (l, b) = (through.percentile(50), beside.percentile(50));
    let ratio = l / b;
    table.add(
        "a small Python program by spark-submit, submit → SUCCEEDED, p50",
        &format!("{:.2} s", l / 1000.0),
        &format!("{:.2} s", b / 1000.0),
        &format!("{ratio:.3} times spark-submit itself"),
        &aim("≤ 1.02", ratio <= AIM),
    );
    table.remark(format!("spark-submit: {jobs} of each, in turn, master local[2], the same file."));
    Ok(())
}

fn bare(dir: &Path, program: &Path) -> Outcome<()> {
    let spark = SparkHome::find(None)?;
    let mut command = Command::new(spark.home.join("bin/spark-submit"));
    if let Some(python) = &spark.python {
        command.env("PYSPARK_PYTHON", python);
    }
    let ended = command
        .args(["--master", "local[2]"])
        .arg(program)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if ended.success() { Ok(()) } else { Err(format!("spark-submit: {ended}").into()) }
}

/// Submits the program and waits until it has succeeded.
async fn through_libra(api: &mut Connection, program: &Path) -> Outcome<()> {
    let body = json!({ "kind": "python", "file": program, "executionMode": "spark-submit" });
    run_job(api, &body.to_string()).await
}
