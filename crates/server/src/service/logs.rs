//! A job's log, piece by piece, from the attempt's files.

use libra_api::problem::Code;
use libra_api::views::LogsView;
use libra_core::attempt::Attempt;
use libra_core::job::Job;
use libra_engines::attempt_dir::AttemptDir;
use libra_engines::logs::{LogReader, Stream};

use super::{Service, ServiceError};
use crate::auth::Principal;

/// How far back the last lines are looked for, in bytes.
const MAX_TAIL_BYTES: u64 = 16 * 1024 * 1024;

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogPlace {
    /// So many bytes from the beginning.
    Offset(u64),
    /// At the last so many lines.
    Lines(u32),
}

/// Which piece.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogQuery {
    pub(crate) stream: Stream,
    /// None = the last attempt.
    pub(crate) attempt: Option<u32>,
    pub(crate) from: LogPlace,
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
        let (job, attempts) = self.job_with_logs(principal, id, query.attempt).await?;
        let number = query.attempt.unwrap_or(job.attempt);
        let ended = can_write_no_more(&job, &attempts, number);
        let mut reader = self.log_reader(&job, number, query.stream);
        let LogQuery { from, limit, .. } = query;
        let (offset, bytes, total) = blocking(move || {
            let offset = begin(&mut reader, from)?;
            let bytes = reader.read(offset, limit as usize)?;
            // What was read is there, whatever was written or compressed meanwhile.
            let total = reader.total()?.max(if bytes.is_empty() { 0 } else { offset + bytes.len() as u64 });
            Ok((offset, bytes, total))
        })
        .await?;
        let kept = if ended { bytes.len() } else { whole_characters(&bytes) };
        let next_offset = offset.min(total) + kept as u64;
        Ok(LogsView {
            job_id: job.id.to_string(),
            attempt: number,
            stream: query.stream.as_str().to_owned(),
            offset,
            next_offset,
            total,
            complete: ended && next_offset >= total,
            content: String::from_utf8_lossy(&bytes[..kept]).into_owned(),
        })
    }

    /// A job whose logs are kept, and which has the attempt that is asked for.
    pub(super) async fn job_with_logs(
        &self,
        principal: &Principal,
        id: &str,
        attempt: Option<u32>,
    ) -> Result<(Job, Vec<Attempt>), ServiceError> {
        let (job, attempts) = self.job(principal, id).await?;
        if let Some(expired) = self.files_expired(&job) {
            return Err(expired);
        }
        if let Some(number) = attempt
            && !attempts.iter().any(|a| a.number == number)
        {
            let words = match job.attempt {
                0 => "the job has no attempts so far".to_owned(),
                last => format!("the job has attempts 1 to {last}"),
            };
            return Err(ServiceError::query("attempt", words));
        }
        Ok((job, attempts))
    }

    pub(super) fn log_reader(&self, job: &Job, attempt: u32, stream: Stream) -> LogReader {
        LogReader::new(&AttemptDir::new(self.attempt_dir(job.id, attempt)), stream)
    }
}

/// True when the log of this attempt grows no more.
pub(super) fn can_write_no_more(job: &Job, attempts: &[Attempt], number: u32) -> bool {
    attempts.iter().find(|a| a.number == number).map_or(job.state.is_terminal(), |a| a.ended_at.is_some())
}

/// Where reading begins, bytes from the beginning.
pub(super) fn begin(reader: &mut LogReader, from: LogPlace) -> std::io::Result<u64> {
    match from {
        LogPlace::Offset(offset) => Ok(offset),
        LogPlace::Lines(lines) => reader.last_lines(lines, MAX_TAIL_BYTES),
    }
}

/// Reads files away from the threads that serve everybody.
pub(super) async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, ServiceError> {
    let unreadable = |cause: String| ServiceError {
        cause: Some(cause),
        ..ServiceError::new(Code::Internal, "the log's file can't be read; the server's log has the cause")
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(e)) => Err(unreadable(e.to_string())),
        Err(e) => Err(unreadable(e.to_string())),
    }
}

/// How many of `bytes` end with a whole character, so that a piece never cuts one in two.
pub(super) fn whole_characters(bytes: &[u8]) -> usize {
    // A character has four bytes at most: what is before them can't be unfinished.
    let end = bytes.len().saturating_sub(3);
    let lead = bytes[end..].iter().rposition(|byte| byte & 0xc0 != 0x80);
    let Some(start) = lead.map(|at| end + at) else { return bytes.len() };
    match std::str::from_utf8(&bytes[start..]) {
        // An unfinished character at the very end: leave it for the next piece.
        Err(e) if e.error_len().is_none() && start > 0 => start,
        Ok(_) | Err(_) => bytes.len(),
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
        let clef = "a\u{1d11e}".as_bytes();
        for cut in 2..5 {
            assert_eq!(whole_characters(&clef[..cut]), 1, "{cut}");
        }
        assert_eq!(whole_characters(clef), 5);
        assert_eq!(whole_characters(&[0x80; 9]), 9);
        assert_eq!(whole_characters(&[0xc3]), 1, "alone it is shown: the next look may bring nothing more");
    }
}
