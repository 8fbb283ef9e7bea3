//! Sending what is kept, the oldest first.

use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use libra_api::client::{Client, ClientError};
use libra_core::retry;

use crate::held::Again;
use crate::run::{Shared, now};
use crate::spool::Batch;

/// What becomes of a batch that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is sent again, later.
    Later,
    /// It will never be taken.
    Refused,
}

/// What an error means for its batch. Only what Libra says of the batch itself counts against it: an old Libra, a missing
/// key or a wrong address can be put right while the batch waits.
fn verdict(error: &ClientError) -> Verdict {
    let status = match error {
        ClientError::Problem(problem) => problem.status,
        ClientError::NotLibra { status, .. } => *status,
        ClientError::Unreachable { .. } | ClientError::Setup(_) => return Verdict::Later,
    };
    if matches!(status, 400 | 413 | 422) { Verdict::Refused } else { Verdict::Later }
}

/// How long to wait after so many failures in a row: any time up to a bound that doubles to a minute, so that the agents
/// of a thousand nodes do not come back together.
fn pause(failures: u32) -> Duration {
    let random = RandomState::new().hash_one(failures);
    Duration::from_millis(retry::delay_ms(&retry::default_policy(), failures, random))
}

/// What is sent next.
enum Next {
    /// The oldest of what is kept.
    Kept(Batch),
    /// What Libra could not take so far.
    Again(Again),
}

/// What is to be sent next; waits for it.
async fn next(shared: &Shared) -> Next {
    loop {
        let (again, is_full, due) = {
            let mut held = shared.held();
            (held.next(now()), held.is_full(), held.due(now()))
        };
        if let Some(again) = again {
            return Next::Again(again);
        }
        // What is held and can't be read holds up nothing.
        if (!is_full || due.is_none())
            && let Some(batch) = shared.spool().oldest()
        {
            return Next::Kept(batch);
        }
        let due = async {
            match due {
                Some(due) => tokio::time::sleep(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.news.notified() => {}
            () = due => {}
        }
    }
}

/// It needs not be sent any more.
fn done(shared: &Shared, next: &Next) {
    match next {
        Next::Kept(batch) => shared.spool().done(batch),
        Next::Again(again) => shared.held().done(again),
    }
}

/// Sends for ever. The key is read anew for each batch, so that it can be exchanged.
pub(crate) async fn run(shared: Arc<Shared>, client: Client, token_file: Option<PathBuf>) {
    let mut failures = 0u32;
    let mut complained = false;
    loop {
        let next = next(&shared).await;
        let (text, samples, tries) = match &next {
            Next::Kept(batch) => (batch.text.clone(), batch.samples, 1),
            Next::Again(again) => {
                // Numbers and texts have a JSON, always.
                let Ok(text) = serde_json::to_string(&again.batch) else {
                    done(&shared, &next);
                    continue;
                };
                (text, again.batch.samples.len() as u64, again.tries + 1)
            }
        };
        let sent = match token(token_file.as_deref()) {
            Ok(token) => client.with_token(token).send_samples(text.clone()).await,
            Err(problem) => Err(ClientError::Setup(problem)),
        };
        match sent {
            Ok(answer) => {
                // Held before it is done with: killed between the two, the agent sends it twice, which is as good as once.
                let (refused, written) = shared.held().keep(&text, tries, &answer, now());
                if let Some(written) = written {
                    shared.written(&written, &shared.is_held_full);
                }
                done(&shared, &next);
                shared.metrics.pushes.inc();
                shared.metrics.refused.inc_by(refused);
                if failures > 0 {
                    shared.say(&format!("Libra answers again, after {failures} failures"));
                    failures = 0;
                }
                // Once for a series: every batch may have them.
                if let Some(first) = answer.rejected.first().filter(|_| refused > 0 && !complained) {
                    shared.say(&format!(
                        "Libra has refused {refused} of {samples} samples; the first one: {}",
                        one_line(&first.reason)
                    ));
                }
                complained = refused > 0;
            }
            Err(error) => match verdict(&error) {
                Verdict::Refused => {
                    done(&shared, &next);
                    shared.metrics.failures.inc();
                    shared.metrics.refused.inc_by(samples);
                    failures = 0;
                    shared.say(&format!("Libra has refused a batch: {}", one_line(&error.to_string())));
                }
                Verdict::Later => {
                    if let Next::Again(_) = &next {
                        shared.held().rest();
                    }
                    shared.metrics.failures.inc();
                    if failures == 0 {
                        shared.say(&format!(
                            "{}; what is seen is kept meanwhile",
                            one_line(&error.to_string())
                        ));
                    }
                    failures = failures.saturating_add(1);
                    tokio::time::sleep(pause(failures)).await;
                }
            },
        }
    }
}

/// The key in its file.
pub(crate) fn token(file: Option<&Path>) -> Result<Option<String>, String> {
    let Some(file) = file else { return Ok(None) };
    let text = std::fs::read_to_string(file)
        .map_err(|e| format!("the key in {} can't be read: {e}", file.display()))?;
    match text.trim() {
        "" => Err(format!("{} is empty: there is no key in it", file.display())),
        token => Ok(Some(token.to_owned())),
    }
}

/// On one line, without control characters: a log must not be steered by what an answer says.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use libra_api::problem::{Code, Problem};

    use super::*;

    #[test]
    fn only_what_is_wrong_with_the_batch_itself_is_final() {
        let other = |status| verdict(&ClientError::NotLibra { url: String::new(), status });
        for status in [400, 413, 422] {
            assert_eq!(other(status), Verdict::Refused, "{status}");
        }
        for status in [200, 301, 401, 403, 404, 405, 408, 429, 500, 502, 503] {
            assert_eq!(other(status), Verdict::Later, "{status}");
        }
        let problem = |code| verdict(&ClientError::Problem(Box::new(Problem::new(code, "", "c"))));
        assert_eq!(problem(Code::InvalidRequest), Verdict::Refused);
        assert_eq!(problem(Code::Unauthenticated), Verdict::Later);
    }

    #[test]
    fn pauses_differ_and_end_at_a_minute() {
        let pauses: Vec<Duration> = (0..50).map(|_| pause(20)).collect();
        assert!(pauses.iter().all(|pause| *pause <= Duration::from_mins(1)));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }

    #[test]
    fn a_key_is_what_is_in_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        assert_eq!(token(None), Ok(None));
        assert!(token(Some(&file)).unwrap_err().contains("can't be read"));
        std::fs::write(&file, " \n").unwrap();
        assert!(token(Some(&file)).unwrap_err().contains("is empty"));
        std::fs::write(&file, "some-key\n").unwrap();
        assert_eq!(token(Some(&file)), Ok(Some("some-key".to_owned())));
    }
}
