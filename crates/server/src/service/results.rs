//! A job's rows, page by page, from the attempt's files (contract A2).

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libra_api::problem::Code;
use libra_api::views::{ResultRows, ResultView};
use libra_core::id::JobId;
use libra_core::job::State;
use libra_core::time::Timestamp;
use libra_engines::attempt_dir::{AttemptDir, ResultMeta};
use serde_json::{Value, json};

use super::{Service, ServiceError, view};
use crate::auth::Principal;

/// Bytes of rows on one page, at most (one row is always given).
const MAX_PAGE_BYTES: u64 = 16 * 1024 * 1024;

/// Which rows.
pub(crate) struct ResultQuery {
    pub(crate) limit: u32,
    pub(crate) cursor: Option<String>,
}

/// Rows and where the next ones begin (bytes), if there are more.
struct Page {
    rows: Vec<Value>,
    next: Option<u64>,
}

impl Service {
    /// A page of the result.
    pub(crate) async fn result(
        &self,
        principal: &Principal,
        id: &str,
        query: ResultQuery,
    ) -> Result<ResultView, ServiceError> {
        let (job, _) = self.job(principal, id).await?;
        match job.state {
            State::Succeeded => {}
            State::Failed | State::Cancelled | State::Timeout => {
                let message = format!("the job ended as {}; there is no result", job.state);
                return Err(ServiceError::new(Code::NoResult, message));
            }
            State::Submitted
            | State::Validating
            | State::Queued
            | State::Scheduled
            | State::Running
            | State::Retrying => {
                let message = format!("the job is {}; its result comes when it has SUCCEEDED", job.state);
                return Err(ServiceError::new(Code::NotFinished, message));
            }
        }
        if let Some(expired) = self.files_expired(&job) {
            return Err(expired);
        }
        let from = query.cursor.as_deref().map(|c| read_cursor(c, job.id)).transpose()?.unwrap_or(0);
        let dir = self.attempt_dir(job.id, job.attempt);
        let (meta, page) = blocking(move || {
            let meta = meta(&dir)?;
            let page = if meta.rows == 0 {
                Page { rows: vec![], next: None }
            } else {
                page(&dir, from, query.limit)?
            };
            Ok((meta, page))
        })
        .await?;
        let completed_at = job.completed_at.unwrap_or(job.submitted_at);
        Ok(ResultView {
            job_id: job.id.to_string(),
            status: job.state.as_str().to_owned(),
            result: ResultRows { schema: meta.schema, rows: page.rows, truncated: meta.truncated },
            row_count: meta.rows,
            execution_time: view::execution_time(&job, completed_at).unwrap_or_default(),
            completed_at: Timestamp::rfc3339(completed_at),
            next_cursor: page.next.map(|at| URL_SAFE_NO_PAD.encode(format!("{}:{at}", job.id))),
        })
    }
}

/// The whole result, if it is small.
pub(super) async fn inline(dir: &Path, most_rows: u64, most_bytes: u64) -> Option<ResultRows> {
    let dir = dir.to_owned();
    let read = blocking(move || {
        let meta = meta(&dir)?;
        let size = std::fs::metadata(AttemptDir::new(&dir).rows_file()).map_or(0, |m| m.len());
        if meta.rows == 0 || meta.rows > most_rows || size > most_bytes {
            return Ok(None);
        }
        let rows = page(&dir, 0, u32::MAX)?.rows;
        Ok(Some(ResultRows { schema: meta.schema, rows, truncated: meta.truncated }))
    });
    read.await.ok().flatten()
}

async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, ServiceError> {
    let lost = |cause: String| ServiceError {
        cause: Some(cause),
        ..ServiceError::new(Code::Internal, "the result's files can't be read; the log has the cause")
    };
    match tokio::task::spawn_blocking(f).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(lost(e.to_string())),
        Err(e) => Err(lost(e.to_string())),
    }
}

/// Schema and figures; a job that wrote no rows has an empty schema.
fn meta(dir: &Path) -> std::io::Result<ResultMeta> {
    match std::fs::read(AttemptDir::new(dir).result_file()) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Ok(ResultMeta { schema: json!({"type": "struct", "fields": []}), rows: 0, truncated: false })
        }
        Err(e) => Err(e),
    }
}

fn page(dir: &Path, from: u64, limit: u32) -> std::io::Result<Page> {
    let path: PathBuf = AttemptDir::new(dir).rows_file();
    let mut file = std::fs::File::open(path)?;
    let size = file.metadata()?.len();
    if from >= size {
        return Ok(Page { rows: vec![], next: None });
    }
    if from > 0 {
        // A place that no page ended at was not given out by this result.
        let mut before = [0];
        file.seek(SeekFrom::Start(from - 1))?;
        file.read_exact(&mut before)?;
        if before != *b"\n" {
            return Ok(Page { rows: vec![], next: None });
        }
    }
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::new(file);
    let mut rows = Vec::new();
    let mut at = from;
    let mut line = Vec::new();
    while rows.len() < limit as usize && at - from < MAX_PAGE_BYTES {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        rows.push(serde_json::from_slice(&line)?);
        at += read as u64;
    }
    Ok(Page { rows, next: Some(at).filter(|at| *at < size) })
}

fn read_cursor(cursor: &str, job: JobId) -> Result<u64, ServiceError> {
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        std::str::from_utf8(&bytes).ok()?.strip_prefix(&format!("{job}:"))?.parse().ok()
    };
    read().ok_or_else(|| ServiceError::query("cursor", "is not one that this result gave out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let text = "{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n";
        std::fs::write(AttemptDir::new(dir.path()).rows_file(), text).unwrap();
        let mut seen = Vec::new();
        let mut from = 0;
        loop {
            let page = page(dir.path(), from, 2).unwrap();
            seen.extend(page.rows.iter().map(|r| r["n"].as_u64().unwrap()));
            match page.next {
                Some(next) => from = next,
                None => break,
            }
        }
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        assert!(page(dir.path(), 1_000, 2).unwrap().rows.is_empty(), "a cursor beyond the end");
    }
}
