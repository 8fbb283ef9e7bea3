//! `libra context` and `libra completions`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::Shell;

use super::OutputArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// List the contexts; the one in use is marked with *.
    List(ContextListArgs),
    /// Add a context or change it; the first one is used from then on.
    Set(ContextSetArgs),
    /// Use this context from now on, where nothing else is said.
    Use(ContextNameArgs),
    /// Forget a context. The file with its key stays.
    Remove(ContextNameArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ContextListArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ContextSetArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Where this Libra answers; needed for a new one.
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// The file that holds your key for it.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// No key of its own any more: LIBRA_TOKEN is used.
    #[arg(long, conflicts_with = "token_file")]
    pub(crate) no_token_file: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ContextNameArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: Shell,
}
