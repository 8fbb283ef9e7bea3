//! Measures Libra beside its bare parts, each figure and its baseline in one run on one machine.
//!
//! Invariant: a figure is printed, never judged by an exit code: a busy machine is no error.

mod concurrency;
mod connect;
mod end_to_end;
mod figures;
mod flink;
mod follow;
mod hpc;
mod http1;
mod jobs;
mod latency;
mod lists;
mod postgres;
mod python;
mod service;
mod spark_submit;
mod start;
mod submissions;
mod turns;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tokio::runtime::{Builder, Runtime};

use crate::figures::Table;

/// Anything that keeps a measurement from being made.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Start and idle memory.
    Start,
    /// Durable submissions beside bare SQLite inserts.
    Submissions,
    /// A query's way through Libra beside a bare Spark Connect client.
    Latency,
    /// A small Python job's way through Libra beside a bare warm PySpark process.
    Python,
    /// A small job by spark-submit beside spark-submit itself.
    SparkSubmit,
    /// Submissions and transitions on PostgreSQL beside bare statements.
    Postgres,
    /// Jobs from submission to their end beside graphile-worker.
    EndToEnd,
    /// Lists of jobs in a full store.
    Lists,
    /// A long log, written and followed.
    Follow,
    /// Giving turns as the queue grows.
    Turns,
    /// Jobs of batch schedulers: events, samples, ranges, a scrape.
    Hpc,
    /// What is asked of a real slurmctld while ten and a thousand clients ask Libra.
    HpcRequests,
    /// The gap of a Flink job's redeploy beside the bare REST sequence.
    FlinkRedeploy,
    /// A pass over many deployments of which nothing changes.
    FlinkPass,
    /// A cluster that answers slowly.
    FlinkSlow,
    /// Many deployments declared and changed at once.
    FlinkCycle,
}

/// Measures Libra beside its bare parts.
#[derive(Debug, Parser)]
struct Options {
    /// What to measure; everything when absent.
    parts: Vec<Part>,
    /// The binary to measure; `libra` beside this program when absent.
    #[arg(long)]
    libra: Option<PathBuf>,
    /// How long submissions are measured on either side, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Queries measured on each of the four ways.
    #[arg(long, default_value_t = 250)]
    queries: usize,
    /// Queries on each way before that, which warm the Spark server up.
    #[arg(long, default_value_t = 250)]
    warm_up: usize,
    /// Python jobs measured.
    #[arg(long, default_value_t = 100)]
    python_jobs: usize,
    /// Jobs measured on either side of spark-submit.
    #[arg(long, default_value_t = 9)]
    submitted_jobs: usize,
    /// Starts measured.
    #[arg(long, default_value_t = 20)]
    starts: usize,
    /// Jobs that go from submission to their end in each turn.
    #[arg(long, default_value_t = 100_000)]
    jobs: u64,
    /// Where `npm install graphile-worker pg` was run.
    #[arg(long, default_value = "target/graphile-worker")]
    graphile: PathBuf,
    /// Jobs that are stored when lists are measured.
    #[arg(long, default_value_t = 1_000_000)]
    stored: u64,
    /// The length of the log that is followed, in bytes.
    #[arg(long, default_value_t = 1_000_000_000)]
    log_bytes: u64,
    /// Pages read of each list.
    #[arg(long, default_value_t = 300)]
    pages: usize,
    /// Redeploys of a Flink job on either side.
    #[arg(long, default_value_t = 12)]
    redeploys: u32,
    /// Deployments of which nothing changes.
    #[arg(long, default_value_t = 10_000)]
    kept: u32,
    /// Deployments that are declared and changed at once.
    #[arg(long, default_value_t = 1_000)]
    declared: u32,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut table = Table::default();
    let ended = Part::value_variants()
        .iter()
        .filter(|part| options.parts.is_empty() || options.parts.contains(part))
        .try_for_each(|part| measure(*part, &options, &mut table));
    // What was measured before something failed is shown all the same.
    println!("{table}");
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(part: Part, options: &Options, table: &mut Table) -> Outcome<()> {
    let libra = match &options.libra {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("libra"),
    };
    let time = Duration::from_secs(options.seconds);
    match part {
        Part::Start => {
            eprintln!("start and idle memory …");
            one_thread()?.block_on(start::measure(&libra, options.starts, table))
        }
        Part::Submissions => {
            eprintln!("durable submissions …");
            one_thread()?.block_on(submissions::measure(&libra, time, table))
        }
        Part::Latency => {
            eprintln!("queries …");
            one_thread()?.block_on(latency::measure(&libra, options.warm_up, options.queries, table))
        }
        Part::Python => {
            eprintln!("Python jobs …");
            let warm_up = options.warm_up;
            one_thread()?.block_on(python::measure(&libra, warm_up, options.python_jobs, table))
        }
        Part::SparkSubmit => {
            eprintln!("jobs by spark-submit …");
            one_thread()?.block_on(spark_submit::measure(&libra, options.submitted_jobs, table))
        }
        Part::Postgres => {
            eprintln!("PostgreSQL …");
            all_threads()?.block_on(postgres::measure(&libra, time, table))
        }
        Part::EndToEnd => {
            eprintln!("end to end …");
            all_threads()?.block_on(end_to_end::measure(&options.graphile, options.jobs, table))
        }
        Part::Follow => {
            eprintln!("a log that is followed …");
            one_thread()?.block_on(follow::measure(&libra, options.log_bytes, table))
        }
        Part::Turns => {
            eprintln!("turns …");
            all_threads()?.block_on(turns::measure(table))
        }
        Part::Hpc => {
            eprintln!("observed jobs …");
            all_threads()?.block_on(hpc::measure(&libra, time, table))
        }
        Part::HpcRequests => {
            eprintln!("requests to slurmctld …");
            all_threads()?.block_on(hpc::requests::measure(&libra, table))
        }
        Part::FlinkRedeploy => {
            eprintln!("redeploys on Flink …");
            one_thread()?.block_on(flink::redeploy(&libra, options.redeploys, table))
        }
        Part::FlinkPass => {
            eprintln!("deployments of which nothing changes …");
            all_threads()?.block_on(flink::pass(&libra, options.kept, table))
        }
        Part::FlinkSlow => {
            eprintln!("a slow Flink …");
            all_threads()?.block_on(flink::slow(&libra, table))
        }
        Part::FlinkCycle => {
            eprintln!("many deployments at once …");
            all_threads()?.block_on(flink::cycle(&libra, options.declared, table))
        }
        Part::Lists => {
            eprintln!("lists …");
            all_threads()?.block_on(lists::measure(&libra, options.stored, options.pages, table))
        }
    }
}

/// For clients of a process of its own: the load takes as little as possible from what is measured.
fn one_thread() -> Outcome<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// For parts of Libra that run in this process: as the binary runs them.
fn all_threads() -> Outcome<Runtime> {
    Ok(Builder::new_multi_thread().enable_all().build()?)
}
