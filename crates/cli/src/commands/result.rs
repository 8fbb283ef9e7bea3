//! `libra result`, and the rows after `libra submit --wait`.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::Path;

use libra_api::client::{Client, ClientError};
use libra_api::problem::Code;
use libra_api::views::{ARROW_STREAM, CSV, JobView, ResultView};

use super::connect;
use crate::args::{Format, ResultArgs, ResultFormat};
use crate::failure::{Exit, Failure};
use crate::{output, rows};

pub(super) async fn run(args: &ResultArgs) -> Result<Exit, Failure> {
    let client = connect(&args.connect)?;
    let format = args.format.unwrap_or(match args.connect.output.output {
        Format::Table => ResultFormat::Table,
        Format::Json => ResultFormat::Json,
    });
    match format {
        ResultFormat::Csv => return stream(&client, args, CSV).await,
        ResultFormat::Arrow if args.to.is_none() && std::io::stdout().is_terminal() => {
            return Err(Failure::usage("an Arrow stream is not for a terminal")
                .hint("write it to a file with --to FILE, or pipe it into a program"));
        }
        ResultFormat::Arrow if args.limit.is_some() => {
            return Err(Failure::usage("an Arrow stream has every row: --limit is for the other formats"));
        }
        ResultFormat::Arrow => return stream(&client, args, ARROW_STREAM).await,
        ResultFormat::Table | ResultFormat::Json => {}
    }
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
    match (&args.to, format) {
        (None, ResultFormat::Json) => output::print_json(&view)?,
        (None, _) => print(&view)?,
        (Some(path), ResultFormat::Json) => {
            let text = serde_json::to_string_pretty(&view).map_err(|e| unwritable(path, &e))?;
            std::fs::write(path, text + "\n").map_err(|e| unwritable(path, &e))?;
        }
        (Some(path), _) => {
            std::fs::write(path, rows::table(&view.result, false)).map_err(|e| unwritable(path, &e))?;
            say_rest(&view);
        }
    }
    Ok(Exit::Done)
}

/// Writes the rows as they come.
async fn stream(client: &Client, args: &ResultArgs, accept: &str) -> Result<Exit, Failure> {
    let limit = args.limit.filter(|_| !args.all);
    let query: Vec<(&str, String)> = limit.map(|limit| ("limit", limit.to_string())).into_iter().collect();
    let mut body = client.result_as(&args.id, &query, accept).await?;
    match &args.to {
        None => {
            while let Some(piece) = body.next().await? {
                output::print_bytes(&piece)?;
            }
        }
        Some(path) => {
            // A file that is there is whole.
            let mut name = path.clone().into_os_string();
            name.push(".part");
            let draft = Path::new(&name);
            let mut file = File::create(draft).map_err(|e| unwritable(draft, &e))?;
            let written = async {
                while let Some(piece) = body.next().await? {
                    file.write_all(&piece).map_err(|e| unwritable(draft, &e))?;
                }
                std::fs::rename(draft, path).map_err(|e| unwritable(path, &e))
            };
            let written: Result<(), Failure> = written.await;
            if let Err(failure) = written {
                let _ = std::fs::remove_file(draft);
                return Err(failure);
            }
        }
    }
    if body.next_cursor.is_some() {
        let rows = body.row_count.unwrap_or_default();
        output::say(&format!("{rows} rows in all; --all prints every one"));
    }
    if body.truncated {
        output::say("the result was larger than Libra keeps, so rows at its end are missing");
    }
    Ok(Exit::Done)
}

fn unwritable(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format!("{} can't be written: {error}", path.display()))
}

/// Prints the first rows of a job that SUCCEEDED. Many a Python job has none, and that is well.
pub(super) async fn print_if_any(client: &Client, job: &JobView) -> Result<(), Failure> {
    match client.result(&job.job_id, &[]).await {
        Ok(view) => print(&view),
        Err(ClientError::Problem(problem)) if problem.error == Code::NoResult.as_str() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The same for a job whose log was printed: nothing is said about rows where there are no columns.
pub(super) async fn print_columns(client: &Client, job: &JobView) -> Result<(), Failure> {
    let view = client.result(&job.job_id, &[]).await?;
    if rows::table(&view.result, false).is_empty() { Ok(()) } else { print(&view) }
}

fn print(view: &ResultView) -> Result<(), Failure> {
    output::print(&rows::table(&view.result, std::io::stdout().is_terminal()))?;
    say_rest(view);
    Ok(())
}

fn say_rest(view: &ResultView) {
    output::say(&rows::more(view.result.rows.len(), view.row_count, view.result.truncated));
}
