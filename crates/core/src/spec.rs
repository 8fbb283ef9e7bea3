//! What a user asks Libra to run, after it has been checked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::allocation::Allocation;
use crate::failure::ErrorClass;
use crate::mode::ModeChoice;

/// The longest `code`, in bytes. Longer programs belong in a file.
pub const MAX_CODE_BYTES: usize = 2 * 1024 * 1024;
/// The lowest and the highest priority; higher runs first.
pub const PRIORITY_RANGE: std::ops::RangeInclusive<u8> = 1..=10;
/// The priority of a job that names none.
pub const DEFAULT_PRIORITY: u8 = 5;
/// The longest time limit: 30 days, in minutes (contract L5).
pub const MAX_TIMEOUT_MINUTES: u32 = 43_200;

/// What language a job is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Spark SQL text.
    Sql,
    /// Python with `spark` predefined.
    Python,
    /// Scala with `spark` predefined.
    Scala,
    /// A compiled application.
    Jar,
    /// A batch script, for Slurm.
    Script,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Sql, Self::Python, Self::Scala, Self::Jar, Self::Script];

    /// The spelling on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Python => "python",
            Self::Scala => "scala",
            Self::Jar => "jar",
            Self::Script => "script",
        }
    }

    /// Reads the spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == text)
    }
}

/// Where the program is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The text itself.
    Code(String),
    /// A path or URI that the driver can read.
    File(String),
}

/// Who shares the Spark session of an in-cluster job (contract S1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SessionMode {
    /// A session of its own.
    #[default]
    Isolated,
    /// One session for each user.
    Shared,
}

/// How failures are retried (contract L4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryPolicy {
    /// Attempts after the first one.
    pub max_retries: u32,
    /// The wait is multiplied by this after each retry, in thousandths (2000 = ×2).
    pub backoff_multiplier_milli: u32,
    /// The first wait, in milliseconds.
    pub initial_delay_ms: u64,
    /// The longest wait, in milliseconds.
    pub max_delay_ms: u64,
    /// Which classes are retried; never `policy`.
    pub retry_on: Vec<ErrorClass>,
}

/// Whom to tell (contract A12).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notifications {
    /// An http or https address.
    pub webhook: String,
    /// States to tell about; empty means every terminal one.
    pub events: Vec<String>,
}

/// A checked job specification: what is stored with the job and handed to its engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobSpec {
    /// A name for people; not unique.
    #[serde(default)]
    pub name: Option<String>,
    /// The language.
    pub kind: Kind,
    /// The program.
    pub source: Source,
    /// The main class of a jar.
    #[serde(default)]
    pub class_name: Option<String>,
    /// Arguments of a file.
    #[serde(default)]
    pub args: Vec<String>,
    /// The mode that the user asked for.
    #[serde(default)]
    pub mode: ModeChoice,
    /// Spark settings, passed through.
    #[serde(default)]
    pub spark_config: BTreeMap<String, String>,
    /// 1–10, higher first.
    pub priority: u8,
    /// None: only infrastructure failures are retried, three times.
    #[serde(default)]
    pub retry_policy: Option<RetryPolicy>,
    /// Webhook.
    #[serde(default)]
    pub notifications: Option<Notifications>,
    /// Run time limit, minutes, 0 = none; None = the configured one.
    #[serde(default)]
    pub timeout_minutes: Option<u32>,
    /// Queue wait limit, minutes, 0 = none; None = the configured one.
    #[serde(default)]
    pub queue_timeout_minutes: Option<u32>,
    /// A named queue.
    #[serde(default)]
    pub queue: Option<String>,
    /// A named cluster.
    #[serde(default)]
    pub cluster: Option<String>,
    /// Session sharing in-cluster.
    #[serde(default)]
    pub session_mode: SessionMode,
    /// Free labels to filter by.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Environment of the driver.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// `--jars`.
    #[serde(default)]
    pub jars: Vec<String>,
    /// `--py-files`.
    #[serde(default)]
    pub py_files: Vec<String>,
    /// `--files`.
    #[serde(default)]
    pub files: Vec<String>,
    /// `--archives`.
    #[serde(default)]
    pub archives: Vec<String>,
    /// `--packages`.
    #[serde(default)]
    pub packages: Vec<String>,
    /// `--proxy-user`.
    #[serde(default)]
    pub proxy_user: Option<String>,
    /// What it asks of Slurm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slurm: Option<Allocation>,
}

