//! Libra dies between any two steps of what it does to a job on Flink. Afterwards the deployment is as it was wanted,
//! there were never two jobs of it, and no record was lost or counted twice.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libra_testkit::flink::{self, FlinkCluster};
use libra_testkit::{Libra, Setup, page, wait};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::deployment_rescale::rescaling;
use crate::deployment_turns::jobs;
use crate::deployments::{alive, apply, counter, events, programs, stable, told, until, view, with_flink};

const VARIABLE: &str = "LIBRA_FAILPOINT";
/// Savepoints that are kept; see `libra_core::deployment::retention`.
const KEPT: usize = 10;

/// Looks at a cluster all the while, to see that a deployment has one job at most.
pub struct Watch {
    task: JoinHandle<()>,
    two: Arc<Mutex<Vec<String>>>,
}

impl Watch {
    /// Begins to look for jobs of this name.
    pub fn begin(cluster: &FlinkCluster, name: &str) -> Self {
        let two = Arc::new(Mutex::new(Vec::new()));
        let (found, url, name) =
            (Arc::clone(&two), format!("{}/jobs/overview", cluster.url()), name.to_owned());
        let task = tokio::spawn(async move {
            loop {
                if let Some((200, text)) = page(&url).await
                    && let Ok(answer) = serde_json::from_str::<Value>(&text)
                {
                    let jobs = answer["jobs"].as_array().cloned().unwrap_or_default();
                    let ended = ["FINISHED", "CANCELED", "FAILED"].map(Value::from);
                    let live: Vec<&Value> = jobs
                        .iter()
                        .filter(|job| job["name"] == name.as_str() && !ended.contains(&job["state"]))
                        .collect();
                    if live.len() > 1 {
                        found.lock().unwrap().push(format!("{live:?}"));
                    }
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { task, two }
    }

    /// Ends it. Panics when there were two at any time.
    #[track_caller]
    pub fn end(self, story: &str) {
        assert!(!self.task.is_finished(), "{story}: nobody looked");
        self.task.abort();
        let two = self.two.lock().unwrap();
        assert!(two.is_empty(), "{story}: two jobs at once: {two:#?}");
    }
}

/// What is asked of Libra.
#[derive(Clone, Copy, Debug)]
enum Step {
    Deploy,
    Upgrade,
    /// More subtasks, on a cluster that can change that while the job runs.
    Rescale,
    Rollback,
    /// A bad version goes back by itself.
    RolledBack,
    Suspend,
    Resume,
    Savepoint,
    Delete,
    /// Without a savepoint.
    Discard,
    /// One savepoint too many.
    Tidy,
}

/// What it dies in the middle of.
struct Drill {
    step: Step,
    point: &'static str,
    id: String,
    setup: Setup,
    libra: Libra,
    spec: Value,
}

impl Drill {
    /// Asks, of a Libra that dies at the point, and starts another one.
    async fn ask(&mut self, path: &str, body: &Value) {
        self.arm("").await;
        let _ = self.libra.api().try_post(&format!("/api/v1/deployments{path}"), body).await;
        self.die().await;
    }

    /// From now on it dies at the point; `time` is `@2` for the second time that it gets there.
    async fn arm(&mut self, time: &str) {
        self.libra.kill();
        self.libra.start(&self.setup.clone().env(VARIABLE, &format!("flink-{}{time}", self.point))).await;
    }

    async fn die(&mut self) {
        let status = self.libra.end().await;
        assert!(!status.success(), "{}: {status}", self.id);
        self.libra.start(&self.setup).await;
    }

    /// The next generation; another program where its upload is the matter.
    fn upgraded(&self, generation: u64) -> Value {
        let mut next = self.spec.clone();
        next["args"][3] = json!((50 + generation).to_string());
        if self.point.starts_with("upload") {
            next["artifact_path"] =
                json!(flink::jobs_jar_version(&format!("{}x{generation}", plain(&self.id))));
        }
        next
    }

    async fn first(&mut self) {
        let api = self.libra.api();
        apply(&api, &self.spec).await;
        stable(&api, &self.id).await;
    }

    async fn bring_about(&mut self) {
        let id = self.id.clone();
        match self.step {
            Step::Deploy => {
                if self.point.starts_with("upload") {
                    self.spec["artifact_path"] = json!(flink::jobs_jar_version(&plain(&id)));
                }
                let spec = self.spec.clone();
                self.ask("", &spec).await;
            }
            Step::Upgrade => {
                self.first().await;
                let next = self.upgraded(2);
                self.ask("", &next).await;
            }
            Step::Rescale => {
                self.spec["deployment"]["parallelism"] = json!(2);
                self.first().await;
                let mut next = self.spec.clone();
                next["deployment"]["parallelism"] = json!(3);
                self.ask("", &next).await;
            }
            Step::Rollback => {
                self.first().await;
                let next = self.upgraded(2);
                apply(&self.libra.api(), &next).await;
                stable(&self.libra.api(), &id).await;
                self.ask(&format!("/{id}/rollback"), &json!({})).await;
            }
            Step::RolledBack => {
                self.first().await;
                let mut bad = self.spec.clone();
                bad["args"].as_array_mut().unwrap().extend([json!("--fail-always"), json!("1")]);
                bad["stability"]["max_restarts"] = json!(0);
                // The run that counts is the one that goes back, after that of the bad version.
                self.arm(if self.point.starts_with("run") { "@2" } else { "" }).await;
                apply(&self.libra.api(), &bad).await;
                self.die().await;
            }
            Step::Suspend => {
                self.first().await;
                self.ask(&format!("/{id}/suspend"), &json!({})).await;
            }
            Step::Resume => {
                self.first().await;
                let api = self.libra.api();
                api.post(&format!("/api/v1/deployments/{id}/suspend"), &json!({})).await.expect(202);
                until(&api, &id, "suspended", |view| view["state"] == "suspended").await;
                self.ask(&format!("/{id}/resume"), &json!({})).await;
            }
            Step::Savepoint => {
                self.first().await;
                self.ask(&format!("/{id}/savepoint"), &json!({})).await;
            }
            Step::Delete | Step::Discard => {
                self.first().await;
                self.arm("").await;
                let keep = matches!(self.step, Step::Delete);
                let api = self.libra.api();
                let path = format!("/api/v1/deployments/{id}?savepoint={keep}");
                // It may die before it has answered.
                let asked = tokio::spawn(async move { api.delete(&path).await.status });
                self.die().await;
                let _ = asked.await;
            }
            Step::Tidy => {
                self.first().await;
                for _ in 0..KEPT {
                    savepoint(&self.libra, &id).await;
                }
                self.ask(&format!("/{id}/savepoint"), &json!({})).await;
            }
        }
    }

    /// Waits until it is as it was wanted, and judges how it came about.
    async fn judge(&self, cluster: &FlinkCluster, progress: &Path) {
        let (api, id) = (self.libra.api(), self.id.as_str());
        let runs = |generation: u64| {
            move |view: &Value| view["state"] == "stable" && view["runningGeneration"] == generation
        };
        match self.step {
            Step::Deploy => drop(until(&api, id, "stable", runs(1)).await),
            Step::Upgrade => drop(until(&api, id, "upgraded", runs(2)).await),
            Step::Rescale => {
                until(&api, id, "rescaled", runs(2)).await;
                let lines = flink::assert_unbroken(progress);
                assert!(lines.iter().all(|line| line.job == lines[0].job), "{id}: the job ran on: {lines:?}");
                assert!(told(&api, id, "rescaled").await, "{id}: {:#?}", events(&api, id).await);
            }
            Step::Rollback => drop(until(&api, id, "rolled back", runs(1)).await),
            Step::RolledBack => {
                wait::until_async("it is rolled back", async || told(&api, id, "rolled_back").await).await;
                until(&api, id, "rolled back", runs(1)).await;
            }
            Step::Suspend => {
                until(&api, id, "suspended", |view| view["state"] == "suspended").await;
                assert_eq!(alive(cluster, id).await, [""; 0], "{id}");
                api.post(&format!("/api/v1/deployments/{id}/resume"), &json!({})).await.expect(202);
                until(&api, id, "resumed", runs(1)).await;
            }
            Step::Resume => drop(until(&api, id, "resumed", runs(1)).await),
            Step::Savepoint => {
                until(&api, id, "saved", |view| !view["lastSavepoint"].is_null()).await;
                let lines = flink::assert_unbroken(progress);
                assert!(lines.iter().all(|line| line.job == lines[0].job), "{id}: the job ran on: {lines:?}");
            }
            Step::Delete | Step::Discard => {
                let path = format!("/api/v1/deployments/{id}");
                wait::until_async("it is gone", async || api.get(&path).await.status == 404).await;
                assert_eq!(alive(cluster, id).await, [""; 0], "{id}");
            }
            Step::Tidy => {
                wait::until_async("the oldest is gone", async || told(&api, id, "savepoint_removed").await)
                    .await;
                let directories = cluster.savepoints().join(id).read_dir().unwrap();
                let whole = directories.flatten().filter(|dir| {
                    dir.path().read_dir().into_iter().flatten().flatten().any(|one| one.path().is_dir())
                });
                assert_eq!(whole.count(), KEPT, "{id}: {:#?}", events(&api, id).await);
            }
        }
        if matches!(self.step, Step::Rescale) {
            // Flink goes back to the last checkpoint for it, and there are several that count.
            flink::assert_unbroken(progress);
        } else {
            flink::assert_nothing_twice(progress);
        }
        self.judge_jobs().await;
        if api.get(&format!("/api/v1/deployments/{id}")).await.status == 200 {
            let now = view(&api, id).await;
            assert_eq!(alive(cluster, id).await, [now["jobId"].as_str().unwrap()], "{id}: {now:#}");
            api.delete(&format!("/api/v1/deployments/{id}?savepoint=false")).await.expect(202);
            wait::until_async("its place is free", async || alive(cluster, id).await.is_empty()).await;
        }
    }
}

impl Drill {
    /// Every run has had one job, and only the present one's is not over.
    async fn judge_jobs(&self) {
        let (api, id) = (self.libra.api(), self.id.as_str());
        let wanted: &[&str] = match self.step {
            Step::Deploy | Step::Savepoint | Step::Tidy => &["RUNNING"],
            Step::Upgrade | Step::Rescale | Step::Suspend | Step::Resume => &["RUNNING", "CANCELLED"],
            Step::Rollback | Step::RolledBack => &["RUNNING", "CANCELLED", "CANCELLED"],
            Step::Delete | Step::Discard => &["CANCELLED"],
        };
        let jobs = jobs(&api, id).await;
        let states: Vec<&str> = jobs.iter().map(|job| job["status"].as_str().unwrap()).collect();
        assert_eq!(states, wanted, "{id}: {jobs:#?}");
    }
}

async fn savepoint(libra: &Libra, id: &str) {
    let api = libra.api();
    let before = view(&api, id).await["lastSavepoint"].clone();
    api.post(&format!("/api/v1/deployments/{id}/savepoint"), &json!({})).await.expect(202);
    until(&api, id, "saved", |view| view["lastSavepoint"] != before).await;
}

/// Only letters and digits.
fn plain(id: &str) -> String {
    id.chars().filter(char::is_ascii_alphanumeric).collect()
}

async fn survives(step: Step, point: &'static str) {
    let own = if matches!(step, Step::Rescale) { Some(rescaling().await) } else { None };
    let cluster = match &own {
        Some(own) => own,
        None => FlinkCluster::shared().await,
    };
    let id = format!("{}-{point}", format!("{step:?}").to_lowercase());
    let setup = with_flink(cluster, &programs());
    let libra = setup.start().await;
    let progress = libra.scratch("progress");
    let spec = counter(&id, &progress);
    let watch = Watch::begin(cluster, &id);
    let begun = std::time::Instant::now();
    let mut drill = Drill { step, point, id, setup, libra, spec };
    drill.bring_about().await;
    drill.judge(cluster, &progress).await;
    watch.end(&drill.id);
    println!("{} survived in {:.1?}", drill.id, begun.elapsed());
}

#[tokio::test]
async fn libra_dies_while_it_deploys() {
    // contract: F2
    survives(Step::Deploy, "run-done").await;
    survives(Step::Deploy, "run-recorded").await;
    survives(Step::Deploy, "turn-recorded").await;
    survives(Step::Deploy, "turn-given").await;
}

#[tokio::test]
async fn libra_dies_while_it_upgrades() {
    // contract: F2, F3
    survives(Step::Upgrade, "stop-done").await;
}

#[tokio::test]
async fn libra_dies_while_it_rescales() {
    // contract: F2
    survives(Step::Rescale, "rescale-recorded").await;
    survives(Step::Rescale, "rescale-done").await;
}

#[tokio::test]
async fn libra_dies_while_a_bad_version_goes_back() {
    // contract: F2, F3
    survives(Step::RolledBack, "cancel-done").await;
}

#[tokio::test]
async fn libra_dies_while_it_suspends() {
    // contract: F2
    survives(Step::Suspend, "stop-recorded").await;
}

#[tokio::test]
#[ignore = "a drill: make drills"]
async fn drill_libra_dies_between_any_two_steps_of_a_deployment() {
    // contract: F2, F3
    let steps: &[(Step, &[&'static str])] = &[
        (
            Step::Deploy,
            &["turn-recorded", "turn-given", "upload-recorded", "upload-done", "run-recorded", "run-done"],
        ),
        (
            Step::Upgrade,
            &["stop-recorded", "stop-done", "upload-recorded", "upload-done", "run-recorded", "run-done"],
        ),
        (Step::Rescale, &["rescale-recorded", "rescale-done"]),
        (Step::Rollback, &["stop-recorded", "stop-done", "run-recorded", "run-done"]),
        (Step::RolledBack, &["cancel-recorded", "cancel-done", "run-recorded", "run-done"]),
        (Step::Suspend, &["stop-recorded", "stop-done"]),
        (Step::Resume, &["turn-recorded", "turn-given", "run-recorded", "run-done"]),
        (Step::Savepoint, &["savepoint-recorded", "savepoint-done"]),
        (Step::Delete, &["stop-recorded", "stop-done"]),
        (Step::Discard, &["cancel-recorded", "cancel-done"]),
        (Step::Tidy, &["dispose-recorded", "dispose-done"]),
    ];
    for (step, points) in steps {
        for point in *points {
            survives(*step, point).await;
        }
    }
}
