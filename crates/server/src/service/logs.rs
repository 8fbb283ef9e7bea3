//! A job's log, piece by piece, from the attempt's files.

use std::io::{Read, Seek, SeekFrom};

use libra_api::problem::Code;
use libra_api::views::LogsView;
use libra_engines::attempt_dir::AttemptDir;

use super::{Service, ServiceError};
use crate::auth::Principal;

/// Which piece.
pub(crate) struct LogQuery {
    /// True for standard error.
    pub(crate) stderr: bool,
    /// None = the last attempt.
    pub(crate) attempt: Option<u32>,
    /// Bytes from the beginning.
    pub(crate) offset: u64,
    /// Bytes at most.
    pub(crate) limit: u32,
}

impl Service {
    /// A piece of the log of one attempt.
    pub(crate) async fn logs(
        &self,
        principal: &Principal,
        id: &str,
        query: LogQuery,
    ) -> Result<LogsView, ServiceError> {
        let (job, attempts) = self.job(principal, id).await?;
        if let Some(expired) = self.files_expired(&job) {
            return Err(expired);
        }
        let number = query.attempt.unwrap_or(job.attempt);
        let attempt = attempts.iter().find(|a| a.number == number);
        if attempt.is_none() && query.attempt.is_some() {
            return Err(ServiceError::query("attempt", format!("the job has attempts 1 to {}", job.attempt)));
        }
        let ended = attempt.map_or(job.state.is_terminal(), |a| a.ended_at.is_some());
        let dir = AttemptDir::new(self.attempt_dir(job.id, number));
        let path = if query.stderr { dir.stderr() } else { dir.stdout() };
        let piece = tokio::task::spawn_blocking(move || read(&path, query.offset, query.limit)).await;
        let (bytes, total) = match piece {
            Ok(Ok(found)) => found,
            Ok(Err(e)) => return Err(unreadable(&e.to_string())),
            Err(e) => return Err(unreadable(&e.to_string())),
        };
        let kept = if ended { bytes.len() } else { whole_characters(&bytes) };
        let next_offset = query.offset.min(total) + kept as u64;
        Ok(LogsView {
            job_id: job.id.to_string(),
            attempt: number,
            stream: if query.stderr { "stderr" } else { "stdout" }.to_owned(),
            offset: query.offset,
            next_offset,
            total,
            complete: ended && next_offset >= total,
            content: String::from_utf8_lossy(&bytes[..kept]).into_owned(),
        })
    }
}

fn unreadable(cause: &str) -> ServiceError {
    ServiceError {
        cause: Some(cause.to_owned()),
        ..ServiceError::new(Code::Internal, "the log's file can't be read; the server's log has the cause")
    }
}

/// The piece and the size of the whole; a log that was never begun is empty.
fn read(path: &std::path::Path, offset: u64, limit: u32) -> std::io::Result<(Vec<u8>, u64)> {
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(e) => return Err(e),
    };
    let total = file.metadata()?.len();
    file.seek(SeekFrom::Start(offset.min(total)))?;
    let mut bytes = Vec::new();
    file.take(u64::from(limit)).read_to_end(&mut bytes)?;
    Ok((bytes, total))
}

/// How many of `bytes` end with a whole character, so that a piece never cuts one in two.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        Err(e) => match e.error_len() {
            // An unfinished character at the very end: leave it for the next piece.
            None if e.valid_up_to() > 0 => e.valid_up_to(),
            None | Some(_) => bytes.len(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_does_not_cut_a_character() {
        let text = "aü".as_bytes();
        assert_eq!(whole_characters(&text[..2]), 1);
        assert_eq!(whole_characters(text), 3);
        assert_eq!(whole_characters(&[0xff, b'a']), 2, "what is no UTF-8 is shown as it is");
    }
}
