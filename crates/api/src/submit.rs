//! `POST …/jobs[/submit]`: the request (contract A1).

use std::collections::BTreeMap;

use libra_core::failure::ErrorClass;
use libra_core::job::State;
use libra_core::mode::{Mode, ModeChoice};
use libra_core::retry;
use libra_core::spec::{
    DEFAULT_PRIORITY, JobSpec, Kind, MAX_CODE_BYTES, MAX_TIMEOUT_MINUTES, Notifications, PRIORITY_RANGE,
    RetryPolicy, SessionMode, Source,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;
use utoipa::ToSchema;

use crate::allocation::{self, SlurmRequest};
use crate::fields::Fields;
use crate::problem::Violation;

/// The longest name, queue, cluster, label or user, in bytes.
pub const MAX_NAME_BYTES: usize = 256;
/// The longest path, address or argument, in bytes.
pub const MAX_PATH_BYTES: usize = 8 * 1024;
/// The most entries of a list or of a map of settings.
pub const MAX_ENTRIES: usize = 1_000;
/// The most labels of one job.
pub const MAX_LABELS: usize = 64;
/// The longest Spark setting or environment value, in bytes.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;

/// A job to run. Either `code` or `file` is needed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SubmitRequest {
    /// The program's text. At most 2 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "SELECT 1 AS one")]
    pub code: Option<String>,
    /// A path or URI of the program that the driver can read, or an upload: `artifact:sha256:…#name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// `sql`, `python`, `scala`, `jar` or `script`. For a file it follows from its ending.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "sql")]
    pub kind: Option<String>,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The main class of a jar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// Arguments of a file, or of a script for Slurm.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// `auto` (default), `in-cluster`, `spark-submit`, `kubernetes` or `slurm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "auto")]
    pub execution_mode: Option<String>,
    /// Spark settings, passed through.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub spark_config: BTreeMap<String, String>,
    /// 1–10, higher first; 5 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10)]
    pub priority: Option<u8>,
    /// How failures are retried. When absent: infrastructure only, three times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<RetryPolicyRequest>,
    /// Whom to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notifications: Option<NotificationsRequest>,
    /// Run time limit; 0 = none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 43200)]
    pub timeout_minutes: Option<u32>,
    /// Queue wait limit; 0 = none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 43200)]
    pub queue_timeout_minutes: Option<u32>,
    /// A named queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// A named cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// `ISOLATED` (default: a session of its own) or `SHARED` (one for each user).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_mode: Option<String>,
    /// Free labels to filter by. At most 64.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Environment of the driver.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Datasets that the job reads. Not available yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    /// Datasets that the job writes. Not available yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// `--jars` of spark-submit; uploads as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jars: Vec<String>,
    /// `--py-files` of spark-submit; uploads as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub py_files: Vec<String>,
    /// `--files` of spark-submit; uploads as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// `--archives` of spark-submit; uploads as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub archives: Vec<String>,
    /// `--packages` of spark-submit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// `--proxy-user` of spark-submit. For administrators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_user: Option<String>,
    /// What it asks of Slurm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slurm: Option<SlurmRequest>,
}

/// How failures are retried.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RetryPolicyRequest {
    /// Attempts after the first one; 3 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// The wait is multiplied by this after each retry; 2 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_multiplier: Option<f64>,
    /// The first wait, milliseconds; 1000 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_delay_ms: Option<u64>,
    /// The longest wait, milliseconds; 60000 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay_ms: Option<u64>,
    /// `user`, `infrastructure`, `resources`; all three when absent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retry_on: Vec<String>,
}

/// Whom to tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NotificationsRequest {
    /// An http or https address.
    pub webhook: String,
    /// States to tell about; every terminal one when absent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
}

/// A request that was read: the specification, and the fields that are known but can't be honoured yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// What to run.
    pub spec: JobSpec,
    /// Known fields without an effect so far: refused as `unsupported`.
    pub unsupported: Vec<Violation>,
}

/// Reads the body. Every wrong field is named.
///
/// # Errors
/// All violations, at least one.
pub fn parse(body: &Value) -> Result<Parsed, Vec<Violation>> {
    let Value::Object(map) = body else {
        return Err(vec![Violation::new("", "the body must be a JSON object")]);
    };
    let mut wrong = Vec::new();
    let parsed = read(map, &mut wrong);
    match parsed {
        Some(parsed) if wrong.is_empty() => Ok(parsed),
        _ => Err(wrong),
    }
}

