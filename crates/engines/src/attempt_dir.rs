//! The files of one attempt, by name. Everything that must survive Libra's death is here.

use std::path::{Path, PathBuf};

/// The directory of one attempt.
#[derive(Clone, Debug)]
pub struct AttemptDir(PathBuf);

impl AttemptDir {
    /// The directory at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }
    /// What the shim has to start.
    pub fn launch_file(&self) -> PathBuf {
        self.0.join("launch.json")
    }
    /// Who may run this attempt: the shim's identity, or `revoked`. Created once, atomically.
    pub fn owner_file(&self) -> PathBuf {
        self.0.join("owner")
    }
    /// The driver's pid and start, once it runs.
    pub fn started_file(&self) -> PathBuf {
        self.0.join("started")
    }
    /// The driver's exit status, once nothing of it is alive.
    pub fn exit_file(&self) -> PathBuf {
        self.0.join("exit")
    }
    /// What the attempt's processes use.
    pub fn usage_file(&self) -> PathBuf {
        self.0.join("usage.json")
    }
    /// Present when Libra asked for the end.
    pub fn stop_file(&self) -> PathBuf {
        self.0.join("stop")
    }
    /// The beginning of the driver's standard output; [`crate::logs::LogReader`] reads all of it.
    pub fn stdout(&self) -> PathBuf {
        self.0.join("stdout.log")
    }
    /// The beginning of the driver's standard error.
    pub fn stderr(&self) -> PathBuf {
        self.0.join("stderr.log")
    }
    /// The result's schema and figures; its presence means that the rows are whole.
    pub fn result_file(&self) -> PathBuf {
        self.0.join("result.json")
    }
    /// The result's rows, one JSON object a line.
    pub fn rows_file(&self) -> PathBuf {
        self.0.join("rows.jsonl")
    }
    /// What the driver says went wrong, in its own words.
    pub fn error_file(&self) -> PathBuf {
        self.0.join("error.json")
    }
    /// The driver's working directory.
    pub fn work_dir(&self) -> PathBuf {
        self.0.join("work")
    }
}

/// The most bytes of rows that are kept (contract A2); beyond it the result says `truncated: true`.
pub const MAX_RESULT_BYTES: u64 = 256 * 1024 * 1024;

/// What `result.json` holds.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResultMeta {
    /// Spark's JSON spelling of the schema: `{"type":"struct","fields":[{"name","type","nullable",…}]}`, with
    /// the column names as they are in the rows (duplicates renamed `a`, `a_2`).
    pub schema: serde_json::Value,
    /// Rows in the rows file.
    pub rows: u64,
    /// True when rows were left out beyond [`MAX_RESULT_BYTES`].
    pub truncated: bool,
}
