//! Deployments: what is asked of them, one method each.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use reqwest::{Method, RequestBuilder};
use serde::Serialize;
use serde_json::Value;

use super::{CALL_TIMEOUT, Client, ClientError, percent};
use crate::deployments::{
    AppliedView, DeploymentEventListView, DeploymentListView, DeploymentView, GenerationListView, PlanView,
    ResumeRequest, RollbackRequest,
};

/// Where deployments are.
const DEPLOYMENTS: &str = "/api/v1/deployments";
/// A plan and an apply may take this long: Libra may have to fetch the program first, which has five minutes.
const FETCH_TIMEOUT: Duration = Duration::from_mins(6);

/// How a specification is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

impl Notation {
    /// The media type on the wire.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Yaml => "application/yaml",
            Self::Json => "application/json",
        }
    }
}

/// What must hold when a specification is applied, so that it does what its plan said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There is no deployment of this name.
    New,
    /// It still has this version.
    Version(u64),
}

impl Condition {
    /// The condition under which a plan holds.
    pub fn of(plan: &PlanView) -> Self {
        plan.version.map_or(Self::New, Self::Version)
    }
}

impl Client {
    /// What applying the specification `text` would change.
    pub async fn plan_deployment(&self, text: &str, notation: Notation) -> Result<PlanView, ClientError> {
        let request = self.ask(Method::POST, &format!("{DEPLOYMENTS}/plan"), &[]).timeout(FETCH_TIMEOUT);
        self.answer(specification(request, text, notation)).await
    }

    /// Applies the specification `text`. Without a condition, whatever it was before.
    ///
    /// # Errors
    /// Also a problem `stale_version` when the condition does not hold.
    pub async fn apply_deployment(
        &self,
        text: &str,
        notation: Notation,
        condition: Option<Condition>,
    ) -> Result<AppliedView, ClientError> {
        let request =
            specification(self.ask(Method::POST, DEPLOYMENTS, &[]).timeout(FETCH_TIMEOUT), text, notation);
        let request = match condition {
            Some(Condition::New) => request.header(IF_NONE_MATCH, "*"),
            Some(Condition::Version(version)) => request.header(IF_MATCH, format!("\"{version}\"")),
            None => request,
        };
        self.answer(request).await
    }

    /// Every deployment that may be seen, by name, without its specification.
    pub async fn deployments(&self) -> Result<DeploymentListView, ClientError> {
        self.answer(self.ask(Method::GET, DEPLOYMENTS, &[])).await
    }

    /// One deployment, with its specification.
    pub async fn deployment(&self, id: &str) -> Result<DeploymentView, ClientError> {
        self.answer(self.ask(Method::GET, &page(id, ""), &[])).await
    }

    /// What it was, newest first.
    pub async fn generations(&self, id: &str) -> Result<GenerationListView, ClientError> {
        self.answer(self.ask(Method::GET, &page(id, "/generations"), &[])).await
    }

