//! `libra result`, and the rows after `libra submit --wait`.

use std::io::IsTerminal;

use libra_api::client::{Client, ClientError};
use libra_api::problem::Code;
use libra_api::views::{JobView, ResultView};

use super::connect;
use crate::args::{Format, ResultArgs};
use crate::failure::{Exit, Failure};
use crate::{output, rows};

pub(super) async fn run(args: &ResultArgs) -> Result<Exit, Failure> {
    let client = connect(&args.connect)?;
    let mut query: Vec<(&str, String)> =
        args.limit.map(|limit| ("limit", limit.to_string())).into_iter().collect();
    let mut view = client.result(&args.id, &query).await?;
    while let Some(cursor) = view.next_cursor.clone().filter(|_| args.all) {
        query.retain(|(name, _)| *name != "cursor");
        query.push(("cursor", cursor));
        let page = client.result(&args.id, &query).await?;
        view.next_cursor = page.next_cursor;
        view.result.rows.extend(page.result.rows);
    }
    match args.connect.output.output {
        Format::Json => output::print_json(&view)?,
        Format::Table => print(&view)?,
    }
    Ok(Exit::Done)
}

/// Prints the first rows of a job that SUCCEEDED. Many a Python job has none, and that is well.
pub(super) async fn print_if_any(client: &Client, job: &JobView) -> Result<(), Failure> {
    match client.result(&job.job_id, &[]).await {
        Ok(view) => print(&view),
        Err(ClientError::Problem(problem)) if problem.error == Code::NoResult.as_str() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn print(view: &ResultView) -> Result<(), Failure> {
    output::print(&rows::table(&view.result, std::io::stdout().is_terminal()))?;
    output::say(&rows::more(view.result.rows.len(), view.row_count, view.result.truncated));
    Ok(())
}
