//! The change feed: every event once, in order, and nothing missed after a break.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use libra_testkit::wait;
use serde_json::{Value, json};

use crate::authorisation::with_keys;
use crate::surroundings::sleepy;

/// An event as it came.
#[derive(Debug)]
pub struct Event {
    pub id: i64,
    pub data: Value,
}

/// A stream that is read. HTTP/1.0, so that what comes is the stream and nothing around it.
pub struct Stream(Receiver<Event>);

impl Stream {
    pub fn open(url: &str, query: &str, headers: &str) -> Self {
        let mut connection = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
        let request = format!(
            "GET /api/v1/events{query} HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n{headers}\r\n"
        );
        connection.write_all(request.as_bytes()).unwrap();
        let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
        let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        assert!(head[0].contains(" 200 "), "{head:#?}");
        assert!(head.iter().any(|h| h == "content-type: text/event-stream"), "{head:#?}");
        let (send, events) = channel();
        std::thread::spawn(move || {
            let (mut id, mut kind) = (0, String::new());
            for line in lines {
                match line.split_once(": ") {
                    Some(("id", number)) => id = number.parse().unwrap(),
                    Some(("event", name)) => name.clone_into(&mut kind),
                    Some(("data", text)) => {
                        assert_eq!(kind, "transition");
                        let data = serde_json::from_str(text).unwrap();
                        if send.send(Event { id, data }).is_err() {
                            return;
                        }
                    }
                    _ => {}
                }
            }
        });
        Self(events)
    }

    pub async fn take(&self, count: usize) -> Vec<Event> {
        let mut taken = Vec::new();
        wait::until_true(&format!("{count} events come"), || {
            taken.extend(self.0.try_iter().take(count - taken.len()));
            taken.len() == count
        })
        .await;
        taken
    }

    /// True when nothing comes for a while.
    fn is_silent(&self) -> bool {
        matches!(self.0.recv_timeout(Duration::from_secs(1)), Err(RecvTimeoutError::Timeout))
    }

    async fn ends(&self) {
        wait::until_true("the stream ends", || {
            matches!(self.0.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Disconnected))
        })
        .await;
    }
}

fn job(team: &str) -> Value {
    json!({"code": "pass", "kind": "python", "labels": {"team": team}})
}

#[tokio::test]
async fn a_reader_that_was_cut_off_misses_nothing_and_gets_nothing_twice() {
    // contract: A10
    let mut libra = sleepy().start().await;
    let api = libra.api();
    let first = api.submit(&job("a")).await;
    api.reaches(&first, "RUNNING").await;
    let stream = Stream::open(libra.url(), "", "");
    let mut seen = stream.take(5).await;
    assert_eq!(seen[0].data["jobId"], *first);
    assert_eq!((&seen[0].data["user"], &seen[0].data["labels"]), (&json!("local"), &json!({"team": "a"})));
    let second = api.submit(&job("b")).await;
    seen.extend(stream.take(3).await);
    libra.kill();
    stream.ends().await;

    libra.start(&sleepy()).await;
    let api = libra.api();
    let third = api.submit(&job("a")).await;
    api.delete(&format!("/api/v1/jobs/{second}")).await.expect(200);
    let stream = Stream::open(libra.url(), "?after=0", "Last-Event-ID: 8\r\n");
    seen.extend(stream.take(4).await);
    assert!(stream.is_silent());
    let ids: Vec<i64> = seen.iter().map(|e| e.id).collect();
    assert_eq!(ids, (1..=12).collect::<Vec<_>>(), "without gaps, in order, each once");
    assert!(seen.iter().all(|e| e.data["seq"] == e.id));
    for id in [&first, &second, &third] {
        let history = api.get(&format!("/api/v1/jobs/{id}/events")).await.expect(200);
        let of_feed = seen.iter().filter(|e| e.data["jobId"] == **id);
        for (told, kept) in of_feed.zip(history["events"].as_array().unwrap()) {
            for field in ["seq", "from", "to", "at", "actor", "reason", "attempt", "correlationId"] {
                assert_eq!(told.data[field], kept[field], "{field}");
            }
        }
    }

    // A stream has no end of its own: Libra's end is its end, and nobody waits for it.
    assert!(libra.stop().success());
    stream.ends().await;
    assert!(!libra.log().contains("cut off"), "{}", libra.log());
}

