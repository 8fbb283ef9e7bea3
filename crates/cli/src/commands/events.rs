//! `libra events`.

use std::time::Duration;

use super::{connect, show};
use crate::args::{EventsArgs, Format};
use crate::failure::{Exit, Failure};
use crate::patience::Patience;
use crate::{feed_table, job_table, output};

/// How long one call waits for the next event.
const WAIT: Duration = Duration::from_secs(20);

pub(super) async fn run(args: &EventsArgs) -> Result<Exit, Failure> {
    let client = connect(&args.connect)?;
    let alone = args.after.is_none() && args.label.is_empty() && args.status.is_none() && !args.follow;
    if let Some(id) = args.id.as_ref().filter(|_| alone) {
        let view = client.events(id).await?;
        return show(&args.connect, &view, job_table::events);
    }
    let mut after = args.after.clone();
    let mut patience = Patience::new();
    if args.connect.output.output == Format::Table {
        output::print(&feed_table::heading())?;
    }
    loop {
        let mut query = filters(args);
        query.extend(after.map(|number| ("after", number)));
        let wait = if args.follow { WAIT } else { Duration::ZERO };
        let page = patience.call(|| client.feed(&query, wait)).await?;
        match args.connect.output.output {
            Format::Json => page.events.iter().try_for_each(output::print_json_line)?,
            Format::Table => output::print(&feed_table::events(&page.events))?,
        }
        if page.events.is_empty() && !args.follow {
            return Ok(Exit::Done);
        }
        after = Some(page.next_after.to_string());
    }
}

fn filters(args: &EventsArgs) -> Vec<(&'static str, String)> {
    let single = [("job", args.id.clone().or_else(|| args.job.clone())), ("status", args.status.clone())];
    let given = single.into_iter().filter_map(|(name, value)| Some((name, value?)));
    given.chain(args.label.iter().map(|label| ("label", label.clone()))).collect()
}
