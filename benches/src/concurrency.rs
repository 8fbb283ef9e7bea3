//! Sixteen callers at once: queries through Libra beside a bare client on the same server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::task::JoinSet;
use uuid::Uuid;

use crate::Outcome;
use crate::connect::Client;
use crate::figures::{Table, aim};
use crate::http1::Connection;
use crate::latency::{self, run};

/// Callers that each have one query after another.
pub(crate) const CALLERS: usize = 16;
/// Turns of each way that are counted. Who begins alternates as well, because the server gets faster all the time: it is as warm
/// for one as for the other.
const TURNS: usize = 4;
/// Aimed at: this share of the bare client's rate.
const AIM: f64 = 0.9;
/// A small query of the kind that people have: it reads a million rows and exchanges them once.
const AGGREGATE: &str = "SELECT id % 1000 AS customer, count(*) AS orders, sum(id) AS amount FROM range(1000000) \
    GROUP BY customer ORDER BY amount DESC LIMIT 10";
/// What is asked, and which part of the queries of a turn: nothing at all, so that all the time is that of the way, and the
/// aggregate, which takes longer.
const QUERIES: [(&str, &str, usize); 2] =
    [("SELECT 1", latency::SQL, 1), ("a million rows aggregated", AGGREGATE, 2)];

/// Queries a second.
pub(crate) struct Rates {
    what: &'static str,
    libra: f64,
    bare: f64,
}

impl Rates {
    /// Adds the line.
    pub(crate) fn show(&self, table: &mut Table) {
        let share = self.libra / self.bare;
        table.add(
            &format!("{}, {CALLERS} callers at once, session of its own", self.what),
            &format!("{:.1}/s", self.libra),
            &format!("{:.1}/s", self.bare),
            &format!("{share:.2} of the rate of a bare Spark Connect client"),
            &aim("≥ 0.9", share >= AIM),
        );
    }
}

/// Measures both ways with each query. `queries` are those of one turn.
pub(crate) async fn measure(address: SocketAddr, bare: &Client, queries: usize) -> Outcome<Vec<Rates>> {
    let mut rates = Vec::new();
    for (what, sql, part) in QUERIES {
        rates.push(both(address, bare, (what, sql), queries / part).await?);
    }
    Ok(rates)
}

async fn both(
    address: SocketAddr,
    bare: &Client,
    (what, sql): (&'static str, &'static str),
    queries: usize,
) -> Outcome<Rates> {
    let (mut through_libra, mut alone) = (Vec::new(), Vec::new());
    for turn in 0..=TURNS {
        for libras in [turn % 2 == 0, turn % 2 != 0] {
            let began = Instant::now();
            if libras {
                libra(address, sql, queries).await?;
            } else {
                plain(bare, sql, queries).await?;
            }
            // The first turn is for warmth.
            if turn > 0 {
                let seconds = if libras { &mut through_libra } else { &mut alone };
                seconds.push(began.elapsed().as_secs_f64());
            }
        }
    }
    let rate = |seconds: &[f64]| (queries * seconds.len()) as f64 / seconds.iter().sum::<f64>();
    Ok(Rates { what, libra: rate(&through_libra), bare: rate(&alone) })
}

async fn libra(address: SocketAddr, sql: &'static str, queries: usize) -> Outcome<()> {
    let left = Arc::new(AtomicUsize::new(queries));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let left = Arc::clone(&left);
        callers.spawn(async move {
            let mut api = Connection::open(address).await.map_err(|e| e.to_string())?;
            while take(&left) {
                run(&mut api, sql, "ISOLATED").await.map_err(|e| e.to_string())?;
            }
            Ok::<(), String>(())
        });
    }
    join(callers).await
}

async fn plain(bare: &Client, sql: &'static str, queries: usize) -> Outcome<()> {
    let left = Arc::new(AtomicUsize::new(queries));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (left, bare) = (Arc::clone(&left), bare.clone());
        callers.spawn(async move {
            while take(&left) {
                let executed = bare.execute(Uuid::new_v4(), sql).await.map_err(|e| e.to_string())?;
                // Libra lets go as well, behind the caller's back: the server has the same to do.
                executed.release(true).await.map_err(|e| e.to_string())?;
            }
            Ok::<(), String>(())
        });
    }
    join(callers).await
}

fn take(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
}

async fn join(mut callers: JoinSet<Result<(), String>>) -> Outcome<()> {
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(())
}
