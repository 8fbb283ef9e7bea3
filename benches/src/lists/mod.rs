//! Pages of lists in a store with very many jobs, on both stores.

mod asked;
mod fill;
mod jobs;

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use libra_store::Db;
use libra_store::db::DATABASE_FILE;
use libra_store::tables::jobs::{PageAt, Place, Total, list};
use rand::Rng as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::Outcome;
use crate::figures::{Samples, Table, aim};
use crate::http1::{Connection, get};
use crate::postgres;
use crate::service::Service;
use asked::{Asked, all};
use jobs::Jobs;

/// Jobs on a page, as many as a list gives when nothing is said.
const PAGE: u32 = 50;
/// Pages that are read of each list before any is measured.
const WARM_UP: usize = 20;
/// One page in so many is the first of its list; the others begin anywhere in it.
const FIRST: usize = 3;
/// A list that takes longer is left with fewer pages, but not with fewer than these.
const PATIENCE: Duration = Duration::from_secs(10);
const LEAST_PAGES: usize = 30;
/// Aimed at, for each list, in milliseconds.
const AIM_MS: f64 = 10.0;
/// Nothing runs: what waits goes on waiting.
const CONFIG: &str = "libra.resources.limits.max-concurrent-jobs: 0\n";

pub(crate) async fn measure(libra: &Path, count: u64, pages: usize, table: &mut Table) -> Outcome<()> {
    let jobs = Jobs { count, until: crate::jobs::now() };
    let asked = all(jobs);
    let scratch = tempfile::tempdir()?;
    let data_dir = scratch.path().join("data");
    std::fs::create_dir_all(&data_dir)?;

    eprintln!("  filling SQLite …");
    let file = data_dir.join(DATABASE_FILE);
    drop(Db::open_sqlite(&file)?);
    let filled = Instant::now();
    fill::sqlite(&file, jobs)?;
    eprintln!("  filled in {:.0} s; reading …", filled.elapsed().as_secs_f64());
    let on_sqlite = read_all(&Db::open_sqlite(&file)?, jobs, &asked, pages).await?;
    let sqlite_http = over_http(libra, scratch.path(), CONFIG, pages).await?;

    eprintln!("  filling PostgreSQL …");
    let server = postgres::server();
    let url = server.create_database();
    let db = postgres::open(&url).await?;
    let filled = Instant::now();
    fill::postgres(&server, &url, jobs).await?;
    eprintln!("  filled in {:.0} s; reading …", filled.elapsed().as_secs_f64());
    let on_postgres = read_all(&db, jobs, &asked, pages).await?;
    drop(db);
    let config = format!("{CONFIG}libra.store.url: \"{url}\"\n");
    let postgres_http = over_http(libra, &scratch.path().join("http"), &config, pages).await?;

    for (store, lists, http) in
        [("SQLite", &on_sqlite, &sqlite_http), ("PostgreSQL", &on_postgres, &postgres_http)]
    {
        let worst = lists.iter().map(|l| l.percentile(99)).fold(0.0, f64::max);
        let above = lists.iter().filter(|l| l.percentile(99) > AIM_MS).count();
        table.add(
            &format!("{store}: lists of {count} jobs, p99 of the slowest of {}", asked.len()),
            &format!("{worst:.1} ms"),
            "",
            &format!("{above} of them above 10 ms"),
            &aim("≤ 10 ms", above == 0),
        );
        let p99 = http.percentile(99);
        table.add(
            "  all jobs over HTTP, p99",
            &format!("{p99:.1} ms"),
            "",
            "",
            &aim("≤ 10 ms", p99 <= AIM_MS),
        );
    }
    table.remark(details(&asked, &on_sqlite, &on_postgres));
    table.remark(format!(
        "Lists: pages of {PAGE} jobs, {pages} of each list (fewer where that takes more than {} s), one at a time. One \
         in {FIRST} is the first page with its total counted, the others begin at a cursor anywhere within the month of jobs. \
         Users, names and labels are unevenly common; 93 in 100 jobs have SUCCEEDED.",
        PATIENCE.as_secs()
    ));
    Ok(())
}

fn details(asked: &[Asked], sqlite: &[Samples], postgres: &[Samples]) -> String {
    let mut text = format!(
        "{:44}{:>20}{:>24}\n{:44}{:>10}{:>10}{:>14}{:>10}\n",
        "milliseconds", "SQLite", "PostgreSQL", "", "p50", "p99", "p50", "p99"
    );
    for ((asked, s), p) in asked.iter().zip(sqlite).zip(postgres) {
        // Writing to a String can't fail.
        let _ = writeln!(
            text,
            "{:44}{:10.2}{:10.2}{:14.2}{:10.2}",
            asked.name,
            s.percentile(50),
            s.percentile(99),
            p.percentile(50),
            p.percentile(99)
        );
    }
    text
}

/// How long pages take, for each list.
async fn read_all(db: &Db, jobs: Jobs, asked: &[Asked], pages: usize) -> Outcome<Vec<Samples>> {
    let mut dice = StdRng::seed_from_u64(jobs.count);
    let mut lists = Vec::new();
    for asked in asked {
        let mut samples = Samples::default();
        let began = Instant::now();
        let mut total = Total::AtLeast(0);
        for n in 0..WARM_UP + pages {
            if n >= WARM_UP + LEAST_PAGES && began.elapsed() > PATIENCE {
                break;
            }
            // As a cursor of the list would say.
            let mut anywhere =
                || Place { before: jobs.id(dice.random_range(0..jobs.count)), listed: 0, total };
            let from = (n % FIRST != 0).then(&mut anywhere);
            let (took, counted) = page(db, asked, from).await?;
            total = counted;
            if n >= WARM_UP {
                samples.add(took);
            }
        }
        lists.push(samples);
    }
    Ok(lists)
}

async fn page(db: &Db, asked: &Asked, from: Option<Place>) -> Outcome<(Duration, Total)> {
    let filter = asked.filter.clone();
    let at = PageAt { from, ..PageAt::first(PAGE) };
    let began = Instant::now();
    let page = db.read(move |tx| list(tx, &filter, &at)).await?;
    let took = began.elapsed();
    let (Total::Exactly(least) | Total::AtLeast(least)) = page.total;
    if from.is_none() && least < page.jobs.len() as u64 {
        return Err(format!("{}: a page has more jobs than the list", asked.name).into());
    }
    Ok((took, page.total))
}

/// Pages of all jobs over HTTP, each from the cursor of the one before.
async fn over_http(libra: &Path, dir: &Path, config: &str, pages: usize) -> Outcome<Samples> {
    let service = Service::start(libra, dir, config)?;
    let mut connection = Connection::open(service.address).await?;
    let (mut samples, mut cursor) = (Samples::default(), String::new());
    for n in 0..WARM_UP + pages {
        let request = get(&format!("/api/v1/jobs?limit={PAGE}{cursor}"));
        let began = Instant::now();
        let (status, body) = connection.call(&request).await?;
        let took = began.elapsed();
        let answer: serde_json::Value = serde_json::from_slice(body)?;
        if status != 200 {
            return Err(format!("a list was answered by {status}: {answer}").into());
        }
        if n >= WARM_UP {
            samples.add(took);
        }
        cursor = answer["nextCursor"].as_str().map(|c| format!("&cursor={c}")).unwrap_or_default();
    }
    service.end()?;
    Ok(samples)
}
