//! A private PostgreSQL, and what Libra does with it beside bare statements on the same server.

mod bare;
mod rows;
mod submissions;
mod transitions;

use std::path::Path;
use std::time::Duration;

use libra_store::{Db, PoolSettings, StoreUrl};
use libra_testkit::Postgres;
use libra_testkit::postgres::Setup;

use crate::Outcome;
use crate::figures::Table;

/// What differs from PostgreSQL's defaults: as on a server that has run for a while. Commits are durable (`fsync`,
/// `synchronous_commit`) on either side.
pub(crate) const SETTINGS: [(&str, &str); 4] =
    [("shared_buffers", "1GB"), ("max_wal_size", "8GB"), ("min_wal_size", "4GB"), ("max_connections", "300")];

/// A server of one's own.
pub(crate) fn server() -> Postgres {
    SETTINGS.iter().fold(Setup::new(), |setup, (name, value)| setup.setting(name, value)).start()
}

/// Opens a database as Libra does.
pub(crate) async fn open(url: &str) -> Outcome<Db> {
    let url = StoreUrl::parse(url, Path::new("."))?;
    Ok(Db::open(&url, PoolSettings::default()).await?)
}

pub(crate) async fn measure(libra: &Path, time: Duration, table: &mut Table) -> Outcome<()> {
    let server = server();
    submissions::measure(&server, libra, time, table).await?;
    transitions::measure(&server, time, table).await?;
    let settings: Vec<String> = SETTINGS.iter().map(|(name, value)| format!("{name}={value}")).collect();
    table.remark(format!(
        "PostgreSQL: {}, {}, everything else as it comes, so fsync and synchronous_commit are on.",
        server.query(&server.url(), "SHOW server_version"),
        settings.join(", ")
    ));
    Ok(())
}
