//! A thousand deployments at once: first all are declared, then all are changed.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::fake::Fake;
use super::{apply, config, name, spec, stand_in_program, table};
use crate::Outcome;
use crate::figures::{Table, aim};
use crate::http1::Connection;
use crate::service::Service;

/// Callers that apply at once.
const CALLERS: u32 = 8;
/// Aimed at, seconds.
const AIM: f64 = 60.0;
/// Something that does not come in this time never comes.
const PATIENCE: Duration = Duration::from_mins(10);

pub(crate) async fn measure(libra: &Path, deployments: u32, table: &mut Table) -> Outcome<()> {
    let scratch = tempfile::tempdir()?;
    let programs = scratch.path().join("programs");
    stand_in_program(&programs)?;
    let fake = Fake::start(Duration::ZERO).await?;
    let config = config(&[("main", fake.url())], &programs);
    let service = Service::start(libra, &scratch.path().join("libra"), &config)?;
    let words = ["declared, until all are stable", "changed, until all are redeployed and stable"];
    for (version, words) in (1..).zip(words) {
        let (cpu, asked) = (service.cpu_seconds()?, fake.requests());
        let (applied, all) = turn(&service, deployments, version).await?;
        if fake.running() != deployments as usize {
            return Err(format!("{} jobs run, not {deployments}", fake.running()).into());
        }
        let cpu = service.cpu_seconds()? - cpu;
        let asked = (fake.requests() - asked) / u64::from(deployments);
        table.add(
            &format!("{deployments} deployments {words}"),
            &format!("{all:.1} s"),
            &format!("{applied:.1} s"),
            "bare: until all were accepted",
            &aim("≤ 60 s", all <= AIM),
        );
        table.add("  processor time", &format!("{cpu:.1} s"), "", &format!("{asked} requests for each"), "");
    }
    service.end()
}

/// Applies this version of all; answers the seconds until all were accepted, and until all are stable.
async fn turn(service: &Service, deployments: u32, version: u32) -> Outcome<(f64, f64)> {
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let mut api = Connection::open(service.address).await?;
        callers.spawn(async move {
            for number in (caller..deployments).step_by(CALLERS as usize) {
                apply(&mut api, &spec(&name(number), "main", version)).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(done) = callers.join_next().await {
        done??;
    }
    let applied = begun.elapsed().as_secs_f64();
    while begun.elapsed() < PATIENCE {
        if table::stable_at(service.data_dir(), version)? == deployments {
            return Ok((applied, begun.elapsed().as_secs_f64()));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err("not all deployments became stable".into())
}
