//! What a running driver tells of itself: its application id and the address of its UI.

use libra_core::attempt::Links;
use serde::Deserialize;

use crate::attempt_dir::AttemptDir;
use crate::logs::{LogReader, Stream};
use crate::shim::records;

/// Written by our driver script once the session is there.
const FILE: &str = "application.json";
/// How much of the standard error is searched for an application id, in bytes: it stands near the beginning.
const SEARCHED: usize = 256 * 1024;

/// What is known of the application; all of it may be missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Application {
    pub(super) application_id: Option<String>,
    spark_ui: Option<String>,
}

impl Application {
    /// Reads what the driver of `dir` has told so far.
    pub(super) fn read(dir: &AttemptDir) -> Self {
        let told: Option<Self> = records::read(&dir.path().join(FILE)).unwrap_or_default();
        told.unwrap_or_else(|| beginning(dir).map(|text| in_log(&text)).unwrap_or_default())
    }

    pub(super) fn links(&self) -> Links {
        Links { spark_ui: self.spark_ui.clone(), history: None, driver_log: None }
    }
}

fn beginning(dir: &AttemptDir) -> Option<String> {
    let bytes = LogReader::new(dir, Stream::Stderr).read(0, SEARCHED).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Looks for the lines with which Spark's standalone and YARN clients name the application.
fn in_log(text: &str) -> Application {
    let marks = ["Connected to Spark cluster with app ID ", "Submitted application application_"];
    let application_id = marks.iter().find_map(|mark| {
        let after = &text[text.find(mark)? + mark.len()..];
        let id: String =
            after.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
        let id = if mark.ends_with("application_") { format!("application_{id}") } else { id };
        id.contains(|c: char| c.is_ascii_digit()).then_some(id)
    });
    Application { application_id, spark_ui: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_name_the_application_in_the_log() {
        let id = |text: &str| in_log(text).application_id;
        let standalone =
            "INFO StandaloneSchedulerBackend: Connected to Spark cluster with app ID app-2026-0001\nx";
        assert_eq!(id(standalone).as_deref(), Some("app-2026-0001"));
        let yarn = "INFO YarnClientImpl: Submitted application application_17_0002\n";
        assert_eq!(id(yarn).as_deref(), Some("application_17_0002"));
        assert_eq!(id("INFO SparkContext: Submitted application: pi"), None);
    }
}
