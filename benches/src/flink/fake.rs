//! A stand-in for a Flink cluster that answers as one does and runs nothing: for what no machine has room for, such as
//! ten thousand jobs.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::Outcome;

/// A request that is longer than this is none of Libra's, in bytes.
const LONGEST_REQUEST: usize = 1 << 20;
/// Checkpoints that every job has completed.
const CHECKPOINTS: u64 = 5;

/// The stand-in. It ends when this is dropped.
pub(super) struct Fake {
    inner: Arc<Inner>,
    address: SocketAddr,
    listens: JoinHandle<()>,
}

struct Inner {
    world: Mutex<World>,
    requests: AtomicU64,
    slowness: Duration,
}

#[derive(Default)]
struct World {
    jobs: BTreeMap<String, Job>,
    jars: Vec<String>,
    /// Savepoints by their trigger.
    savepoints: HashMap<String, String>,
    /// The list of jobs as it was last told.
    list: Option<Arc<str>>,
}

struct Job {
    name: String,
    runs: bool,
    savepoint: Option<String>,
}

impl Fake {
    /// Listens on a free port; each answer takes so long.
    pub(super) async fn start(slowness: Duration) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let inner = Arc::new(Inner { world: Mutex::default(), requests: AtomicU64::new(0), slowness });
        let served = Arc::clone(&inner);
        let listens = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let inner = Arc::clone(&served);
                // Whoever hangs up amid a request wants no answer.
                tokio::spawn(async move { drop(serve(stream, &inner).await) });
            }
        });
        Ok(Self { inner, address, listens })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A job that runs.
    pub(super) fn run(&self, id: &str, name: &str) {
        let mut world = self.inner.world();
        world.jobs.insert(id.to_owned(), Job { name: name.to_owned(), runs: true, savepoint: None });
        world.list = None;
    }

    /// Requests so far.
    pub(super) fn requests(&self) -> u64 {
        self.inner.requests.load(Ordering::Relaxed)
    }

    /// Jobs that run.
    pub(super) fn running(&self) -> usize {
        self.inner.world().jobs.values().filter(|job| job.runs).count()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.listens.abort();
    }
}

impl Inner {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(mut stream: TcpStream, inner: &Inner) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let mut bytes = Vec::new();
    loop {
        let (head, length) = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
                let length = head.lines().filter_map(|line| line.split_once(':'));
                let mut length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
                let length: usize = length.next_back().map_or(Ok(0), |(_, value)| value.trim().parse())?;
                break (head, end + 4 + length);
            }
            if bytes.len() > LONGEST_REQUEST || stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        };
        while bytes.len() < length {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        }
        let rest = bytes.split_off(length);
        let body = bytes[head.len() + 4..].to_vec();
        bytes = rest;
        inner.requests.fetch_add(1, Ordering::Relaxed);
        if !inner.slowness.is_zero() {
            tokio::time::sleep(inner.slowness).await;
        }
        let (status, answer) = answer(inner, &head, &body);
        let length = answer.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(answer.as_bytes()).await?;
    }
}

fn answer(inner: &Inner, head: &str, body: &[u8]) -> (u16, Arc<str>) {
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let mut world = inner.world();
    if let ("GET", ["jobs", "overview"]) = (method, parts.as_slice()) {
        return (200, world.list());
    }
    let sent: Value = serde_json::from_slice(body).unwrap_or_default();
    let (status, answer) = match (method, parts.as_slice()) {
        ("GET", ["jobmanager", "config"]) => (
            200,
            json!([{"key": "web.tmpdir", "value": "/tmp/flink-web-1"},
                {"key": "execution.checkpointing.savepoint-dir", "value": "fake:/savepoints"}]),
        ),
        ("GET", ["overview"]) => {
            (200, json!({"taskmanagers": 1, "slots-total": 20_000, "slots-available": 10_000}))
        }
        ("GET", ["jars"]) => {
            let line = |jar: &String| json!({"id": format!("1_{jar}"), "name": jar});
            (200, json!({"files": world.jars.iter().map(line).collect::<Vec<_>>()}))
        }
        ("POST", ["jars", "upload"]) => (200, world.upload(body)),
        ("POST", ["jars", _, "run"]) => (200, world.start(&sent)),
        ("GET", ["jobs", job, "checkpoints"]) => (200, world.checkpoints(job)),
        ("GET", ["jobs", _, "exceptions"]) => {
            (200, json!({"exceptionHistory": {"entries": [], "truncated": false}}))
        }
        ("GET", ["jobs", _, "metrics"]) => (200, json!([{"id": "numRestarts", "value": "0"}])),
        ("POST", ["jobs", job, "stop"]) => (202, world.stop(job, &sent)),
        ("GET", ["jobs", _, "savepoints", trigger]) => match world.savepoints.get(*trigger) {
            Some(path) => (200, json!({"status": {"id": "COMPLETED"}, "operation": {"location": path}})),
            None => (404, json!({"errors": ["Operation not found under key"]})),
        },
        ("PATCH", ["jobs", job]) => {
            world.end(job, None);
            (202, json!({}))
        }
        _ => (404, json!({"errors": [format!("Not found: {method} {path}")]})),
    };
    (status, answer.to_string().into())
}

