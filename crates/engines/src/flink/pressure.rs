//! Whether a job keeps up: `/jobs/{id}/vertices/{id}/backpressure`, which Flink answers from its metrics.

use std::time::Duration;

use libra_core::deployment::reconcile::{FlinkId, Pressure};
use serde::Deserialize;
use tokio::time::timeout;

use super::error::About;
use super::transport::Flink;

/// How long all of that may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Parts of a job that are asked about; a job has a few, and each is a request.
const MOST_PARTS: usize = 32;
/// The longest name of a part that is told, in characters: Flink chains the names of operators.
const MOST_NAME: usize = 80;

/// Flink's word for a part. Without one its metrics are not there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Low,
    High,
    /// A word that this Libra does not know.
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default, rename = "backpressureLevel")]
    level: Option<Level>,
}

impl Flink {
    /// How much a job is held back. None where Flink can't say yet (in the first seconds it answers 500), or does not say in
    /// time: nothing else depends on it.
    pub async fn pressure(&self, job: FlinkId) -> Option<Pressure> {
        timeout(PATIENCE, self.ask_pressure(job)).await.ok().flatten()
    }

    async fn ask_pressure(&self, job: FlinkId) -> Option<Pressure> {
        // In the order of the data.
        let parts = self.detail(job).await.ok()?.vertices;
        let mut levels = Vec::with_capacity(parts.len().min(MOST_PARTS));
        for part in parts.into_iter().take(MOST_PARTS) {
            let page = format!("/jobs/{job}/vertices/{}/backpressure", part.id);
            let level = self.get::<Page>(&page, About::Job).await.ok().and_then(|page| page.level);
            levels.push((part.name, level.filter(|level| *level != Level::Unknown)));
        }
        worst(levels)
    }
}

/// The worst of all, and the last part that is held back by what comes after it.
fn worst(levels: Vec<(String, Option<Level>)>) -> Option<Pressure> {
    let known = levels.into_iter().filter_map(|(part, level)| Some((part, level?)));
    // Of several that are equal the last one is taken.
    let (part, level) = known.max_by_key(|(_, level)| *level)?;
    Some(match level {
        Level::Ok | Level::Unknown => Pressure::None,
        Level::Low => Pressure::Low,
        Level::High => Pressure::High { part: part.chars().take(MOST_NAME).collect() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_that_waits_is_told() {
        let levels = |all: &[(&str, Option<Level>)]| {
            worst(all.iter().map(|(part, level)| ((*part).to_owned(), *level)).collect())
        };
        let high = |part: &str| Some(Pressure::High { part: part.to_owned() });
        assert_eq!(levels(&[("source", None), ("sink", None)]), None);
        assert_eq!(levels(&[("source", Some(Level::Ok)), ("sink", None)]), Some(Pressure::None));
        assert_eq!(levels(&[("source", Some(Level::Low)), ("sink", Some(Level::Ok))]), Some(Pressure::Low));
        let chain = [
            ("source", Some(Level::High)),
            ("map", Some(Level::High)),
            ("window", Some(Level::Low)),
            ("sink", Some(Level::Ok)),
        ];
        assert_eq!(levels(&chain), high("map"));
        let page = |text: &str| serde_json::from_str::<Page>(text).map(|page| page.level).ok();
        assert_eq!(
            page(r#"{"status": "ok", "backpressureLevel": "high", "subtasks": []}"#),
            Some(Some(Level::High))
        );
        assert_eq!(page(r#"{"status": "deprecated"}"#), Some(None));
        assert_eq!(page(r#"{"backpressureLevel": "extreme"}"#), Some(Some(Level::Unknown)));
    }
}
