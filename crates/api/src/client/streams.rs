//! Answers that come piece by piece: a log that is followed, a result as a file.

use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Method, Response};
use tokio::time::timeout;

use super::{Client, ClientError, percent};
use crate::views::{LogEndView, LogLinesView};

/// The server says every 15 s that it is alive; one that is silent for longer is away.
const SILENCE: Duration = Duration::from_mins(1);
/// No event is longer than this, in bytes; whatever sends more is no Libra.
const MAX_EVENT_BYTES: usize = 8 * 1024 * 1024;

/// What a followed log brings.
#[derive(Clone, Debug, PartialEq)]
pub enum LogEvent {
    /// Lines.
    Lines {
        /// What to come back with after a break.
        id: String,
        /// The lines.
        lines: LogLinesView,
    },
    /// The job is over, and so is its log.
    End(LogEndView),
}

/// A log that is followed.
#[derive(Debug)]
pub struct LogEvents {
    client: Client,
    response: Response,
    text: Vec<u8>,
}

/// A result on its way.
#[derive(Debug)]
pub struct ResultBody {
    /// Rows in all.
    pub row_count: Option<u64>,
    /// Whether rows at the end are missing.
    pub truncated: bool,
    /// The cursor of the next page.
    pub next_cursor: Option<String>,
    client: Client,
    response: Response,
}

impl Client {
    /// Follows a log; `query` as the API takes it, without `follow`. After a break, `last` is the last id that came.
    pub async fn follow_logs(
        &self,
        id: &str,
        query: &[(&str, String)],
        last: Option<&str>,
    ) -> Result<LogEvents, ClientError> {
        let mut query = query.to_vec();
        query.push(("follow", "true".to_owned()));
        let path = format!("/api/v1/jobs/{}/logs", percent(id));
        let mut request = self.request(Method::GET, &path, &query).header(ACCEPT, "text/event-stream");
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = self.in_time(self.accepted(request)).await?;
        Ok(LogEvents { client: self.clone(), response, text: Vec::new() })
    }

    /// A result in another form than JSON, by its media type.
    pub async fn result_as(
        &self,
        id: &str,
        query: &[(&str, String)],
        accept: &str,
    ) -> Result<ResultBody, ClientError> {
        let path = format!("/api/v1/jobs/{}/result", percent(id));
        let request = self.request(Method::GET, &path, query).header(ACCEPT, accept);
        let response = self.in_time(self.accepted(request)).await?;
        let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        Ok(ResultBody {
            row_count: header("x-libra-row-count").and_then(|count| count.parse().ok()),
            truncated: header("x-libra-truncated").is_some_and(|text| text == "true"),
            next_cursor: header("x-libra-next-cursor"),
            client: self.clone(),
            response,
        })
    }

    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        timeout(SILENCE, answer).await.unwrap_or_else(|_| {
            Err(ClientError::Unreachable {
                url: self.base.clone(),
                cause: format!("it was silent for {SILENCE:?}"),
                perhaps_taken: true,
            })
        })
    }

    async fn piece(&self, response: &mut Response) -> Result<Option<Vec<u8>>, ClientError> {
        let piece = async { response.chunk().await.map_err(|e| self.unreachable(&e)) };
        Ok(self.in_time(piece).await?.map(Into::into))
    }
}

impl ResultBody {
    /// The next piece; None at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        self.client.piece(&mut self.response).await
    }
}

impl LogEvents {
    /// The next event; None when the server ended the stream before the job: come back with the last id.
    pub async fn next(&mut self) -> Result<Option<LogEvent>, ClientError> {
        loop {
            while let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                let strange = || self.client.not_libra(self.response.status());
                match event(&String::from_utf8_lossy(&block)) {
                    Ok(Some(event)) => return Ok(Some(event)),
                    Ok(None) => {}
                    Err(_) => return Err(strange()),
                }
            }
            if self.text.len() > MAX_EVENT_BYTES {
                return Err(self.client.not_libra(self.response.status()));
            }
            match self.client.piece(&mut self.response).await? {
                Some(piece) => self.text.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
    }
}

/// Reads one event; None for a comment and for what is not known here.
fn event(block: &str) -> Result<Option<LogEvent>, serde_json::Error> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let (Some(kind), Some(data)) = (field("event"), field("data")) else { return Ok(None) };
    Ok(match kind {
        "log" => {
            let id = field("id").unwrap_or_default().to_owned();
            Some(LogEvent::Lines { id, lines: serde_json::from_str(data)? })
        }
        "end" => Some(LogEvent::End(serde_json::from_str(data)?)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read() {
        let log = "id: 2:9\nevent: log\ndata: {\"attempt\":2,\"stream\":\"stdout\",\"offset\":0,\"nextOffset\":9,\
                   \"content\":\"a: b\\nc\\n\"}\n\n";
        let Ok(Some(LogEvent::Lines { id, lines })) = event(log) else { panic!("{:?}", event(log)) };
        assert_eq!((id.as_str(), lines.content.as_str(), lines.next_offset), ("2:9", "a: b\nc\n", 9));
        let end =
            "event: end\ndata: {\"jobId\":\"job-1\",\"status\":\"FAILED\",\"attempt\":1,\"exitCode\":7}\n\n";
        let Ok(Some(LogEvent::End(end))) = event(end) else { panic!("{:?}", event(end)) };
        assert_eq!((end.status.as_str(), end.exit_code), ("FAILED", Some(7)));
        assert!(matches!(event(": keep-alive\n\n"), Ok(None)));
        assert!(event("event: log\ndata: nonsense\n\n").is_err());
    }
}
