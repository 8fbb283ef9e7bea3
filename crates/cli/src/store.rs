//! `libra migrate` and `libra store check`: the database itself, with no service running.

use std::fmt::Write as _;

use libra_store::{CheckReport, Db, StoreError, StoreUrl};
use serde_json::json;

use crate::args::{Format, ServeArgs, StoreCheckArgs};
use crate::failure::{Exit, Failure};
use crate::{output, serve};

/// A clock that is further off than this is worth a word, in microseconds.
const CLOCK_TOLERANCE: i64 = 1_000_000;

/// Brings the database to the newest schema.
pub(crate) fn migrate(args: &ServeArgs) -> Result<Exit, Failure> {
    let url = serve::configuration(args)?.store.url;
    let (from, to) = run(async { Db::migrate(&url).await })?;
    if from == to {
        output::say(&format!("{url}: nothing to do, the schema is version {to}"));
    } else {
        output::say(&format!("{url}: migrated from version {from} to {to}"));
    }
    Ok(Exit::Done)
}

/// Looks at the database and changes nothing.
pub(crate) fn check(args: &StoreCheckArgs) -> Result<Exit, Failure> {
    let url: StoreUrl = serve::configuration(&args.serve)?.store.url;
    let report = run(async { Db::check(&url).await })?;
    match args.output.output {
        Format::Json => output::print_json(&as_json(&report))?,
        Format::Table => output::print(&as_text(&report))?,
    }
    if !report.writable {
        return Err(Failure::new(Exit::Failed, "the database can't be written")
            .hint("is it a standby, a full disk, or a file without permission?"));
    }
    Ok(Exit::Done)
}

fn run<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Failed, format!("the command can't start: {e}")))?;
    runtime.block_on(asked).map_err(|error| {
        let failure = Failure::new(Exit::Failed, error.to_string());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

fn as_json(r: &CheckReport) -> serde_json::Value {
    json!({
        "kind": r.kind.as_str(),
        "url": r.url,
        "version": r.version,
        "schemaFound": r.schema_found,
        "schemaKnown": r.schema_known,
        "latencyMs": r.latency.as_secs_f64() * 1_000.0,
        "clockAheadMs": r.clock_ahead_micros / 1_000,
        "maxConnections": r.connections.map(|(most, _)| most),
        "connections": r.connections.map(|(_, used)| used),
        "writable": r.writable,
    })
}

fn as_text(r: &CheckReport) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{name:<12} {value}");
    };
    line("store", r.url.clone());
    line("database", format!("{} {}", r.kind.as_str(), r.version));
    line(
        "schema",
        match (r.schema_found, r.schema_known) {
            (0, known) => format!("none yet; `libra serve` or `libra migrate` makes version {known}"),
            (found, known) if found < known => {
                format!("version {found}; `libra migrate` brings it to {known}")
            }
            (found, known) if found > known => {
                format!("version {found}, newer than this Libra's {known}: use a newer Libra")
            }
            (found, _) => format!("version {found}, up to date"),
        },
    );
    line("latency", format!("{:.1} ms", r.latency.as_secs_f64() * 1_000.0));
    let apart = r.clock_ahead_micros;
    let clock = if apart.abs() <= CLOCK_TOLERANCE {
        "the same as here".to_owned()
    } else {
        format!(
            "{:.1} s {} this machine's; Libra goes by the store's",
            (apart.abs() as f64) / 1e6,
            if apart > 0 { "ahead of" } else { "behind" }
        )
    };
    line("clock", clock);
    if let Some((most, used)) = r.connections {
        line("connections", format!("{used} of {most} in use"));
    }
    line("writable", if r.writable { "yes" } else { "no" }.to_owned());
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use libra_store::backend::Kind;

    use super::*;

    #[test]
    fn a_report_for_people() {
        let report = CheckReport {
            kind: Kind::Postgres,
            url: "postgres://libra@db:5432/libra".into(),
            version: "15.20".into(),
            schema_found: 1,
            schema_known: 2,
            latency: Duration::from_micros(740),
            clock_ahead_micros: -90_000_000,
            connections: Some((100, 7)),
            writable: true,
        };
        insta::assert_snapshot!(as_text(&report));
    }
}
