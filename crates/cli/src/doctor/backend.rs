//! What the in-cluster mode needs when its server is not Apache Spark's.

use libra_core::mode::Mode;
use libra_engines::spark_connect::{Backend, find_sail};
use libra_server::config::Config;

use super::report::Check;

/// What jobs must not expect of Sail; `docs/spark-connect.md` says more.
const SAIL_LIMITS: &str = "no progress; tables and views last as long as their session; no scripting, PIVOT over a subquery, \
                           variables or recursive queries; one query that does not obey ends its server";

pub(super) fn checks(config: &Config) -> Vec<Check> {
    if !config.enabled.contains(&Mode::InCluster) {
        return Vec::new();
    }
    match &config.in_cluster.backend {
        Backend::Spark => Vec::new(),
        Backend::Sail { program, .. } => match find_sail(program.as_deref()) {
            Ok(program) => vec![
                Check::ok("sail", program.display().to_string()),
                Check::warning("sail-limits", SAIL_LIMITS),
            ],
            Err(failure) => vec![Check::missing("sail", failure.message)],
        },
        Backend::External { address, ca_file, .. } => {
            let tls = if address.tls { "with TLS" } else { "without TLS" };
            let unreadable = ca_file
                .iter()
                .filter_map(|file| {
                    std::fs::read(file).err().map(|error| format!("{}: {error}", file.display()))
                })
                .map(|text| Check::missing("spark-connect-certificates", text));
            let said = format!("{address}, {tls}; asked when the first job comes");
            std::iter::once(Check::ok("spark-connect", said)).chain(unreadable).collect()
        }
    }
}