impl JobSpec {
    /// A specification with nothing but a program; used by tests and by callers that fill in the rest.
    pub fn new(kind: Kind, source: Source) -> Self {
        Self {
            name: None,
            kind,
            source,
            class_name: None,
            args: Vec::new(),
            mode: ModeChoice::Auto,
            spark_config: BTreeMap::new(),
            priority: DEFAULT_PRIORITY,
            retry_policy: None,
            notifications: None,
            timeout_minutes: None,
            queue_timeout_minutes: None,
            queue: None,
            cluster: None,
            session_mode: SessionMode::Isolated,
            labels: BTreeMap::new(),
            env: BTreeMap::new(),
            jars: Vec::new(),
            py_files: Vec::new(),
            files: Vec::new(),
            archives: Vec::new(),
            packages: Vec::new(),
            proxy_user: None,
            slurm: None,
        }
    }

    /// True when only a Spark of its own can honour the specification.
    pub fn needs_own_process(&self) -> bool {
        matches!(self.source, Source::File(_))
            // A Python program has a process of its own in every mode.
            || (!self.env.is_empty() && self.kind != Kind::Python)
            || !self.jars.is_empty()
            || !self.py_files.is_empty()
            || !self.files.is_empty()
            || !self.archives.is_empty()
            || !self.packages.is_empty()
            || self.proxy_user.is_some()
            || self.spark_config.contains_key("spark.master")
    }
}

/// What the text of a Python program says where it uses what only a driver with a JVM of its own has.
const CLASSIC: [&str; 11] = [
    "sparkContext",
    "SparkContext",
    "SQLContext",
    "HiveContext",
    "StreamingContext",
    "pyspark.streaming",
    "pyspark.mllib",
    ".rdd",
    "._jvm",
    "._jsc",
    ".master(",
];
/// How the names of settings begin that a Spark which others share can't be given.
const OWN_SETTINGS: [&str; 15] = [
    "spark.archives",
    "spark.driver.extra",
    "spark.eventLog.",
    "spark.executor.extra",
    "spark.executorEnv.",
    "spark.files",
    "spark.hadoop.",
    "spark.jars",
    "spark.kubernetes.",
    "spark.plugins",
    "spark.pyspark.",
    "spark.serializer",
    "spark.submit.",
    "spark.yarn.",
    "spark.kryo",
];
/// Settings of Spark SQL that count only when a Spark starts.
const STATIC_SETTINGS: [&str; 3] =
    ["spark.sql.catalogImplementation", "spark.sql.extensions", "spark.sql.warehouse.dir"];

impl JobSpec {
    /// True when a Spark of its own is what the job is written for: `auto` runs it there. Cautious: a program that only
    /// mentions what another one uses costs a start, the other way round it would fail.
    pub fn is_written_for_its_own_process(&self) -> bool {
        let text = match &self.source {
            Source::Code(code) if self.kind == Kind::Python => code.as_str(),
            Source::Code(_) | Source::File(_) => "",
        };
        self.needs_own_process()
            || self.spark_config.keys().any(|key| is_given_at_the_start(key))
            || CLASSIC.iter().any(|mark| text.contains(mark))
    }

    /// The settings without effect in a Spark that others share.
    pub fn settings_without_effect(&self) -> impl Iterator<Item = &str> {
        let in_effect = |key: &str| {
            key == "spark.scheduler.pool"
                || (key.starts_with("spark.sql.") && !STATIC_SETTINGS.contains(&key))
        };
        self.spark_config.keys().map(String::as_str).filter(move |key| !in_effect(key))
    }
}

fn is_given_at_the_start(key: &str) -> bool {
    STATIC_SETTINGS.contains(&key) || OWN_SETTINGS.iter().any(|start| key.starts_with(start))
}

