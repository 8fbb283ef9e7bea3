//! Sends a query to a living server and reads it to its end.

use std::time::Duration;

use bytes::Bytes;
use libra_core::attempt::Outcome;
use libra_core::failure::{ErrorClass, Failure};
use tonic::Status;

use super::client::{Operation, command_plan, query_plan, rows_plan};
use super::error_details;
use super::execution::{Broken, Execution};
use super::failure::{self, Verdict, judge};
use super::proto::{Plan, ResponseKind};
use super::query::Query;
use super::result::{ResultError, ResultWriter};
use super::server::Live;

/// Batches larger than this are written away from the threads that serve everybody, in bytes.
const INLINE_BYTES: usize = 64 * 1024;
/// The pause between two tries to configure a session over a broken connection.
const PAUSE: Duration = Duration::from_millis(200);

/// Why a query did not succeed.
enum Stop {
    /// The operation or its connection ended.
    Broken(Broken),
    /// Its result could not be kept.
    Result(ResultError),
    /// Its session refused a setting.
    Settings(Failure),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<ResultError> for Stop {
    fn from(error: ResultError) -> Self {
        Self::Result(error)
    }
}

/// Runs the query, or goes on with one that the server knows already.
pub(super) async fn run(query: &Query, live: &Live) -> Outcome {
    live.enter();
    let end = match carry_out(query, live).await {
        Err(Stop::Broken(Broken::Failed(status))) if is_death(query, live, &status).await => {
            Err(Stop::Broken(Broken::ServerGone))
        }
        Err(Stop::Broken(Broken::Failed(status))) => {
            Err(Broken::Failed(error_details::whole(&live.client, &query.operation, status).await).into())
        }
        end => end,
    };
    if !matches!(end, Err(Stop::Broken(Broken::ServerGone | Broken::SessionGone))) {
        live.leave();
    }
    match end {
        Ok(()) => Outcome::Succeeded,
        Err(stop) => judge_end(query, live, stop),
    }
}

/// True when an error is the server's death and not the query's fault: Spark names its own errors.
async fn is_death(query: &Query, live: &Live, status: &Status) -> bool {
    if failure::is_named(status) || (query.is_cancelled() && failure::is_interruption(status)) {
        return false;
    }
    if failure::is_beyond_repair(status) {
        live.condemn();
    }
    live.dies_soon().await
}

async fn carry_out(query: &Query, live: &Live) -> Result<(), Stop> {
    if !query.settings.is_empty() {
        configure(query, live).await?;
    }
    if query.reads {
        return fetch(query, live, &query.operation, query_plan(&query.sql)).await;
    }
    if let Some(relation) = command(query, live).await? {
        fetch(query, live, &query.fetch, rows_plan(relation)).await
    } else {
        finish(ResultWriter::create(&query.dir).map_err(ResultError::Disk)?).await
    }
}

async fn configure(query: &Query, live: &Live) -> Result<(), Stop> {
    loop {
        let settings = query.settings.iter().map(|(key, value)| (key.clone(), value.clone()));
        let Err(status) = live.client.configure(&query.operation, settings).await else { return Ok(()) };
        match judge(&status) {
            Verdict::Retry if live.is_dead() => return Err(Broken::ServerGone.into()),
            Verdict::Retry => tokio::time::sleep(PAUSE).await,
            Verdict::ResultGone | Verdict::Final => {
                let mut failure = failure::failure(&status);
                if failure.class == ErrorClass::User {
                    "bad_setting".clone_into(&mut failure.code);
                }
                return Err(Stop::Settings(failure));
            }
        }
    }
}

/// Runs the text as a command; answers the relation that holds its rows.
async fn command(query: &Query, live: &Live) -> Result<Option<Bytes>, Stop> {
    let mut relation = None;
    let mut execution = Execution::new(live, &query.operation, command_plan(&query.sql));
    while let Some(response) = execution.next().await? {
        match response.response_type {
            Some(ResponseKind::SqlCommandResult(result)) => relation = result.relation,
            Some(ResponseKind::ExecutionProgress(report)) => query.report(&report),
            Some(ResponseKind::ArrowBatch(_) | ResponseKind::ResultComplete(_)) | None => {}
        }
    }
    Ok(relation)
}

/// Fetches rows into the attempt's result.
async fn fetch(query: &Query, live: &Live, operation: &Operation, plan: Plan) -> Result<(), Stop> {
    let mut result = ResultWriter::create(&query.dir).map_err(ResultError::Disk)?;
    let mut execution = Execution::new(live, operation, plan);
    while let Some(response) = execution.next().await? {
        if let Some(schema) = response.schema {
            result.schema(schema);
        }
        match response.response_type {
            Some(ResponseKind::ArrowBatch(batch)) => {
                let (written, room) = write(result, batch.data, batch.row_count).await?;
                result = written;
                if !room {
                    interrupt_rest(query, live).await;
                    break;
                }
            }
            Some(ResponseKind::ExecutionProgress(report)) => query.report(&report),
            Some(ResponseKind::SqlCommandResult(_) | ResponseKind::ResultComplete(_)) | None => {}
        }
    }
    finish(result).await
}

async fn write(mut result: ResultWriter, ipc: Bytes, rows: i64) -> Result<(ResultWriter, bool), ResultError> {
    if ipc.len() <= INLINE_BYTES {
        let room = result.batch(ipc, rows)?;
        return Ok((result, room));
    }
    tokio::task::spawn_blocking(move || result.batch(ipc, rows).map(|room| (result, room)))
        .await
        .map_err(|e| ResultError::Disk(std::io::Error::other(e)))?
}

async fn finish(result: ResultWriter) -> Result<(), Stop> {
    let finished = tokio::task::spawn_blocking(move || result.finish()).await;
    finished.unwrap_or_else(|e| Err(std::io::Error::other(e))).map_err(|e| Stop::Result(ResultError::Disk(e)))
}

/// Stops a query whose further rows nobody wants. Losing the race is harmless.
async fn interrupt_rest(query: &Query, live: &Live) {
    if let Err(status) = live.client.interrupt(&query.operation).await {
        tracing::debug!(%status, "a query with too many rows could not be interrupted");
    }
}

fn judge_end(query: &Query, live: &Live, stop: Stop) -> Outcome {
    let failure = match stop {
        Stop::Broken(Broken::Failed(status)) if query.is_cancelled() && failure::is_interruption(&status) => {
            return Outcome::Stopped;
        }
        Stop::Broken(Broken::Failed(status)) => {
            let mut failure = failure::failure(&status);
            failure.outcome_unknown &= !query.reads;
            failure
        }
        // Ended by force, because it did not obey: nothing of it is alive.
        Stop::Broken(Broken::ServerGone) if query.is_cancelled() && !live.is_external() => {
            return Outcome::Stopped;
        }
        Stop::Broken(Broken::SessionGone) => {
            query.lost("it no longer knows the session, so it was restarted or has ended it")
        }
        Stop::Broken(Broken::ServerGone) if live.was_exhausted_by_one() => {
            let failure = failure::out_of_memory("");
            if query.reads { failure } else { failure.with_unknown_outcome() }
        }
        Stop::Broken(Broken::ServerGone) => query.lost(&live.last_words()),
        Stop::Broken(Broken::ResultGone(status)) => result_gone(query, status.message()),
        Stop::Result(error) => {
            let failure = failure::result_failure(&error);
            if query.reads { failure } else { failure.with_effect() }
        }
        Stop::Settings(failure) => failure,
    };
    Outcome::Failed { failure }
}

/// The server lives but can't deliver the responses any more.
fn result_gone(query: &Query, detail: &str) -> Failure {
    let text = if query.reads {
        "The rows of the query were lost with a broken connection. A query that only reads can be run again."
    } else {
        "The answer to the statement was lost with a broken connection. Nobody knows whether the statement took effect."
    };
    let failure = Failure::new(ErrorClass::Infrastructure, "result_lost", text).with_detail(detail);
    if query.reads { failure } else { failure.with_unknown_outcome() }
}
