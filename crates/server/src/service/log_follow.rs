//! Following a log: what is there, then what comes, until the job is over.

use std::sync::Arc;
use std::time::Duration;

use libra_api::views::{LogEndView, LogLinesView};
use libra_core::attempt::Attempt;
use libra_core::job::Job;
use libra_engines::logs::{LogReader, Stream};
use tokio::time::{Instant, timeout_at};

use super::changes::Watch;
use super::logs::{begin, blocking, can_write_no_more, whole_characters};
use super::{LogPlace, LogQuery, Service, ServiceError};
use crate::auth::Principal;

/// Bytes that go out at once: what a slow reader holds in memory.
const PIECE: usize = 32 * 1024;
/// The pause between two looks at a log that grows, and at one that has been silent for long.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(800));
/// How often the job is looked at, should a signal be lost.
const LOOK: Duration = Duration::from_secs(3);

/// What a follower gets next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LogPiece {
    /// Whole lines; a part of one where the driver does not end it.
    Lines(LogLinesView),
    /// The job is over and everything was sent.
    End(LogEndView),
    /// Nothing so far.
    Nothing,
    /// The files of this attempt are with another replica: asking again for its beginning leads there.
    Elsewhere(u32),
}

/// Follows one stream of a job: of one attempt, or of this one and all that come after it.
pub(crate) struct LogFollower {
    service: Arc<Service>,
    principal: Principal,
    job: Job,
    attempts: Vec<Attempt>,
    stream: Stream,
    /// True: only this attempt.
    pinned: bool,
    /// 0 while there is none.
    attempt: u32,
    /// None until the first look.
    offset: Option<u64>,
    from: LogPlace,
    reader: Option<LogReader>,
    changes: Watch,
    looked: Instant,
    pause: Duration,
    /// Bytes of a line that has not ended, at the last look.
    unfinished: usize,
}

impl LogFollower {
    /// Begins where `query` says. With `pinned` the named attempt alone is followed.
    pub(crate) async fn open(
        service: Arc<Service>,
        principal: &Principal,
        id: &str,
        query: LogQuery,
        pinned: bool,
    ) -> Result<Self, ServiceError> {
        let job_id = id.parse().map_err(|_| ServiceError::job_not_found(id))?;
        // Before looking: a change in between is not missed.
        let changes = service.watch(job_id);
        let (job, attempts) = service.job_with_logs(principal, id, query.attempt).await?;
        Ok(Self {
            attempt: query.attempt.unwrap_or(job.attempt),
            service,
            principal: principal.clone(),
            job,
            attempts,
            stream: query.stream,
            pinned,
            offset: None,
            from: query.from,
            reader: None,
            changes,
            looked: Instant::now(),
            pause: PAUSE.0,
            unfinished: 0,
        })
    }

    /// What comes next, at the latest at `deadline`.
    ///
    /// # Errors
    /// When the job or its files can't be read any more.
    pub(crate) async fn next(&mut self, deadline: Instant) -> Result<LogPiece, ServiceError> {
        loop {
            if self.attempt == 0 && self.job.attempt > 0 {
                // The first one since the follower came.
                self.attempt = 1;
                self.from = LogPlace::Offset(0);
            }
            if self.is_elsewhere() {
                return Ok(LogPiece::Elsewhere(self.attempt));
            }
            // Asked before reading: what is read after the end is all there is.
            let over = can_write_no_more(&self.job, &self.attempts, self.attempt);
            if self.attempt > 0
                && let Some(lines) = self.read(over).await?
            {
                self.pause = PAUSE.0;
                return Ok(LogPiece::Lines(lines));
            }
            if over {
                if !self.pinned && self.attempts.iter().any(|a| a.number == self.attempt + 1) {
                    self.attempt += 1;
                    (self.reader, self.offset, self.from) = (None, None, LogPlace::Offset(0));
                    continue;
                }
                if self.pinned || self.job.state.is_terminal() {
                    return Ok(LogPiece::End(self.end()));
                }
            }
            if Instant::now() >= deadline {
                return Ok(LogPiece::Nothing);
            }
            self.wait(deadline).await?;
        }
    }

    /// Reads whole lines; None when there are none so far.
    async fn read(&mut self, over: bool) -> Result<Option<LogLinesView>, ServiceError> {
        let reader = self.reader.take();
        let mut reader =
            reader.unwrap_or_else(|| self.service.log_reader(&self.job, self.attempt, self.stream));
        let (from, offset) = (self.from, self.offset);
        let (reader, offset, bytes) = blocking(move || {
            let offset = offset.map_or_else(|| begin(&mut reader, from), Ok)?;
            let bytes = reader.read(offset, PIECE)?;
            Ok((reader, offset, bytes))
        })
        .await?;
        (self.reader, self.offset) = (Some(reader), Some(offset));
        let kept = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            // The driver will not end its line, or not soon.
            None if over && bytes.len() < PIECE => bytes.len(),
            None if bytes.len() >= PIECE || bytes.len() == self.unfinished => whole_characters(&bytes),
            None => 0,
        };
        self.unfinished = bytes.len() - kept;
        if kept == 0 {
            return Ok(None);
        }
        let next_offset = offset + kept as u64;
        self.offset = Some(next_offset);
        Ok(Some(LogLinesView {
            attempt: self.attempt,
            stream: self.stream.as_str().to_owned(),
            offset,
            next_offset,
            content: String::from_utf8_lossy(&bytes[..kept]).into_owned(),
        }))
    }

    /// Waits for more to read, and hears meanwhile what becomes of the job.
    async fn wait(&mut self, deadline: Instant) -> Result<(), ServiceError> {
        let until = deadline.min(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(PAUSE.1);
        let changed =
            self.looked.elapsed() >= LOOK || timeout_at(until, self.changes.changed()).await.is_ok();
        if changed {
            let id = self.job.id.to_string();
            (self.job, self.attempts) = self.service.job_with_logs(&self.principal, &id, None).await?;
            self.looked = Instant::now();
            self.pause = PAUSE.0;
        }
        Ok(())
    }

    /// True when another replica has the files of this attempt.
    fn is_elsewhere(&self) -> bool {
        let storage = self.attempts.iter().find(|a| a.number == self.attempt).map_or("", |a| &a.storage);
        !self.service.alone && !storage.is_empty() && storage != self.service.standing.me.storage
    }

    fn end(&self) -> LogEndView {
        let attempt = self.attempts.iter().find(|a| a.number == self.attempt);
        LogEndView {
            job_id: self.job.id.to_string(),
            status: self.job.state.as_str().to_owned(),
            attempt: self.attempt,
            exit_code: attempt.and_then(|a| a.exit.as_ref()?.exit_code),
        }
    }
}
