//! Webhooks: signed, in order for each job, at least once, and a list of what was given up.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libra_testkit::{Api, Libra, Setup, wait};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::surroundings::sleepy;

/// The key of the tests: 32 times the byte 7.
const SECRET: &str = "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
const KEY: [u8; 32] = [7; 32];

pub fn setup() -> Setup {
    sleepy().env("LIBRA_WEBHOOKS_ALLOW_PRIVATE", "true").env("LIBRA_WEBHOOKS_SECRET", SECRET)
}

/// What a target does with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    Status(u16),
    Redirect(String),
    Nothing,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Came {
    headers: BTreeMap<String, String>,
    pub body: String,
}

impl Came {
    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    pub fn status(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap();
        body["status"].as_str().unwrap().to_owned()
    }
}

/// Somebody's web server.
pub struct Target {
    pub url: String,
    answer: Arc<Mutex<Answer>>,
    came: Arc<Mutex<Vec<Came>>>,
}

impl Target {
    pub fn new(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (answer, came) = (Arc::new(Mutex::new(answer)), Arc::new(Mutex::new(Vec::new())));
        let (answers, requests) = (Arc::clone(&answer), Arc::clone(&came));
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let (answers, requests) = (Arc::clone(&answers), Arc::clone(&requests));
                std::thread::spawn(move || serve(&connection.unwrap(), &answers, &requests));
            }
        });
        Self { url, answer, came }
    }

    pub fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    pub async fn gets(&self, count: usize) -> Vec<Came> {
        wait::until(&format!("{count} requests come"), || Some(self.came()).filter(|c| c.len() >= count))
            .await
    }
}

fn serve(connection: &TcpStream, answers: &Mutex<Answer>, requests: &Mutex<Vec<Came>>) -> Option<()> {
    let mut lines = BufReader::new(connection);
    let mut line = String::new();
    lines.read_line(&mut line).ok()?;
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        lines.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    lines.read_exact(&mut body).ok()?;
    let answer = answers.lock().unwrap().clone();
    requests.lock().unwrap().push(Came { headers, body: String::from_utf8(body).ok()? });
    let mut connection = connection;
    let head = match answer {
        Answer::Status(status) => format!("HTTP/1.1 {status} Said\r\n"),
        Answer::Redirect(to) => format!("HTTP/1.1 307 There\r\nLocation: {to}\r\n"),
        Answer::Nothing => {
            std::thread::sleep(Duration::from_mins(5));
            return None;
        }
    };
    connection.write_all(format!("{head}Content-Length: 0\r\nConnection: close\r\n\r\n").as_bytes()).ok()
}

