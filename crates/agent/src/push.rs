//! Sending what is kept, the oldest first.

use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libra_api::client::{Client, ClientError};
use libra_core::retry;

use crate::held::{Again, Held};
use crate::run::Shared;
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
async fn next(shared: &Shared, held: &mut Held) -> Next {
    loop {
        if let Some(again) = held.next(Instant::now()) {
            return Next::Again(again);
        }
        if !held.is_full()
            && let Some(batch) = shared.spool().oldest()
        {
            return Next::Kept(batch);
        }
        let due = async {
            match held.due() {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.news.notified() => {}
            () = due => {}
        }
    }
}

/// Sends for ever. The key is read anew for each batch, so that it can be exchanged.
pub(crate) async fn run(shared: Arc<Shared>, client: Client, token_file: Option<PathBuf>) {
    let mut failures = 0u32;
    let mut complained = false;
    let mut held = Held::default();
    loop {
        let next = next(&shared, &mut held).await;
        let (text, samples, tries) = match &next {
            Next::Kept(batch) => (batch.text.clone(), batch.samples, 1),
            Next::Again(again) => {
                // Numbers and texts have a JSON, always.
                let Ok(text) = serde_json::to_string(&again.batch) else { continue };
                (text, again.batch.samples.len() as u64, again.tries + 1)
            }
        };
        let sent = match token(token_file.as_deref()) {
            Ok(token) => client.with_token(token).send_samples(text.clone()).await,
            Err(problem) => Err(ClientError::Setup(problem)),
        };
        match sent {
            Ok(answer) => {
                if let Next::Kept(batch) = &next {
                    shared.spool().done(batch);
                }
                shared.metrics.pushes.inc();
                let refused = held.keep(&text, tries, &answer, Instant::now());
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
                    if let Next::Kept(batch) = &next {
                        shared.spool().done(batch);
                    }
                    shared.metrics.failures.inc();
                    shared.metrics.refused.inc_by(samples);
                    failures = 0;
                    shared.say(&format!("Libra has refused a batch: {}", one_line(&error.to_string())));
                }
                Verdict::Later => {
                    if let Next::Again(again) = next {
                        held.put_back(again, Instant::now());
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
