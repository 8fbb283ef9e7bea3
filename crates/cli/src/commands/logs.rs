//! `libra logs`.

use libra_api::client::Client;
use libra_api::views::LogsView;

use super::{connect, follow};
use crate::args::{Format, LogsArgs};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::patience::Patience;

pub(super) async fn run(args: &LogsArgs) -> Result<Exit, Failure> {
    let client = connect(&args.connect)?;
    if args.follow {
        return follow::log(&client, args).await;
    }
    if args.both {
        print(&client, args, "stdout", false).await?;
        return print(&client, args, "stderr", true).await;
    }
    print(&client, args, if args.stderr { "stderr" } else { "stdout" }, false).await
}

/// Prints what there is of one stream.
async fn print(client: &Client, args: &LogsArgs, stream: &str, to_stderr: bool) -> Result<Exit, Failure> {
    let format = args.connect.output.output;
    let mut patience = Patience::new();
    let (mut attempt, mut tail) = (args.attempt, args.tail);
    let mut offset = 0;
    let mut whole: Option<LogsView> = None;
    loop {
        let mut query = vec![("stream", stream.to_owned())];
        query.push(match tail.take() {
            Some(lines) => ("tail", lines.to_string()),
            None => ("offset", offset.to_string()),
        });
        query.extend(attempt.map(|number| ("attempt", number.to_string())));
        let piece = patience.call(|| client.logs(&args.id, &query)).await?;
        match format {
            Format::Table if to_stderr => output::print_error(&piece.content),
            Format::Table => output::print(&piece.content)?,
            Format::Json => {}
        }
        // A retry must not change the log under the reader's feet.
        attempt = attempt.or((piece.attempt > 0).then_some(piece.attempt));
        let moved = piece.next_offset > piece.offset;
        offset = piece.next_offset;
        let at_end = piece.complete || !moved || piece.next_offset >= piece.total;
        whole = Some(match whole {
            None => piece,
            // Only JSON, which is printed at the end, needs the text again.
            Some(before) if format == Format::Json => {
                LogsView { offset: before.offset, content: before.content + &piece.content, ..piece }
            }
            Some(before) => LogsView { offset: before.offset, content: String::new(), ..piece },
        });
        if at_end {
            break;
        }
    }
    if let (Format::Json, Some(view)) = (format, &whole) {
        output::print_json(view)?;
    }
    Ok(Exit::Done)
}
