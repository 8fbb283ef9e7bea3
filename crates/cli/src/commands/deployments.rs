//! The commands for deployments that are there.

use std::time::Duration;

use libra_api::client::Client;
use libra_api::deployments::{
    DeploymentEventView, DeploymentListView, DeploymentView, ResumeRequest, RollbackRequest,
};
use serde_json::json;

use super::{apply, connect, show};
use crate::args::{
    ConnectArgs, DeleteArgs, DeploymentArgs, DeploymentCommand, Format, ResumeArgs, RollbackArgs,
    SavepointArgs, SchemaArgs, SchemaOf,
};
use crate::failure::{Exit, Failure};
use crate::patience::Patience;
use crate::{age, asking, deployment_page, output};

/// Between two looks for a savepoint.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs one command.
pub(super) async fn run(command: &DeploymentCommand) -> Result<Exit, Failure> {
    match command {
        DeploymentCommand::Apply(args) => apply::apply(args).await,
        DeploymentCommand::Plan(args) => apply::plan(args).await,
        DeploymentCommand::Deployments(args) => list(args).await,
        DeploymentCommand::Deployment(args) => one(args).await,
        DeploymentCommand::History(args) => history(args).await,
        DeploymentCommand::Rollback(args) => rollback(args).await,
        DeploymentCommand::Suspend(args) => suspend(args).await,
        DeploymentCommand::Resume(args) => resume(args).await,
        DeploymentCommand::Savepoint(args) => savepoint(args).await,
        DeploymentCommand::Delete(args) => delete(args).await,
        DeploymentCommand::Schema(args) => schema(args).await,
    }
}

async fn list(args: &ConnectArgs) -> Result<Exit, Failure> {
    let list = connect(args)?.deployments().await?;
    let table = |list: &DeploymentListView| deployment_page::deployments(&list.deployments, age::now());
    let exit = show(args, &list, table)?;
    if list.deployments.is_empty() && args.output.output == Format::Table {
        output::say("no deployments\nhint: `libra apply -f FILE` makes one");
    }
    Ok(exit)
}

async fn one(args: &DeploymentArgs) -> Result<Exit, Failure> {
    let view = connect(&args.connect)?.deployment(&args.id).await?;
    show(&args.connect, &view, |view| deployment_page::deployment(view, age::now()))
}

async fn history(args: &DeploymentArgs) -> Result<Exit, Failure> {
    let client = connect(&args.connect)?;
    let generations = client.generations(&args.id).await?.generations;
    let events = events(&client, &args.id, None).await?;
    match args.connect.output.output {
        Format::Json => output::print_json(&json!({ "generations": generations, "events": events }))?,
        Format::Table => output::print(&deployment_page::history(&generations, &events, age::now()))?,
    }
    Ok(Exit::Done)
}

/// Every event after the one of this number.
async fn events(client: &Client, id: &str, after: Option<u64>) -> Result<Vec<DeploymentEventView>, Failure> {
    let (mut all, mut after) = (Vec::new(), after);
    let mut patience = Patience::answered();
    loop {
        let page = patience.call(|| client.deployment_events(id, after, None)).await?;
        all.extend(page.events);
        // A page that leads back to itself would never end.
        match page.next_after.filter(|next| Some(*next) > after) {
            Some(next) => after = Some(next),
            None => return Ok(all),
        }
    }
}

async fn rollback(args: &RollbackArgs) -> Result<Exit, Failure> {
    let (id, options) = (&args.id, &args.connect);
    let view = connect(options)?.roll_back(id, &RollbackRequest { generation: args.to }).await?;
    let to =
        args.to.map_or_else(|| "the generation before".to_owned(), |number| format!("generation {number}"));
    asked(options, &view, &format!("goes back to {to}"))
}

async fn suspend(args: &DeploymentArgs) -> Result<Exit, Failure> {
    let view = connect(&args.connect)?.suspend(&args.id).await?;
    asked(&args.connect, &view, "is to be suspended")
}

async fn resume(args: &ResumeArgs) -> Result<Exit, Failure> {
    let (id, options) = (&args.id, &args.connect);
    let view = connect(options)?.resume(id, &ResumeRequest { from: args.from.clone() }).await?;
    asked(options, &view, "is to run")
}

