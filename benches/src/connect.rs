//! A bare Spark Connect client: one call for a query, its responses read to the last, and nothing else.
//!
//! Names and field numbers are those of `spark/connect/{base,relations}.proto`.

use std::path::Path;

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use serde_json::Value;
use tonic::Request;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;
use uuid::Uuid;

use crate::Outcome;

const USER: &str = "bench";

#[derive(Clone, PartialEq, Message)]
struct UserContext {
    #[prost(string, tag = "1")]
    user_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sql {
    #[prost(string, tag = "1")]
    query: String,
}

#[derive(Clone, PartialEq, Message)]
struct Relation {
    #[prost(message, optional, tag = "10")]
    sql: Option<Sql>,
}

#[derive(Clone, PartialEq, Message)]
struct Plan {
    #[prost(message, optional, tag = "1")]
    root: Option<Relation>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ReattachOptions {
    #[prost(bool, tag = "1")]
    reattachable: bool,
}

#[derive(Clone, PartialEq, Message)]
struct RequestOption {
    #[prost(message, optional, tag = "1")]
    reattach: Option<ReattachOptions>,
}

#[derive(Clone, PartialEq, Message)]
struct ExecutePlanRequest {
    #[prost(string, tag = "1")]
    session_id: String,
    #[prost(message, optional, tag = "2")]
    user_context: Option<UserContext>,
    #[prost(message, optional, tag = "3")]
    plan: Option<Plan>,
    #[prost(message, repeated, tag = "5")]
    request_options: Vec<RequestOption>,
    #[prost(string, optional, tag = "6")]
    operation_id: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ArrowBatch {
    #[prost(int64, tag = "1")]
    row_count: i64,
    #[prost(bytes = "bytes", tag = "2")]
    data: Bytes,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Empty {}

#[derive(Clone, PartialEq, Message)]
struct ExecutePlanResponse {
    #[prost(message, optional, tag = "2")]
    arrow_batch: Option<ArrowBatch>,
    #[prost(message, optional, tag = "14")]
    result_complete: Option<Empty>,
}

/// `ReleaseExecute` and `ReleaseSession`, which agree in the fields that are set here.
#[derive(Clone, PartialEq, Message)]
struct ReleaseRequest {
    #[prost(string, tag = "1")]
    session_id: String,
    #[prost(message, optional, tag = "2")]
    user_context: Option<UserContext>,
    /// Of `ReleaseExecute` alone.
    #[prost(string, tag = "3")]
    operation_id: String,
    /// Of `ReleaseExecute` alone.
    #[prost(message, optional, tag = "5")]
    release_all: Option<Empty>,
}

/// A connection to the Spark Connect server that a Libra started.
#[derive(Clone)]
pub(crate) struct Client {
    channel: Channel,
    authorization: MetadataValue<Ascii>,
}

/// A query that was executed.
pub(crate) struct Executed {
    client: Client,
    session: Uuid,
    operation: Uuid,
}

/// The port of the server that the Libra on `data_dir` started, and the secret that it asks for.
pub(crate) fn access(data_dir: &Path) -> Outcome<(u16, String)> {
    let connect = data_dir.join("connect");
    let server = connect.join(std::fs::read_to_string(connect.join("current"))?.trim());
    let record: Value = serde_json::from_slice(&std::fs::read(server.join("server.json"))?)?;
    let secret = record["secret"].as_str().ok_or("server.json has no secret")?;
    let log = std::fs::read_to_string(server.join("stderr.log"))?;
    let address = log
        .lines()
        .find_map(|l| l.split_once("Spark Connect server started at: "))
        .ok_or("the server's log does not say its address")?
        .1;
    Ok((address.trim().rsplit(':').next().unwrap_or_default().parse()?, secret.to_owned()))
}

impl Client {
    /// Connects to the server that the Libra on `data_dir` started.
    pub(crate) async fn connect(data_dir: &Path) -> Outcome<Self> {
        let (port, secret) = access(data_dir)?;
        let channel =
            Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?.tcp_nodelay(true).connect().await?;
        Ok(Self { channel, authorization: format!("Bearer {secret}").parse()? })
    }

    /// Executes a query in `session` as the official clients do, and reads all responses.
    pub(crate) async fn execute(&self, session: Uuid, sql: &str) -> Outcome<Executed> {
        let operation = Uuid::new_v4();
        let request = ExecutePlanRequest {
            session_id: session.to_string(),
            user_context: user(),
            plan: Some(Plan { root: Some(Relation { sql: Some(Sql { query: sql.to_owned() }) }) }),
            request_options: vec![RequestOption { reattach: Some(ReattachOptions { reattachable: true }) }],
            operation_id: Some(operation.to_string()),
        };
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await?;
        let path = PathAndQuery::from_static("/spark.connect.SparkConnectService/ExecutePlan");
        let codec = ProstCodec::<_, ExecutePlanResponse>::default();
        let mut responses = grpc.server_streaming(self.request(request), path, codec).await?.into_inner();
        let mut rows = 0;
        while let Some(response) = responses.message().await? {
            rows += response.arrow_batch.map_or(0, |b| b.row_count);
            if response.result_complete.is_some() {
                break;
            }
        }
        if rows == 0 {
            return Err("a query gave no rows".into());
        }
        Ok(Executed { client: self.clone(), session, operation })
    }

    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        request
    }

    async fn release(&self, path: &'static str, request: ReleaseRequest) -> Outcome<()> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await?;
        let codec = ProstCodec::<_, Empty>::default();
        grpc.unary(self.request(request), PathAndQuery::from_static(path), codec).await?;
        Ok(())
    }
}

impl Executed {
    /// Lets the query go; with `session`, its session as well.
    pub(crate) async fn release(self, session: bool) -> Outcome<()> {
        let mut request = ReleaseRequest {
            session_id: self.session.to_string(),
            user_context: user(),
            operation_id: String::new(),
            release_all: None,
        };
        if session {
            return self.client.release("/spark.connect.SparkConnectService/ReleaseSession", request).await;
        }
        request.operation_id = self.operation.to_string();
        request.release_all = Some(Empty {});
        self.client.release("/spark.connect.SparkConnectService/ReleaseExecute", request).await
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the field is an option")]
fn user() -> Option<UserContext> {
    Some(UserContext { user_id: USER.to_owned() })
}
