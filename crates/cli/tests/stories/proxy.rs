//! Somebody between Libra and an engine who loses answers, holds them back, or says something else in their place.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What happens to the answer of a request that the engine has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed without a word.
    Lost,
    /// It comes this much later.
    Late(Duration),
    /// A server error of somebody on the way.
    Status(u16),
    /// The same at once, while the engine is still at work.
    Early(u16),
    /// 200 and a page that is no JSON.
    Garbage,
}

/// Which requests: their method, and what their path ends with.
#[derive(Clone, Debug)]
struct Rule {
    method: &'static str,
    ending: String,
    fault: Fault,
    left: usize,
}

/// It forwards everything, and breaks what it was told to.
pub struct Proxy {
    address: SocketAddr,
    rules: Arc<Mutex<Vec<Rule>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// In front of what listens at `url`, on a port of its own.
    pub async fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let rules = Arc::new(Mutex::new(Vec::new()));
        let there = url.trim_start_matches("http://").to_owned();
        let kept = Arc::clone(&rules);
        let task = tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let (there, rules) = (there.clone(), Arc::clone(&kept));
                // Who hangs up early has got what it wanted.
                tokio::spawn(async move { forward(caller, &there, &rules).await.ok() });
            }
        });
        Self { address, rules, task }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Breaks the answers of the next `times` such requests.
    pub fn breaks(&self, method: &'static str, ending: &str, fault: Fault, times: usize) {
        let rule = Rule { method, ending: ending.to_owned(), fault, left: times };
        self.rules.lock().unwrap().push(rule);
    }

    /// Panics unless everything was broken that was to be.
    #[track_caller]
    pub fn assert_all_broken(&self) {
        let rules = self.rules.lock().unwrap();
        assert!(rules.iter().all(|rule| rule.left == 0), "not asked for: {rules:?}");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(mut caller: TcpStream, address: &str, rules: &Mutex<Vec<Rule>>) -> Result<()> {
    let (head, body) = request(&mut caller).await?;
    let line = head.lines().next().unwrap_or_default();
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    let fault = rules.lock().unwrap().iter_mut().find_map(|rule| {
        let hit = rule.left > 0 && rule.method == method && path.ends_with(&rule.ending);
        hit.then(|| {
            rule.left -= 1;
            rule.fault
        })
    });
    let mut there = TcpStream::connect(address).await?;
    let plain = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let head: Vec<&str> = plain.filter(|line| !line.is_empty()).collect();
    there.write_all(format!("{}\r\nConnection: close\r\n\r\n", head.join("\r\n")).as_bytes()).await?;
    there.write_all(&body).await?;
    let mut answer = Vec::new();
    if let Some(Fault::Early(status)) = fault {
        caller.write_all(&page(status)).await?;
        caller.shutdown().await?;
    }
    there.read_to_end(&mut answer).await?;
    // Flink does not say that it closes; who is not told so asks again on a connection that is gone.
    let end = answer.windows(2).position(|two| two == b"\r\n").unwrap_or(0) + 2;
    answer.splice(end..end, *b"Connection: close\r\n");
    match fault {
        None => {}
        Some(Fault::Lost | Fault::Early(_)) => return Ok(()),
        Some(Fault::Late(time)) => tokio::time::sleep(time).await,
        Some(Fault::Status(status)) => answer = page(status),
        Some(Fault::Garbage) => answer = page(200),
    }
    caller.write_all(&answer).await?;
    caller.shutdown().await
}

/// Not one of Flink's.
fn page(status: u16) -> Vec<u8> {
    let text = "<html>an answer of somebody else</html>";
    let length = text.len();
    format!("HTTP/1.1 {status} Page\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}")
        .into_bytes()
}

/// One request, whole.
async fn request(caller: &mut TcpStream) -> Result<(String, Vec<u8>)> {
    let mut got = Vec::new();
    let end = loop {
        if let Some(at) = got.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        let mut piece = [0; 8_192];
        let read = caller.read(&mut piece).await?;
        if read == 0 {
            return Err(Error::from(ErrorKind::UnexpectedEof));
        }
        got.extend_from_slice(&piece[..read]);
    };
    let mut body = got.split_off(end);
    let head = String::from_utf8(got).map_err(Error::other)?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let missing = length.unwrap_or(0).saturating_sub(body.len());
    let from = body.len();
    body.resize(from + missing, 0);
    caller.read_exact(&mut body[from..]).await?;
    Ok((head, body))
}
