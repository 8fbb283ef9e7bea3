//! What it costs to look at ten thousand deployments of which nothing changes.

use std::path::Path;
use std::time::{Duration, Instant};

use super::fake::Fake;
use super::{config, job_id, name, stand_in_program, table};
use crate::Outcome;
use crate::figures::{Table, aim};
use crate::service::Service;

/// All are looked at once in this time: `USUAL` of the reconciler.
const ROUND: Duration = Duration::from_secs(5);
/// Rounds that are measured.
const ROUNDS: u32 = 8;
/// Before that the pages of all jobs are read once; that they are read together must be over.
const SETTLE: Duration = Duration::from_secs(10);
/// The pages of all jobs were not read after this time.
const PATIENCE: Duration = Duration::from_mins(5);
/// Requests for the pages of a job.
const PAGES: u64 = 3;
/// Aimed at, seconds.
const AIM: f64 = 1.0;

pub(crate) async fn measure(libra: &Path, deployments: u32, table: &mut Table) -> Outcome<()> {
    let scratch = tempfile::tempdir()?;
    let programs = scratch.path().join("programs");
    stand_in_program(&programs)?;
    let fake = Fake::start(Duration::ZERO).await?;
    let config = config(&[("main", fake.url())], &programs);
    let dir = scratch.path().join("libra");
    // It makes its tables, and shows what it takes with nothing to do.
    let service = Service::start(libra, &dir, &config)?;
    let data_dir = service.data_dir().to_owned();
    let before = service.cpu_seconds()?;
    tokio::time::sleep(ROUND * 2).await;
    let idle = (service.cpu_seconds()? - before) / 2.0;
    service.end()?;

    table::fill(&data_dir, "main", 0..deployments)?;
    (0..deployments).for_each(|number| fake.run(&job_id(number), &name(number)));
    let asked = fake.requests();
    let begun = Instant::now();
    let service = Service::start(libra, &dir, &config)?;
    while fake.requests() - asked < u64::from(deployments) * PAGES {
        if begun.elapsed() > PATIENCE {
            return Err("not all deployments were looked at".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (first, first_cpu) = (begun.elapsed().as_secs_f64(), service.cpu_seconds()?);
    tokio::time::sleep(SETTLE).await;

    let (written, asked, cpu) = (table::written(&data_dir)?, fake.requests(), service.cpu_seconds()?);
    tokio::time::sleep(ROUND * ROUNDS).await;
    let cpu = (service.cpu_seconds()? - cpu) / f64::from(ROUNDS);
    let asked = (fake.requests() - asked) / u64::from(ROUNDS);
    let writes = if table::written(&data_dir)? == written { "none" } else { "some" };
    let resident = service.resident()?;
    service.end()?;

    table.add(
        &format!("a pass over {deployments} deployments that changes nothing, processor time"),
        &format!("{cpu:.2} s"),
        &format!("{idle:.2} s"),
        "bare: no deployments, the same time",
        &aim("≤ 1 s", cpu <= AIM),
    );
    table.add("  rows that it has changed", writes, "", "", &aim("none", writes == "none"));
    table.add("  requests to the cluster", &asked.to_string(), "", "in each pass, all together", "");
    table.add(
        "  the first pass, which reads everything",
        &format!("{first_cpu:.1} s"),
        "",
        &format!("processor time; {first:.1} s by the clock"),
        "",
    );
    table.add("  resident memory then", &format!("{:.0} MB", resident as f64 / 1e6), "", "", "");
    Ok(())
}