    /// What happened to it, oldest first: a page of what came after the event `after`.
    pub async fn deployment_events(
        &self,
        id: &str,
        after: Option<u64>,
        limit: Option<u32>,
    ) -> Result<DeploymentEventListView, ClientError> {
        let query: Vec<(&str, String)> = [
            ("after", after.map(|number| number.to_string())),
            ("limit", limit.map(|number| number.to_string())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
        self.answer(self.ask(Method::GET, &page(id, "/events"), &query)).await
    }

    /// Goes back to an older generation.
    pub async fn roll_back(
        &self,
        id: &str,
        request: &RollbackRequest,
    ) -> Result<DeploymentView, ClientError> {
        self.post(id, "/rollback", Some(request)).await
    }

    /// Stops its job with a savepoint, until it is resumed.
    pub async fn suspend(&self, id: &str) -> Result<DeploymentView, ClientError> {
        self.post(id, "/suspend", None::<&()>).await
    }

    /// Lets a suspended, failed or completed deployment go on.
    pub async fn resume(&self, id: &str, request: &ResumeRequest) -> Result<DeploymentView, ClientError> {
        self.post(id, "/resume", Some(request)).await
    }

    /// Asks for a savepoint; the job runs on.
    pub async fn savepoint(&self, id: &str) -> Result<DeploymentView, ClientError> {
        self.post(id, "/savepoint", None::<&()>).await
    }

    /// Ends its job, with a last savepoint if `savepoint`, and forgets it.
    pub async fn delete_deployment(&self, id: &str, savepoint: bool) -> Result<DeploymentView, ClientError> {
        let query = [("savepoint", savepoint.to_string())];
        self.answer(self.ask(Method::DELETE, &page(id, ""), &query)).await
    }

    /// The JSON Schema of a specification, for editors.
    pub async fn deployment_schema(&self) -> Result<Value, ClientError> {
        self.answer(self.ask(Method::GET, "/api/v1/schemas/deployment", &[])).await
    }

    async fn post(
        &self,
        id: &str,
        what: &str,
        body: Option<&impl Serialize>,
    ) -> Result<DeploymentView, ClientError> {
        let request = self.ask(Method::POST, &page(id, what), &[]);
        self.answer(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    fn ask(&self, method: Method, path: &str, query: &[(&str, String)]) -> RequestBuilder {
        self.request(method, path, query).timeout(CALL_TIMEOUT).header(ACCEPT, "application/json")
    }
}

fn page(id: &str, below: &str) -> String {
    format!("{DEPLOYMENTS}/{}{below}", percent(id))
}

fn specification(request: RequestBuilder, text: &str, notation: Notation) -> RequestBuilder {
    request.header(CONTENT_TYPE, notation.media_type()).body(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use serde_json::json;

    use super::*;

    /// What is sent by `call`, in lower case; it is answered with `answer`.
    async fn sent<T>(
        answer: Value,
        call: impl AsyncFnOnce(Client) -> Result<T, ClientError>,
    ) -> (String, Result<T, ClientError>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()), None).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut request, mut piece) = (Vec::new(), [0; 4096]);
            let whole = |request: &[u8]| {
                let text = String::from_utf8_lossy(request).to_lowercase();
                let (head, body) = text.split_once("\r\n\r\n")?;
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length = length.map_or(0, |length| length.parse::<usize>().unwrap());
                (body.len() >= length).then_some(text)
            };
            let text = loop {
                if let Some(text) = whole(&request) {
                    break text;
                }
                let length = stream.read(&mut piece).unwrap();
                assert!(length > 0, "the request ends early: {}", String::from_utf8_lossy(&request));
                request.extend_from_slice(&piece[..length]);
            };
            let body = answer.to_string();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            text
        });
        let answered = call(client).await;
        (server.join().unwrap(), answered)
    }

    fn plan(version: Option<u64>) -> PlanView {
        PlanView { id: "a".into(), kind: "none".into(), lines: vec![], detail: json!({}), version }
    }

    #[tokio::test]
    async fn what_is_applied_is_what_was_planned() {
        let text = "\n\njob_id: a\n";
        for (version, header) in [(Some(7), "\r\nif-match: \"7\"\r\n"), (None, "\r\nif-none-match: *\r\n")] {
            let condition = Some(Condition::of(&plan(version)));
            let call = async |client: Client| client.apply_deployment(text, Notation::Yaml, condition).await;
            let (request, _) = sent(json!({}), call).await;
            assert!(request.starts_with("post /api/v1/deployments http/1.1\r\n"), "{request}");
            assert!(request.contains(header), "{request}");
            assert!(request.contains("\r\ncontent-type: application/yaml\r\n"), "{request}");
            assert!(request.ends_with(&format!("\r\n\r\n{text}")), "{request}");
        }
        let call = async |client: Client| client.apply_deployment("{}", Notation::Json, None).await;
        let (request, _) = sent(json!({}), call).await;
        assert!(!request.contains("if-"), "{request}");
        assert!(request.contains("\r\ncontent-type: application/json\r\n"), "{request}");
    }

    #[tokio::test]
    async fn each_call_has_its_page() {
        let (request, answer) =
            sent(json!({"deployments": []}), async |c: Client| c.deployments().await).await;
        assert!(request.starts_with("get /api/v1/deployments http"), "{request}");
        assert_eq!(answer.unwrap().deployments, []);
        let call = async |c: Client| c.deployment_events("a b", Some(3), Some(10)).await;
        let (request, answer) = sent(json!({"events": []}), call).await;
        assert!(request.starts_with("get /api/v1/deployments/a%20b/events?after=3&limit=10 "), "{request}");
        assert_eq!(answer.unwrap().next_after, None);
        let (request, _) = sent(json!({}), async |c: Client| c.delete_deployment("a", false).await).await;
        assert!(request.starts_with("delete /api/v1/deployments/a?savepoint=false "), "{request}");
        let to = RollbackRequest { generation: Some(2) };
        let (request, _) = sent(json!({}), async |c: Client| c.roll_back("a", &to).await).await;
        assert!(request.starts_with("post /api/v1/deployments/a/rollback "), "{request}");
        assert!(request.ends_with("{\"generation\":2}"), "{request}");
        let (request, _) = sent(json!({}), async |c: Client| c.savepoint("a").await).await;
        assert!(request.starts_with("post /api/v1/deployments/a/savepoint "), "{request}");
    }
}
