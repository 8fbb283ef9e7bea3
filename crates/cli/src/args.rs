//! The command line: commands, their options, and their help.

mod agent;
mod context;
mod deployments;
mod efficiency;
mod events;
mod hpc;
mod simulate;
mod submit;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use agent::AgentArgs;
pub(crate) use context::{CompletionsArgs, ContextCommand, ContextSetArgs};
pub(crate) use deployments::{
    ApplyArgs, ArtifactCommand, ArtifactListArgs, ArtifactPushArgs, DeleteArgs, DeploymentArgs,
    DeploymentCommand, PlanArgs, ResumeArgs, RollbackArgs, SavepointArgs, SchemaArgs, SchemaOf, SourceArgs,
};
pub(crate) use efficiency::EfficiencyArgs;
pub(crate) use events::{EventsArgs, ReplayArgs, WebhookListArgs, WebhooksCommand};
pub(crate) use hpc::{HpcCommand, HpcListArgs};
pub(crate) use simulate::{PolicyName, SimulateArgs};
pub(crate) use submit::{SessionMode, SubmitArgs};

/// Where a client looks for Libra when nothing else is said.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8080";
/// The environment variable that says where Libra answers.
pub(crate) const URL_VARIABLE: &str = "LIBRA_URL";
/// The environment variable that names a context.
pub(crate) const CONTEXT_VARIABLE: &str = "LIBRA_CONTEXT";
/// The environment variable that holds the client's key. No option: other users can read a command line.
pub(crate) const TOKEN_VARIABLE: &str = "LIBRA_TOKEN";

const AFTER_HELP: &str = "\
Environment:
  LIBRA_URL      where Libra answers (default http://127.0.0.1:8080)
  LIBRA_CONTEXT  or the context that says it (`libra context`)
  LIBRA_TOKEN    your key, where Libra asks for one
  NO_COLOR       when set, nothing is coloured

Exit codes:
  0  done; with `wait`, `submit --wait`, `submit --follow` and `logs -f`: the job SUCCEEDED; with `apply --wait`: all
     deployments are stable or completed
  1  the job or a deployment FAILED, or what you asked for can't be done with it
  2  the command or the request is wrong
  3  the job was CANCELLED
  4  the job ended in TIMEOUT
  5  Libra can't be reached or can't answer at present
  6  not found, no valid key, or not allowed

Begin with:
  libra doctor
  libra serve
  libra submit --sql 'SELECT 1 AS one' --wait";

/// One control plane for Spark, Flink and Slurm jobs: submit, watch, and get the rows and the truth back.
#[derive(Debug, Parser)]
#[command(name = "libra", version, after_help = AFTER_HELP, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the service until it is told to end.
    ///
    /// Jobs that run when the service ends go on; the next start takes them up again.
    Serve(ServeArgs),
    /// Measure what jobs use on this node, and tell Libra, until it is told to end.
    ///
    /// It reads control groups, /proc and NVIDIA's library, and changes nothing.
    Agent(AgentArgs),
    #[command(flatten)]
    Client(ClientCommand),
    /// Say what is missing on this machine, and how to get it.
    Doctor(DoctorArgs),
    /// Bring the database to the newest schema; `serve` does it as well.
    Migrate(ServeArgs),
    /// Look at the database.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Give Libras a name, and choose the one that the commands are for.
    #[command(subcommand)]
    Context(ContextCommand),
    /// Play a workload in virtual time, and say how long everybody waits.
    ///
    /// Compare: libra simulate --policy libra --against fifo
    Simulate(SimulateArgs),
    /// Print what makes a shell complete Libra's commands.
    ///
    /// Bash: libra completions bash > ~/.local/share/bash-completion/completions/libra
    Completions(CompletionsArgs),
    /// Own one driver process.
    #[command(hide = true)]
    Shim(ShimArgs),
}

