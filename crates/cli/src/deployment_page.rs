//! What is printed about deployments: their table, the page of one, its history, and plans.

use std::fmt::Write as _;

use libra_api::deployments::{DeploymentEventView, DeploymentView, GenerationView, PlanView, TroubleView};
use libra_core::time::Timestamp;

use crate::age;
use crate::listing::{columns, shorten};
use crate::output::{lines, one_line};
use crate::page::Page;

/// The longest trouble in the table, characters.
const LONGEST_TROUBLE: usize = 60;
/// Digits of a digest that are shown.
const SHOWN_DIGITS: usize = 12;
/// What is said of a silent cluster.
const SILENT: &str = "the cluster does not answer";

/// One line a deployment.
pub(crate) fn deployments(deployments: &[DeploymentView], now: Timestamp) -> String {
    if deployments.is_empty() {
        return String::new();
    }
    let rows = deployments.iter().map(|view| {
        let silent = view.unreachable_since.as_ref().map(|_| SILENT.to_owned());
        let trouble = view.trouble.as_ref().map(|trouble| {
            let first = trouble.message.lines().next().unwrap_or(&trouble.reason);
            shorten(first, LONGEST_TROUBLE)
        });
        [
            view.id.clone(),
            view.cluster.clone(),
            view.state.clone(),
            generation(view),
            view.job_id.clone().unwrap_or_else(|| "-".to_owned()),
            age::ago(&view.updated_at, now),
            trouble.or(silent).unwrap_or_else(|| "-".to_owned()),
        ]
    });
    columns(["ID", "CLUSTER", "STATE", "GENERATION", "JOB", "CHANGED", "TROUBLE"], rows)
}

/// The newest generation, and the one that runs where it is another.
fn generation(view: &DeploymentView) -> String {
    match view.running_generation {
        Some(running) if running != view.generation => format!("{} (Flink has {running})", view.generation),
        Some(_) | None => view.generation.to_string(),
    }
}

/// Everything about one deployment but its specification.
pub(crate) fn deployment(view: &DeploymentView, now: Timestamp) -> String {
    let mut page = Page::default();
    page.line("deployment", &view.id);
    page.line("status", &view.status);
    if view.desired != "running" {
        page.line("wanted", &view.desired);
    }
    page.line("generation", &generation(view));
    let stable = view.stable_generation.map_or_else(|| "none yet".to_owned(), |number| number.to_string());
    page.line("last stable", &stable);
    page.line("cluster", &view.cluster);
    page.maybe("waits", view.waits_for.as_deref());
    page.maybe("job", view.run.as_deref());
    page.maybe("flink job", view.job_id.as_deref());
    page.maybe("savepoint", view.last_savepoint.as_deref());
    for (name, at) in [("created", &view.created_at), ("changed", &view.updated_at)] {
        page.line(name, &format!("{at} ({})", age::ago(at, now)));
    }
    if let Some(since) = &view.unreachable_since {
        page.line("silent since", &format!("{since} ({}): {SILENT}", age::ago(since, now)));
    }
    if let Some(trouble) = &view.trouble {
        page.text.push_str(&self::trouble(trouble));
    }
    page.text
}

/// What is wrong, over as many lines as Flink took.
fn trouble(trouble: &TroubleView) -> String {
    format!(
        "trouble ({}): {}\nhint: {}\n",
        one_line(&trouble.reason),
        lines(&trouble.message),
        one_line(&trouble.hint)
    )
}