impl World {
    fn list(&mut self) -> Arc<str> {
        if let Some(list) = &self.list {
            return Arc::clone(list);
        }
        let mut text = String::from("{\"jobs\":[");
        for (at, (id, job)) in self.jobs.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let (state, running) = if job.runs { ("RUNNING", 1) } else { ("FINISHED", 0) };
            let (finished, name) = (1 - running, &job.name);
            // As long as a line of Flink's. Writing to a String can't fail.
            let _ = write!(
                text,
                "{comma}{{\"jid\":\"{id}\",\"name\":\"{name}\",\"start-time\":1700000000000,\"end-time\":-1,\
                 \"duration\":60000,\"state\":\"{state}\",\"last-modification\":1700000000100,\"tasks\":{{\
                 \"running\":{running},\"canceling\":0,\"canceled\":0,\"total\":1,\"created\":0,\"scheduled\":0,\
                 \"deploying\":0,\"reconciling\":0,\"finished\":{finished},\"initializing\":0,\"failed\":0}},\
                 \"pending-operators\":0,\"schedulerType\":\"Default\"}}"
            );
        }
        text.push_str("]}");
        let list: Arc<str> = text.into();
        self.list = Some(Arc::clone(&list));
        list
    }

    fn upload(&mut self, body: &[u8]) -> Value {
        let text = String::from_utf8_lossy(body);
        let name =
            text.split("filename=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        if !self.jars.iter().any(|jar| jar == name) {
            self.jars.push(name.to_owned());
        }
        json!({"filename": format!("/tmp/flink-web-upload/1_{name}"), "status": "success"})
    }

    fn start(&mut self, sent: &Value) -> Value {
        let id = sent["jobId"].as_str().unwrap_or_default().to_owned();
        let name = sent["flinkConfiguration"]["pipeline.name"].as_str().unwrap_or_default().to_owned();
        self.jobs.insert(id.clone(), Job { name, runs: true, savepoint: None });
        self.list = None;
        json!({"jobid": id})
    }

    fn checkpoints(&self, id: &str) -> Value {
        let savepoint = self.jobs.get(id).and_then(|job| job.savepoint.as_ref());
        let savepoint = savepoint.map(|path| json!({"id": CHECKPOINTS + 1, "external_path": path}));
        let path = format!("fake:/checkpoints/{id}/chk-{CHECKPOINTS}");
        json!({"counts": {"restored": 0, "total": CHECKPOINTS, "in_progress": 0, "completed": CHECKPOINTS, "failed": 0},
            "latest": {"completed": {"id": CHECKPOINTS, "external_path": path, "discarded": false},
                "savepoint": savepoint, "failed": null, "restored": null}})
    }

    fn stop(&mut self, id: &str, sent: &Value) -> Value {
        let text = |key: &str| sent[key].as_str().unwrap_or_default().to_owned();
        let path = format!("{}/savepoint-1", text("targetDirectory"));
        self.savepoints.insert(text("triggerId"), path.clone());
        self.end(id, Some(path));
        json!({"request-id": sent["triggerId"]})
    }

    fn end(&mut self, id: &str, savepoint: Option<String>) {
        if let Some(job) = self.jobs.get_mut(id) {
            job.runs = false;
            job.savepoint = savepoint;
            self.list = None;
        }
    }
}
