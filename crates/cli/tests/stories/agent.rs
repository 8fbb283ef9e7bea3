//! The node agent: what it sees arrives, also when Libra is away and when the agent is killed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use libra_testkit::{ports, wait};
use serde_json::{Value, json};

use crate::hpc_figures::{ago, promtool};
use crate::replicas::{begun, patient};
use crate::surroundings::{setup, sleepy, submit_only, turn};

/// A process that is ended with its story.
pub struct Ended(Child);

impl Ended {
    /// Starts it.
    pub fn of(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A job of the made-up node: a process with its marks.
fn job(id: &str, node: &str) -> Ended {
    Ended::of(Command::new("sleep").arg("600").env("SLURM_JOB_ID", id).env("SLURMD_NODENAME", node))
}

fn agent(url: &str, node: &str, more: &[&str]) -> Ended {
    let mut command = setup().command();
    command.args(["agent", "--url", url, "--cluster", "c1", "--node", node, "--interval", "1s"]).args(more);
    Ended::of(command.stdout(Stdio::null()).stderr(Stdio::null()))
}

/// Somebody who takes batches as Libra does.
struct Taker {
    url: String,
    came: Arc<Mutex<Vec<Value>>>,
}

impl Taker {
    fn on(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let came = Arc::new(Mutex::new(Vec::new()));
        let takes = Arc::clone(&came);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let takes = Arc::clone(&takes);
                std::thread::spawn(move || take(&connection.unwrap(), &takes));
            }
        });
        Self { url, came }
    }

    fn came(&self) -> Vec<Value> {
        self.came.lock().unwrap().clone()
    }

    /// The times of all samples that came, in the order of their arrival.
    fn times(&self) -> Vec<String> {
        self.came().iter().flat_map(times).collect()
    }
}

/// One connection: requests, one after the other.
fn take(connection: &TcpStream, came: &Mutex<Vec<Value>>) {
    let mut reader = BufReader::new(connection);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let batch: Value = serde_json::from_slice(&body).unwrap();
        let answer =
            format!(r#"{{"accepted":{},"rejected":[]}}"#, batch["samples"].as_array().unwrap().len());
        came.lock().unwrap().push(batch);
        let mut out = connection;
        let head = format!(
            "HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        if out.write_all(format!("{head}{answer}").as_bytes()).is_err() {
            return;
        }
    }
}

/// The times of a batch's samples of a made-up job: attempts of other stories are seen as well.
fn times(batch: &Value) -> Vec<String> {
    let samples = batch["samples"].as_array().unwrap().iter();
    let of_job = samples.filter(|sample| sample["external_job_id"].is_string());
    of_job.map(|sample| sample["timestamp"].as_str().unwrap().to_owned()).collect()
}

/// The sample of a job.
fn of<'a>(batch: &'a Value, id: &str) -> &'a Value {
    let found = batch["samples"].as_array().unwrap().iter().find(|sample| sample["external_job_id"] == id);
    found.unwrap_or_else(|| panic!("{id} is not in {batch:#}"))
}

/// The times of the samples that are in a spool.
fn spooled(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    let texts: Vec<String> = files.iter().map(|path| fs::read_to_string(path).unwrap_or_default()).collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    lines.filter_map(|line| serde_json::from_str(line).ok()).flat_map(|batch| times(&batch)).collect()
}

