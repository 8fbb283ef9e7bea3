//! The files by which a server is found again.

use std::io;
use std::path::{Path, PathBuf};

use libra_core::id::Token;
use serde::{Deserialize, Serialize};

use crate::attempt_dir::AttemptDir;
use crate::logs::{LogReader, Stream};
use crate::shim::records;

/// Names the present server in the data directory.
const CURRENT: &str = "current";
/// How much of the end of the server's log is shown with a failure, in bytes.
const LOG_END_BYTES: usize = 8 * 1024;
/// Directories of dead servers that are kept for people to look at.
const KEPT_DIRECTORIES: usize = 3;

/// Which server it is and how to be let in (`server.json`); written before it starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerRecord {
    /// The server's name.
    pub(super) id: Token,
    /// What its clients must show.
    pub(super) secret: String,
}

/// Where a running server listens, as its log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    /// The Spark Connect port.
    pub(super) connect: u16,
    /// The Spark UI's port, when it has one.
    pub(super) ui: Option<u16>,
}

/// The file that Libra touches while it lives.
pub(super) fn keepalive_file(dir: &AttemptDir) -> PathBuf {
    dir.path().join("keepalive")
}

/// Spark's log settings.
pub(super) fn log_settings_file(dir: &AttemptDir) -> PathBuf {
    dir.path().join("log4j2.properties")
}

/// Held by whoever starts a server: replicas on one host share a server.
pub(super) fn lock_file(data_dir: &Path) -> PathBuf {
    data_dir.join("lock")
}

fn record_file(dir: &AttemptDir) -> PathBuf {
    dir.path().join("server.json")
}

/// The directory of the server `id`.
pub(super) fn directory(data_dir: &Path, id: Token) -> AttemptDir {
    AttemptDir::new(data_dir.join(id.to_string()))
}

/// The server that was started last.
pub(super) fn current(data_dir: &Path) -> Option<Token> {
    std::fs::read_to_string(data_dir.join(CURRENT)).ok()?.trim().parse().ok()
}

/// Names the server that is about to start.
pub(super) fn set_current(data_dir: &Path, id: Token) -> io::Result<()> {
    records::write_whole(&data_dir.join(CURRENT), id.to_string().as_bytes())
}

/// Reads a server's record.
pub(super) fn read_record(dir: &AttemptDir) -> Option<ServerRecord> {
    serde_json::from_slice(&std::fs::read(record_file(dir)).ok()?).ok()
}

/// Writes a server's record, readable by Libra's user alone.
pub(super) fn write_record(dir: &AttemptDir, record: &ServerRecord) -> io::Result<()> {
    records::write_whole(&record_file(dir), &serde_json::to_vec(record)?)
}

/// The server's log says its ports within so many bytes.
const PORTS_WITHIN_BYTES: usize = 1024 * 1024;

/// Finds the ports in the server's log; None while it has not said its own.
pub(super) fn ports(dir: &AttemptDir) -> Option<Ports> {
    // The server says its ports while it starts; what comes later may be long, and need not be UTF-8.
    let log = LogReader::new(dir, Stream::Stderr).read(0, PORTS_WITHIN_BYTES).ok()?;
    parse_ports(&String::from_utf8_lossy(&log))
}

fn parse_ports(log: &str) -> Option<Ports> {
    let after =
        |marker: &str| log.lines().find_map(|line| line.split_once(marker)).map(|(_, rest)| rest.trim());
    let address = after("Spark Connect server started at: ")?;
    let connect = address.rsplit(':').next()?.parse().ok()?;
    let ui = after("Successfully started service 'SparkUI' on port ")
        .and_then(|rest| rest.trim_end_matches('.').parse().ok());
    Some(Ports { connect, ui })
}

/// The end of the server's log.
pub(super) fn log_end(dir: &AttemptDir) -> String {
    let log = LogReader::new(dir, Stream::Stderr).tail(LOG_END_BYTES).unwrap_or_default();
    String::from_utf8_lossy(&log).into_owned()
}

/// Removes the directories of dead servers but the newest; `is_dead` is asked about each.
pub(super) fn prune(data_dir: &Path, is_dead: impl Fn(&AttemptDir) -> bool) {
    let entries = std::fs::read_dir(data_dir).into_iter().flatten().flatten();
    let mut servers: Vec<Token> = entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    // Tokens are ordered by time.
    servers.sort_unstable_by(|a, b| b.cmp(a));
    for id in servers.into_iter().skip(KEPT_DIRECTORIES) {
        let dir = directory(data_dir, id);
        if is_dead(&dir)
            && let Err(error) = std::fs::remove_dir_all(dir.path())
        {
            tracing::warn!(%error, server = %id, "an old server's directory could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_from_the_log() {
        let log = "INFO Utils: Successfully started service 'sparkDriver' on port 45241.\n\
                   INFO Utils: Successfully started service 'SparkUI' on port 33711.\n";
        assert_eq!(parse_ports(log), None);
        let log = format!("{log}INFO SparkConnectServer: Spark Connect server started at: 127.0.0.1:25002\n");
        assert_eq!(parse_ports(&log), Some(Ports { connect: 25002, ui: Some(33711) }));
        assert_eq!(parse_ports("Spark Connect server started at: x:y"), None);
    }
}
