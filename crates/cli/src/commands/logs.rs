//! `libra logs`.

use std::time::Duration;

use libra_api::views::LogsView;

use super::connect;
use crate::args::{Format, LogsArgs};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::patience::Patience;

/// How often a log that is followed is read.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn run(args: &LogsArgs) -> Result<Exit, Failure> {
    let client = connect(&args.connect)?;
    let stream = if args.stderr { "stderr" } else { "stdout" };
    let mut patience = Patience::new();
    let mut attempt = args.attempt;
    let mut offset = 0;
    let mut whole: Option<LogsView> = None;
    loop {
        let mut query = vec![("stream", stream.to_owned()), ("offset", offset.to_string())];
        query.extend(attempt.map(|number| ("attempt", number.to_string())));
        let piece = patience.call(|| client.logs(&args.id, &query)).await?;
        if args.connect.output.output == Format::Table {
            output::print(&piece.content)?;
        }
        // A retry must not change the log under the reader's feet.
        attempt = attempt.or((piece.attempt > 0).then_some(piece.attempt));
        let moved = piece.next_offset > offset;
        offset = piece.next_offset;
        let at_end = piece.complete || (!args.follow && (!moved || piece.next_offset >= piece.total));
        whole = Some(match whole {
            None => piece,
            // Only JSON, which is printed at the end, needs the text again.
            Some(before) if args.connect.output.output == Format::Json => {
                LogsView { offset: before.offset, content: before.content + &piece.content, ..piece }
            }
            Some(before) => LogsView { offset: before.offset, content: String::new(), ..piece },
        });
        if at_end {
            break;
        }
        if !moved {
            tokio::time::sleep(PAUSE).await;
        }
    }
    if let (Format::Json, Some(view)) = (args.connect.output.output, &whole) {
        output::print_json(view)?;
    }
    Ok(Exit::Done)
}
