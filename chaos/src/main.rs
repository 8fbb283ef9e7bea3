//! `make chaos` and `make soak`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use libra_chaos::{Bounds, FaultRate, Settings};

/// Real replicas on a real PostgreSQL and Redis, and faults at random.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Breaks everything that can break, again and again, and compares afterwards: nothing is lost, nothing runs
    /// twice, every end is true.
    Chaos {
        #[command(flatten)]
        options: Common,
        /// How long, in minutes.
        #[arg(long, default_value_t = 10.0)]
        minutes: f64,
        /// The share of jobs that run on the real Spark by spark-submit.
        #[arg(long, default_value_t = 0.005)]
        real_share: f64,
        /// The share of jobs that are SQL in the shared Spark server.
        #[arg(long, default_value_t = 0.02)]
        sql_share: f64,
    },
    /// A steady load for a long time: memory and dead rows must not grow.
    Soak {
        #[command(flatten)]
        options: Common,
        /// How long, in minutes.
        #[arg(long, default_value_t = 60.0)]
        minutes: f64,
        /// Restart a replica every five minutes.
        #[arg(long)]
        restarts: bool,
        /// Libra keeps this many ended jobs, so that its tables have a size that they can keep.
        #[arg(long, default_value_t = 5_000)]
        keep_jobs: u32,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct Common {
    /// Processes of `libra serve`.
    #[arg(long, default_value_t = 3)]
    replicas: usize,
    /// Decides which jobs come and what is broken when; drawn when absent.
    #[arg(long, value_parser = number)]
    seed: Option<u64>,
    /// PostgreSQL hands attempts on, not Redis.
    #[arg(long)]
    no_redis: bool,
    /// The replicas' lease, in seconds.
    #[arg(long, default_value_t = 10.0)]
    lease: f64,
    /// Submissions each second, on average.
    #[arg(long, default_value_t = 5.0)]
    jobs_per_second: f64,
    /// spark-submit jobs that run at once.
    #[arg(long, default_value_t = 24)]
    concurrent_jobs: u32,
    /// The binary; `libra` beside this program when absent.
    #[arg(long)]
    libra: Option<PathBuf>,
    /// Where logs, marks and the report are kept; below target/chaos when absent.
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// A number as a person or as the harness itself writes it: `42`, `0x2a`.
fn number(text: &str) -> Result<u64, std::num::ParseIntError> {
    text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16))
}

impl Common {
    fn settings(self, minutes: f64) -> Result<Settings, String> {
        let beside =
            |name: &str| Ok(std::env::current_exe().map_err(|e| e.to_string())?.with_file_name(name));
        let libra = self.libra.map_or_else(|| beside("libra"), Ok::<_, String>)?;
        let mut settings = Settings::new(libra, PathBuf::new());
        settings.seed = self.seed.unwrap_or(settings.seed);
        settings.keep = self.keep.unwrap_or_else(|| {
            PathBuf::from(format!("target/chaos/{:016x}-{}", settings.seed, std::process::id()))
        });
        settings.time = Duration::from_secs_f64(minutes * 60.0);
        settings.replicas = self.replicas.max(1);
        settings.redis = !self.no_redis;
        settings.lease = Duration::from_secs_f64(self.lease);
        settings.jobs_per_second = self.jobs_per_second;
        settings.concurrent_jobs = self.concurrent_jobs;
        Ok(settings)
    }
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = runtime.map_err(|e| e.to_string()).and_then(|r| r.block_on(play(Options::parse().what)));
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn play(what: What) -> Result<bool, String> {
    let (settings, report) = match what {
        What::Chaos { options, minutes, real_share, sql_share } => {
            let settings = Settings { real_share, sql_share, ..options.settings(minutes)? };
            announce(&settings);
            let report = libra_chaos::run(&settings).await?;
            (settings, report)
        }
        What::Soak { options, minutes, restarts, keep_jobs } => {
            let faults = if restarts { FaultRate::Light } else { FaultRate::None };
            let settings = Settings {
                faults,
                keep_jobs: Some(keep_jobs),
                // A JVM takes more than all the rest of a job.
                real_share: 0.0,
                sql_share: 0.05,
                ..options.settings(minutes)?
            };
            announce(&settings);
            let report = libra_chaos::soak(&settings, Bounds::default()).await?;
            (settings, report)
        }
    };
    println!("\n{report}\nseed {:#x}, logs in {}", settings.seed, settings.keep.display());
    Ok(report.is_good())
}

fn announce(settings: &Settings) {
    eprintln!(
        "{} replicas, lease {:?}, {} jobs/s, {:?}; seed {:#x}, logs in {}",
        settings.replicas,
        settings.lease,
        settings.jobs_per_second,
        settings.time,
        settings.seed,
        settings.keep.display()
    );
}
