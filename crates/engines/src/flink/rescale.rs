//! The number of subtasks of a job that runs: `/jobs/{id}/resource-requirements` of the adaptive scheduler, which alone
//! can change it (`/config` says so as `web-rescale`).

use std::collections::{BTreeMap, BTreeSet};

use libra_core::deployment::reconcile::{FlinkId, Part};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{About, Error};
use super::transport::{ASK_PATIENCE, Flink, exchange, read};

/// The numbers of subtasks that a job is asked to have, by the id of each of its parts.
type Requirements = BTreeMap<String, Requirement>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Requirement {
    parallelism: Bounds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bounds {
    /// It goes on with so many when there are too few slots.
    lower_bound: u32,
    upper_bound: u32,
}

impl Flink {
    /// Asks that these parts of a job have `to` subtasks, as far as they are asked to have `from`. Safe to repeat.
    pub async fn rescale(
        &self,
        job: FlinkId,
        parts: &BTreeSet<String>,
        (from, to): (u32, u32),
    ) -> Result<(), Error> {
        let mut wanted = self.requirements(job).await?;
        if !change(&mut wanted, parts, (from, to)) {
            return Ok(());
        }
        // Flink refuses a request that leaves out a part.
        let request = self.request(Method::PUT, &page(job), ASK_PATIENCE).json(&wanted);
        let (status, body) = exchange(request).await?;
        read::<Value>(status, &body, About::Job).map(drop)
    }

    /// How many subtasks the parts of a job are asked to have and have; None where that can't be changed, or the job is
    /// not far enough, or over.
    pub async fn parts(&self, job: FlinkId) -> Result<Option<BTreeMap<String, Part>>, Error> {
        if !self.features().await?.web_rescale {
            return Ok(None);
        }
        let (asked, detail) = match tokio::try_join!(self.requirements(job), self.detail(job)) {
            Err(Error::UnknownJob | Error::Refused { .. } | Error::Server { .. }) => return Ok(None),
            both => both?,
        };
        let has: BTreeMap<String, u32> =
            detail.vertices.into_iter().map(|vertex| (vertex.id, number(vertex.parallelism))).collect();
        let part = |(id, one): (String, Requirement)| {
            let has = has.get(&id).copied().unwrap_or(0);
            (id, Part { asked: one.parallelism.upper_bound, has })
        };
        Ok(Some(asked.into_iter().map(part).collect()))
    }

    async fn requirements(&self, job: FlinkId) -> Result<Requirements, Error> {
        self.get(&page(job), About::Job).await
    }
}

fn page(job: FlinkId) -> String {
    format!("/jobs/{job}/resource-requirements")
}

fn number(subtasks: u64) -> u32 {
    u32::try_from(subtasks).unwrap_or(u32::MAX)
}

/// True when there was something to change.
fn change(requirements: &mut Requirements, parts: &BTreeSet<String>, (from, to): (u32, u32)) -> bool {
    let mut changed = false;
    let meant = requirements.iter_mut().filter(|(id, _)| parts.contains(*id)).map(|(_, one)| one);
    for one in meant.filter(|one| one.parallelism.upper_bound == from) {
        let lower_bound = one.parallelism.lower_bound.min(to);
        one.parallelism = Bounds { lower_bound, upper_bound: to };
        changed = true;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parts_that_follow_the_job_get_its_new_number() {
        let text = r#"{"a": {"parallelism": {"lowerBound": 1, "upperBound": 4}}, "b": {"parallelism": {"lowerBound": 4, "upperBound": 4}},
            "c": {"parallelism": {"lowerBound": 1, "upperBound": 4}}, "d": {"parallelism": {"lowerBound": 1, "upperBound": 1}}}"#;
        let mut wanted: Requirements = serde_json::from_str(text).unwrap();
        let follow = ["a", "b"].map(str::to_owned).into();
        assert!(change(&mut wanted, &follow, (4, 2)));
        let bounds = |id: &str| (wanted[id].parallelism.lower_bound, wanted[id].parallelism.upper_bound);
        assert_eq!(["a", "b", "c", "d"].map(bounds), [(1, 2), (2, 2), (1, 4), (1, 1)]);
        assert!(!change(&mut wanted, &follow, (4, 2)), "once more changes nothing");
    }
}
