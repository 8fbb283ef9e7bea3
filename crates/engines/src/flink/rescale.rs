//! The number of subtasks of a job that runs: `/jobs/{id}/resource-requirements` of the adaptive scheduler, which alone
//! can change it (`/config` says so as `web-rescale`).

use std::collections::BTreeMap;

use libra_core::deployment::reconcile::{FlinkId, Trigger};
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
    lower_bound: u64,
    upper_bound: u64,
}

impl Flink {
    /// Asks that the parts of a job which have `from` subtasks have `to`. Parts with another number have it from the
    /// program, and keep it. Safe to repeat.
    pub async fn rescale(&self, job: FlinkId, from: u32, to: u32) -> Result<(), Error> {
        let mut wanted = self.requirements(job).await?;
        if !raise(&mut wanted, from.into(), to.into()) {
            return Ok(());
        }
        let request = self.request(Method::PUT, &page(job), ASK_PATIENCE).json(&wanted);
        let (status, body) = exchange(request).await?;
        read::<Value>(status, &body, About::Job).map(drop)
    }

    /// What became of that: [`Trigger::Unknown`] while parts are asked to have `from` subtasks, so the request did not
    /// come; completed when all parts have what they are asked to have.
    pub async fn rescaled(&self, job: FlinkId, from: u32) -> Result<Trigger, Error> {
        let asked = match self.requirements(job).await {
            Err(Error::UnknownJob | Error::Refused { .. }) => return Ok(Trigger::Unknown),
            asked => asked?,
        };
        if asked.values().any(|one| one.parallelism.upper_bound == u64::from(from)) {
            return Ok(Trigger::Unknown);
        }
        let has: BTreeMap<String, u64> = self
            .detail(job)
            .await?
            .vertices
            .into_iter()
            .map(|vertex| (vertex.id, vertex.parallelism))
            .collect();
        let there = asked.iter().all(|(id, one)| has.get(id) == Some(&one.parallelism.upper_bound));
        Ok(if there { Trigger::Completed(String::new()) } else { Trigger::InProgress })
    }

    async fn requirements(&self, job: FlinkId) -> Result<Requirements, Error> {
        self.get(&page(job), About::Job).await
    }
}

fn page(job: FlinkId) -> String {
    format!("/jobs/{job}/resource-requirements")
}

/// True when there was something to change.
fn raise(requirements: &mut Requirements, from: u64, to: u64) -> bool {
    let mut changed = false;
    for one in requirements.values_mut().filter(|one| one.parallelism.upper_bound == from) {
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
    fn only_parts_with_the_old_number_get_the_new_one() {
        let text = r#"{"a": {"parallelism": {"lowerBound": 1, "upperBound": 4}}, "b": {"parallelism": {"lowerBound": 4, "upperBound": 4}},
            "c": {"parallelism": {"lowerBound": 1, "upperBound": 1}}}"#;
        let mut wanted: Requirements = serde_json::from_str(text).unwrap();
        assert!(raise(&mut wanted, 4, 2));
        let bounds = |id: &str| (wanted[id].parallelism.lower_bound, wanted[id].parallelism.upper_bound);
        assert_eq!((bounds("a"), bounds("b"), bounds("c")), ((1, 2), (2, 2), (1, 1)));
        assert!(!raise(&mut wanted, 4, 2), "once more changes nothing");
    }
}
