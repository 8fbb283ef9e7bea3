//! `libra serve`: the service in this process.

use libra_server::config::{Config, Source};

use crate::args::ServeArgs;
use crate::failure::{Exit, Failure};

/// The configuration that `libra serve` with these options would run with.
pub(crate) fn configuration(args: &ServeArgs) -> Result<Config, Failure> {
    let source =
        Source { file: args.config.clone(), listen: args.listen.clone(), data_dir: args.data_dir.clone() };
    Config::load(source).map_err(|error| with_hint(Failure::usage(error.to_string()), error.hint()))
}

/// Runs the service until it is told to end.
pub(crate) fn serve(args: &ServeArgs) -> Result<Exit, Failure> {
    let config = configuration(args)?;
    // The shim of every job is this very program. Asked for now: after an upgrade the path is another's.
    let shim = std::env::current_exe()
        .map_err(|e| Failure::new(Exit::Failed, format!("the path of this program is not known: {e}")))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Failed, format!("the service can't start: {e}")))?;
    runtime
        .block_on(libra_server::run(config, shim))
        .map_err(|error| with_hint(Failure::new(Exit::Failed, error.to_string()), error.hint()))?;
    Ok(Exit::Done)
}

fn with_hint(failure: Failure, hint: Option<String>) -> Failure {
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
