//! The files by which a submission is made once, whatever dies between.

use std::io;
use std::path::PathBuf;

use libra_core::attempt::Handle;
use libra_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::attempt_dir::AttemptDir;
use crate::engine::EngineError;
use crate::shim::records;

/// Who may submit the attempt (`owner`). Created once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "owner")]
pub(super) enum Claim {
    /// It was sent, or was about to be.
    Sent {
        /// To which cluster.
        cluster: String,
        /// When.
        at: Timestamp,
    },
    /// Nobody, for ever.
    Revoked,
}

/// What Slurm has made of it (`slurm.json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Taken {
    /// The cluster.
    pub(super) cluster: String,
    /// The job's number, an array's as a whole. None where nobody can say whether it arrived.
    pub(super) job: Option<String>,
    /// When it was sent.
    pub(super) at: Timestamp,
}

impl Taken {
    /// The same from the attempt's row.
    pub(super) fn of(handle: &Handle) -> Result<Self, EngineError> {
        Self::deserialize(&handle.0)
            .map_err(|e| EngineError(format!("this is no handle of a Slurm job: {e}")))
    }
}

fn taken_file(dir: &AttemptDir) -> PathBuf {
    dir.path().join("slurm.json")
}

/// The claim, if there is one.
pub(super) fn read(dir: &AttemptDir) -> io::Result<Option<Claim>> {
    records::read(&dir.owner_file())
}

/// Makes the claim; false where somebody else has made one.
pub(super) fn make(dir: &AttemptDir, claim: &Claim) -> io::Result<bool> {
    records::create_once(&dir.owner_file(), claim)
}

/// Takes a claim back under which nothing was sent.
pub(super) fn withdraw(dir: &AttemptDir) -> io::Result<()> {
    std::fs::remove_file(dir.owner_file())
}

/// What Slurm has made of it, once that is known.
pub(super) fn taken(dir: &AttemptDir) -> io::Result<Option<Taken>> {
    records::read(&taken_file(dir))
}

/// Keeps what Slurm has made of it.
pub(super) fn keep(dir: &AttemptDir, taken: &Taken) -> io::Result<()> {
    records::write_record(&taken_file(dir), taken)
}