#[tokio::test]
async fn filters_show_their_part_in_order() {
    // contract: A10
    let libra = sleepy().start().await;
    let api = libra.api();
    let first = api.submit(&job("a")).await;
    api.reaches(&first, "RUNNING").await;
    let live = Stream::open(libra.url(), "?label=team=b&status=QUEUED,CANCELLED&after=now", "");
    let b = api.submit(&job("b")).await;
    api.submit(&job("a")).await;
    api.delete(&format!("/api/v1/jobs/{b}")).await.expect(200);
    let came = live.take(2).await;
    assert_eq!(
        came.iter().map(|e| e.data["to"].as_str().unwrap()).collect::<Vec<_>>(),
        ["QUEUED", "CANCELLED"]
    );
    assert!(came.iter().all(|e| e.data["jobId"] == *b));
    assert!(live.is_silent());

    let json = [("accept", "application/json")];
    let page = async |query: &str| {
        api.send("GET", &format!("/api/v1/events{query}"), &json, vec![]).await.expect(200)
    };
    let all = page("").await;
    let newest = all["nextAfter"].as_i64().unwrap();
    assert_eq!(all["events"].as_array().unwrap().len(), usize::try_from(newest).unwrap());
    let mut after = 0;
    let mut tos = Vec::new();
    loop {
        let piece = page(&format!("?job={b}&limit=1&after={after}")).await;
        let events = piece["events"].as_array().unwrap();
        let Some(event) = events.first() else { break };
        tos.push(event["to"].as_str().unwrap().to_owned());
        after = piece["nextAfter"].as_i64().unwrap();
    }
    assert_eq!(tos, ["SUBMITTED", "VALIDATING", "QUEUED", "CANCELLED"]);
    let none = page("?label=team=c").await;
    assert_eq!((&none["events"], &none["nextAfter"]), (&json!([]), &json!(newest)), "nothing, up to the end");

    let waiting = page("?after=now&wait=60s");
    let (waited, ()) = tokio::join!(waiting, async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        api.submit(&job("c")).await;
    });
    assert_eq!(waited["events"][0]["labels"]["team"], "c");

    for (query, pointer) in
        [("?after=-1", "/after"), ("?after=1000000", "/after"), ("?job=x", "/job"), ("?jobs=x", "/jobs")]
    {
        let refused = api.get(&format!("/api/v1/events{query}")).await;
        assert_eq!((refused.status, refused.pointers()), (400, vec![pointer.to_owned()]), "{query}");
    }
}

#[tokio::test]
async fn everybody_sees_the_events_of_their_own_jobs() {
    // contract: A10, X2
    let libra = with_keys().start().await;
    let (ada, bob) = (libra.api_as("ada-develops"), libra.api_as("bob-develops"));
    ada.submit(&job("a")).await;
    let bobs = bob.submit(&job("a")).await;
    let as_bob = "Authorization: Bearer bob-develops\r\n";
    let streams = [
        Stream::open(libra.url(), "", as_bob),
        Stream::open(libra.url(), "?label=team=a", as_bob),
        Stream::open(libra.url(), &format!("?job={bobs}"), as_bob),
    ];
    for stream in &streams {
        let came = stream.take(3).await;
        assert!(came.iter().all(|e| e.data["jobId"] == *bobs && e.data["user"] == "bob"), "{came:#?}");
    }
    let as_root = Stream::open(libra.url(), "", "Authorization: Bearer root\r\n").take(6).await;
    assert!(as_root.iter().any(|e| e.data["user"] == "ada"));
}

#[tokio::test]
async fn the_command_line_follows_the_feed() {
    // contract: A10, D3
    let libra = sleepy().start().await;
    let api = libra.api();
    let id = api.submit(&job("a")).await;
    api.reaches(&id, "RUNNING").await;
    let cli = |arguments: &[&str]| {
        let output = sleepy().env("LIBRA_URL", libra.url()).run(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    wait::until_true("the events are numbered", || cli(&["events", "-o", "json"]).lines().count() == 5).await;
    let lines = cli(&["events", "--after", "2", "--label", "team=a", "-o", "json"]);
    let seqs: Vec<i64> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_i64().unwrap())
        .collect();
    assert_eq!(seqs, [3, 4, 5]);
    let table = cli(&["events", "--status", "RUNNING"]);
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.contains(&id) && table.contains("SCHEDULED   RUNNING"), "{table}");
    assert_eq!(cli(&["events", &id]).lines().count(), 6, "the history of one job as before");
}
