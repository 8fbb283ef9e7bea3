//! What is asked for: a filter each, as people and scripts use them.

use libra_core::job::State;
use libra_core::mode::Mode;
use libra_core::spec::Kind;
use libra_core::time::Timestamp;
use libra_store::tables::jobs::Filter;

use super::jobs::Jobs;

/// A list and its name.
pub(super) struct Asked {
    pub(super) name: &'static str,
    pub(super) filter: Filter,
}

fn label(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// All lists that are measured.
pub(super) fn all(jobs: Jobs) -> Vec<Asked> {
    let at = |n: u64| Some(Timestamp(jobs.submitted(n)));
    let half = jobs.count / 2;
    let ask = |name, filter| Asked { name, filter };
    let plain = Filter::default;
    let states = |states: &[State]| Filter { states: states.to_vec(), ..plain() };
    let user = |name: &str| Filter { user: Some(name.into()), ..plain() };
    let labels = |labels: &[(&str, &str)]| Filter {
        labels: labels.iter().map(|(k, v)| label(k, v)).collect(),
        ..plain()
    };
    let failed = [State::Failed, State::Cancelled, State::Timeout];
    vec![
        ask("all jobs", plain()),
        ask("state, most jobs (SUCCEEDED)", states(&[State::Succeeded])),
        ask("state, few jobs (RUNNING)", states(&[State::Running])),
        ask("states, three (FAILED, CANCELLED, TIMEOUT)", states(&failed)),
        ask("user with many jobs", user("user-0")),
        ask("user with few jobs", user("user-199")),
        ask("tenant", Filter { tenant: Some("tenant-1".into()), ..plain() }),
        ask("mode", Filter { mode: Some(Mode::SparkSubmit), ..plain() }),
        ask("kind", Filter { kind: Some(Kind::Jar), ..plain() }),
        ask("queue", Filter { queue: Some("etl".into()), ..plain() }),
        ask("name, common", Filter { name: Some("name-0".into()), ..plain() }),
        ask("name, rare", Filter { name: Some("name-1999".into()), ..plain() }),
        ask("name that nobody has", Filter { name: Some("nobody".into()), ..plain() }),
        ask("label, half of all jobs", labels(&[("env", "prod")])),
        ask("label, few jobs", labels(&[("pipeline", "p-4000")])),
        ask("two labels", labels(&[("env", "prod"), ("pipeline", "p-1")])),
        ask("since, an hour ago", Filter { since: at(jobs.count - jobs.count / 720), ..plain() }),
        ask("a day in the middle", Filter { since: at(half), until: at(half + jobs.count / 30), ..plain() }),
        ask("user and state", Filter { states: vec![State::Failed], ..user("user-0") }),
        ask("user and three states", Filter { states: failed.to_vec(), ..user("user-1") }),
        ask("user and label", Filter { labels: vec![label("pipeline", "p-0")], ..user("user-0") }),
        ask("user and kind", Filter { kind: Some(Kind::Python), ..user("user-2") }),
        ask("mode and kind", Filter { mode: Some(Mode::InCluster), kind: Some(Kind::Sql), ..plain() }),
        ask("queue and state", Filter { queue: Some("adhoc".into()), ..states(&[State::Failed]) }),
        ask("label and state", Filter { labels: vec![label("env", "dev")], ..states(&[State::Succeeded]) }),
        ask(
            "user and a day in the middle",
            Filter { since: at(half), until: at(half + jobs.count / 30), ..user("user-3") },
        ),
        ask("state and since", Filter { since: at(half), ..states(&[State::Succeeded]) }),
        ask(
            "two that are common, never together",
            Filter { labels: vec![label("env", "dev")], ..user("user-0") },
        ),
    ]
}
