//! The options of `libra events` and `libra webhooks`.

use clap::{Args, Subcommand};

use super::ConnectArgs;

const AFTER_HELP: &str = "\
Examples:
  libra events job-0198f0c4-6b1e-7c3a-9a55-3f1f0f6c2a10
  libra events --follow --after now --label team=data
  libra events --status FAILED,TIMEOUT -o json

Events of all jobs are numbered without gaps. With -o json they come one a line, each with its number `seq`: give the
last one as --after to go on later without missing anything.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct EventsArgs {
    /// Only this job; its whole history, unless something else is asked for as well.
    #[arg(value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Only this job (another spelling).
    #[arg(long, value_name = "ID", conflicts_with = "id")]
    pub(crate) job: Option<String>,
    /// Begin after the event of this number; `now` begins with the next one that happens.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) after: Option<String>,
    /// Only events of jobs with this label; may be given again.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// Only events that lead to this state; several with commas, such as FAILED,TIMEOUT.
    #[arg(long)]
    pub(crate) status: Option<String>,
    /// Go on with what happens from now on, until interrupted.
    #[arg(short, long)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WebhooksCommand {
    /// List messages to webhooks.
    List(WebhookListArgs),
    /// Send a message again that was given up, or all of them.
    Replay(ReplayArgs),
}

#[derive(Debug, Args)]
pub(crate) struct WebhookListArgs {
    /// Only messages about this job.
    #[arg(long, value_name = "ID")]
    pub(crate) job: Option<String>,
    /// Only those that were given up.
    #[arg(long, conflicts_with = "pending")]
    pub(crate) dead: bool,
    /// Only those that wait for their turn or another try.
    #[arg(long)]
    pub(crate) pending: bool,
    /// Messages at most; with --all, messages a page.
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<u32>,
    /// Every page.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The message, by the number that `libra webhooks list` shows.
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) id: Option<i64>,
    /// Everything that was given up.
    #[arg(long)]
    pub(crate) all: bool,
    /// With --all: only messages about this job.
    #[arg(long, value_name = "ID", requires = "all")]
    pub(crate) job: Option<String>,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}
