//! A cluster that answers slowly: what that does to the deployments of another one, and to each other's on it.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::fake::Fake;
use super::{config, job_id, name, stand_in_program, table};
use crate::Outcome;
use crate::figures::{Samples, Table};
use crate::http1::{Connection, get, post};
use crate::service::Service;

/// Deployments on each cluster.
const EACH: u32 = 200;
/// Each answer of the slow cluster takes so long.
const SLOWNESS: Duration = Duration::from_secs(1);
/// Changes on the quick cluster that are timed.
const CHANGES: u32 = 20;
/// Something that does not come in this time never comes.
const PATIENCE: Duration = Duration::from_mins(2);
/// Requests for the pages of a job.
const PAGES: u64 = 3;
/// Requests for what concerns all deployments.
const SHARED: u64 = 4;

pub(crate) async fn measure(libra: &Path, table: &mut Table) -> Outcome<()> {
    let beside_quick = changes(libra, Duration::ZERO).await?;
    let beside_slow = changes(libra, SLOWNESS).await?;
    let ms = |samples: &Samples, percent| format!("{:.0} ms", samples.percentile(percent));
    table.add(
        &format!("suspended, p50, {EACH} deployments on a slow cluster beside"),
        &ms(&beside_slow.0, 50),
        &ms(&beside_quick.0, 50),
        "bare: the other cluster is quick",
        "",
    );
    table.add("  the slowest", &ms(&beside_slow.0, 100), &ms(&beside_quick.0, 100), "", "");
    table.add(
        &format!("all {EACH} on the slow cluster looked at"),
        &format!("{:.1} s", beside_slow.1.as_secs_f64()),
        &format!("{:.1} s", SLOWNESS.as_secs_f64()),
        "bare: one answer; a look at a job is four, one after the other",
        "",
    );
    Ok(())
}

/// The times of changes on a quick cluster, and how long it took to look at all deployments of the other one.
async fn changes(libra: &Path, slowness: Duration) -> Outcome<(Samples, Duration)> {
    let scratch = tempfile::tempdir()?;
    let programs = scratch.path().join("programs");
    stand_in_program(&programs)?;
    let (quick, slow) = (Fake::start(Duration::ZERO).await?, Fake::start(slowness).await?);
    let config = config(&[("quick", quick.url()), ("slow", slow.url())], &programs);
    let dir = scratch.path().join("libra");
    let service = Service::start(libra, &dir, &config)?;
    let data_dir = service.data_dir().to_owned();
    service.end()?;
    table::fill(&data_dir, "quick", 0..EACH)?;
    table::fill(&data_dir, "slow", EACH..EACH * 2)?;
    (0..EACH).for_each(|number| quick.run(&job_id(number), &name(number)));
    (EACH..EACH * 2).for_each(|number| slow.run(&job_id(number), &name(number)));

    let asked = slow.requests();
    let service = Service::start(libra, &dir, &config)?;
    let begun = Instant::now();
    let mut api = Connection::open(service.address).await?;
    let wanted = u64::from(EACH) * PAGES + SHARED;
    let mut looked = None;
    let mut samples = Samples::default();
    for number in 0..CHANGES {
        samples.add(suspend(&mut api, &name(number)).await?);
        if looked.is_none() && slow.requests() - asked >= wanted {
            looked = Some(begun.elapsed());
        }
    }
    while looked.is_none() {
        if begun.elapsed() > PATIENCE {
            return Err("not all deployments were looked at".into());
        }
        if slow.requests() - asked >= wanted {
            // The last answer is on its way.
            looked = Some(begun.elapsed() + slowness);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    service.end()?;
    Ok((samples, looked.unwrap_or_default()))
}

/// Suspends a deployment; answers when it is.
async fn suspend(api: &mut Connection, id: &str) -> Outcome<Duration> {
    let begun = Instant::now();
    let (status, body) =
        api.call(&post(&format!("/api/v1/deployments/{id}/suspend"), &json!({}).to_string())).await?;
    if status != 202 {
        return Err(format!("{id} is not to be suspended: {}", String::from_utf8_lossy(body)).into());
    }
    while begun.elapsed() < PATIENCE {
        let (_, body) = api.call(&get(&format!("/api/v1/deployments/{id}"))).await?;
        let view: Value = serde_json::from_slice(body)?;
        if view["state"] == "suspended" {
            return Ok(begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Err(format!("{id} was never suspended").into())
}
