//! Flink jobs that are declared: the gap of a redeploy beside the bare REST sequence on a real Flink, and many
//! deployments on a stand-in for a cluster.

mod cycle;
mod fake;
mod pass;
mod redeploy;
mod slow;
mod table;

use std::path::Path;

use serde_json::{Value, json};

use crate::Outcome;
use crate::http1::{Connection, post};

pub(crate) use cycle::measure as cycle;
pub(crate) use pass::measure as pass;
pub(crate) use redeploy::measure as redeploy;
pub(crate) use slow::measure as slow;

/// A Libra that keeps deployments on these clusters, with programs from this directory.
fn config(clusters: &[(&str, String)], programs: &Path) -> String {
    let clusters: Vec<String> =
        clusters.iter().map(|(name, url)| format!("{{name: {name}, url: \"{url}\"}}")).collect();
    format!(
        "libra:\n  execution.modes.in-cluster.enabled: false\n  flink:\n    clusters: [{}]\n    artifacts: {{directories: \
         [\"{}\"]}}\n",
        clusters.join(", "),
        programs.display()
    )
}

/// An archive of one empty file: what a stand-in takes for a program.
const JAR: &[u8] = b"PK\x03\x04\x14\0\0\0\0\0\0\0!\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0a\
      PK\x01\x02\x14\x03\x14\0\0\0\0\0\0\0!\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x80\x01\0\0\0\0a\
      PK\x05\x06\0\0\0\0\x01\0\x01\0/\0\0\0\x1f\0\0\0\0\0";

/// The program of a stand-in.
fn stand_in_program(dir: &Path) -> Outcome<()> {
    std::fs::create_dir_all(dir)?;
    Ok(std::fs::write(dir.join("program.jar"), JAR)?)
}

/// A job on a stand-in.
fn spec(id: &str, cluster: &str, version: u32) -> Value {
    json!({
        "job_id": id,
        "job_type": "stream",
        "cluster": cluster,
        "artifact_path": "program.jar",
        // Rows that are filled past Libra say another digest.
        "artifact_watch": false,
        "entry_class": "com.example.Job",
        "args": ["--version", version.to_string()],
        "deployment": {"checkpoint_interval": 10_000},
        "stability": {"checkpoints": 2, "window_seconds": 1},
    })
}

/// Applies a specification.
async fn apply(api: &mut Connection, spec: &Value) -> Outcome<()> {
    let (status, body) = api.call(&post("/api/v1/deployments", &spec.to_string())).await?;
    if [200, 201].contains(&status) {
        return Ok(());
    }
    Err(format!("a specification was refused: {}", String::from_utf8_lossy(body)).into())
}

/// The id of the job with this number on a stand-in.
fn job_id(number: u32) -> String {
    format!("{:032x}", 0x0001_1b7a_0000_0000_u64 + u64::from(number))
}

/// The name of the deployment with this number.
fn name(number: u32) -> String {
    format!("job-{number:05}")
}