fn read(map: &Map<String, Value>, wrong: &mut Vec<Violation>) -> Option<Parsed> {
    let mut f = Fields::new(map, "");
    let code = f.text("code", MAX_CODE_BYTES, wrong);
    let file = f.text("file", MAX_PATH_BYTES, wrong);
    let kind = f.word("kind", "`sql`, `python`, `scala`, `jar` or `script`", Kind::parse, wrong);
    let name = f.text("name", MAX_NAME_BYTES, wrong);
    let class_name = f.text("className", MAX_NAME_BYTES, wrong);
    let args = f.texts("args", MAX_ENTRIES, MAX_PATH_BYTES, wrong);
    let modes = "`auto`, `in-cluster`, `spark-submit`, `kubernetes` or `slurm`";
    let mode = f.word("executionMode", modes, mode_choice, wrong).unwrap_or_default();
    let spark_config = f.text_map("sparkConfig", MAX_ENTRIES, MAX_VALUE_BYTES, wrong);
    let priorities = u64::from(*PRIORITY_RANGE.start())..=u64::from(*PRIORITY_RANGE.end());
    let priority = f.whole("priority", priorities, wrong).and_then(|n| u8::try_from(n).ok());
    let retry_policy = f.object("retryPolicy", wrong).map(|o| retry_policy(o, wrong));
    let notifications = f.object("notifications", wrong).and_then(|o| notifications(o, wrong));
    let minutes = 0..=u64::from(MAX_TIMEOUT_MINUTES);
    let timeout = f.whole("timeoutMinutes", minutes.clone(), wrong).and_then(|n| u32::try_from(n).ok());
    let queue_timeout = f.whole("queueTimeoutMinutes", minutes, wrong).and_then(|n| u32::try_from(n).ok());
    let queue = f.text("queue", MAX_NAME_BYTES, wrong);
    let cluster = f.text("cluster", MAX_NAME_BYTES, wrong);
    let session_mode =
        f.word("sessionMode", "`ISOLATED` or `SHARED`", session_mode, wrong).unwrap_or_default();
    let labels = f.text_map("labels", MAX_LABELS, MAX_NAME_BYTES, wrong);
    let env = f.text_map("env", MAX_ENTRIES, MAX_VALUE_BYTES, wrong);
    let unsupported = ["inputs", "outputs"]
        .into_iter()
        .filter(|name| f.present(name))
        .map(|name| Violation::new(format!("/{name}"), "datasets are not available in this version"))
        .collect();
    let mut list = |name, wrong: &mut Vec<Violation>| f.texts(name, MAX_ENTRIES, MAX_PATH_BYTES, wrong);
    let jars = list("jars", wrong);
    let py_files = list("pyFiles", wrong);
    let files = list("files", wrong);
    let archives = list("archives", wrong);
    let packages = list("packages", wrong);
    let proxy_user = f.text("proxyUser", MAX_NAME_BYTES, wrong);
    let slurm = f.object("slurm", wrong).map(|o| allocation::parse(o, wrong));

    let has = |name: &str| map.get(name).is_some_and(|v| !v.is_null());
    let source = match (code, file) {
        (Some(code), None) if code.trim().is_empty() => {
            wrong.push(Violation::new("/code", "is empty"));
            None
        }
        (None, Some(file)) if file.trim().is_empty() => {
            wrong.push(Violation::new("/file", "is empty"));
            None
        }
        (Some(code), None) => Some(Source::Code(code.to_owned())),
        (None, Some(file)) => Some(Source::File(file.to_owned())),
        (Some(_), Some(_)) => {
            wrong.push(Violation::new("/file", "can't be given together with `code`; send one of the two"));
            None
        }
        (None, None) => {
            if !has("code") && !has("file") {
                wrong.push(Violation::new("/code", "is missing: send `code` or `file`"));
            }
            None
        }
    };
    let kind = kind.or_else(|| match &source {
        Some(Source::File(path)) => kind_of_file(path),
        Some(Source::Code(_)) | None => None,
    });
    if kind.is_none() && !has("kind") {
        wrong.push(Violation::new("/kind", "is missing: `sql`, `python`, `scala`, `jar` or `script`"));
    }
    // A script is sent as its text, and is called with them.
    if !args.is_empty() && matches!(source, Some(Source::Code(_))) && kind != Some(Kind::Script) {
        wrong.push(Violation::new("/args", "are for a `file` or a script; other code takes none"));
    }
    f.finish(wrong);
    let spec = JobSpec {
        name: name.map(str::to_owned),
        class_name: class_name.map(str::to_owned),
        args,
        mode,
        spark_config,
        priority: priority.unwrap_or(DEFAULT_PRIORITY),
        retry_policy,
        notifications,
        timeout_minutes: timeout,
        queue_timeout_minutes: queue_timeout,
        queue: queue.map(str::to_owned),
        cluster: cluster.map(str::to_owned),
        session_mode,
        labels,
        env,
        jars,
        py_files,
        files,
        archives,
        packages,
        proxy_user: proxy_user.map(str::to_owned),
        slurm,
        ..JobSpec::new(kind?, source?)
    };
    Some(Parsed { spec, unsupported })
}

