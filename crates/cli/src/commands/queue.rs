//! `libra queue` and `libra top`.

use std::io::IsTerminal;
use std::time::Duration;

use libra_api::client::Client;

use super::{connect, show};
use crate::age;
use crate::args::{ConnectArgs, Format, TopArgs};
use crate::failure::{Exit, Failure};
use crate::patience::Patience;
use crate::{job_table, output, queue_page};

/// Moves to the first place of the screen and clears it.
const CLEAR: &str = "\x1b[H\x1b[2J";
/// States of jobs that have not ended.
const ALIVE: &str = "RUNNING,SCHEDULED,RETRYING,QUEUED";

/// Prints how everything stands.
pub(super) async fn queue(args: &ConnectArgs) -> Result<Exit, Failure> {
    let view = connect(args)?.queue().await?;
    show(args, &view, queue_page::queue)
}

/// Prints it again and again, with the jobs that have not ended, until it is interrupted.
pub(super) async fn top(args: &TopArgs) -> Result<Exit, Failure> {
    let client = connect(&args.connect)?;
    let mut shown = 0;
    let mut patience = Patience::new();
    loop {
        let looked = tokio::select! {
            looked = look(&client, args, &mut patience) => looked,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
        };
        looked?;
        shown += 1;
        if args.count.is_some_and(|count| shown >= count) {
            return Ok(Exit::Done);
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(u64::from(args.interval))) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
        }
    }
}

async fn look(client: &Client, args: &TopArgs, patience: &mut Patience) -> Result<(), Failure> {
    let view = patience.call(|| client.queue()).await?;
    if args.connect.output.output == Format::Json {
        return output::print_json_line(&view);
    }
    let query = [("status", ALIVE.to_owned()), ("limit", args.jobs.to_string())];
    let jobs = patience.call(|| client.jobs(&query)).await?;
    let clear = if std::io::stdout().is_terminal() { CLEAR } else { "" };
    let table = job_table::jobs(&jobs.jobs, age::now());
    let gap = if table.is_empty() { "" } else { "\n" };
    output::print(&format!("{clear}{}  {}{gap}{table}\n", view.as_of, queue_page::queue(&view).trim_start()))
}
