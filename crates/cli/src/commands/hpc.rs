//! `libra hpc`.

use libra_api::hpc::jobs::HpcJobListView;

use super::{connect, show};
use crate::age;
use crate::args::{Format, HpcCommand, HpcListArgs, JobArgs};
use crate::failure::{Exit, Failure};
use crate::{hpc_page, output};

/// Lists or shows jobs of batch schedulers.
pub(super) async fn run(command: &HpcCommand) -> Result<Exit, Failure> {
    match command {
        HpcCommand::Jobs(args) => jobs(args).await,
        HpcCommand::Job(args) => job(args).await,
    }
}

async fn jobs(args: &HpcListArgs) -> Result<Exit, Failure> {
    let client = connect(&args.connect)?;
    let query = filters(args);
    let mut list = client.hpc_jobs(&query).await?;
    while let Some(cursor) = list.next_cursor.clone().filter(|_| args.pages.all) {
        let mut next = query.clone();
        next.push(("cursor", cursor));
        let page = client.hpc_jobs(&next).await?;
        list.jobs.extend(page.jobs);
        list.next_cursor = page.next_cursor;
    }
    let exit = show(&args.connect, &list, |list: &HpcJobListView| hpc_page::jobs(&list.jobs, age::now()))?;
    if let (Format::Table, Some(more)) = (args.connect.output.output, hpc_page::more(&list)) {
        output::say(&more);
    }
    Ok(exit)
}

async fn job(args: &JobArgs) -> Result<Exit, Failure> {
    let view = connect(&args.connect)?.hpc_job(&args.id).await?;
    show(&args.connect, &view, |view| hpc_page::job(view, age::now()))
}

/// The API's query parameters.
fn filters(args: &HpcListArgs) -> Vec<(&'static str, String)> {
    let all = [
        ("state", args.state.clone()),
        ("user", args.user.clone()),
        ("account", args.account.clone()),
        ("partition", args.partition.clone()),
        ("cluster", args.cluster.clone()),
        ("node", args.node.clone()),
        ("limit", args.pages.limit.map(|limit| limit.to_string())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
