//! Deployments: Flink jobs that are declared, and kept as they are declared (contract F1–F5). A specification is sent
//! as YAML (`application/yaml`) or JSON; field names in it are those of the file, in snake case.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A deployment and how it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentView {
    /// Its name: the `job_id` of its specification.
    #[schema(example = "orders")]
    pub id: String,
    /// The configured cluster that it runs on.
    pub cluster: String,
    /// `new`, `waiting`, `starting`, `proving`, `stable`, `stopping`, `blocked`, `suspended`, `completed`, `failed` or `deleted`.
    pub state: String,
    /// The same in words.
    pub status: String,
    /// True once the newest wish was taken up: until then `state` and `trouble` answer the one before.
    pub taken_up: bool,
    /// What is wanted: `running`, `suspended` or `deleted`.
    pub desired: String,
    /// The newest specification, counted from 1.
    pub generation: u64,
    /// The generation whose job is, or was last, in Flink.
    pub running_generation: Option<u64>,
    /// True while the wanted generation runs and has shown that it is well.
    pub stable: bool,
    /// The last generation that was found well.
    pub stable_generation: Option<u64>,
    /// Flink's id of its job, 32 hexadecimal digits; null when there is none.
    pub job_id: Option<String>,
    /// The job that stands for its present run, or stood for the last one: `/api/v1/jobs/{run}`. Null before the first.
    pub run: Option<String>,
    /// What its next run waits for, while it waits for its turn; only where one deployment is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// The newest savepoint that Libra made, as Flink writes its path.
    pub last_savepoint: Option<String>,
    /// What is wrong; absent when nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<TroubleView>,
    /// Since when the cluster does not answer; absent while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable_since: Option<String>,
    /// When it was first applied.
    pub created_at: String,
    /// When its specification, its wish or its state last changed.
    pub updated_at: String,
    /// Raised by each change of the specification or the wish. The `ETag` of this page is this number in quotes.
    pub version: u64,
    /// The newest specification as it was written; only where one deployment is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Value>,
}

/// What is wrong with a deployment, and what to do about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TroubleView {
    /// `bad_program`, `main_failed`, `state_gone`, `job_failed` and so on.
    pub reason: String,
    /// In words, with what Flink said.
    pub message: String,
    /// What to do next.
    pub hint: String,
}

/// Deployments, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentListView {
    /// Those that may be seen.
    pub deployments: Vec<DeploymentView>,
}

/// What a specification would change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// The deployment.
    pub id: String,
    /// `none`, `in-place`, `savepoint-redeploy`, `checkpoint-redeploy`, `stateless-redeploy`, `first-deploy` or
    /// `resume`.
    pub kind: String,
    /// The plan for people, line by line; the first names the deployment and what happens to it.
    pub lines: Vec<String>,
    /// The plan for programs: changes, drift, state, what is lost, what stands in the way.
    pub detail: Value,
    /// The version that the plan was made for; to be sent as `If-Match` when it is applied. Absent for a new
    /// deployment, which is created with `If-None-Match: *`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// What applying a specification has done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedView {
    /// What happens now.
    pub plan: PlanView,
    /// The deployment.
    pub deployment: DeploymentView,
}

/// A generation of a deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GenerationView {
    /// Counted from 1.
    pub generation: u64,
    /// When it was applied.
    pub applied_at: String,
    /// Who applied it.
    pub applied_by: String,
    /// The sha256 of the program that Flink is given.
    pub digest: String,
    /// The key that has signed it, where its signature was verified: 16 hexadecimal digits, as minisign shows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// True for the last generation that was found well.
    pub stable: bool,
    /// True for the one whose job is, or was last, in Flink.
    pub running: bool,
    /// When it was last found stable; absent when it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_at: Option<String>,
    /// When it was last given up; absent when it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up_at: Option<String>,
    /// The specification as it was written.
    pub spec: Value,
}

/// Generations, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GenerationListView {
    /// The generations.
    pub generations: Vec<GenerationView>,
}

/// Something that happened to a deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentEventView {
    /// Its number, from 1 in each deployment.
    pub seq: u64,
    /// When.
    pub at: String,
    /// `phase`, `starts`, `ended`, `savepoint_made`, `rolled_back`, `given_up` and so on.
    pub kind: String,
    /// In words.
    pub message: String,
    /// The generation that was wanted then.
    pub generation: u64,
}

/// Events, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentEventListView {
    /// The events.
    pub events: Vec<DeploymentEventView>,
    /// `after` of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_after: Option<u64>,
}

/// A generation to go back to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollbackRequest {
    /// Which; the last stable one before the newest when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// How a suspended, failed or completed deployment goes on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResumeRequest {
    /// The savepoint or checkpoint to begin with, as Flink writes its path; the one it left when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}
