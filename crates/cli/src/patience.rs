//! Riding out a short absence of the service, such as its restart.

use std::time::{Duration, Instant};

use libra_api::client::ClientError;

use crate::failure::Failure;
use crate::output;

/// How long the service may be away before a command that waits gives up.
const LONGEST_ABSENCE: Duration = Duration::from_mins(1);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Calls until there is an answer. Only for calls that change nothing. A refusal is an answer. What never answered
/// at all is not waited for: then the address is wrong.
pub(crate) struct Patience {
    answered: bool,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self { answered: false }
    }

    /// With a Libra that has answered before.
    pub(crate) fn answered() -> Self {
        Self { answered: true }
    }

    pub(crate) async fn call<T, F>(&mut self, mut call: impl FnMut() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let begun = Instant::now();
        let mut told = false;
        loop {
            match call().await.map_err(Failure::from) {
                Ok(answer) => {
                    self.answered = true;
                    return Ok(answer);
                }
                Err(failure)
                    if failure.is_passing() && self.answered && begun.elapsed() < LONGEST_ABSENCE =>
                {
                    if !told {
                        output::say("Libra does not answer at present; trying again");
                        told = true;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }
}