/// What is asked of a running Libra.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Submit a job and print its id; with --wait, print its rows.
    Submit(Box<SubmitArgs>),
    /// List jobs, newest first.
    Jobs(Box<ListArgs>),
    /// Show one job.
    Job(JobArgs),
    /// Print what a job's driver wrote.
    Logs(LogsArgs),
    /// Print the rows of a job that SUCCEEDED.
    Result(ResultArgs),
    /// Cancel a job.
    Cancel(JobArgs),
    /// Wait until a job ends; the exit code says how.
    Wait(JobArgs),
    /// Say why a job is where it is, and when it will start.
    Explain(JobArgs),
    /// Show shares, what is held, who waits, and for whom room is kept.
    Queue(ConnectArgs),
    /// Show that and the jobs that have not ended, again and again.
    Top(TopArgs),
    /// Show a job's history, or what happens to all jobs.
    Events(EventsArgs),
    /// See how the delivery of webhooks goes, and send them again.
    #[command(subcommand)]
    Webhooks(WebhooksCommand),
    /// Show what jobs of Slurm have made of what they were given.
    Efficiency(EfficiencyArgs),
    /// List and show the jobs of batch schedulers that Libra sees, whoever submitted them.
    #[command(subcommand)]
    Hpc(HpcCommand),
    #[command(flatten)]
    Deployments(DeploymentCommand),
    /// Upload versions of programs, and list them.
    #[command(subcommand)]
    Artifact(ArtifactCommand),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The address to listen on (default 127.0.0.1:8080).
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// Where jobs, logs and results are kept.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The configuration, YAML.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Say what the database is, whether it can be used, and whether its schema and clock are right.
    Check(StoreCheckArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StoreCheckArgs {
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ShimArgs {
    /// The attempt's directory.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// The directory is a cradle's: keep its driver warm until an attempt comes.
    #[arg(long)]
    pub(crate) cradle: bool,
}

/// How to reach Libra and how to print.
#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// Where Libra answers; or LIBRA_URL, or the context in use.
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// The Libra of this name (`libra context list`); or LIBRA_CONTEXT.
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    pub(crate) context: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// How to print: for people, or as the API's JSON.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub(crate) output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// The job.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) interval: u32,
    /// End after so many looks; without it, when interrupted.
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u32>,
    /// Jobs that are shown.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) jobs: u32,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only jobs in this state; several with commas, such as QUEUED,RUNNING.
    #[arg(long)]
    pub(crate) status: Option<String>,
    /// Only this user's jobs.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Only jobs of this kind: sql, python, scala, jar or script.
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// Only jobs that run there: in-cluster, spark-submit, kubernetes, flink or slurm.
    #[arg(long)]
    pub(crate) mode: Option<String>,
    /// Only jobs of this name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Only jobs of this queue.
    #[arg(long)]
    pub(crate) queue: Option<String>,
    /// Only jobs for this cluster.
    #[arg(long)]
    pub(crate) cluster: Option<String>,
    /// Only jobs with this label; may be given again.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// Only jobs submitted at this time or later, such as 2026-01-31T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only jobs submitted before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    #[command(flatten)]
    pub(crate) pages: PageArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// How much of a list of jobs.
#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// Jobs at most; with --all, jobs a page.
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<u32>,
    /// Every page.
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The job.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Standard error instead of standard output.
    #[arg(long)]
    pub(crate) stderr: bool,
    /// Both: standard output on standard output, standard error on standard error.
    #[arg(long, conflicts_with = "stderr")]
    pub(crate) both: bool,
    /// Another attempt than the last one, from 1.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) attempt: Option<u32>,
    /// Begin at the last so many lines.
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<u32>,
    /// Go on until the job has ended, and end as it did.
    ///
    /// A lost connection or a restart of Libra is ridden out. Ctrl-C leaves the job alone.
    #[arg(short, long)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResultFormat {
    Table,
    Json,
    Csv,
    Arrow,
}

#[derive(Debug, Args)]
pub(crate) struct ResultArgs {
    /// The job.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Rows at most; with --all, rows a page.
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<u32>,
    /// Every row.
    #[arg(long)]
    pub(crate) all: bool,
    /// Another form than --output's: CSV and Arrow come with every row unless --limit is given.
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<ResultFormat>,
    /// Write it to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_help_of_every_command() {
        let mut cli = Cli::command().term_width(100);
        cli.build();
        insta::assert_snapshot!("help", cli.render_help());
        let names: Vec<String> =
            cli.get_subcommands().filter(|c| !c.is_hide_set()).map(|c| c.get_name().to_owned()).collect();
        for name in names.iter().filter(|name| *name != "help") {
            let help = cli.find_subcommand_mut(name).unwrap().render_help();
            insta::assert_snapshot!(format!("help_{name}"), help);
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
