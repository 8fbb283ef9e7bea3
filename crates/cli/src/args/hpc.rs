//! `libra hpc`.

use clap::{Args, Subcommand};

use super::{ConnectArgs, JobArgs, PageArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum HpcCommand {
    /// List the jobs of batch schedulers that Libra sees, newest first.
    Jobs(HpcListArgs),
    /// Show one of them: by Libra's id, by the id that its maker gave it, or by its number with its scheduler.
    Job(JobArgs),
}

#[derive(Debug, Args)]
pub(crate) struct HpcListArgs {
    /// Only jobs in this state: pending, running, completed, failed or cancelled.
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// Only this user's jobs.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Only jobs that are charged to this account.
    #[arg(long)]
    pub(crate) account: Option<String>,
    /// Only jobs of this partition.
    #[arg(long)]
    pub(crate) partition: Option<String>,
    /// Only jobs of this cluster.
    #[arg(long)]
    pub(crate) cluster: Option<String>,
    /// Only jobs that were on this node.
    #[arg(long)]
    pub(crate) node: Option<String>,
    #[command(flatten)]
    pub(crate) pages: PageArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}
