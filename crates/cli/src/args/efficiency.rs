//! `libra efficiency`.

use clap::Args;

use super::ConnectArgs;

#[derive(Debug, Args)]
pub(crate) struct EfficiencyArgs {
    /// One job: Libra's id of it, or its number with its scheduler; all jobs when absent.
    #[arg(value_name = "ID", conflicts_with_all = ["user", "account", "since"])]
    pub(crate) id: Option<String>,
    /// Only this user's jobs.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Only jobs that are charged to this account.
    #[arg(long)]
    pub(crate) account: Option<String>,
    /// Only jobs that were first seen since then: a time such as 2026-01-31T08:00:00Z, or so long ago, such as 30d (default
    /// 7d).
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// The same as --output json.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}
