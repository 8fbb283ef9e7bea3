//! Logs: whole over rotations and restarts, followed as they come, bounded with every loss said aloud.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;

use libra_testkit::{Libra, Setup, wait, write};
use serde_json::{Value, json};

use crate::surroundings::{quoted, setup, shared, sleepy, submit_only, turn};

/// An event as it came.
#[derive(Debug)]
struct Event {
    id: String,
    kind: String,
    data: Value,
}

/// A log that is followed. HTTP/1.0, so that what comes is the stream and nothing around it.
struct Follower {
    status: u16,
    lines: std::io::Lines<BufReader<TcpStream>>,
    connection: TcpStream,
}

impl Follower {
    fn open(url: &str, job: &str, query: &str, last: &str) -> Self {
        let mut connection = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
        let last = if last.is_empty() { String::new() } else { format!("Last-Event-ID: {last}\r\n") };
        let request = format!(
            "GET /api/v1/jobs/{job}/logs?follow=true{query} HTTP/1.0\r\nHost: localhost\r\n{last}\r\n"
        );
        connection.write_all(request.as_bytes()).unwrap();
        let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
        let status = lines.next().unwrap().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let _headers = lines.by_ref().map_while(Result::ok).find(String::is_empty);
        Self { status, lines, connection }
    }

