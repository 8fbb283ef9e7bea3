//! What Libra asks of slurmctld while few and many ask Libra: by the count of a real slurmctld itself (contract H4).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use libra_testkit::SlurmCluster;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Outcome;
use crate::figures::{Table, aim};
use crate::http1::{Connection, get};
use crate::service::Service;

/// Clients, few and many.
const CLIENTS: [usize; 2] = [10, 1_000];
/// What they ask for, all the time.
const ASKED: [&str; 2] = ["/v1/jobs?limit=50", "/metrics"];
/// How long is counted each time: the budget is one of minutes.
const COUNTED: Duration = Duration::from_mins(1);
/// Until the first reads are over.
const SETTLED: Duration = Duration::from_secs(15);
/// Jobs of the cluster.
const JOBS: usize = 20;
/// A minute, in seconds.
const MINUTE: f64 = 60.0;
/// As many requests for a thousand clients as for ten, but for one read that falls into one minute or into the other.
const AIM: f64 = 1.25;

pub(crate) async fn measure(libra: &Path, table: &mut Table) -> Outcome<()> {
    let scratch = tempfile::tempdir()?;
    eprintln!("  a Slurm, and nobody who asks …");
    let cluster = SlurmCluster::start();
    for _ in 0..JOBS {
        cluster.sbatch(&["--time=30"], "sleep 900");
    }
    let (url, user, key) = (cluster.url(), cluster.user(), cluster.key().display().to_string());
    let config = format!(
        "libra.slurm.clusters: [{{name: bench, rest-url: \"{url}\", user: {user}, jwt-key-file: \"{key}\"}}]\n"
    );
    let service = Service::start(libra, scratch.path(), &config)?;
    sleep(SETTLED).await;
    let alone = counted(&cluster, COUNTED).await?;
    let mut rates: Vec<f64> = Vec::new();
    for clients in CLIENTS {
        eprintln!("  {clients} who ask …");
        let (rate, answers) = beside(&cluster, service.address, clients).await?;
        let compared = format!("{answers:.0} answers a second");
        let (compared, judged) = match rates.first() {
            None => (compared, String::new()),
            Some(few) => {
                let ratio = format!("{:.2} of those for {}; {compared}", rate / few, CLIENTS[0]);
                (ratio, aim("constant", rate <= few * AIM))
            }
        };
        let what = format!("slurmctld: requests a minute, {clients} clients");
        table.add(&what, &format!("{rate:.0}"), &format!("{alone:.0}"), &compared, &judged);
        rates.push(rate);
    }
    service.end()?;
    table.remark(format!(
        "Requests as slurmctld itself counts them (sdiag), in {} s each, {JOBS} jobs, with the usual interval and budget; bare: with \
         nobody who asks Libra. Each client has a connection and asks for {} in turn, without a pause.",
        COUNTED.as_secs(),
        ASKED.join(" and ")
    ));
    Ok(())
}

/// Requests a minute while so many clients ask, and the answers that they get in a second.
async fn beside(cluster: &SlurmCluster, address: SocketAddr, clients: usize) -> Outcome<(f64, f64)> {
    let (done, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut all = JoinSet::new();
    for _ in 0..clients {
        all.spawn(ask(address, Arc::clone(&done), Arc::clone(&answers)));
    }
    let began = Instant::now();
    let rate = counted(cluster, COUNTED).await?;
    let answered = answers.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    done.store(true, Ordering::Relaxed);
    while let Some(ended) = all.join_next().await {
        ended??;
    }
    Ok((rate, answered))
}

async fn ask(address: SocketAddr, done: Arc<AtomicBool>, answers: Arc<AtomicU64>) -> Outcome<()> {
    let mut connection = Connection::open(address).await?;
    for path in ASKED.into_iter().cycle() {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let (status, body) = connection.call(&get(path)).await?;
        if status != 200 {
            return Err(format!("{path}: {status}: {}", String::from_utf8_lossy(body)).into());
        }
        answers.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Requests a minute, but for those by which they are counted.
async fn counted(cluster: &SlurmCluster, time: Duration) -> Outcome<f64> {
    let (before, began) = (requests(cluster)?, Instant::now());
    sleep(time).await;
    let after = requests(cluster)?;
    let asked = after.saturating_sub(before).saturating_sub(1);
    Ok(asked as f64 * MINUTE / began.elapsed().as_secs_f64())
}

/// Requests to slurmctld so far, by anybody but its nodes.
fn requests(cluster: &SlurmCluster) -> Outcome<u64> {
    let text = cluster.command(&["sdiag"]);
    let by_type = text.split("statistics by message type").nth(1);
    let by_type = by_type.and_then(|rest| rest.split("statistics by user").next());
    let by_type = by_type.ok_or("sdiag has no statistics by message type")?;
    // REQUEST_JOB_INFO  ( 2003) count:5  ave_time:…
    let counts = by_type.lines().filter(|line| line.trim_start().starts_with("REQUEST_"));
    counts
        .map(|line| {
            let count = line.split("count:").nth(1).and_then(|rest| rest.split_whitespace().next());
            let count = count.and_then(|count| count.parse::<u64>().ok());
            count.ok_or_else(|| format!("sdiag says {line:?}").into())
        })
        .sum()
}
