//! How an entry looks in a stream, and how Redis's answers are read.

use redis::Value;

use super::Entry;

const JOB_ID: &str = "jobId";
const ATTEMPT: &str = "attempt";
const HOST: &str = "host";

/// An entry as Redis gives it: its id and its fields.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) id: String,
    fields: Vec<(String, String)>,
}

/// The fields of an entry.
pub(super) fn fields(entry: &Entry) -> [(&'static str, String); 3] {
    [(JOB_ID, entry.job_id.to_string()), (ATTEMPT, entry.attempt.to_string()), (HOST, entry.host.clone())]
}

/// Reads an entry of the stream of `host`; the error names what is wrong with it.
pub(super) fn parse(raw: &Raw, host: &str) -> Result<Entry, String> {
    let field = |name: &str| {
        let found = raw.fields.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str()).ok_or_else(|| format!("it has no {name}"))
    };
    let (job, attempt) = (field(JOB_ID)?, field(ATTEMPT)?);
    let job_id = job.parse().map_err(|_| format!("{JOB_ID} is {job:?}"))?;
    let number = attempt.parse().ok().filter(|number: &u32| *number > 0);
    let attempt = number.ok_or_else(|| format!("{ATTEMPT} is {attempt:?}"))?;
    let of = field(HOST)?;
    if of != host {
        return Err(format!("it is for the host {of:?}"));
    }
    Ok(Entry { job_id, attempt, host: host.to_owned() })
}

/// The entries of an answer to XREADGROUP on one stream: nothing, or `[[key, [entry, …]]]`.
pub(super) fn read(answer: &Value) -> Vec<Raw> {
    list(answer).iter().filter_map(|stream| list(stream).get(1)).flat_map(entries).collect()
}

/// The entries of an answer to XAUTOCLAIM: `[cursor, [entry, …], …]`.
pub(super) fn claimed(answer: &Value) -> Vec<Raw> {
    list(answer).get(1).map(entries).unwrap_or_default()
}

/// The rows of an answer like that to XINFO: `[[name, value, …], …]`, with their values as texts.
pub(super) fn rows(answer: &Value) -> Vec<Vec<(String, String)>> {
    list(answer).iter().map(pairs).collect()
}

/// `[[id, [name, value, …]], …]`. What was deleted meanwhile is nil there, or has nil for its fields.
fn entries(answer: &Value) -> Vec<Raw> {
    let entry = |value: &Value| match list(value) {
        [id, fields] => Some(Raw { id: text(id), fields: pairs(fields) }),
        _ => None,
    };
    list(answer).iter().filter_map(entry).collect()
}

fn pairs(value: &Value) -> Vec<(String, String)> {
    let pair = |pair: &[Value]| match pair {
        [name, value] => Some((text(name), text(value))),
        _ => None,
    };
    list(value).chunks(2).filter_map(pair).collect()
}

fn list(value: &Value) -> &[Value] {
    if let Value::Array(values) = value { values } else { &[] }
}

fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        _ => String::new(),
    }
}
