//! The one binary: the service, the shim that owns a driver, and the client's commands.
//!
//! Invariant: standard output carries data only. Progress, warnings, errors and hints go to standard error.

mod age;
mod args;
mod commands;
mod contexts;
mod doctor;
mod failure;
mod feed_table;
mod job_page;
mod job_table;
mod listing;
mod output;
mod patience;
mod progress;
mod queue_page;
mod rows;
mod serve;
mod simulate;
mod store;
mod submission;
mod uploads;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};

use crate::args::{Cli, Command, StoreCommand};
use crate::failure::{Exit, Failure};

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        // First of all and without a runtime: a job's driver waits for it.
        Command::Shim(args) => {
            let run = if args.cradle { libra_engines::shim::cradle } else { libra_engines::shim::run };
            return ExitCode::from(u8::try_from(run(&args.dir)).unwrap_or(1));
        }
        Command::Serve(args) => serve::serve(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Migrate(args) => store::migrate(&args),
        Command::Store(StoreCommand::Check(args)) => store::check(&args),
        Command::Context(command) => commands::context::run(&command),
        Command::Simulate(args) => simulate::run_command(&args),
        Command::Completions(args) => completions(args.shell),
        Command::Client(command) => run_client(command),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output::say(&failure.render(output::colours()));
            failure.exit().into()
        }
    }
}

fn completions(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    // What people do not call is not offered.
    let all = Cli::command();
    let offered = all.get_subcommands().filter(|c| !c.is_hide_set()).cloned();
    let mut command = clap::Command::new("libra").version(env!("CARGO_PKG_VERSION")).subcommands(offered);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "libra", &mut script);
    output::print_bytes(&script)?;
    Ok(Exit::Done)
}

fn run_client(command: args::ClientCommand) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Failed, format!("the command can't start: {e}")))?;
    runtime.block_on(commands::run(command))
}
