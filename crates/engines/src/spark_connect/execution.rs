//! One operation's responses, whatever happens to the connection.

use std::time::Duration;

use tonic::Status;

use super::client::{Operation, Responses};
use super::failure::{Verdict, is_another_session, judge};
use super::proto::{ExecutePlanResponse, Plan, ResponseKind};
use super::server::Live;

/// The first and the longest wait before attaching again.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Why no more responses come.
#[derive(Debug)]
pub(super) enum Broken {
    /// The server is dead.
    ServerGone,
    /// The server is another one than the query was sent to: it does not know the session.
    SessionGone,
    /// The server lives but no longer has the responses.
    ResultGone(Status),
    /// The operation ended with an error.
    Failed(Status),
}

/// Reads the responses of one operation, each once, and attaches again when the stream breaks.
pub(super) struct Execution<'a> {
    live: &'a Live,
    operation: &'a Operation,
    plan: Plan,
    stream: Option<Responses>,
    /// The last response that was read.
    last: Option<String>,
    pause: Duration,
    complete: bool,
}

impl<'a> Execution<'a> {
    /// An operation that is executed when the first response is asked for; one that the server knows already
    /// delivers its responses from the first one on.
    pub(super) fn new(live: &'a Live, operation: &'a Operation, plan: Plan) -> Self {
        Self { live, operation, plan, stream: None, last: None, pause: FIRST_PAUSE, complete: false }
    }

    /// The next response; None once the server said that it was the last.
    pub(super) async fn next(&mut self) -> Result<Option<ExecutePlanResponse>, Broken> {
        while !self.complete {
            let answer = match &mut self.stream {
                Some(stream) => stream.message().await,
                None => match self.open().await {
                    Ok(stream) => {
                        self.stream = Some(stream);
                        continue;
                    }
                    Err(status) => Err(status),
                },
            };
            match answer {
                Ok(Some(response)) => {
                    self.pause = FIRST_PAUSE;
                    self.live.heard();
                    self.last = Some(response.response_id.clone());
                    self.complete = matches!(response.response_type, Some(ResponseKind::ResultComplete(_)));
                    return Ok(Some(response));
                }
                // The server ends long streams from time to time; the operation goes on.
                Ok(None) => self.stream = None,
                Err(status) => {
                    self.stream = None;
                    match judge(&status) {
                        Verdict::Retry => tracing::debug!(%status, "a result stream broke"),
                        Verdict::ResultGone if self.live.is_external() && is_another_session(&status) => {
                            return Err(Broken::SessionGone);
                        }
                        Verdict::ResultGone => return Err(Broken::ResultGone(status)),
                        Verdict::Final => return Err(Broken::Failed(status)),
                    }
                }
            }
            if self.live.is_dead() {
                return Err(Broken::ServerGone);
            }
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
        Ok(None)
    }

    async fn open(&self) -> Result<Responses, Status> {
        let client = &self.live.client;
        match &self.last {
            // Also after an unknown outcome: the operation's id keeps it from running twice.
            None => client.execute(self.operation, self.plan.clone()).await,
            Some(last) => client.reattach(self.operation, last).await,
        }
    }
}