fn mode_choice(text: &str) -> Option<ModeChoice> {
    if text.eq_ignore_ascii_case("auto") {
        return Some(ModeChoice::Auto);
    }
    Mode::parse(text).map(ModeChoice::Explicit)
}

fn session_mode(text: &str) -> Option<SessionMode> {
    match text.to_ascii_uppercase().as_str() {
        "ISOLATED" => Some(SessionMode::Isolated),
        "SHARED" => Some(SessionMode::Shared),
        _ => None,
    }
}

/// The kind of a program file, by its ending.
pub fn kind_of_file(path: &str) -> Option<Kind> {
    let ending = path.rsplit_once('.')?.1.to_ascii_lowercase();
    match ending.as_str() {
        "py" => Some(Kind::Python),
        "sql" => Some(Kind::Sql),
        "scala" => Some(Kind::Scala),
        "jar" => Some(Kind::Jar),
        "sh" | "sbatch" | "slurm" => Some(Kind::Script),
        _ => None,
    }
}

fn retry_policy(map: &Map<String, Value>, wrong: &mut Vec<Violation>) -> RetryPolicy {
    /// One hour, in milliseconds.
    const LONGEST_DELAY_MS: u64 = 3_600_000;
    let mut f = Fields::new(map, "/retryPolicy");
    let max_retries = f.whole("maxRetries", 0..=u64::from(retry::MAX_RETRIES), wrong);
    let multiplier = f.milli("backoffMultiplier", 1_000..=100_000, wrong);
    let initial = f.whole("initialDelayMs", 0..=LONGEST_DELAY_MS, wrong);
    let longest = f.whole("maxDelayMs", 0..=LONGEST_DELAY_MS, wrong);
    let classes = f.texts("retryOn", ErrorClass::ALL.len(), MAX_NAME_BYTES, wrong);
    let mut retry_on = Vec::new();
    for (i, text) in classes.iter().enumerate() {
        match ErrorClass::ALL.into_iter().find(|c| c.as_str() == text) {
            Some(ErrorClass::Policy) => {
                wrong.push(Violation::new(format!("/retryPolicy/retryOn/{i}"), "`policy` is never retried"));
            }
            Some(class) => retry_on.push(class),
            None => wrong.push(Violation::new(
                format!("/retryPolicy/retryOn/{i}"),
                "must be `user`, `infrastructure` or `resources`",
            )),
        }
    }
    let said = map.get("retryOn").is_some_and(|v| !v.is_null());
    f.finish(wrong);
    RetryPolicy {
        max_retries: max_retries.and_then(|n| u32::try_from(n).ok()).unwrap_or(retry::DEFAULT_MAX_RETRIES),
        backoff_multiplier_milli: multiplier.unwrap_or(retry::DEFAULT_MULTIPLIER_MILLI),
        initial_delay_ms: initial.unwrap_or(retry::DEFAULT_INITIAL_DELAY_MS),
        max_delay_ms: longest.unwrap_or(retry::DEFAULT_MAX_DELAY_MS),
        retry_on: if said { retry_on } else { retry::default_retry_on() },
    }
}