/// The SQL text that a `kind: sql` job runs (contract S1).
///
/// A text that is exactly `spark.sql(<literal>)`, optionally followed by `.show()` and `;`, stands for the
/// literal: the references' examples are written so. Everything else is SQL as it is.
pub fn unwrap_sql(text: &str) -> String {
    spark_sql_literal(text.trim()).unwrap_or_else(|| text.to_owned())
}

fn spark_sql_literal(text: &str) -> Option<String> {
    let rest = text.strip_prefix("spark.sql(")?.trim_start();
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|q| rest.starts_with(q))?;
    let body = &rest[quote.len()..];
    let mut literal = String::new();
    let mut at = 0;
    loop {
        let left = &body[at..];
        if left.starts_with(quote) {
            at += quote.len();
            break;
        }
        let c = left.chars().next()?;
        at += c.len_utf8();
        if c != '\\' {
            if c == '\n' && quote.len() == 1 {
                return None;
            }
            literal.push(c);
            continue;
        }
        let escaped = body[at..].chars().next()?;
        at += escaped.len_utf8();
        match escaped {
            'n' => literal.push('\n'),
            't' => literal.push('\t'),
            '\\' | '\'' | '"' => literal.push(escaped),
            '\n' => {}
            other => {
                literal.push('\\');
                literal.push(other);
            }
        }
    }
    let rest = body[at..].trim_start().strip_prefix(')')?.trim();
    let rest = rest.strip_suffix(';').unwrap_or(rest).trim_end();
    matches!(rest, "" | ".show()").then_some(literal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_for_a_spark_of_its_own_gets_one() {
        let python = |code: &str| JobSpec::new(Kind::Python, Source::Code(code.to_owned()));
        for code in [
            "spark.sparkContext.parallelize([1])",
            "df.rdd.map(f)",
            "SparkSession.builder.master('local[2]')",
        ] {
            assert!(python(code).is_written_for_its_own_process(), "{code}");
            assert!(!python(code).needs_own_process(), "whoever says in-cluster means it");
        }
        assert!(!python("spark.range(3).count()").is_written_for_its_own_process());
        let sql = |key: &str| {
            let mut spec = JobSpec::new(Kind::Sql, Source::Code("SELECT 'sparkContext'".to_owned()));
            spec.spark_config.insert(key.to_owned(), "x".to_owned());
            spec
        };
        for key in ["spark.jars.packages", "spark.hadoop.fs.s3a.access.key", "spark.sql.extensions"] {
            assert!(sql(key).is_written_for_its_own_process(), "{key}");
            assert_eq!(sql(key).settings_without_effect().collect::<Vec<_>>(), [key]);
        }
        for key in ["spark.sql.shuffle.partitions", "spark.scheduler.pool", "spark.executor.memory"] {
            assert!(!sql(key).is_written_for_its_own_process(), "{key}");
        }
        assert_eq!(sql("spark.sql.ansi.enabled").settings_without_effect().count(), 0);
        assert_eq!(sql("spark.executor.memory").settings_without_effect().count(), 1, "it is only counted");
    }

    #[test]
    fn the_references_example_runs_its_literal() {
        // contract: S1
        for text in [
            "spark.sql('SELECT COUNT(*) FROM users').show()",
            "spark.sql(\"SELECT COUNT(*) FROM users\").show()",
            "  spark.sql( 'SELECT COUNT(*) FROM users' ) ;",
            "spark.sql(\"\"\"SELECT COUNT(*) FROM users\"\"\")",
        ] {
            assert_eq!(unwrap_sql(text), "SELECT COUNT(*) FROM users", "{text}");
        }
        assert_eq!(unwrap_sql(r"spark.sql('SELECT \'a\'')"), "SELECT 'a'");
    }

    #[test]
    fn nothing_else_is_unwrapped() {
        for text in [
            "SELECT 1",
            "spark.sql('SELECT 1').count()",
            "spark.sql('SELECT 1') + 1",
            "spark.sql(query)",
            "spark.sql('a').show(); spark.sql('b').show()",
            "spark.sql('SELECT 1",
        ] {
            assert_eq!(unwrap_sql(text), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_unwrapping_panic(text in "spark.sql\\(.*") {
            let _ = unwrap_sql(&text);
        }
    }
}
