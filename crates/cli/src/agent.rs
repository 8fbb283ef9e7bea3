//! `libra agent`: the node agent in this process.

use std::time::Duration;

use libra_agent::run::{AgentError, Options, once, run};
use libra_api::hpc::samples::BatchAnswer;

use crate::args::AgentArgs;
use crate::contexts;
use crate::failure::{Exit, Failure};
use crate::output;

/// A look that hangs does not hold up the end for longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs the agent until it is told to end, or once.
pub(crate) fn agent(args: AgentArgs) -> Result<Exit, Failure> {
    contexts::check_url(&args.url)?;
    let options = Options {
        url: args.url,
        cluster: args.cluster,
        node: args.node,
        interval: args.interval,
        token_file: args.token_file,
        spool: args.spool,
        spool_max: args.spool_max,
        listen: args.listen,
    };
    // One thread: it has next to nothing to do.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Failed, format!("the agent can't start: {e}")))?;
    let outcome = if args.once {
        let mut shown = Ok(());
        let answers = runtime.block_on(once(&options, output::say, |batches| {
            shown = batches.iter().try_for_each(output::print_json);
        }));
        shown.and_then(|()| answers.map_err(told)).and_then(|answers| told_all(&answers))
    } else {
        runtime.block_on(run(options, output::say)).map_err(told).map(|()| Exit::Done)
    };
    runtime.shutdown_timeout(PATIENCE);
    outcome
}

/// Says what Libra has refused.
fn told_all(answers: &[BatchAnswer]) -> Result<Exit, Failure> {
    let refused: Vec<&str> =
        answers.iter().flat_map(|answer| &answer.rejected).map(|one| one.reason.as_str()).collect();
    match refused.first() {
        None => Ok(Exit::Done),
        Some(first) => Err(Failure::new(
            Exit::Failed,
            format!(
                "Libra has refused {} samples; the first one: {}",
                refused.len(),
                output::one_line(first)
            ),
        )),
    }
}

fn told(error: AgentError) -> Failure {
    match error {
        AgentError::Client(error) => error.into(),
        AgentError::Spool(_) | AgentError::Listen(..) | AgentError::Key(_) => {
            Failure::usage(error.to_string())
        }
        AgentError::Setup(_) => Failure::new(Exit::Failed, error.to_string()),
    }
}
