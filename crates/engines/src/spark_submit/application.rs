//! What a running driver tells of itself: its application id and the address of its UI.
//!
//! Our driver script writes it down. A program with a main of its own tells less: Spark's log names the port of the UI,
//! and whoever answers there is believed when its settings carry the attempt's token ([`super::follow`]).

use std::io;
use std::net::IpAddr;

use libra_core::attempt::Links;
use serde::{Deserialize, Serialize};

use super::rest;
use crate::attempt_dir::AttemptDir;
use crate::logs::{LogReader, Stream};
use crate::shim::records;

/// Written by our driver script once the session is there, or for it.
const FILE: &str = "application.json";
/// How much of the standard error is searched, in bytes: what is looked for stands near the beginning.
const SEARCHED: usize = 256 * 1024;
/// The longest address that is taken.
const LONGEST_ADDRESS: usize = 2_000;

/// What is known of the application; all of it may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Application {
    #[serde(rename = "applicationId")]
    pub(super) id: Option<String>,
    /// The UI, as people reach it.
    pub(super) spark_ui: Option<String>,
    /// The same as Libra has reached it, where it is known to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reached: Option<String>,
}

impl Application {
    /// Reads what the driver of `dir` has told so far.
    pub(super) fn read(dir: &AttemptDir) -> Self {
        Self::told(dir).unwrap_or_else(|| {
            beginning(dir).map(|text| Self { id: id_in_log(&text), ..Self::default() }).unwrap_or_default()
        })
    }

    /// What stands in the file; None before there is one. It is a program's word: what makes no sense is left out.
    pub(super) fn told(dir: &AttemptDir) -> Option<Self> {
        let told: Self = records::read(&dir.path().join(FILE)).unwrap_or_default()?;
        Some(Self {
            id: told.id.filter(|id| rest::is_id(id)),
            spark_ui: told.spark_ui.filter(|address| is_address(address)),
            reached: told.reached.filter(|address| is_address(address)),
        })
    }

    /// Keeps what was found out, for a Libra that starts later.
    pub(super) fn keep(&self, dir: &AttemptDir) -> io::Result<()> {
        records::replace(&dir.path().join(FILE), &serde_json::to_vec(self)?)
    }

    /// Where the interface is, and which application to ask it for.
    pub(super) fn interface(&self) -> Option<(&str, &str)> {
        let base = self.reached.as_deref().or(self.spark_ui.as_deref())?;
        Some((base.trim_end_matches('/'), self.id.as_deref()?))
    }

    /// Addresses while the driver lives.
    pub(super) fn links(&self) -> Links {
        Links { spark_ui: self.spark_ui.clone(), ..Links::default() }
    }
}

/// The port of the UI, as Spark's log names it; None where it names none.
pub(super) fn ui_port(dir: &AttemptDir) -> Option<u16> {
    port_in_log(&beginning(dir)?)
}

/// `http://HOST:PORT`, whatever kind of host it is.
pub(super) fn address(host: &str, port: u16) -> String {
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V6(host)) => format!("http://[{host}]:{port}"),
        Ok(IpAddr::V4(_)) | Err(_) => format!("http://{host}:{port}"),
    }
}

/// True for the address of a web page, and nothing that a browser would run.
fn is_address(text: &str) -> bool {
    text.len() <= LONGEST_ADDRESS
        && text.parse::<http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
        })
}

fn beginning(dir: &AttemptDir) -> Option<String> {
    let bytes = LogReader::new(dir, Stream::Stderr).read(0, SEARCHED).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Looks for the lines with which Spark's standalone and YARN clients name the application.
fn id_in_log(text: &str) -> Option<String> {
    let marks = ["Connected to Spark cluster with app ID ", "Submitted application application_"];
    marks.iter().find_map(|mark| {
        let after = &text[text.find(mark)? + mark.len()..];
        let id: String =
            after.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
        let id = if mark.ends_with("application_") { format!("application_{id}") } else { id };
        id.contains(|c: char| c.is_ascii_digit()).then_some(id)
    })
}

/// The last one counts: a program may have stopped its session and begun another.
fn port_in_log(text: &str) -> Option<u16> {
    let (_, after) = text.rsplit_once("Successfully started service 'SparkUI' on port ")?;
    // A line that is still being written may lack the port's last digits.
    let (port, _) = after.split_once(|c: char| !c.is_ascii_digit())?;
    port.parse().ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_name_the_application_in_the_log() {
        let standalone =
            "INFO StandaloneSchedulerBackend: Connected to Spark cluster with app ID app-2026-0001\nx";
        assert_eq!(id_in_log(standalone).as_deref(), Some("app-2026-0001"));
        let yarn = "INFO YarnClientImpl: Submitted application application_17_0002\n";
        assert_eq!(id_in_log(yarn).as_deref(), Some("application_17_0002"));
        assert_eq!(id_in_log("INFO SparkContext: Submitted application: pi"), None);
    }

    #[test]
    fn the_log_names_the_port_of_the_ui() {
        let line = |port: &str| format!("INFO Utils: Successfully started service 'SparkUI' on port {port}");
        assert_eq!(port_in_log(&format!("{}.\n", line("38587"))), Some(38587));
        assert_eq!(port_in_log(&format!("{}.\n{}.\n", line("4040"), line("4041"))), Some(4041));
        assert_eq!(port_in_log(&line("385")), None, "the rest of the line is still to come");
        assert_eq!(port_in_log(&format!("{}.", line("99999"))), None);
        assert_eq!(port_in_log("INFO JettyUtils: Start Jetty 127.0.0.1:0 for SparkUI"), None);
    }

    #[test]
    fn a_program_can_make_no_link_of_anything() {
        assert!(is_address("http://node-7:4040") && is_address("https://[::1]:4440/"));
        for bad in
            ["javascript:alert(1)", "file:///etc/passwd", "//node:4040", "http://", "node:4040", "http:/x"]
        {
            assert!(!is_address(bad), "{bad}");
        }
        assert_eq!(address("::1", 4040), "http://[::1]:4040");
        assert_eq!(address("node-7", 4040), "http://node-7:4040");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*", tail in ".*") {
            let line = format!("{text}Successfully started service 'SparkUI' on port {tail}");
            let _ = (port_in_log(&line), id_in_log(&line), is_address(&text), address(&text, 1));
            let _ = id_in_log(&format!("Submitted application application_{tail}"));
        }
    }
}