/// Generations, newest first, and what happened, oldest first.
pub(crate) fn history(
    generations: &[GenerationView],
    events: &[DeploymentEventView],
    now: Timestamp,
) -> String {
    let mut text = columns(
        ["GENERATION", "APPLIED", "BY", "PROGRAM", "IS"],
        generations.iter().map(|generation| {
            // What it came to last.
            let given_up = generation.given_up_at > generation.stable_at;
            let was_stable = generation.stable_at.is_some() && !generation.stable && !given_up;
            let marks = [
                (generation.running, "in Flink"),
                (generation.stable, "last stable"),
                (was_stable, "was stable"),
                (given_up, "given up"),
            ];
            let marks: Vec<&str> = marks.iter().filter(|(holds, _)| *holds).map(|(_, mark)| *mark).collect();
            [
                generation.generation.to_string(),
                age::ago(&generation.applied_at, now),
                generation.applied_by.clone(),
                generation.digest.trim_start_matches("sha256:").chars().take(SHOWN_DIGITS).collect(),
                if marks.is_empty() { "-".to_owned() } else { marks.join(", ") },
            ]
        }),
    );
    if !events.is_empty() {
        text.push('\n');
        text.push_str(&columns(
            ["SEQ", "AT", "GENERATION", "KIND", "WHAT"],
            events.iter().map(|event| {
                [
                    event.seq.to_string(),
                    event.at.clone(),
                    event.generation.to_string(),
                    event.kind.clone(),
                    event.message.clone(),
                ]
            }),
        ));
    }
    text
}

/// What a specification would change: the deployment, and below it what there is to know.
pub(crate) fn plan(plan: &PlanView) -> String {
    let mut text = String::new();
    for (index, line) in plan.lines.iter().enumerate() {
        let indent = if index == 0 { "" } else { "  " };
        let _ = writeln!(text, "{indent}{}", one_line(line));
    }
    text
}

/// False when applying the plan's specification would change nothing at all.
pub(crate) fn changes(plan: &PlanView) -> bool {
    let no_fields =
        plan.detail.get("changes").and_then(serde_json::Value::as_array).is_some_and(Vec::is_empty);
    plan.version.is_none() || plan.kind != "none" || !no_fields
}

/// How many of these plans change something.
pub(crate) fn summary(plans: &[&PlanView]) -> String {
    let new = plans.iter().filter(|plan| plan.version.is_none()).count();
    let same = plans.iter().filter(|plan| !changes(plan)).count();
    let counts = [(new, "new"), (plans.len() - new - same, "changed"), (same, "unchanged")];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let of =
        if plans.len() == 1 { "1 deployment".to_owned() } else { format!("{} deployments", plans.len()) };
    format!("{of}: {}", counts.join(", "))
}

#[cfg(test)]
pub(crate) mod samples {
    //! Views as the API gives them.

    use super::*;
    use serde_json::{Value, json};

    pub(crate) fn now() -> Timestamp {
        Timestamp::parse_rfc3339("2026-01-31T09:00:00Z").unwrap()
    }

    /// A stable deployment with these fields changed.
    pub(crate) fn view(more: Value) -> DeploymentView {
        let mut all = json!({
            "id": "orders", "cluster": "main", "state": "stable", "status": "running and stable",
            "takenUp": true, "desired": "running", "generation": 3, "runningGeneration": 3, "stable": true, "stableGeneration": 3,
            "jobId": "0198f0c46b1e7c3a9a553f1f0f6c2a10", "lastSavepoint": "file:/savepoints/0a1b/savepoint-0198f0-1",
            "createdAt": "2026-01-29T09:00:00.000Z", "updatedAt": "2026-01-31T08:56:40.000Z", "version": 5,
        });
        let Value::Object(more) = more else { panic!("an object") };
        all.as_object_mut().unwrap().extend(more);
        serde_json::from_value(all).unwrap()
    }

    pub(crate) fn rolled_back() -> DeploymentView {
        view(json!({
            "id": "clicks", "runningGeneration": 2, "stable": false, "stableGeneration": 2, "lastSavepoint": null,
            "trouble": {"reason": "main_failed",
                        "message": "the program's main() failed: java.lang.IllegalState\n\tat Main.main\u{1b}[2J, and more of it",
                        "hint": "the program's own error is above; correct its arguments or code, then apply again"},
        }))
    }

