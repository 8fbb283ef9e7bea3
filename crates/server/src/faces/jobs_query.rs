//! Query parameters, each with its reason when it is wrong.

use std::time::Duration;

use libra_api::fields::nearest;
use libra_api::submit::MAX_LABELS;
use libra_core::job::State;
use libra_core::mode::Mode;
use libra_core::spec::Kind;
use libra_core::time::Timestamp;
use libra_store::tables::jobs::Filter;

use crate::service::{ListQuery, ServiceError};

/// Jobs on a page when nothing is said, and at most.
const LIST_LIMIT: (u32, u32) = (50, 1_000);
/// The longest time that a request waits for a job.
const MAX_WAIT: Duration = Duration::from_mins(5);
/// The most jobs that can be skipped; further on, use the cursor.
const MAX_OFFSET: u32 = 100_000;

/// Query parameters in the order in which they came.
pub(super) type Pairs = Vec<(String, String)>;

pub(super) fn number(name: &str, text: &str, least: u64, most: u64) -> Result<u64, ServiceError> {
    text.parse().ok().filter(|n| (least..=most).contains(n)).ok_or_else(|| {
        ServiceError::query(
            name,
            format!("must be a whole number from {least} to {most}, not `{}`", short(text)),
        )
    })
}

pub(super) fn small(name: &str, text: &str, least: u32, most: u32) -> Result<u32, ServiceError> {
    number(name, text, u64::from(least), u64::from(most)).map(|n| u32::try_from(n).unwrap_or(most))
}

pub(super) fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

pub(super) fn unknown(name: &str, known: &[&str]) -> ServiceError {
    let near = nearest(name, known).map_or(String::new(), |n| format!("; did you mean `{n}`?"));
    ServiceError::query(&short(name), format!("is not a known parameter{near}"))
}

pub(super) fn time(name: &str, text: &str) -> Result<Timestamp, ServiceError> {
    // A `+` in a query means a space: be kind to those who forget to escape an offset.
    Timestamp::parse_rfc3339(&text.replace(' ', "+"))
        .ok_or_else(|| ServiceError::query(name, "must be a time such as 2025-12-02T10:30:00Z"))
}

/// `status`: one state or several, comma-separated.
pub(super) fn states(text: &str, found: &mut Vec<State>) -> Result<(), ServiceError> {
    for word in text.split(',') {
        let state = State::parse(word.trim());
        let state = state.ok_or_else(|| ServiceError::query("status", "must be a job state"))?;
        if !found.contains(&state) {
            found.push(state);
        }
    }
    Ok(())
}

/// `label`: `key=value`, as often as wanted.
pub(super) fn label(text: &str, found: &mut Vec<(String, String)>) -> Result<(), ServiceError> {
    let pair = text.split_once('=').or_else(|| text.split_once(':'));
    let (key, value) = pair.ok_or_else(|| ServiceError::query("label", "must be `key=value`"))?;
    if found.len() == MAX_LABELS {
        return Err(ServiceError::query("label", format!("is given more than {MAX_LABELS} times")));
    }
    found.push((key.to_owned(), value.to_owned()));
    Ok(())
}

/// How long a request waits, such as `60s`.
pub(super) fn waiting(text: &str) -> Result<Duration, ServiceError> {
    let seconds = text.strip_suffix('s').unwrap_or(text);
    Ok(Duration::from_secs(number("wait", seconds, 0, MAX_WAIT.as_secs())?))
}

/// `?wait=60s`.
pub(super) fn wait(pairs: Pairs) -> Result<Duration, ServiceError> {
    let mut wait = Duration::ZERO;
    for (name, value) in pairs {
        if name != "wait" {
            return Err(unknown(&name, &["wait"]));
        }
        wait = waiting(&value)?;
    }
    Ok(wait)
}

/// Nothing is taken.
pub(super) fn none(pairs: Pairs) -> Result<(), ServiceError> {
    match pairs.into_iter().next() {
        Some((name, _)) => Err(unknown(&name, &[])),
        None => Ok(()),
    }
}

/// The filter and page of a list.
pub(super) fn list(pairs: Pairs) -> Result<ListQuery, ServiceError> {
    const KNOWN: [&str; 15] = [
        "status", "user", "tenant", "mode", "engine", "kind", "queue", "name", "cluster", "label", "since",
        "until", "limit", "offset", "cursor",
    ];
    let mut q = ListQuery { filter: Filter::default(), cursor: None, limit: LIST_LIMIT.0, offset: 0 };
    for (name, value) in pairs {
        let f = &mut q.filter;
        if value.contains('\0') {
            return Err(ServiceError::query(&short(&name), "contains a NUL character"));
        }
        match name.as_str() {
            "status" => {
                states(&value, &mut f.states)?;
            }
            "user" => f.user = Some(value),
            "tenant" => f.tenant = Some(value),
            "mode" => {
                let mode = Mode::parse(&value);
                let words = "must be `in-cluster`, `spark-submit`, `kubernetes` or `flink`";
                f.mode = Some(mode.ok_or_else(|| ServiceError::query("mode", words))?);
            }
            "engine" => f.engine = Some(value),
            "kind" => {
                let words = "must be `sql`, `python`, `scala` or `jar`";
                f.kind = Some(Kind::parse(&value).ok_or_else(|| ServiceError::query("kind", words))?);
            }
            "queue" => f.queue = Some(value),
            "name" => f.name = Some(value),
            "cluster" => f.cluster = Some(value),
            "label" => {
                label(&value, &mut f.labels)?;
            }
            "since" => f.since = Some(time("since", &value)?),
            "until" => f.until = Some(time("until", &value)?),
            "limit" => q.limit = small("limit", &value, 1, LIST_LIMIT.1)?,
            "offset" => q.offset = small("offset", &value, 0, MAX_OFFSET)?,
            "cursor" => q.cursor = Some(value),
            _ => return Err(unknown(&name, &KNOWN)),
        }
    }
    Ok(q)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> Pairs {
        vec![(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn wrong_parameters_are_named() {
        for (name, value) in [
            ("status", "SLEEPING"),
            ("limit", "0"),
            ("limit", "1001"),
            ("offset", "-1"),
            ("label", "team"),
            ("since", "yesterday"),
            ("mode", "auto"),
            ("kind", "cobol"),
            ("stauts", "RUNNING"),
            ("user", "a\0b"),
        ] {
            let error = list(pair(name, value)).err().unwrap();
            assert_eq!(error.violations[0].pointer, format!("/{name}"), "{value}");
        }
        assert!(wait(pair("wait", "5m")).is_err());
    }

    #[test]
    fn right_parameters_are_read() {
        let q = list(pair("status", "RUNNING,queued")).unwrap();
        assert_eq!(q.filter.states, [State::Running, State::Queued]);
        assert_eq!(wait(pair("wait", "60s")).unwrap(), Duration::from_mins(1));
        assert!(list(pair("since", "2025-12-02T11:30:00 01:00")).is_ok(), "a plus sign that was not escaped");
    }
}
