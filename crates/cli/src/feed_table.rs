//! The lines of `libra events`, and the table of `libra webhooks list`.

use libra_api::feed::{FeedEventView, WebhookView};
use libra_core::time::Timestamp;

use crate::age;
use crate::listing::{columns, shorten};
use crate::output;

/// The longest address in the table, characters.
const LONGEST_TARGET: usize = 48;
/// The longest error in the table, characters.
const LONGEST_ERROR: usize = 60;

/// One line, with columns of fixed width: the lines that follow are not known yet.
fn line([seq, at, job, from, to, by, reason]: [&str; 7]) -> String {
    let text = format!("{seq:>8}  {at:<24}  {job:<40}  {from:<10}  {to:<10}  {by:<12}  {reason}");
    format!("{}\n", text.trim_end())
}

/// The heading of the feed.
pub(crate) fn heading() -> String {
    line(["SEQ", "AT", "JOB", "FROM", "TO", "BY", "REASON"])
}

/// One line an event.
pub(crate) fn events(events: &[FeedEventView]) -> String {
    let lines = events.iter().map(|row| {
        let event = &row.event;
        line([
            &event.seq.map_or_else(|| "-".to_owned(), |seq| seq.to_string()),
            &event.at,
            &row.job_id,
            event.from.as_deref().unwrap_or("-"),
            &event.to,
            &output::one_line(&event.actor),
            &output::one_line(&event.reason),
        ])
    });
    lines.collect()
}

/// One line a message.
pub(crate) fn webhooks(messages: &[WebhookView], now: Timestamp) -> String {
    if messages.is_empty() {
        return String::new();
    }
    let rows = messages.iter().map(|message| {
        [
            message.id.to_string(),
            message.job_id.clone(),
            message.event.clone(),
            message.state.clone(),
            message.tries.to_string(),
            age::ago(&message.created_at, now),
            shorten(&message.target, LONGEST_TARGET),
            message.last_error.as_deref().map_or_else(|| "-".to_owned(), |e| shorten(e, LONGEST_ERROR)),
        ]
    });
    columns(["ID", "JOB", "EVENT", "STATE", "TRIES", "WRITTEN", "TARGET", "LAST ERROR"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_feed_has_a_line_for_each_event() {
        let row = |seq, from: Option<&str>, to: &str, reason: &str| {
            serde_json::from_value::<FeedEventView>(serde_json::json!({
                "jobId": "job-0198f0c4-6b1e-7c3a-9a55-3f1f0f6c2a10", "user": "alice", "labels": {"team": "data"},
                "seq": seq, "from": from, "to": to, "at": "2026-01-31T08:00:00.000Z", "actor": "alice",
                "reason": reason, "attempt": 0, "correlationId": "c"
            }))
            .unwrap()
        };
        let rows =
            [row(7, None, "SUBMITTED", "submitted"), row(8, Some("QUEUED"), "SCHEDULED", "a\nb\u{1b}[2J")];
        insta::assert_snapshot!("feed", heading() + &events(&rows));
    }

    #[test]
    fn a_table_of_messages() {
        let message = |value| serde_json::from_value::<WebhookView>(value).unwrap();
        let messages = [
            message(serde_json::json!({
                "id": 3, "webhookId": "job-1-3", "jobId": "job-0198f0c4-6b1e-7c3a-9a55-3f1f0f6c2a10",
                "event": "FAILED", "target": "https://example.com/hook", "state": "dead", "tries": 5,
                "createdAt": "1970-01-01T00:00:00.000Z", "deadAt": "1970-01-01T00:00:04.000Z",
                "lastError": "the target answered 500", "payload": {}
            })),
            message(serde_json::json!({
                "id": 4, "webhookId": "job-1-4", "jobId": "job-0198f0c4-6b1e-7c3a-9a55-3f1f0f6c2a10",
                "event": "RUNNING", "target": format!("https://example.com/{}", "x".repeat(60)), "state": "pending",
                "tries": 0, "createdAt": "1970-01-01T00:00:03.000Z", "payload": {}
            })),
        ];
        insta::assert_snapshot!("webhooks", webhooks(&messages, Timestamp(5_000_000)));
        assert_eq!(webhooks(&[], Timestamp(0)), "");
    }
}
