//! A job's rows, from the attempt's files: page by page as JSON, or as a file that is made while it is sent
//! (contract A2).

mod csv;
mod stored;
mod stream;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libra_api::problem::Code;
use libra_api::views::{ResultRows, ResultView};
use libra_core::id::JobId;
use libra_core::job::{Job, State};
use libra_core::time::Timestamp;
use libra_engines::attempt_dir::{AttemptDir, ResultMeta};

pub(crate) use stream::ResultStream;

use self::stored::{Lines, meta, page};
use super::{Service, ServiceError, view};
use crate::auth::Principal;

/// Which rows.
pub(crate) struct ResultQuery {
    pub(crate) limit: u32,
    pub(crate) cursor: Option<String>,
}

/// A result that is there.
pub(crate) struct StoredResult {
    job: Job,
    dir: std::path::PathBuf,
    /// Its schema and figures.
    pub(crate) meta: ResultMeta,
}

impl Service {
    /// The result of a job that SUCCEEDED.
    pub(crate) async fn stored_result(
        &self,
        principal: &Principal,
        id: &str,
    ) -> Result<StoredResult, ServiceError> {
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
        let dir = self.attempt_dir(job.id, job.attempt);
        let of = dir.clone();
        let meta = blocking(move || meta(&of)).await?;
        Ok(StoredResult { job, dir, meta })
    }
}

impl StoredResult {
    /// A page of it as JSON.
    pub(crate) async fn page(self, query: ResultQuery) -> Result<ResultView, ServiceError> {
        let Self { job, dir, meta } = self;
        let from = query.cursor.as_deref().map(|c| read_cursor(c, job.id)).transpose()?.unwrap_or(0);
        let page = if meta.rows == 0 {
            stored::Page::default()
        } else {
            blocking(move || page(&dir, from, query.limit)).await?
        };
        let completed_at = job.completed_at.unwrap_or(job.submitted_at);
        Ok(ResultView {
            job_id: job.id.to_string(),
            status: job.state.as_str().to_owned(),
            result: ResultRows { schema: meta.schema, rows: page.rows, truncated: meta.truncated },
            row_count: meta.rows,
            execution_time: view::execution_time(&job, completed_at).unwrap_or_default(),
            completed_at: Timestamp::rfc3339(completed_at),
            next_cursor: page.next.map(|at| write_cursor(job.id, at)),
        })
    }

    /// The rows from `cursor` on as CSV, at most `limit`; and the cursor of those after them. The names of the columns
    /// stand before the first row of all.
    pub(crate) async fn csv(
        self,
        limit: Option<u32>,
        cursor: Option<&str>,
    ) -> Result<(ResultStream, Option<String>), ServiceError> {
        let from = cursor.map(|c| read_cursor(c, self.job.id)).transpose()?.unwrap_or(0);
        let (rows, meta, job) = (self.meta.rows, self.meta.clone(), self.job.id);
        let (stream, next) = blocking(move || {
            let mut lines = if rows == 0 { Lines::none() } else { Lines::open(&self.dir, from)? };
            let next = limit.map(|limit| lines.end_after(u64::from(limit))).transpose()?.flatten();
            Ok((ResultStream::csv(&meta, lines, from == 0), next))
        })
        .await?;
        Ok((stream, next.map(|at| write_cursor(job, at))))
    }

    /// All rows as an Arrow IPC stream.
    pub(crate) async fn arrow(self) -> Result<ResultStream, ServiceError> {
        blocking(move || {
            let lines = if self.meta.rows == 0 { Lines::none() } else { Lines::open(&self.dir, 0)? };
            ResultStream::arrow(&self.meta, lines)
        })
        .await
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

fn write_cursor(job: JobId, at: u64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{job}:{at}"))
}

fn read_cursor(cursor: &str, job: JobId) -> Result<u64, ServiceError> {
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        std::str::from_utf8(&bytes).ok()?.strip_prefix(&format!("{job}:"))?.parse().ok()
    };
    read().ok_or_else(|| ServiceError::query("cursor", "is not one that this result gave out"))
}
