//! A query's way through Libra, from the request to SUCCEEDED, beside a bare client on the same server.

use std::path::Path;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::Outcome;
use crate::concurrency;
use crate::connect::Client;
use crate::figures::{Samples, Table, aim};
use crate::http1::Connection;
use crate::service::{Service, run_job};

/// The Spark server ends with Libra, and by itself soon after a Libra that was killed. It is not replaced by another on the
/// way, of which the bare client would not know.
const CONFIG: &str = "\
libra.execution.modes.in-cluster.stop-server-on-shutdown: true
libra.execution.modes.in-cluster.keepalive: 1m
libra.execution.modes.in-cluster.recycle-at: 16g
libra.resources.quotas.in-cluster.max-concurrent-jobs: 16
";
pub(crate) const SQL: &str = "SELECT 1";
/// Aimed at: this much more than the bare client at p50, milliseconds.
const AIM_MS: f64 = 10.0;
/// What an ended query leaves behind is let go within this time.
const PAUSE: Duration = Duration::from_millis(20);

/// The ways of a query, in the order of their turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Isolated,
    BareNew,
    Shared,
    BareShared,
}

const WAYS: [Way; 4] = [Way::Isolated, Way::BareNew, Way::Shared, Way::BareShared];

struct Bench {
    api: Connection,
    bare: Client,
    session: Uuid,
}

pub(crate) async fn measure(libra: &Path, warm_up: usize, queries: usize, table: &mut Table) -> Outcome<()> {
    let scratch = tempfile::tempdir()?;
    let service = Service::start(libra, scratch.path(), CONFIG)?;
    let mut api = Connection::open(service.address).await?;
    // Starts the Spark server.
    run(&mut api, SQL, "ISOLATED").await?;
    let bare = Client::connect(service.data_dir()).await?;
    let mut bench = Bench { api, bare, session: Uuid::new_v4() };
    let mut samples: [Samples; 4] = Default::default();
    for round in 0..warm_up + queries {
        // Everybody follows everybody: what a way leaves behind burdens the others alike.
        for turn in 0..WAYS.len() {
            let way = WAYS[(round + turn) % WAYS.len()];
            let took = bench.take(way).await?;
            if round >= warm_up {
                samples[way as usize].add(took);
            }
        }
    }
    // After the others, on a server that is as warm as it gets.
    let at_once = concurrency::measure(service.address, &bench.bare, queries).await?;
    service.end()?;

    let pairs = [
        ("SELECT 1, submit → SUCCEEDED, session of its own", Way::Isolated, Way::BareNew),
        ("SELECT 1, submit → SUCCEEDED, shared session", Way::Shared, Way::BareShared),
    ];
    for (what, way, beside) in pairs {
        let (libra, bare) = (&samples[way as usize], &samples[beside as usize]);
        for percent in [50, 99] {
            let (l, b) = (libra.percentile(percent), bare.percentile(percent));
            let aimed = if percent == 50 { aim("≤ + 10 ms", l - b <= AIM_MS) } else { String::new() };
            table.add(
                &format!("{what}, p{percent}"),
                &format!("{l:.1} ms"),
                &format!("{b:.1} ms"),
                &format!("{:+.1} ms on a bare Spark Connect client", l - b),
                &aimed,
            );
        }
    }
    for rates in &at_once {
        rates.show(table);
    }
    table.remark(format!(
        "Queries: {queries} on each way after {warm_up} for warmth, one at a time, the four ways in turn on one Spark \
         server. Bare: reattachable execution, as the official clients do; letting go is not counted on either side."
    ));
    Ok(())
}

impl Bench {
    async fn take(&mut self, way: Way) -> Outcome<Duration> {
        let began = Instant::now();
        match way {
            Way::Isolated => run(&mut self.api, SQL, "ISOLATED").await?,
            Way::Shared => run(&mut self.api, SQL, "SHARED").await?,
            Way::BareNew | Way::BareShared => {
                let new = way == Way::BareNew;
                let session = if new { Uuid::new_v4() } else { self.session };
                let executed = self.bare.execute(session, SQL).await?;
                let took = began.elapsed();
                executed.release(new).await?;
                tokio::time::sleep(PAUSE).await;
                return Ok(took);
            }
        }
        let took = began.elapsed();
        tokio::time::sleep(PAUSE).await;
        Ok(took)
    }
}

/// Submits the query and waits until it has succeeded.
pub(crate) async fn run(api: &mut Connection, sql: &str, session: &str) -> Outcome<()> {
    let body =
        format!(r#"{{"code":"{sql}","kind":"sql","executionMode":"in-cluster","sessionMode":"{session}"}}"#);
    run_job(api, &body).await
}
