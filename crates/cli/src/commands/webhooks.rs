//! `libra webhooks`.

use libra_api::feed::WebhookListView;

use super::{connect, show};
use crate::args::{Format, ReplayArgs, WebhookListArgs, WebhooksCommand};
use crate::failure::{Exit, Failure};
use crate::{age, feed_table, output};

pub(super) async fn run(command: &WebhooksCommand) -> Result<Exit, Failure> {
    match command {
        WebhooksCommand::List(args) => list(args).await,
        WebhooksCommand::Replay(args) => replay(args).await,
    }
}

async fn list(args: &WebhookListArgs) -> Result<Exit, Failure> {
    let client = connect(&args.connect)?;
    let state = if args.dead { Some("dead") } else { args.pending.then_some("pending") };
    let single = [
        ("job", args.job.clone()),
        ("state", state.map(str::to_owned)),
        ("limit", args.limit.map(|limit| limit.to_string())),
    ];
    let query: Vec<(&str, String)> =
        single.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let mut list = client.webhooks(&query).await?;
    while let Some(cursor) = list.next_cursor.clone().filter(|_| args.all) {
        let mut next = query.clone();
        next.push(("cursor", cursor));
        let page = client.webhooks(&next).await?;
        list.next_cursor = page.next_cursor;
        list.webhooks.extend(page.webhooks);
    }
    let exit = show(&args.connect, &list, |list: &WebhookListView| {
        feed_table::webhooks(&list.webhooks, age::now())
    })?;
    if args.connect.output.output == Format::Table {
        if list.webhooks.is_empty() {
            output::say("no messages");
        } else if list.next_cursor.is_some() {
            output::say(&format!("the first {} are shown; --all shows every one", list.webhooks.len()));
        }
    }
    Ok(exit)
}

async fn replay(args: &ReplayArgs) -> Result<Exit, Failure> {
    let client = connect(&args.connect)?;
    if let Some(id) = args.id {
        let view = client.replay(id).await?;
        return show(&args.connect, &view, |view| {
            format!("{} is sent again to {}\n", view.id, output::one_line(&view.target))
        });
    }
    let view = client.replay_dead(args.job.as_deref()).await?;
    show(&args.connect, &view, |view| match view.replayed {
        1 => "1 message is sent again\n".to_owned(),
        count => format!("{count} messages are sent again\n"),
    })
}