    pub(crate) fn plan(
        id: &str,
        kind: &str,
        version: Option<u64>,
        lines: &[&str],
        changes: &Value,
    ) -> PlanView {
        PlanView {
            id: id.to_owned(),
            kind: kind.to_owned(),
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            detail: json!({ "changes": changes }),
            version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_of_deployments() {
        let new = samples::view(json!({
            "id": "views", "state": "starting", "generation": 1, "runningGeneration": null, "stable": false,
            "stableGeneration": null, "jobId": null, "unreachableSince": "2026-01-31T08:59:00.000Z",
        }));
        let all = [samples::rolled_back(), samples::view(json!({})), new];
        insta::assert_snapshot!("deployments", deployments(&all, samples::now()));
        assert_eq!(deployments(&[], samples::now()), "");
    }

    #[test]
    fn pages_of_deployments() {
        insta::assert_snapshot!("deployment_stable", deployment(&samples::view(json!({})), samples::now()));
        insta::assert_snapshot!(
            "deployment_rolled_back",
            deployment(&samples::rolled_back(), samples::now())
        );
        let suspended = samples::view(json!({
            "state": "stopping", "status": "stopping", "desired": "suspended", "stableGeneration": null,
            "unreachableSince": "2026-01-31T08:59:00.000Z",
        }));
        insta::assert_snapshot!("deployment_silent", deployment(&suspended, samples::now()));
    }

    #[test]
    fn a_history_of_generations_and_events() {
        let generation = |number: u64, running: bool, stable: bool| GenerationView {
            generation: number,
            applied_at: "2026-01-31T08:00:00.000Z".to_owned(),
            applied_by: "alice".to_owned(),
            digest: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned(),
            signed_by: None,
            stable,
            running,
            stable_at: (number < 3).then(|| "2026-01-31T08:10:00.000Z".to_owned()),
            given_up_at: (number == 3).then(|| "2026-01-31T08:20:00.000Z".to_owned()),
            spec: json!({"job_id": "orders"}),
        };
        let event = |seq: u64, kind: &str, message: &str| DeploymentEventView {
            seq,
            at: "2026-01-31T08:00:01.000Z".to_owned(),
            kind: kind.to_owned(),
            message: message.to_owned(),
            generation: 3,
        };
        let generations =
            [generation(3, false, false), generation(2, true, true), generation(1, false, false)];
        let events = [
            event(7, "starts", "generation 3 starts as job 0a1b, without state"),
            event(8, "rolled_back", "generation 3 is given up,\ngeneration 2 comes back"),
        ];
        insta::assert_snapshot!("history", history(&generations, &events, samples::now()));
        insta::assert_snapshot!("history_quiet", history(&generations[2..], &[], samples::now()));
    }

    #[test]
    fn a_plan_is_shown_and_counted() {
        let change = json!([{"pointer": "/deployment/parallelism", "from": 2, "to": 4, "needs": "rescale"}]);
        let new = samples::plan(
            "a",
            "first-deploy",
            None,
            &["a: deployed for the first time", "Job: a.jar"],
            &json!([]),
        );
        let same = samples::plan("b", "none", Some(4), &["b: nothing changes"], &json!([]));
        let stored = samples::plan("c", "none", Some(4), &["c: stored; nothing changes in Flink"], &change);
        let lines =
            ["d: rescaled in place, without a stop", "  deployment.parallelism: 2 → 4 (another\u{1b}[2J)"];
        let rescaled = samples::plan("d", "in-place", Some(1), &lines, &change);
        let drifted = samples::plan("e", "checkpoint-redeploy", Some(1), &["e: redeployed"], &json!([]));
        assert_eq!(
            plan(&rescaled),
            "d: rescaled in place, without a stop\n    deployment.parallelism: 2 → 4 (another\\u{1b}[2J)\n"
        );
        let all = [&new, &same, &stored, &rescaled, &drifted];
        assert_eq!(all.map(changes), [true, false, true, true, true]);
        assert_eq!(summary(&all), "5 deployments: 1 new, 3 changed, 1 unchanged");
        assert_eq!(summary(&all[1..2]), "1 deployment: 1 unchanged");
    }
}
