//! The options of `libra submit`.

use clap::{ArgGroup, Args, ValueEnum};

use libra_core::allocation::OPTIONS;

use super::ConnectArgs;
use crate::submission::spelled;

const AFTER_HELP: &str = "\
Examples:
  libra submit --sql 'SELECT 1 AS one' --wait
  libra submit --python 'print(spark.range(5).count())' --follow
  libra submit report.py --conf spark.executor.memory=2g -- --day 2026-01-31
  libra submit train.sh --slurm partition=gpu --slurm gpus=1 --follow
  libra submit app.jar --class com.example.Main --jars lib.jar -- 2026-01-31
  id=$(libra submit load.sql) && libra wait \"$id\"";

/// What `--slurm` knows, a line each.
fn slurm_help() -> String {
    let lines = OPTIONS.iter().map(|option| format!("\n  {:<18}  {}", spelled(option.name), option.about));
    let lines: String = lines.collect();
    format!("What to ask of Slurm, before a script's own #SBATCH lines; may be given again:{lines}")
}

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP, group = ArgGroup::new("program").required(true))]
pub(crate) struct SubmitArgs {
    /// The program: a local .sql, .py, .scala, .jar or .sh file, or an address that the driver can read.
    ///
    /// Local files are uploaded, here and below.
    #[arg(group = "program")]
    pub(crate) file: Option<String>,
    /// SQL text; `-` reads it from standard input.
    #[arg(long, value_name = "TEXT", group = "program")]
    pub(crate) sql: Option<String>,
    /// Python text; `-` reads it from standard input. `spark` is there already.
    #[arg(long, value_name = "TEXT", group = "program")]
    pub(crate) python: Option<String>,
    /// Arguments of the program file, or of the script.
    #[arg(last = true)]
    pub(crate) args: Vec<String>,

    /// Where to run: auto, in-cluster, spark-submit, kubernetes or slurm.
    #[arg(long)]
    pub(crate) mode: Option<String>,
    /// A Spark setting; may be given again.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) conf: Vec<String>,
    /// What to ask of Slurm, before a script's own #SBATCH lines; may be given again.
    #[arg(long, value_name = "KEY=VALUE", long_help = slurm_help())]
    pub(crate) slurm: Vec<String>,
    /// A name for people.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// 1 to 10, higher first.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) priority: Option<u8>,
    /// A label to filter by; may be given again.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// A variable of the driver's environment; may be given again.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) env: Vec<String>,
    /// A named queue.
    #[arg(long)]
    pub(crate) queue: Option<String>,
    /// A named cluster.
    #[arg(long)]
    pub(crate) cluster: Option<String>,
    /// A Spark session of its own, or the one that all your shared jobs use.
    #[arg(long, value_enum, value_name = "SESSION")]
    pub(crate) session: Option<SessionMode>,

    /// How long it may run; 0 = no limit.
    #[arg(long, value_name = "MINUTES")]
    pub(crate) timeout_minutes: Option<u32>,
    /// How long it may wait for its turn; 0 = no limit.
    #[arg(long, value_name = "MINUTES")]
    pub(crate) queue_timeout_minutes: Option<u32>,
    /// How often to try again after a failure.
    #[arg(long, value_name = "COUNT")]
    pub(crate) max_retries: Option<u32>,
    /// Which failures to try again: user, infrastructure, resources.
    #[arg(long, value_name = "CLASS", value_delimiter = ',')]
    pub(crate) retry_on: Vec<String>,

    /// sql, python, scala, jar or script, where the file's name does not tell.
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// The main class of a jar.
    #[arg(long, value_name = "NAME")]
    pub(crate) class: Option<String>,
    /// Python files, zips or eggs to add.
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    pub(crate) py_files: Vec<String>,
    /// Jars to add.
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    pub(crate) jars: Vec<String>,
    /// Files to put into the working directory.
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    pub(crate) files: Vec<String>,
    /// Archives to unpack into the working directory; `env.tar.gz#env` into a directory of this name.
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    pub(crate) archives: Vec<String>,
    /// Maven packages to add, as group:name:version.
    #[arg(long, value_name = "PACKAGE", value_delimiter = ',')]
    pub(crate) packages: Vec<String>,
    /// Run as this user; for administrators.
    #[arg(long, value_name = "USER")]
    pub(crate) proxy_user: Option<String>,

    /// Wait until it ends, show how far it is, then print its rows.
    #[arg(short, long)]
    pub(crate) wait: bool,
    /// Print its log as it comes, then its rows if it has any, and end as it does.
    #[arg(short, long, conflicts_with = "wait")]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SessionMode {
    Isolated,
    Shared,
}
