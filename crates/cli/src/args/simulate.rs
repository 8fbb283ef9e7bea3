//! `libra simulate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::OutputArgs;

#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// A trace in the Standard Workload Format; without one, jobs are made up.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["jobs", "seed", "load", "tenants"])]
    pub(crate) trace: Option<PathBuf>,
    /// How many jobs to make up.
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) jobs: u32,
    /// What they are made from: the same number, the same jobs.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How much work comes, in percent of the cores.
    #[arg(long, value_name = "PERCENT", default_value_t = 85, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) load: u32,
    /// From how many tenants, each of less appetite than the one before.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) tenants: u32,
    /// The cores that there are.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) cores: u64,
    /// The memory that there is, like 256g.
    #[arg(long, value_name = "SIZE", default_value = "256g")]
    pub(crate) memory: String,
    /// By which rules turns are given.
    #[arg(long, value_enum, default_value_t = PolicyName::Libra)]
    pub(crate) policy: PolicyName,
    /// The rules to compare with.
    #[arg(long, value_enum, value_name = "POLICY")]
    pub(crate) against: Option<PolicyName>,
    /// Write the jobs to a trace instead.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["policy", "against"])]
    pub(crate) write_trace: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyName {
    /// Fair shares, priority, reservations, backfill, learned run times.
    Libra,
    /// First come, first served.
    Fifo,
    /// The same, but later jobs may start where they do not delay the first.
    Easy,
}
