//! How long Libra takes to be ready, and how much memory it holds when it has nothing to do.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::figures::{Samples, Table, aim};
use crate::http1::{Connection, get};
use crate::service::Service;

/// It idles for this long before its memory is read.
const IDLE: Duration = Duration::from_secs(5);
/// Aimed at, milliseconds.
const READY_AIM_MS: f64 = 200.0;
/// Aimed at, bytes.
const MEMORY_AIM: f64 = 40e6;

pub(crate) async fn measure(libra: &Path, starts: usize, table: &mut Table) -> Outcome<()> {
    let scratch = tempfile::tempdir()?;
    let (mut ready, mut again, mut bare) = (Samples::default(), Samples::default(), Samples::default());
    for n in 0..starts {
        bare.add(version(libra)?);
        let dir = scratch.path().join(n.to_string());
        // The first start makes the database, the second finds it.
        for samples in [&mut ready, &mut again] {
            let begun = Instant::now();
            let service = Service::start(libra, &dir, "")?;
            let mut connection = Connection::open(service.address).await?;
            while connection.call(&get("/health/ready")).await?.0 != 200 {}
            samples.add(begun.elapsed());
            service.end()?;
        }
    }
    let service = Service::start(libra, &scratch.path().join("idle"), "")?;
    tokio::time::sleep(IDLE).await;
    let (resident, cpu) = (service.resident()?, service.cpu_seconds()?);
    service.end()?;

    let ms = |samples: &Samples, percent| format!("{:.1} ms", samples.percentile(percent));
    let p50 = ready.percentile(50);
    table.add(
        "ready after spawn, new data directory, p50",
        &ms(&ready, 50),
        &ms(&bare, 50),
        "bare: `libra --version`",
        &aim("≤ 200 ms", p50 <= READY_AIM_MS),
    );
    table.add("  the slowest", &ms(&ready, 100), &ms(&bare, 100), "", "");
    table.add("ready after spawn, known data directory, p50", &ms(&again, 50), &ms(&bare, 50), "", "");
    table.add(
        "idle memory (resident)",
        &format!("{:.1} MB", resident as f64 / 1e6),
        "",
        "",
        &aim("≤ 40 MB", resident as f64 <= MEMORY_AIM),
    );
    table.remark(format!(
        "Start: {starts} starts of each; memory after {} s, which took {cpu:.2} s of processor time.",
        IDLE.as_secs()
    ));
    Ok(())
}

/// How long a process of this binary takes that only says its version.
fn version(libra: &Path) -> Outcome<Duration> {
    let begun = Instant::now();
    let status = Command::new(libra).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if !status.success() {
        return Err("`libra --version` failed".into());
    }
    Ok(begun.elapsed())
}
