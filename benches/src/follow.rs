//! A long log: what it costs to keep it, and how much memory it takes to follow it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Outcome;
use crate::figures::{Table, aim};
use crate::http1::{Connection, get, post};
use crate::service::Service;

/// Aimed at, bytes.
const MEMORY_AIM: u64 = 20_000_000;
/// Followers that take nothing of what they are sent.
const STUCK: usize = 50;
/// A log that brings nothing for so long has failed.
const SILENCE: Duration = Duration::from_mins(2);
/// The length of a short log, in bytes.
const SHORT: u64 = 100_000;
/// A line of the log.
const LINE: &str =
    "26/01/31 08:00:00 INFO TaskSetManager: Finished task 17.0 in stage 4.0 (TID 1234) in 56 ms";

pub(crate) async fn measure(libra: &Path, bytes: u64, table: &mut Table) -> Outcome<()> {
    let scratch = tempfile::tempdir()?;
    let program = stand_in(scratch.path())?;
    let bare = {
        let begun = Instant::now();
        let log = File::create(scratch.path().join("bare.log"))?;
        let status = Command::new(&program)
            .env("LOG_BYTES", bytes.to_string())
            .stdin(Stdio::null())
            .stdout(log)
            .status()?;
        if !status.success() {
            return Err("the stand-in for spark-submit failed".into());
        }
        begun.elapsed().as_secs_f64()
    };
    fs::remove_file(scratch.path().join("bare.log"))?;
    let home = scratch.path().display();
    let config = format!("libra.spark.home: {home}\nlibra.execution.modes.in-cluster.enabled: false\n");
    let service = Service::start(libra, &scratch.path().join("libra"), &config)?;
    let mut api = Connection::open(service.address).await?;

    // A short log first: what a Libra needs that has run a job is no cost of a long one.
    let short = submit(&mut api, SHORT).await?;
    follow(&service, &short, SHORT).await?;
    ended(&mut api, &short).await?;
    let before = service.resident()?;
    let id = submit(&mut api, bytes).await?;
    let begun = Instant::now();
    let (live, live_peak) = follow(&service, &id, bytes).await?;
    let live_took = begun.elapsed().as_secs_f64();
    let job = ended(&mut api, &id).await?;
    // Compressed meanwhile, or just being compressed.
    let begun = Instant::now();
    let (again, again_peak) = follow(&service, &id, bytes).await?;
    let again_took = begun.elapsed().as_secs_f64();

    let settled = service.resident()?;
    let mut stuck = Vec::new();
    for _ in 0..STUCK {
        stuck.push(open(service.address, &id).await?);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let each = service.resident()?.saturating_sub(settled) / STUCK as u64;
    drop(stuck);
    service.end()?;

    let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let rate = |seconds: f64| format!("{:.0} MB/s", bytes as f64 / 1e6 / seconds);
    let cost = live_peak.max(again_peak).saturating_sub(before);
    table.add(
        &format!("memory to follow {} of log", mb(bytes)),
        &mb(cost),
        "",
        "more than before",
        &aim("≤ 20 MB", cost <= MEMORY_AIM),
    );
    table.add("  followed as it is written", &rate(live_took), &rate(bare), "bare: written to a file", "");
    table.add("  followed afterwards", &rate(again_took), "", "", "");
    table.add("memory of a follower that takes nothing", &mb(each), "", "", "");
    table.remark(format!(
        "Follow: {live} and {again} bytes arrived; the job, {job}, ran while its log was written and followed."
    ));
    Ok(())
}

/// A Spark whose `spark-submit` writes a log of as many bytes as its environment says.
fn stand_in(home: &Path) -> Outcome<std::path::PathBuf> {
    let program = home.join("bin/spark-submit");
    fs::create_dir_all(home.join("bin"))?;
    fs::create_dir_all(home.join("jars"))?;
    fs::write(home.join("jars/spark-core_2.13-4.3.0.jar"), "")?;
    fs::write(&program, format!("#!/bin/sh\nyes '{LINE}' | head -c \"$LOG_BYTES\"\n"))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(program)
}

/// Submits a job with a log of so many bytes; answers its id.
async fn submit(api: &mut Connection, bytes: u64) -> Outcome<String> {
    let job = json!({
        "kind": "python", "code": "pass", "executionMode": "spark-submit", "env": {"LOG_BYTES": bytes.to_string()},
    });
    let (status, body) = api.call(&post("/api/v1/jobs", &job.to_string())).await?;
    let view: Value = serde_json::from_slice(body)?;
    let id = view["jobId"].as_str().filter(|_| status == 202);
    Ok(id.ok_or_else(|| format!("the job was refused: {view}"))?.to_owned())
}

/// Asks for the log and takes nothing of it. HTTP/1.0, so that what comes is the stream and nothing around it.
async fn open(address: SocketAddr, id: &str) -> Outcome<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /api/v1/jobs/{id}/logs?follow=true HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

/// Follows the log to its end; answers how many bytes of it came, and the most memory that Libra held meanwhile.
async fn follow(service: &Service, id: &str, bytes: u64) -> Outcome<(u64, u64)> {
    let mut stream = open(service.address, id).await?;
    let (mut end, mut peak, mut looked) = (Vec::new(), 0, Instant::now());
    let mut piece = vec![0; 256 * 1024];
    loop {
        let read = timeout(SILENCE, stream.read(&mut piece)).await??;
        if looked.elapsed() > Duration::from_millis(20) {
            peak = peak.max(service.resident()?);
            looked = Instant::now();
        }
        if read == 0 {
            break;
        }
        end.extend_from_slice(&piece[..read]);
        // The last event is at the end, behind a log event of at most a piece and its escapes.
        let spare = end.len().saturating_sub(512 * 1024);
        end.drain(..spare);
    }
    let text = String::from_utf8_lossy(&end);
    if !text.contains("\nevent: end\n") {
        return Err("the log that was followed did not end".into());
    }
    let last = text.lines().rev().find_map(|line| line.strip_prefix("id: ")?.parse().ok()).unwrap_or(0);
    if last != bytes {
        return Err(format!("{last} bytes of {bytes} arrived").into());
    }
    Ok((last, peak.max(service.resident()?)))
}

async fn ended(api: &mut Connection, id: &str) -> Outcome<String> {
    let (_, body) = api.call(&get(&format!("/api/v1/jobs/{id}?wait=60s"))).await?;
    let view: Value = serde_json::from_slice(body)?;
    let word = |name: &str| view[name].as_str().unwrap_or_default().to_owned();
    Ok(format!("{} in {}", word("status"), word("executionTime")))
}
