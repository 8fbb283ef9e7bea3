//! The client's commands: ask, then print.

mod apply;
mod artifacts;
pub(crate) mod context;
mod deployments;
mod efficiency;
mod events;
mod follow;
mod hpc;
mod logs;
mod queue;
mod result;
mod webhooks;

use std::time::Duration;

use libra_api::client::Client;
use libra_api::views::JobListView;

use crate::age;
use crate::args::{ClientCommand, ConnectArgs, Format, JobArgs, ListArgs, SubmitArgs};
use crate::contexts;
use crate::failure::{Exit, Failure};
use crate::{job_page, job_table, output, progress, submission};

/// Runs one command.
pub(crate) async fn run(command: ClientCommand) -> Result<Exit, Failure> {
    match command {
        ClientCommand::Submit(args) => submit(&args).await,
        ClientCommand::Jobs(args) => jobs(&args).await,
        ClientCommand::Job(args) => job(&args).await,
        ClientCommand::Logs(args) => logs::run(&args).await,
        ClientCommand::Result(args) => result::run(&args).await,
        ClientCommand::Cancel(args) => cancel(&args).await,
        ClientCommand::Wait(args) => wait(&args).await,
        ClientCommand::Explain(args) => explain(&args).await,
        ClientCommand::Queue(args) => queue::queue(&args).await,
        ClientCommand::Top(args) => queue::top(&args).await,
        ClientCommand::Events(args) => events::run(&args).await,
        ClientCommand::Efficiency(args) => efficiency::run(&args).await,
        ClientCommand::Hpc(command) => hpc::run(&command).await,
        ClientCommand::Webhooks(command) => webhooks::run(&command).await,
        ClientCommand::Deployments(command) => deployments::run(&command).await,
        ClientCommand::Artifact(command) => artifacts::run(&command).await,
    }
}

fn connect(args: &ConnectArgs) -> Result<Client, Failure> {
    let target = contexts::target(args)?;
    Ok(Client::new(&target.url, target.token)?)
}

/// Prints `view` as JSON, or `text` of it.
fn show<V: serde::Serialize>(
    args: &ConnectArgs,
    view: &V,
    text: impl FnOnce(&V) -> String,
) -> Result<Exit, Failure> {
    match args.output.output {
        Format::Json => output::print_json(view)?,
        Format::Table => output::print(&text(view))?,
    }
    Ok(Exit::Done)
}

async fn submit(args: &SubmitArgs) -> Result<Exit, Failure> {
    let (request, uploads) = submission::request(args)?;
    let client = connect(&args.connect)?;
    uploads.send(&client).await?;
    let submitted = client.submit(&request).await?;
    for warning in &submitted.warnings {
        output::say(&format!("warning: {}", output::one_line(warning)));
    }
    if args.follow {
        return follow::submitted(&client, &submitted.job_id, args.connect.output.output).await;
    }
    if !args.wait {
        return show(&args.connect, &submitted, |view| format!("{}\n", view.job_id));
    }
    let ended = progress::until_ended(&client, &submitted.job_id).await?;
    let exit = progress::tell_end(&ended);
    match args.connect.output.output {
        Format::Json => output::print_json(&ended)?,
        Format::Table if exit == Exit::Done => result::print_if_any(&client, &ended).await?,
        Format::Table => {}
    }
    Ok(exit)
}

async fn wait(args: &JobArgs) -> Result<Exit, Failure> {
    let ended = progress::until_ended(&connect(&args.connect)?, &args.id).await?;
    let exit = progress::tell_end(&ended);
    match args.connect.output.output {
        Format::Json => output::print_json(&ended)?,
        Format::Table => {}
    }
    Ok(exit)
}

async fn jobs(args: &ListArgs) -> Result<Exit, Failure> {
    let client = connect(&args.connect)?;
    let query = filters(args);
    let mut list = client.jobs(&query).await?;
    // A page may be short although more follow: go on until there are as many as were asked for.
    let wanted = if args.pages.all { usize::MAX } else { list.limit as usize };
    while let Some(cursor) = list.next_cursor.clone().filter(|_| list.jobs.len() < wanted) {
        let mut next = query.clone();
        if !args.pages.all {
            next.retain(|(name, _)| *name != "limit");
            next.push(("limit", (wanted - list.jobs.len()).to_string()));
        }
        next.push(("cursor", cursor));
        let page = client.jobs(&next).await?;
        list.jobs.extend(page.jobs);
        (list.total, list.total_at_least) = (page.total, page.total_at_least);
        list.next_cursor = page.next_cursor;
    }
    let exit = show(&args.connect, &list, |list: &JobListView| job_table::jobs(&list.jobs, age::now()))?;
    if let (Format::Table, Some(more)) = (args.connect.output.output, job_table::more(&list)) {
        output::say(&more);
    }
    Ok(exit)
}

/// The API's query parameters; a label is given once for each pair.
fn filters(args: &ListArgs) -> Vec<(&'static str, String)> {
    let single = [
        ("status", args.status.clone()),
        ("user", args.user.clone()),
        ("kind", args.kind.clone()),
        ("mode", args.mode.clone()),
        ("name", args.name.clone()),
        ("queue", args.queue.clone()),
        ("cluster", args.cluster.clone()),
        ("since", args.since.clone()),
        ("until", args.until.clone()),
        ("limit", args.pages.limit.map(|limit| limit.to_string())),
    ];
    let given = single.into_iter().filter_map(|(name, value)| Some((name, value?)));
    given.chain(args.label.iter().map(|label| ("label", label.clone()))).collect()
}

async fn job(args: &JobArgs) -> Result<Exit, Failure> {
    let view = connect(&args.connect)?.job(&args.id, Duration::ZERO).await?;
    show(&args.connect, &view, |view| job_page::job(view, age::now()))
}

async fn cancel(args: &JobArgs) -> Result<Exit, Failure> {
    let view = connect(&args.connect)?.cancel(&args.id).await?;
    show(&args.connect, &view, |view| {
        format!("{} {}: {}\n", view.job_id, view.status, output::one_line(&view.message))
    })
}

async fn explain(args: &JobArgs) -> Result<Exit, Failure> {
    let view = connect(&args.connect)?.explain(&args.id).await?;
    show(&args.connect, &view, job_page::explain)
}