/// RFC 2104, written down once more, so that nothing is compared with itself.
fn hmac_sha256(key: &[u8; 32], text: &str) -> Vec<u8> {
    let pad = |with: u8| -> Vec<u8> { (0..64).map(|i| key.get(i).unwrap_or(&0) ^ with).collect() };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits =
            three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i > three.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

/// A job that occupies the only place, so that all others wait.
async fn occupied(libra: &Libra) -> Api {
    let api = libra.api();
    let first = api.submit(&json!({"code": "pass", "kind": "python"})).await;
    api.reaches(&first, "RUNNING").await;
    api
}

pub fn job(target: &str) -> Value {
    let notifications = json!({"webhook": target, "events": ["QUEUED", "CANCELLED"]});
    json!({"code": "pass", "kind": "python", "notifications": notifications})
}

async fn cancelled(api: &Api, target: &str) -> String {
    let id = api.submit(&job(target)).await;
    assert_eq!(api.delete(&format!("/api/v1/jobs/{id}")).await.expect(200)["status"], "CANCELLED");
    id
}

async fn webhooks(api: &Api, query: &str) -> Vec<Value> {
    api.get(&format!("/api/v1/webhooks{query}")).await.expect(200)["webhooks"].as_array().unwrap().clone()
}

/// The messages about a job once all are as wanted.
pub async fn settle(api: &Api, id: &str, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    for _ in 0..600 {
        let found = webhooks(api, &format!("?job={id}")).await;
        if found.len() == 2 && found.iter().all(&wanted) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("they do not settle: {:#?}", webhooks(api, &format!("?job={id}")).await);
}

#[tokio::test]
async fn a_webhook_is_signed_and_tells_the_states_in_order() {
    // contract: A12, A7
    let libra = setup().start().await;
    let api = occupied(&libra).await;
    let target = Target::new(Answer::Status(204));
    let correlation = [("content-type", "application/json"), ("x-correlation-id", "order-66")];
    let body = job(&target.url).to_string().into_bytes();
    let id = api.send("POST", "/api/v1/jobs", &correlation, body).await.expect(202)["jobId"].clone();
    let id = id.as_str().unwrap();
    api.delete(&format!("/api/v1/jobs/{id}")).await.expect(200);
    let came = target.gets(2).await;
    assert_eq!(came.iter().map(Came::status).collect::<Vec<_>>(), ["QUEUED", "CANCELLED"]);
    assert_ne!(came[0].id(), came[1].id());
    for request in &came {
        let timestamp: i64 = request.headers["webhook-timestamp"].parse().unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert!((i64::try_from(now).unwrap() - timestamp).abs() < 60, "{timestamp} is not now");
        let signed = format!("{}.{timestamp}.{}", request.id(), request.body);
        let signature = format!("v1,{}", base64(&hmac_sha256(&KEY, &signed)));
        assert_eq!(request.headers["webhook-signature"], signature);
        assert_eq!(request.headers["content-type"], "application/json");
        assert_eq!(request.headers["x-correlation-id"], "order-66");
        let body: Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!((&body["jobId"], &body["correlationId"]), (&json!(id), &json!("order-66")));
    }
    let list = settle(&api, id, |w| w["state"] == "delivered").await;
    assert_eq!(list[0]["webhookId"], came[1].id(), "newest first");
    assert_eq!((&list[0]["tries"], &list[0]["lastError"]), (&json!(1), &Value::Null));
    let figures = api.get("/metrics").await.text;
    assert!(figures.contains("libra_webhook_tries_total{outcome=\"delivered\"} 2"), "{figures}");
}

#[tokio::test]
async fn a_target_that_fails_gets_the_same_message_again_and_the_next_one_waits() {
    // contract: A12
    let mut libra = setup().start().await;
    let api = occupied(&libra).await;
    let (target, well) = (Target::new(Answer::Status(500)), Target::new(Answer::Status(200)));
    let id = cancelled(&api, &target.url).await;
    let came = target.gets(2).await;
    assert!(came.iter().all(|c| c.id() == came[0].id() && c.body == came[0].body), "{came:#?}");
    let pending = webhooks(&api, &format!("?job={id}&state=pending")).await;
    assert_eq!(pending.len(), 2);
    let head = pending.iter().find(|w| w["webhookId"] == came[0].id()).unwrap();
    assert_eq!((&head["event"], &head["lastError"]), (&json!("QUEUED"), &json!("the target answered 500")));

    let other = cancelled(&api, &well.url).await;
    settle(&api, &other, |w| w["state"] == "delivered").await;
    assert!(target.came().iter().all(|c| c.status() == "QUEUED"), "the second message waits for the first");

    // Whatever happens to Libra, the messages are kept.
    libra.kill();
    target.answers(Answer::Status(200));
    libra.start(&setup()).await;
    settle(&libra.api(), &id, |w| w["state"] == "delivered").await;
    let came = target.came();
    assert_eq!(came.last().unwrap().status(), "CANCELLED");
    assert_eq!(came.iter().filter(|c| c.status() == "CANCELLED").count(), 1);
    assert_eq!(well.came().len(), 2, "what was delivered is not sent again");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    // contract: A12
    let libra = setup().start().await;
    let api = occupied(&libra).await;
    let elsewhere = Target::new(Answer::Status(200));
    let target = Target::new(Answer::Redirect(elsewhere.url.clone()));
    let id = cancelled(&api, &target.url).await;
    target.gets(1).await;
    let told =
        |w: &Value| w["lastError"].as_str().is_some_and(|e| e.contains("answered 307")) || w["tries"] == 0;
    settle(&api, &id, told).await;
    target.answers(Answer::Status(200));
    settle(&api, &id, |w| w["state"] == "delivered").await;
    assert!(elsewhere.came().is_empty());
}

#[tokio::test]
async fn a_target_that_hangs_keeps_nobody_waiting() {
    // contract: A12
    let libra = setup().start().await;
    let api = occupied(&libra).await;
    let (hanging, well) = (Target::new(Answer::Nothing), Target::new(Answer::Status(200)));
    let mut slow = Vec::new();
    for _ in 0..12 {
        slow.push(cancelled(&api, &hanging.url).await);
    }
    hanging.gets(8).await;
    let quick = cancelled(&api, &well.url).await;
    settle(&api, &quick, |w| w["state"] == "delivered").await;
    assert!(hanging.came().len() <= 8, "one host gets eight at once");
    let left = |w: &Value| w["lastError"] == "no answer within 10 s" || w["tries"] == 0;
    let found = settle(&api, &slow[0], left).await;
    assert!(found.iter().all(|w| w["state"] == "pending"), "{found:#?}");
}

#[tokio::test]
async fn what_was_given_up_can_be_read_and_replayed() {
    // contract: A12, D3
    let libra = setup().start().await;
    let api = occupied(&libra).await;
    let target = Target::new(Answer::Status(410));
    let ids = [cancelled(&api, &target.url).await, cancelled(&api, &target.url).await];
    for id in &ids {
        settle(&api, id, |w| w["state"] == "dead" && w["tries"] == 1).await;
    }
    assert_eq!(target.came().len(), 4, "410 is final");
    assert!(api.get("/metrics").await.text.contains("libra_webhooks_dead 4"));
    let cli = |arguments: &[&str]| {
        let output = setup().env("LIBRA_URL", libra.url()).run(arguments);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = cli(&["webhooks", "list", "--dead", "--limit", "1", "--all"]);
    assert_eq!((code, text.lines().count()), (Some(0), 5), "{text}");
    assert!(text.contains("the target answered 410: it wants no more"), "{text}");

    target.answers(Answer::Status(200));
    let dead = webhooks(&api, &format!("?state=dead&job={}", ids[0])).await;
    let one = dead[0]["id"].to_string();
    let (code, text) = cli(&["webhooks", "replay", &one]);
    assert_eq!((code, text), (Some(0), format!("{one} is sent again to {}\n", target.url)));
    let again = target.gets(5).await;
    assert_eq!(again[4].id(), dead[0]["webhookId"], "the same message");
    let (code, text) = cli(&["webhooks", "replay", "--all", "--job", &ids[0]]);
    assert_eq!((code, text.as_str()), (Some(0), "1 message is sent again\n"));
    let (code, text) = cli(&["webhooks", "replay", "--all"]);
    assert_eq!((code, text.as_str()), (Some(0), "2 messages are sent again\n"));
    for id in &ids {
        settle(&api, id, |w| w["state"] == "delivered").await;
    }
    let late = api.post(&format!("/api/v1/webhooks/{one}/replay"), &json!({})).await;
    assert_eq!(late.expect(409)["error"], "already_delivered");
    for id in ["999999", "x", "-1"] {
        let none = api.post(&format!("/api/v1/webhooks/{id}/replay"), &json!({})).await;
        assert_eq!(none.expect(404)["error"], "webhook_not_found");
    }
    let order: Vec<String> = target.came()[6..].iter().map(Came::status).collect();
    assert_eq!(order, ["QUEUED", "CANCELLED"], "in order, once more");
}

#[tokio::test]
async fn a_message_that_nobody_takes_is_given_up_and_the_next_one_has_its_turn() {
    // contract: A12
    let libra = setup().env("LIBRA_WEBHOOKS_GIVE_UP_AFTER", "1s").start().await;
    let api = occupied(&libra).await;
    let target = Target::new(Answer::Status(503));
    let id = cancelled(&api, &target.url).await;
    let came = target.gets(6).await;
    assert!(came[..5].iter().all(|c| c.status() == "QUEUED"), "five tries");
    assert_eq!(came[5].status(), "CANCELLED");
    let dead = webhooks(&api, &format!("?job={id}&state=dead")).await;
    assert_eq!((dead.len(), &dead[0]["tries"]), (1, &json!(5)));
    assert!(libra.log().contains("a webhook is given up"));
}

#[tokio::test]
async fn addresses_that_are_not_for_everybody_are_refused() {
    // contract: A12
    let libra = sleepy().start().await;
    let api = occupied(&libra).await;
    for target in [
        "http://127.0.0.1:8080/",
        "http://localhost/",
        "http://169.254.169.254/",
        "http://[::1]/",
        "http://0x7f.1/",
    ] {
        let refused = api.post("/api/v1/jobs", &job(target)).await;
        assert_eq!(refused.expect(400)["error"], "invalid_request");
        assert_eq!(refused.pointers(), ["/notifications/webhook"], "{target}");
        assert!(refused.text.contains("libra.webhooks.allow-private"), "{}", refused.text);
    }
    let secret = libra.data_dir().join("webhook.secret");
    wait::until_true("the secret is made", || secret.exists()).await;
    assert!(std::fs::read_to_string(secret).unwrap().starts_with("whsec_"));
    assert!(!libra.log().contains("whsec_"));
}

#[tokio::test]
async fn what_was_allowed_once_is_judged_again_when_it_is_sent() {
    // contract: A12
    let mut libra = setup().start().await;
    let api = occupied(&libra).await;
    let target = Target::new(Answer::Status(500));
    let by_name = target.url.replace("127.0.0.1", "localhost");
    let id = cancelled(&api, &by_name).await;
    target.gets(1).await;
    libra.kill();
    let before = target.came().len();
    target.answers(Answer::Status(200));
    libra.start(&sleepy()).await;
    let found = settle(&libra.api(), &id, |w| w["state"] == "dead").await;
    assert!(found[0]["lastError"].as_str().unwrap().contains("libra.webhooks.allow-private"), "{found:#?}");
    assert_eq!(target.came().len(), before, "nobody was connected to");
}
