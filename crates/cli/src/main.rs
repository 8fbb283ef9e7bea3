//! The one binary: the service, the shim that owns a driver, and the client's commands.
//!
//! Invariant: standard output carries data only. Progress, warnings, errors and hints go to standard error.

mod age;
mod agent;
mod args;
mod asking;
mod commands;
mod contexts;
mod deployment_page;
mod doctor;
mod efficiency_page;
mod failure;
mod feed_table;
mod hpc_page;
mod job_page;
mod job_table;
mod listing;
mod output;
mod page;
mod patience;
mod progress;
mod queue_page;
mod rows;
mod serve;
mod settling;
mod simulate;
mod specifications;
mod store;
mod submission;
mod uploads;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};

use crate::args::{Cli, Command, StoreCommand};
use crate::failure::{Exit, Failure};

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(e) => return not_understood(&e),
    };
    let outcome = match command {
        // First of all and without a runtime: a job's driver waits for it.
        Command::Shim(args) => {
            let run = if args.cradle { libra_engines::shim::cradle } else { libra_engines::shim::run };
            return ExitCode::from(u8::try_from(run(&args.dir)).unwrap_or(1));
        }
        Command::Serve(args) => serve::serve(&args),
        Command::Agent(args) => agent::agent(args),
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

/// Help that was asked for, or what is wrong with the command line. For `plan --exit-code` that is no sign of a change.
fn not_understood(error: &clap::Error) -> ExitCode {
    // Where nobody listens, nothing is lost.
    let _ = error.print();
    let plan = std::env::args().nth(1).is_some_and(|command| command == "plan");
    if error.use_stderr() && plan && std::env::args().any(|word| word == "--exit-code") {
        return Exit::Failed.into();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8))
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