fn notifications(map: &Map<String, Value>, wrong: &mut Vec<Violation>) -> Option<Notifications> {
    let mut f = Fields::new(map, "/notifications");
    let webhook = f.text("webhook", MAX_PATH_BYTES, wrong);
    let events = f.texts("events", State::ALL.len(), MAX_NAME_BYTES, wrong);
    let mut states = Vec::new();
    for (i, text) in events.iter().enumerate() {
        match State::parse(text) {
            Some(state) => states.push(state.as_str().to_owned()),
            None => wrong.push(Violation::new(
                format!("/notifications/events/{i}"),
                "must be a job state such as SUCCEEDED or FAILED",
            )),
        }
    }
    let webhook = match webhook.map(|text| (text, webhook_address(text))) {
        Some((text, Ok(()))) => Some(text.to_owned()),
        Some((_, Err(reason))) => {
            wrong.push(Violation::new("/notifications/webhook", reason));
            None
        }
        None => {
            if map.get("webhook").is_none_or(Value::is_null) {
                wrong.push(Violation::new("/notifications/webhook", "is missing"));
            }
            None
        }
    };
    f.finish(wrong);
    Some(Notifications { webhook: webhook?, events: states })
}

/// An address that can be sent to, written as it will be read.
///
/// # Errors
/// What is wrong with it, as it follows the name of a field.
pub fn webhook_address(text: &str) -> Result<(), String> {
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("must be an http:// or https:// address without blanks".to_owned());
    }
    let url = Url::parse(text).map_err(|e| format!("must be an http:// or https:// address: {e}"))?;
    // The parser forgives missing and leaning slashes; people and programs read such an address differently.
    let after_scheme = text.get(url.scheme().len()..).and_then(|rest| rest.strip_prefix("://"));
    let plain = after_scheme.is_some_and(|rest| !rest.starts_with('/')) && !text.contains('\\');
    if !matches!(url.scheme(), "http" | "https") || !plain {
        return Err("must be an http:// or https:// address".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or a password".to_owned());
    }
    if url.fragment().is_some() {
        return Err("must not have a part after `#`: it would not be sent".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers(body: &Value) -> Vec<String> {
        parse(body).map_or_else(|wrong| wrong.into_iter().map(|v| v.pointer).collect(), |_| Vec::new())
    }

    #[test]
    fn the_references_examples_are_taken_as_written() {
        // contract: A1
        let body = json!({
            "code": "spark.sql('SELECT COUNT(*) FROM users').show()",
            "kind": "sql",
            "executionMode": "in-cluster",
            "sparkConfig": {"spark.executor.instances": "5", "spark.executor.memory": "4g", "spark.executor.cores": "2"},
            "priority": 5,
            "retryPolicy": {"maxRetries": 3, "backoffMultiplier": 2},
            "notifications": {"webhook": "https://customer.com/webhooks/spark", "events": ["SUCCEEDED", "FAILED"]}
        });
        let spec = parse(&body).unwrap().spec;
        assert_eq!(spec.mode, ModeChoice::Explicit(Mode::InCluster));
        let policy = spec.retry_policy.unwrap();
        assert_eq!((policy.max_retries, policy.backoff_multiplier_milli), (3, 2_000));
        assert_eq!(policy.retry_on, retry::default_retry_on());
        let python = json!({"code": "print(\"Hello from async Spark!\")", "kind": "python"});
        assert_eq!(parse(&python).unwrap().spec.kind, Kind::Python);
    }

    #[test]
    fn a_webhook_is_an_address_as_it_is_written() {
        // contract: A12
        for text in
            ["https://a", "http://a.example:8080/x?y=z", "https://[2001:db8::1]/", "https://ü.example/"]
        {
            assert_eq!(webhook_address(text), Ok(()), "{text}");
        }
        for text in [
            "me",
            "",
            "//a/b",
            "https:",
            "https://",
            "https:a.example",
            "https:/a.example",
            "https:///a.example",
            "https:\\\\a.example",
            "https://a.example\\@b.example/",
            "ftp://a.example/",
            "file:///etc/passwd",
            "https://a b/",
            "https://a.example/\n",
            "https://me:word@a.example/",
            "https://me@a.example/",
            "https://a.example/#x",
            "https://a.example:99999/",
            "https://a.example:x/",
            "https://[::1/",
        ] {
            assert!(webhook_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_wrong_field_is_pointed_at() {
        // contract: A6
        for (body, at) in [
            (json!([]), vec![""]),
            (json!({}), vec!["/code", "/kind"]),
            (json!({"code": "x", "file": "a.py", "kind": "python"}), vec!["/file"]),
            (json!({"code": "x", "kind": "cobol"}), vec!["/kind"]),
            (json!({"code": 7, "kind": "sql"}), vec!["/code"]),
            (json!({"code": " ", "kind": "sql"}), vec!["/code"]),
            (json!({"code": "a\u{0}b", "kind": "sql"}), vec!["/code"]),
            (json!({"code": "x", "kind": "sql", "priority": 0}), vec!["/priority"]),
            (json!({"code": "x", "kind": "sql", "priority": 11}), vec!["/priority"]),
            (json!({"code": "x", "kind": "sql", "priority": "high"}), vec!["/priority"]),
            (json!({"code": "x", "kind": "sql", "timeoutMinutes": -1}), vec!["/timeoutMinutes"]),
            (json!({"code": "x", "kind": "sql", "timeoutMinutes": 43_201}), vec!["/timeoutMinutes"]),
            (json!({"code": "x", "kind": "sql", "queueTimeoutMinutes": 1.5}), vec!["/queueTimeoutMinutes"]),
            (json!({"code": "x", "kind": "sql", "sparkConfig": {"a/b": []}}), vec!["/sparkConfig/a~1b"]),
            (json!({"code": "x", "kind": "sql", "labels": "no"}), vec!["/labels"]),
            (json!({"code": "x", "kind": "sql", "colour": 1}), vec!["/colour"]),
            (json!({"code": "x", "kind": "sql", "args": ["a"]}), vec!["/args"]),
            (
                json!({"code": "x", "kind": "sql", "retryPolicy": {"maxRetries": -1}}),
                vec!["/retryPolicy/maxRetries"],
            ),
            (
                json!({"code": "x", "kind": "sql", "retryPolicy": {"retryOn": ["policy"]}}),
                vec!["/retryPolicy/retryOn/0"],
            ),
            (json!({"code": "x", "kind": "sql", "retryPolicy": {"tries": 1}}), vec!["/retryPolicy/tries"]),
            (json!({"code": "x", "kind": "sql", "notifications": {}}), vec!["/notifications/webhook"]),
            (
                json!({"code": "x", "kind": "sql", "notifications": {"webhook": "ftp://a"}}),
                vec!["/notifications/webhook"],
            ),
        ] {
            assert_eq!(pointers(&body), at, "{body}");
        }
        let long = json!({"code": "x".repeat(MAX_CODE_BYTES + 1), "kind": "sql"});
        assert_eq!(pointers(&long), ["/code"]);
    }

    #[test]
    fn an_unknown_field_is_named_with_the_nearest_known_one() {
        let wrong = parse(&json!({"code": "x", "kind": "sql", "priorty": 5})).unwrap_err();
        assert_eq!(wrong[0].reason, "is not a known field; did you mean `priority`?");
    }

    #[test]
    fn the_parser_and_the_documented_schema_know_the_same_fields() {
        let full = SubmitRequest {
            file: Some("a.py".into()),
            name: Some("n".into()),
            class_name: Some("C".into()),
            args: vec!["1".into()],
            execution_mode: Some("auto".into()),
            spark_config: [("a".into(), "b".into())].into(),
            priority: Some(1),
            retry_policy: Some(RetryPolicyRequest {
                max_retries: Some(1),
                backoff_multiplier: Some(1.5),
                initial_delay_ms: Some(1),
                max_delay_ms: Some(1),
                retry_on: vec!["user".into()],
            }),
            notifications: Some(NotificationsRequest {
                webhook: "https://a".into(),
                events: vec!["FAILED".into()],
            }),
            timeout_minutes: Some(1),
            queue_timeout_minutes: Some(1),
            queue: Some("q".into()),
            cluster: Some("c".into()),
            session_mode: Some("SHARED".into()),
            labels: [("a".into(), "b".into())].into(),
            env: [("A".into(), "b".into())].into(),
            inputs: vec!["a".into()],
            outputs: vec!["a".into()],
            jars: vec!["a".into()],
            py_files: vec!["a".into()],
            files: vec!["a".into()],
            archives: vec!["a".into()],
            packages: vec!["a".into()],
            proxy_user: Some("u".into()),
            slurm: Some(SlurmRequest::default()),
            kind: Some("python".into()),
            code: None,
        };
        let parsed = parse(&serde_json::to_value(&full).unwrap()).unwrap();
        assert_eq!(parsed.unsupported.len(), 2);
    }

    proptest::proptest! {
        #[test]
        fn no_body_makes_it_panic(key in "[a-zA-Z]{1,12}|code|kind|priority|labels|retryPolicy", text in ".*", n: f64) {
            for value in [json!(text), json!(n), json!([text]), json!({ key.clone(): text })] {
                let _ = parse(&json!({ "kind": "sql", "code": "x", key.clone(): value }));
            }
        }
    }
}