async fn delete(args: &DeleteArgs) -> Result<Exit, Failure> {
    let (id, options) = (&args.id, &args.connect);
    let client = connect(options)?;
    if !args.yes {
        asking::can_ask(&format!("delete {id}"), false)?;
        // What is not there need not be asked about.
        let view = client.deployment(id).await?;
        let state = if args.no_savepoint {
            "no last savepoint is made"
        } else {
            "a job that runs is stopped with a last savepoint"
        };
        let question = format!("{} is {}; {state}. Delete it?", view.id, view.status);
        asking::ask(&output::one_line(&question), "nothing was deleted")?;
    }
    let view = client.delete_deployment(id, !args.no_savepoint).await?;
    asked(options, &view, "is to be deleted")
}

async fn savepoint(args: &SavepointArgs) -> Result<Exit, Failure> {
    let (id, options) = (&args.id, &args.connect);
    let client = connect(options)?;
    // Looked for before it is asked, so that an older one is not taken for it.
    let seen = if args.wait { events(&client, id, None).await?.last().map(|event| event.seq) } else { None };
    let view = client.savepoint(id).await?;
    if !args.wait {
        return asked(options, &view, "makes a savepoint");
    }
    let made = tokio::select! {
        made = until_made(&client, id, seen) => made,
        _ = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Interrupted, "no longer waiting for the savepoint")
            .hint(format!("it is made all the same: `libra deployment {id}` shows its path"))),
    };
    made?;
    let view = Patience::answered().call(|| client.deployment(id)).await?;
    show(options, &view, |view| {
        format!("{}\n", output::one_line(view.last_savepoint.as_deref().unwrap_or("-")))
    })
}

/// Waits for a savepoint that is told of after the event `seen`.
async fn until_made(client: &Client, id: &str, mut seen: Option<u64>) -> Result<(), Failure> {
    loop {
        let news = events(client, id, seen).await?;
        if let Some(made) = savepoint_told(id, &news) {
            return made;
        }
        seen = news.last().map(|event| event.seq).or(seen);
        tokio::time::sleep(PAUSE).await;
    }
}

/// What events tell of a savepoint, if they do.
fn savepoint_told(id: &str, events: &[DeploymentEventView]) -> Option<Result<(), Failure>> {
    events.iter().find_map(|event| match event.kind.as_str() {
        "savepoint_made" => Some(Ok(())),
        "savepoint_failed" => {
            let failure = Failure::new(Exit::Failed, format!("{id}: {}", event.message));
            Some(Err(failure.hint("the job runs on; check that Flink can write to the savepoint directory")))
        }
        _ => None,
    })
}

/// It is JSON, whatever is asked for.
async fn schema(args: &SchemaArgs) -> Result<Exit, Failure> {
    let client = connect(&args.connect)?;
    let schema = match args.of {
        SchemaOf::Deployment => client.deployment_schema().await?,
    };
    output::print_json(&schema)?;
    Ok(Exit::Done)
}

/// What was asked for, and how things are until it is done.
fn asked(options: &ConnectArgs, view: &DeploymentView, what: &str) -> Result<Exit, Failure> {
    let exit = show(options, view, |view| {
        format!("{}\n", output::one_line(&format!("{} {what}; now it is {}", view.id, view.status)))
    })?;
    if options.output.output == Format::Table {
        output::say(&format!("hint: `libra deployment {}` shows how it goes on", output::one_line(&view.id)));
    }
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_about_a_savepoint_counts() {
        let event = |kind: &str| DeploymentEventView {
            seq: 1,
            at: "2026-01-31T08:00:00.000Z".to_owned(),
            kind: kind.to_owned(),
            message: "no savepoint: disk full".to_owned(),
            generation: 1,
        };
        let told =
            |kinds: &[&str]| savepoint_told("a", &kinds.iter().map(|kind| event(kind)).collect::<Vec<_>>());
        assert_eq!(told(&[]), None);
        assert_eq!(told(&["phase", "savepoint_removed"]), None);
        assert_eq!(told(&["phase", "savepoint_made", "savepoint_failed"]), Some(Ok(())));
        let failed = told(&["savepoint_failed"]).unwrap().unwrap_err();
        assert_eq!((failed.message(), failed.exit()), ("a: no savepoint: disk full", Exit::Failed));
    }
}
