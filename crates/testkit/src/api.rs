//! Calls as any HTTP client makes them: whatever comes back is kept as it is.

use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Method};
use serde_json::Value;

use crate::wait;

/// The path of the Spark face.
const JOBS: &str = "/api/v1/spark/jobs";
/// One call; longer than the longest wait that is asked for.
const CALL_LIMIT: Duration = Duration::from_mins(2);

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// A header, empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// The body, once it is sure that the status is this one.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }

    /// The pointers of a problem's violations.
    pub fn pointers(&self) -> Vec<String> {
        let violations = self.json()["violations"].as_array().cloned().unwrap_or_default();
        violations.iter().map(|v| v["pointer"].as_str().unwrap().to_owned()).collect()
    }
}

/// A caller, with its key or without.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    key: Option<String>,
}

/// What another server answers to GET, as JSON.
pub async fn get_json(url: &str) -> Value {
    let api = Api::new(url, None);
    api.get("").await.expect(200)
}

/// What a page answers to a browser: its status, after redirections, and its text. None when nobody answers.
pub async fn page(url: &str) -> Option<(u16, String)> {
    let answer = Api::client().get(url).send().await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

impl Api {
    pub(crate) fn new(base: &str, key: Option<&str>) -> Self {
        Self { base: base.to_owned(), key: key.map(str::to_owned) }
    }

    fn client() -> Client {
        // A second caller finds the provider in place, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Tests have a runtime each: a connection of another one's would die with it.
        Client::builder().pool_max_idle_per_host(0).timeout(CALL_LIMIT).build().unwrap()
    }

    /// Any request at all.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        self.try_send(method, path, headers, body).await.unwrap_or_else(|e| panic!("{path}: {e:?}"))
    }

    async fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, reqwest::Error> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = Self::client().request(method, format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.body(body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        Ok(Answer { status, headers, text })
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], Vec::new()).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], Vec::new()).await
    }

    /// POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[(CONTENT_TYPE.as_str(), "application/json")], body.to_string().into()).await
    }

    /// POST to a Libra that may die before it has answered.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn try_post(&self, path: &str, body: &Value) -> Result<Answer, reqwest::Error> {
        let json = [(CONTENT_TYPE.as_str(), "application/json")];
        self.try_send("POST", path, &json, body.to_string().into()).await
    }

    /// Submits; answers the id.
    pub async fn submit(&self, body: &Value) -> String {
        let view = self.post(&format!("{JOBS}/submit"), body).await.expect(202);
        view["jobId"].as_str().unwrap().to_owned()
    }

    /// The job.
    pub async fn job(&self, id: &str) -> Value {
        self.get(&format!("{JOBS}/{id}")).await.expect(200)
    }

    /// The job once it has ended.
    pub async fn ended(&self, id: &str) -> Value {
        let begun = Instant::now();
        loop {
            let job = self.get(&format!("{JOBS}/{id}?wait=20s")).await.expect(200);
            if ["SUCCEEDED", "FAILED", "CANCELLED", "TIMEOUT"].contains(&job["status"].as_str().unwrap()) {
                return job;
            }
            assert!(begun.elapsed() < wait::LIMIT, "it does not end: {job:#}");
        }
    }

    /// Submits and waits for the end.
    pub async fn run(&self, body: &Value) -> Value {
        let id = self.submit(body).await;
        self.ended(&id).await
    }

    /// Submits and waits for success; answers the rows of the first page.
    pub async fn rows(&self, body: &Value) -> Vec<Value> {
        let job = self.run(body).await;
        assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
        let result = self.get(&format!("{JOBS}/{}/result", job["jobId"].as_str().unwrap())).await.expect(200);
        result["result"]["rows"].as_array().unwrap().clone()
    }

    /// The job once it is in this state; ends the test when it ends in another one.
    pub async fn reaches(&self, id: &str, state: &str) -> Value {
        let begun = Instant::now();
        loop {
            let job = self.job(id).await;
            if job["status"] == state {
                return job;
            }
            assert!(job["completedAt"].is_null(), "it ended before it was {state}: {job:#}");
            assert!(begun.elapsed() < wait::LIMIT, "it does not become {state}: {job:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The whole log of the last attempt.
    pub async fn log(&self, id: &str, stream: &str) -> String {
        let view = self.get(&format!("{JOBS}/{id}/logs?stream={stream}")).await.expect(200);
        view["content"].as_str().unwrap().to_owned()
    }

    /// How many jobs there are.
    pub async fn total(&self) -> u64 {
        self.get("/api/v1/jobs?limit=1").await.expect(200)["total"].as_u64().unwrap()
    }
}
