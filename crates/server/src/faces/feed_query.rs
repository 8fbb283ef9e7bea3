//! Query parameters of the feed and of the webhook lists.

use std::time::Duration;

use axum::http::HeaderMap;
use libra_api::problem::{Code, Violation};
use libra_core::id::JobId;
use libra_store::tables::deliveries::Standing;
use libra_store::tables::feed::FeedFilter;

use super::jobs_query::{Pairs, label, number, short, small, states, unknown, waiting};
use crate::service::{After, ServiceError, WebhookQuery};

/// Events on a page when nothing is said, and at most.
const EVENT_LIMIT: (u32, u32) = (500, 1_000);
/// Messages on a page when nothing is said, and at most.
const WEBHOOK_LIMIT: (u32, u32) = (50, 1_000);
/// The greatest number that the feed can reach.
const GREATEST: u64 = i64::MAX as u64;
/// Where a reader that was cut off goes on; browsers send it by themselves.
const LAST_EVENT_ID: &str = "last-event-id";

/// Which events, from where, and how they are handed out.
#[derive(Debug)]
pub(super) struct FeedQuery {
    pub(super) filter: FeedFilter,
    pub(super) after: After,
    pub(super) limit: u32,
    pub(super) wait: Duration,
}

fn job_id(text: &str) -> Result<JobId, ServiceError> {
    text.parse()
        .map_err(|_| ServiceError::query("job", format!("must be the id of a job, not `{}`", short(text))))
}

fn no_nul(name: &str, value: &str) -> Result<(), ServiceError> {
    if value.contains('\0') {
        return Err(ServiceError::query(&short(name), "contains a NUL character"));
    }
    Ok(())
}

/// What a reader of the feed asks for. `Last-Event-ID` wins over `after`: a reader that was cut off repeats its
/// first address, and adds how far it came.
pub(super) fn feed(pairs: Pairs, headers: &HeaderMap) -> Result<FeedQuery, ServiceError> {
    let mut q = FeedQuery {
        filter: FeedFilter::default(),
        after: After::Oldest,
        limit: EVENT_LIMIT.0,
        wait: Duration::ZERO,
    };
    for (name, value) in pairs {
        no_nul(&name, &value)?;
        match name.as_str() {
            "after" if value == "now" => q.after = After::Now,
            "after" => q.after = After::Number(place("after", &value)?),
            "job" => q.filter.job = Some(job_id(&value)?),
            "label" => label(&value, &mut q.filter.labels)?,
            "status" => states(&value, &mut q.filter.states)?,
            "limit" => q.limit = small("limit", &value, 1, EVENT_LIMIT.1)?,
            "wait" => q.wait = waiting(&value)?,
            _ => return Err(unknown(&name, &["after", "job", "label", "status", "limit", "wait"])),
        }
    }
    if let Some(last) = headers.get(LAST_EVENT_ID).filter(|v| !v.is_empty()) {
        let number = last.to_str().ok().and_then(|text| place(LAST_EVENT_ID, text.trim()).ok());
        let number = number.ok_or_else(|| {
            let violation =
                Violation::new(format!("/{LAST_EVENT_ID}"), "must be the id of an event of this feed");
            ServiceError::violations(Code::InvalidHeader, vec![violation])
        })?;
        q.after = After::Number(number);
    }
    Ok(q)
}

fn place(name: &str, text: &str) -> Result<i64, ServiceError> {
    number(name, text, 0, GREATEST).map(|n| i64::try_from(n).unwrap_or(i64::MAX))
}

/// Which messages.
pub(super) fn webhooks(pairs: Pairs) -> Result<WebhookQuery, ServiceError> {
    let mut q = WebhookQuery { standing: None, job: None, limit: WEBHOOK_LIMIT.0, cursor: None };
    for (name, value) in pairs {
        no_nul(&name, &value)?;
        match name.as_str() {
            "state" => {
                let words = "must be `pending`, `delivered` or `dead`";
                q.standing =
                    Some(Standing::parse(&value).ok_or_else(|| ServiceError::query("state", words))?);
            }
            "job" => q.job = Some(job_id(&value)?),
            "limit" => q.limit = small("limit", &value, 1, WEBHOOK_LIMIT.1)?,
            "cursor" => q.cursor = Some(value),
            _ => return Err(unknown(&name, &["state", "job", "limit", "cursor"])),
        }
    }
    Ok(q)
}

/// Whose dead letters; None = all.
pub(super) fn replay(pairs: Pairs) -> Result<Option<JobId>, ServiceError> {
    let mut job = None;
    for (name, value) in pairs {
        match name.as_str() {
            "job" => job = Some(job_id(&value)?),
            _ => return Err(unknown(&name, &["job"])),
        }
    }
    Ok(job)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use libra_core::job::State;

    use super::*;

    fn pair(name: &str, value: &str) -> Pairs {
        vec![(name.to_owned(), value.to_owned())]
    }

    fn last(id: &'static str) -> HeaderMap {
        [(LAST_EVENT_ID.parse().unwrap(), HeaderValue::from_static(id))].into_iter().collect()
    }

    #[test]
    fn the_place_where_a_reader_was_cut_off_wins() {
        // contract: A10
        let after = |pairs, headers: &HeaderMap| feed(pairs, headers).map(|q| q.after);
        assert_eq!(after(vec![], &HeaderMap::new()).unwrap(), After::Oldest);
        assert_eq!(after(pair("after", "now"), &HeaderMap::new()).unwrap(), After::Now);
        assert_eq!(after(pair("after", "7"), &HeaderMap::new()).unwrap(), After::Number(7));
        assert_eq!(after(pair("after", "7"), &last("9")).unwrap(), After::Number(9));
        assert_eq!(after(pair("after", "7"), &last("")).unwrap(), After::Number(7));
        assert_eq!(after(vec![], &last("x")).unwrap_err().violations[0].pointer, "/last-event-id");
    }

    #[test]
    fn wrong_parameters_are_named() {
        for (name, value) in [
            ("after", "-1"),
            ("after", "9223372036854775808"),
            ("job", "job-1"),
            ("label", "team"),
            ("label", "a=\0"),
            ("status", "SLEEPING"),
            ("limit", "1001"),
            ("wait", "5m"),
            ("user", "ada"),
        ] {
            let error = feed(pair(name, value), &HeaderMap::new()).unwrap_err();
            assert_eq!(error.violations[0].pointer, format!("/{name}"), "{value}");
        }
        for (name, value) in [("state", "alive"), ("job", "x"), ("limit", "0"), ("status", "dead")] {
            let error = webhooks(pair(name, value)).err().unwrap();
            assert_eq!(error.violations[0].pointer, format!("/{name}"), "{value}");
        }
        assert!(replay(pair("state", "dead")).is_err());
        let q = feed(pair("status", "failed,TIMEOUT"), &HeaderMap::new()).unwrap();
        assert_eq!(q.filter.states, [State::Failed, State::Timeout]);
    }
}
