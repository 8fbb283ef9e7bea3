//! Following a job's log to its end.

use std::time::Duration;

use libra_api::client::{Client, LogEvent};
use libra_api::views::LogLinesView;

use super::result;
use crate::args::{Format, LogsArgs};
use crate::failure::{Exit, Failure};
use crate::patience::Patience;
use crate::{output, progress};

/// The pause before a log that was cut off is asked for again.
const PAUSE: Duration = Duration::from_millis(500);
/// The streams by the API's names.
const STDOUT: &str = "stdout";
const STDERR: &str = "stderr";

/// What of a log is followed.
struct Followed<'a> {
    client: &'a Client,
    id: &'a str,
    attempt: Option<u32>,
    tail: Option<u32>,
    format: Format,
}

/// `libra logs -f`: ends as the job does; where one attempt was named, with that attempt's log.
pub(super) async fn log(client: &Client, args: &LogsArgs) -> Result<Exit, Failure> {
    let format = args.connect.output.output;
    let followed = Followed { client, id: &args.id, attempt: args.attempt, tail: args.tail, format };
    let streams: &[&str] = match (args.both, args.stderr) {
        (true, _) => &[STDOUT, STDERR],
        (false, true) => &[STDERR],
        (false, false) => &[STDOUT],
    };
    followed.to_the_end(streams, streams.len() == 2).await?;
    if args.attempt.is_some() {
        return Ok(Exit::Done);
    }
    let status = client.job(&args.id, Duration::ZERO).await?.status;
    output::say(&format!("{} {status}", args.id));
    Ok(progress::exit_of(&status))
}

/// `libra submit --follow`: both streams, then the rows, and the end of the job.
pub(super) async fn submitted(client: &Client, id: &str, format: Format) -> Result<Exit, Failure> {
    output::say(id);
    // As JSON the job alone is printed, as after --wait.
    let followed = Followed { client, id, attempt: None, tail: None, format: Format::Table };
    match format {
        Format::Table => followed.to_the_end(&[STDOUT, STDERR], true).await?,
        Format::Json => {}
    }
    let ended = progress::until_ended(client, id).await?;
    let exit = progress::tell_end(&ended);
    match format {
        Format::Json => output::print_json(&ended)?,
        Format::Table if exit == Exit::Done => result::print_columns(client, &ended).await?,
        Format::Table => {}
    }
    Ok(exit)
}

impl Followed<'_> {
    async fn to_the_end(&self, streams: &[&'static str], apart: bool) -> Result<(), Failure> {
        let all = async {
            match streams {
                [one] => self.stream(one, apart).await,
                _ => tokio::try_join!(self.stream(STDOUT, apart), self.stream(STDERR, apart)).map(|_| ()),
            }
        };
        let id = self.id;
        tokio::select! {
            ended = all => ended,
            _ = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Interrupted, format!("no longer following {id}"))
                .hint(format!("the job goes on: `libra logs -f {id}` follows it again, `libra cancel {id}` ends it"))),
        }
    }

    /// Prints one stream to its end, and takes it up again where it was cut off.
    async fn stream(&self, stream: &'static str, apart: bool) -> Result<(), Failure> {
        let mut query = vec![("stream", stream.to_owned())];
        query.extend(self.attempt.map(|number| ("attempt", number.to_string())));
        let mut patience = Patience::new();
        let mut last: Option<String> = None;
        let mut attempt = None;
        loop {
            let mut query = query.clone();
            // Once something was printed, the place after it counts.
            query.extend(self.tail.filter(|_| last.is_none()).map(|lines| ("tail", lines.to_string())));
            let mut events =
                patience.call(|| self.client.follow_logs(self.id, &query, last.as_deref())).await?;
            // A stream that breaks is the same as one that was ended: what counts is where it was.
            while let Ok(Some(event)) = events.next().await {
                match event {
                    LogEvent::Lines { id, lines } => {
                        if attempt.replace(lines.attempt).is_some_and(|before| before != lines.attempt) {
                            output::say(&format!("{}: attempt {}", self.id, lines.attempt));
                        }
                        self.print(&lines, apart && stream == STDERR)?;
                        last = Some(id);
                    }
                    LogEvent::End(_) => return Ok(()),
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn print(&self, lines: &LogLinesView, to_stderr: bool) -> Result<(), Failure> {
        match self.format {
            Format::Json => output::print_json_line(lines),
            Format::Table if to_stderr => {
                output::print_error(&lines.content);
                Ok(())
            }
            Format::Table => output::print(&lines.content),
        }
    }
}
