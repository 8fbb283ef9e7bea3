//! Measures Libra beside its bare parts, each figure and its baseline in one run on one machine.
//!
//! Invariant: a figure is printed, never judged by an exit code: a busy machine is no error.

mod connect;
mod figures;
mod http1;
mod latency;
mod service;
mod start;
mod submissions;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::figures::Table;

/// Anything that keeps a measurement from being made.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Durable submissions beside bare SQLite inserts.
    Submissions,
    /// A query's way through Libra beside a bare Spark Connect client.
    Latency,
    /// Start and idle memory.
    Start,
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
    /// Starts measured.
    #[arg(long, default_value_t = 20)]
    starts: usize,
}

fn main() -> ExitCode {
    // One thread: the load takes as little as possible from what is measured.
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(measure(&Options::parse())));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(options: &Options) -> Outcome<()> {
    let libra = match &options.libra {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("libra"),
    };
    let wanted = |part| options.parts.is_empty() || options.parts.contains(&part);
    let mut table = Table::default();
    if wanted(Part::Start) {
        eprintln!("start and idle memory …");
        start::measure(&libra, options.starts, &mut table).await?;
    }
    if wanted(Part::Submissions) {
        eprintln!("durable submissions …");
        submissions::measure(&libra, Duration::from_secs(options.seconds), &mut table).await?;
    }
    if wanted(Part::Latency) {
        eprintln!("queries …");
        latency::measure(&libra, options.warm_up, options.queries, &mut table).await?;
    }
    println!("{table}");
    Ok(())
}