    /// The next event; None when the stream is over, whoever ended it.
    fn next(&mut self) -> Option<Event> {
        let (mut id, mut kind) = (String::new(), String::new());
        loop {
            let line = self.lines.next()?.ok()?;
            match line.split_once(": ") {
                Some(("id", text)) => text.clone_into(&mut id),
                Some(("event", text)) => text.clone_into(&mut kind),
                Some(("data", text)) => {
                    return Some(Event { id, kind, data: serde_json::from_str(text).unwrap() });
                }
                _ => {}
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.connection.shutdown(Shutdown::Both);
    }
}

/// What a reader has who comes back after every break with the last id.
#[derive(Debug, Default)]
struct Reader {
    text: String,
    last: String,
    end: Option<Value>,
}

impl Reader {
    /// Reads until the text has so many lines, or until the stream ends.
    fn take(&mut self, follower: &mut Follower, lines: usize) {
        while self.text.lines().count() < lines
            && let Some(event) = follower.next()
        {
            match event.kind.as_str() {
                "log" => {
                    self.text.push_str(event.data["content"].as_str().unwrap());
                    self.last = event.id;
                }
                "end" => self.end = Some(event.data),
                other => panic!("{other}"),
            }
        }
    }
}

fn python(code: &str) -> Value {
    json!({"code": code, "kind": "python", "executionMode": "spark-submit"})
}

/// Prints numbered lines, waits for a file, and prints as many again.
fn numbers(go: &Path, lines: usize) -> Value {
    python(&format!(
        "import os, time\nfor n in range({lines}): print(f'line {{n}}')\nprint('half', flush=True)\n\
         while not os.path.exists({}): time.sleep(0.1)\n\
         for n in range({lines}, {}): print(f'line {{n}}', flush=n % 50 == 0)\n",
        quoted(go),
        2 * lines
    ))
}

fn numbered(text: &str) -> Vec<usize> {
    text.lines().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect()
}

fn files(libra: &Libra, job: &str) -> Vec<String> {
    let names = fs::read_dir(libra.attempt_dir(job, 1)).unwrap();
    names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

/// The whole log, in pieces as small as this.
async fn in_pieces(libra: &Libra, job: &str, limit: usize) -> String {
    let (mut text, mut offset) = (String::new(), 0);
    loop {
        let path = format!("/api/v1/jobs/{job}/logs?offset={offset}&limit={limit}");
        let piece = libra.api().get(&path).await.expect(200);
        text.push_str(piece["content"].as_str().unwrap());
        offset = piece["nextOffset"].as_u64().unwrap();
        if piece["complete"] == true {
            assert_eq!(piece["total"], text.len(), "{text}");
            return text;
        }
    }
}

#[tokio::test]
async fn every_line_is_there_once_over_rotations_breaks_and_kill_9() {
    // contract: A2, S2
    let _turn = turn().await;
    let small = submit_only().env("LIBRA_LOGS_ROTATE_SIZE", "8k");
    let mut libra = small.start().await;
    let go = libra.scratch("go");
    let lines = 3_000;
    let id = libra.api().submit(&numbers(&go, lines)).await;
    let mut reader = Reader::default();
    // Followed from before the job runs; then cut off twice, once in the middle of what is there already.
    reader.take(&mut Follower::open(libra.url(), &id, "", ""), lines / 2);
    let (url, last) = (libra.url().to_owned(), reader.last.clone());
    reader.take(&mut Follower::open(&url, &id, "", &last), lines + 1);
    assert!(reader.text.trim_end().ends_with("half"), "{}", reader.text);
    let mut cut_off = Follower::open(&url, &id, "", &reader.last);
    libra.kill();
    reader.take(&mut cut_off, usize::MAX);
    assert_eq!(reader.end, None, "a break is no end");
    write(&go, "");
    wait::until_true("the driver writes on without Libra", || {
        files(&libra, &id).iter().filter(|f| f.starts_with("stdout.")).count() > 6
    })
    .await;
    libra.start(&small).await;
    let mut follower = Follower::open(libra.url(), &id, "", &reader.last);
    reader.take(&mut follower, usize::MAX);
    assert_eq!(numbered(&reader.text), (0..2 * lines).collect::<Vec<_>>());
    let end = reader.end.as_ref().unwrap();
    assert_eq!(
        (&end["status"], &end["exitCode"], &end["attempt"]),
        (&json!("SUCCEEDED"), &json!(0), &json!(1))
    );
    assert_eq!(reader.last, reader.text.len().to_string(), "an id is a place in the log");

    // The same log by pieces, and from the end; now and after it was compressed.
    assert!(in_pieces(&libra, &id, 10_000).await == reader.text);
    wait::until_true("the log is compressed", || {
        let files = files(&libra, &id);
        !files.iter().any(|f| f.starts_with("stdout") && !f.contains(".log.gz"))
    })
    .await;
    assert!(files(&libra, &id).iter().any(|f| f.starts_with("stdout.8192-8192")), "{:?}", files(&libra, &id));
    assert!(in_pieces(&libra, &id, 10_000).await == reader.text);
    let mut again = Reader::default();
    again.take(&mut Follower::open(libra.url(), &id, "&offset=20000", ""), usize::MAX);
    assert!(again.text == reader.text[20_000..] && again.end.is_some());
    let tail = libra.api().get(&format!("/api/v1/jobs/{id}/logs?tail=2")).await.expect(200);
    assert_eq!(tail["content"], format!("line {}\nline {}\n", 2 * lines - 2, 2 * lines - 1));
}

#[tokio::test]
async fn a_log_beyond_its_limit_says_what_is_missing_and_keeps_its_end() {
    // contract: S2
    let _turn = turn().await;
    let libra =
        submit_only().env("LIBRA_LOGS_MAX_SIZE", "64k").env("LIBRA_LOGS_ROTATE_SIZE", "16k").start().await;
    let code = "for n in range(50000): print(f'line {n}')\nraise ValueError('at the very end')";
    let job = libra.api().run(&python(code)).await;
    let message = job["error"]["message"].as_str().unwrap();
    assert!(message.contains("ValueError: at the very end"), "the reason is found all the same: {job:#}");
    let log = in_pieces(&libra, job["jobId"].as_str().unwrap(), 1_000_000).await;
    let marks: Vec<&str> = log.lines().filter(|line| line.starts_with("[libra: ")).collect();
    let [_, mark] = marks[..] else { panic!("{marks:?}") };
    let gone: usize = mark["[libra: ".len()..].split(' ').next().unwrap().parse().unwrap();
    let seen = numbered(&log);
    let all: usize = (0..50_000).map(|n: usize| format!("line {n}\n").len()).sum();
    assert!(seen[0] == 0 && seen.last() == Some(&49_999), "the beginning and the end are kept");
    let kept: usize = seen.iter().map(|n| format!("line {n}\n").len()).sum();
    // The limit may have cut one line in two.
    assert!((all - kept).abs_diff(gone) < 20, "{gone} are said to be missing, {} are", all - kept);
    assert!(log.contains("ValueError: at the very end"));
}

#[tokio::test]
async fn followers_have_a_limit_and_give_their_place_back() {
    // contract: A6
    let libra = sleepy().env("LIBRA_LOGS_MAX_FOLLOWERS", "1").start().await;
    let id = libra.api().submit(&json!({"kind": "python", "code": "the engine sleeps"})).await;
    let first = Follower::open(libra.url(), &id, "", "");
    assert_eq!(first.status, 200);
    let refused = libra.api().get(&format!("/api/v1/jobs/{id}/logs?follow=true")).await;
    assert_eq!(refused.expect(429)["error"], "too_many_followers");
    assert!(!refused.header("retry-after").is_empty());
    drop(first);
    wait::until_true("its place is free", || Follower::open(libra.url(), &id, "", "").status == 200).await;
    libra.api().delete(&format!("/api/v1/jobs/{id}")).await.expect(200);
    let mut reader = Reader::default();
    wait::until_true("another place is free", || {
        let mut follower = Follower::open(libra.url(), &id, "&stream=stderr", "");
        follower.status == 200 && {
            reader.take(&mut follower, 1);
            true
        }
    })
    .await;
    assert_eq!(reader.end.unwrap()["status"], "CANCELLED");
}

fn run(setup: &Setup, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = setup.run(arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn the_command_line_follows_a_job_and_ends_as_it_does() {
    // contract: D1
    let _turn = turn().await;
    let client = setup().env("LIBRA_URL", shared().await.url());
    let code = "print('first'); import sys; print('last'); sys.exit(7)";
    let arguments = ["submit", "--python", code, "--mode", "spark-submit", "--follow"];
    let (exit, out, err) = tokio::task::spawn_blocking({
        let client = client.clone();
        move || run(&client, &arguments)
    })
    .await
    .unwrap();
    assert_eq!((exit, out.as_str()), (Some(1), "first\nlast\n"), "{err}");
    assert!(
        err.contains("exit code 7") && err.contains("WARNING: Using incubator modules"),
        "the JVM's own words are on standard error: {err}"
    );
    let id = err.lines().find(|line| line.starts_with("job-")).unwrap();
    assert_eq!(
        run(&client, &["logs", "-f", id]),
        (Some(1), "first\nlast\n".into(), format!("{id} FAILED\n"))
    );
    let (exit, out, _) = run(&client, &["logs", "--tail", "1", id]);
    assert_eq!((exit, out.as_str()), (Some(0), "last\n"));
    let (exit, out, err) = run(&client, &["logs", "-f", "--both", "--tail", "1", id]);
    assert_eq!((exit, out.as_str(), err.lines().count()), (Some(1), "last\n", 2), "{err}");
}
