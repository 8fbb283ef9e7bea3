//! The jobs that are submitted, and how each of them is to end.

use std::collections::BTreeMap;
use std::path::Path;

use libra_api::submit::{RetryPolicyRequest, SubmitRequest};
use rand::Rng;
use rand::rngs::StdRng;

use crate::settings::Settings;
use crate::stand_in::StandIn;

/// Retries of a job that says that it may be repeated.
const RETRIES: u32 = 5;

/// How a job is to end, when nobody kills it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Plan {
    /// SUCCEEDED, after one run.
    Once,
    /// SUCCEEDED; it brings a retry policy, so it may be repeated when it was killed.
    Repeatable,
    /// FAILED with exit code 7, after one run.
    ExitSeven,
    /// Fails at the first attempt, by its policy succeeds at a later one.
    FirstFails,
    /// Cancelled so early that it may not have run.
    CancelSoon,
    /// Cancelled while it runs.
    CancelRunning,
    /// SUCCEEDED, with a real Spark session.
    Real,
    /// SUCCEEDED with one row, in the shared Spark server.
    Sql,
}

impl Plan {
    /// For people.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Repeatable => "repeatable",
            Self::ExitSeven => "exit 7",
            Self::FirstFails => "first fails",
            Self::CancelSoon => "cancel soon",
            Self::CancelRunning => "cancel running",
            Self::Real => "real Spark",
            Self::Sql => "SQL",
        }
    }

    /// It brings a retry policy.
    pub(crate) fn has_policy(self) -> bool {
        match self {
            Self::Repeatable | Self::FirstFails => true,
            Self::Once
            | Self::ExitSeven
            | Self::CancelSoon
            | Self::CancelRunning
            | Self::Real
            | Self::Sql => false,
        }
    }
}

/// A job before it is submitted.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// `chaos-17`: marks and database know it by this name.
    pub(crate) name: String,
    pub(crate) number: usize,
    pub(crate) plan: Plan,
    /// How long it runs.
    pub(crate) seconds: f64,
    /// When it is cancelled, counted from the answer to its submission.
    pub(crate) cancel_after: Option<f64>,
}

impl Draft {
    /// The job with this number.
    pub(crate) fn draw(number: usize, settings: &Settings, random: &mut StdRng) -> Self {
        let plan = if random.random_bool(settings.real_share) {
            Plan::Real
        } else if random.random_bool(settings.sql_share) {
            Plan::Sql
        } else {
            match random.random_range(0..100) {
                0..58 => Plan::Once,
                58..68 => Plan::Repeatable,
                68..78 => Plan::ExitSeven,
                78..86 => Plan::FirstFails,
                86..93 => Plan::CancelSoon,
                _ => Plan::CancelRunning,
            }
        };
        let long = random.random_bool(0.2);
        let (seconds, cancel_after) = match plan {
            Plan::CancelSoon => (1.0, Some(random.random_range(0.0..0.5))),
            Plan::CancelRunning => (60.0, Some(random.random_range(1.0..6.0))),
            Plan::Real | Plan::Sql => (0.0, None),
            Plan::Once | Plan::Repeatable | Plan::ExitSeven | Plan::FirstFails if long => {
                (random.random_range(4.0..15.0), None)
            }
            Plan::Once | Plan::Repeatable | Plan::ExitSeven | Plan::FirstFails => {
                (random.random_range(0.0..1.0), None)
            }
        };
        Self { name: format!("chaos-{number}"), number, plan, seconds, cancel_after }
    }

    /// The one value that the SQL job answers.
    pub(crate) fn answer(&self) -> usize {
        self.number * 2
    }

    /// The body of the submission.
    pub(crate) fn request(&self, stand_in: &StandIn, marks: &Path) -> SubmitRequest {
        let name = Some(self.name.clone());
        if self.plan == Plan::Sql {
            return SubmitRequest {
                name,
                kind: Some("sql".to_owned()),
                code: Some(format!("SELECT {} * 2 AS answer", self.number)),
                execution_mode: Some("in-cluster".to_owned()),
                ..SubmitRequest::default()
            };
        }
        let code = match self.plan {
            Plan::ExitSeven => "7",
            Plan::FirstFails => "first-fails",
            Plan::Once
            | Plan::Repeatable
            | Plan::CancelSoon
            | Plan::CancelRunning
            | Plan::Real
            | Plan::Sql => "0",
        };
        let place = if self.plan == Plan::Real { "spark" } else { "plain" };
        let marks = marks.display().to_string();
        let conf = [("spark.master", "local[1]"), ("spark.driver.memory", "512m")];
        SubmitRequest {
            kind: Some("python".to_owned()),
            file: Some(stand_in.program.display().to_string()),
            args: vec![
                marks,
                self.name.clone(),
                format!("{:.3}", self.seconds),
                code.to_owned(),
                place.to_owned(),
            ],
            execution_mode: Some("spark-submit".to_owned()),
            spark_config: BTreeMap::from(conf.map(|(key, value)| (key.to_owned(), value.to_owned()))),
            retry_policy: self.plan.has_policy().then(|| RetryPolicyRequest {
                max_retries: Some(RETRIES),
                initial_delay_ms: Some(200),
                max_delay_ms: Some(2_000),
                ..RetryPolicyRequest::default()
            }),
            name,
            ..SubmitRequest::default()
        }
    }
}