#[tokio::test]
async fn what_was_seen_while_libra_was_away_arrives_also_after_a_kill_of_the_agent() {
    // contract: H3
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().to_str().unwrap();
    let _job = job("9101", "agent-away");
    let port = ports::free();
    let url = format!("http://127.0.0.1:{port}");

    let first = agent(&url, "agent-away", &["--spool", spool]);
    wait::until_true("some samples are kept", || spooled(dir.path()).len() >= 3).await;
    // kill -9.
    drop(first);
    let kept = spooled(dir.path());
    // As if it had been killed within a line.
    fs::write(dir.path().join("00000000000000000900.jsonl"), r#"{"cluster":"c1","samples":[{"#).unwrap();

    let second = agent(&url, "agent-away", &["--spool", spool]);
    wait::until_true("more are kept", || spooled(dir.path()).len() > kept.len() + 1).await;
    let taker = Taker::on(port);
    let wanted = kept.len() + 4;
    wait::until_true("all arrive, and new ones", || taker.times().len() >= wanted).await;
    let arrived = taker.times();
    assert_eq!(arrived[..kept.len()], kept, "the oldest first, each once");
    let mut sorted = arrived.clone();
    sorted.sort();
    assert_eq!(arrived, sorted);
    assert_eq!(arrived.iter().collect::<BTreeSet<_>>().len(), arrived.len());
    wait::until_true("the spool is empty", || spooled(dir.path()).is_empty()).await;
    drop(second);

    let last = taker.came().pop().unwrap();
    assert_eq!((last["cluster"].as_str(), last["node"].as_str()), (Some("c1"), Some("agent-away")));
    let sample = of(&last, "9101");
    assert_eq!(sample["processes"], 1);
    assert!(sample["cpu_cores"].is_number() && sample["memory_usage_mb"].is_number(), "{sample}");
    assert!(sample.get("gpu_usage").is_none(), "what is unknown is absent: {sample}");
    assert!(last["node_totals"]["cpus"].as_u64().unwrap() > 0, "{last}");
}

#[tokio::test]
async fn what_was_seen_of_a_job_before_libra_has_heard_of_it_counts_also_after_a_kill_of_the_agent() {
    // contract: H2, H3
    let libra = sleepy().start().await;
    let api = libra.api();
    let dir = tempfile::tempdir().unwrap();
    let (spool, later) = (dir.path().to_str().unwrap(), dir.path().join("later"));
    let _job = job("9104", "agent-early");
    let first = agent(libra.url(), "agent-early", &["--spool", spool]);
    wait::until_true("what Libra can't take yet is held", || spooled(&later).len() >= 2).await;
    // kill -9.
    drop(first);
    let held = spooled(&later);
    let begin = json!({"job_id": "9104", "cluster": "c1", "user": "ann", "node_list": ["agent-early"], "timestamp": ago(60)});
    api.post("/v1/events/job-started", &begin).await.expect(200);
    let _second = agent(libra.url(), "agent-early", &["--spool", spool]);
    let taken = async || {
        let answer = api.get("/v1/jobs/9104/metrics?limit=1000").await.expect(200);
        let samples = answer["samples"].as_array().unwrap().clone();
        let times = samples.iter().map(|sample| sample["timestamp"].as_str().unwrap().to_owned());
        times.collect::<BTreeSet<_>>()
    };
    wait::until_async("what was held is taken", async || {
        let taken = taken().await;
        held.iter().all(|at| taken.contains(at))
    })
    .await;
    wait::until_true("nothing is held any more", || spooled(&later).is_empty()).await;
}

#[tokio::test]
async fn an_attempt_of_libras_own_is_measured_without_any_scheduler() {
    // contract: H3
    let _turn = turn().await;
    let taker = Taker::on(0);
    let libra = submit_only().start().await;
    let (marker, go) = (libra.scratch("marker"), libra.scratch("go"));
    let id = libra.api().submit(&patient(&marker, &go)).await;
    begun(&marker).await;
    let job = libra.api().reaches(&id, "RUNNING").await;
    let token = job["attempts"][0]["token"].clone();
    let arguments = ["agent", "--url", &taker.url, "--cluster", "c1", "--once"];
    let done = setup().command().args(arguments).output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let came = taker.came().pop().unwrap();
    let samples = came["samples"].as_array().unwrap();
    let sample =
        samples.iter().find(|sample| sample["attempt"] == token).unwrap_or_else(|| panic!("{came:#}"));
    assert!(sample["processes"].as_u64() >= Some(2), "a JVM and its Python: {sample}");
    assert!(sample["memory_usage_mb"].as_f64() > Some(50.0), "{sample}");
    assert!(sample["cpu_cores"].is_number() && sample.get("external_job_id").is_none(), "{sample}");
    libra_testkit::write(&go, "");
    libra.api().reaches(&id, "SUCCEEDED").await;
}

#[tokio::test]
async fn the_agent_shows_what_it_does_and_what_it_costs() {
    // contract: H3
    let taker = Taker::on(0);
    let _job = job("9102", "agent-figures");
    let address = format!("127.0.0.1:{}", ports::free());
    let _agent = agent(&taker.url, "agent-figures", &["--listen", &address]);
    wait::until_true("batches come", || taker.came().len() >= 2).await;
    let (status, page) = libra_testkit::page(&format!("http://{address}/metrics")).await.unwrap();
    assert_eq!(status, 200);
    let figure = |name: &str| -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in\n{page}")).parse().unwrap()
    };
    assert!(figure("libra_agent_samples_total") >= 2.0 && figure("libra_agent_pushes_total") >= 2.0);
    assert!(figure("libra_agent_jobs") >= 1.0);
    assert!(page.contains("\nlibra_agent_dropped_samples_total 0\n"), "{page}");
    assert!(figure("libra_agent_memory_bytes") > 1e6);
    assert!(figure("hpc_node_total_cpus{node=\"agent-figures\"}") >= 1.0);
    let found = promtool(&page);
    assert_eq!(found, [] as [String; 0], "promtool finds fault with it");
}

#[tokio::test]
async fn once_looks_prints_and_sends() {
    // contract: H3
    let taker = Taker::on(0);
    let _job = job("9103", "agent-once");
    let arguments = |url: &str| {
        let all = ["agent", "--url", url, "--cluster", "c1", "--node", "agent-once", "--once"];
        all.map(str::to_owned).to_vec()
    };
    let run = |url: &str| setup().command().args(arguments(url)).output().unwrap();
    let done = run(&taker.url);
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let printed: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(taker.came(), std::slice::from_ref(&printed));
    assert!(of(&printed, "9103")["cpu_cores"].is_number());

    let away = run("http://127.0.0.1:1");
    assert_eq!(away.status.code(), Some(5), "{}", String::from_utf8_lossy(&away.stderr));
    let printed: Value = serde_json::from_slice(&away.stdout).unwrap();
    assert!(of(&printed, "9103").is_object(), "what was seen is shown all the same");
}
