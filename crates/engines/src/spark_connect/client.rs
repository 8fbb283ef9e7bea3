//! The calls that Libra makes to a Spark Connect server.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, AsciiMetadataKey, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;
use uuid::Uuid;

use super::address::Address;
use super::proto::{self, ExecutePlanResponse, Plan, PlanKind, UserContext, path};

/// The largest message that is read, in bytes. Batches are about 4 MiB; only a single huge value makes a
/// message larger, and Arrow's own limit for that is 2 GiB.
const MAX_MESSAGE_BYTES: usize = 1 << 30;
/// How long a call that answers at once may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The flow-control window of one result stream, in bytes: HTTP/2's 64 KiB would cap the throughput.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// The flow-control window of the whole connection, in bytes.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// How often a connection to another machine is checked, and how long its answer may take: a firewall that has
/// forgotten it says nothing.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// What the server shows as the kind of its client.
const CLIENT_TYPE: &str = "libra";

/// A stream of results.
pub(super) type Responses = Streaming<ExecutePlanResponse>;

/// A connection to one server. Clones share it.
#[derive(Clone)]
pub(super) struct Client {
    channel: Channel,
    /// For calls that answer at once: results that nobody reads for a while stop a connection, and a server must not
    /// be taken for dead, nor go without an interrupt, because of that.
    short_calls: Channel,
    /// Sent with every call; the values are sensitive.
    headers: Arc<[(AsciiMetadataKey, MetadataValue<Ascii>)]>,
    /// In whose name everything is asked; None = each operation's own user.
    user: Option<Arc<str>>,
}

/// One execution on the server: a user's session and the operation's own id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    pub(crate) user: String,
    pub(crate) session: Uuid,
    pub(crate) id: Uuid,
    /// The tag by which all operations of the attempt are interrupted together.
    pub(crate) tag: Uuid,
    /// The server's own name of the session, once it is known: a server that was restarted meanwhile refuses every
    /// call that carries it, so that nothing is executed twice.
    pub(crate) server_session: Arc<OnceLock<String>>,
}

impl Operation {
    fn observed(&self) -> Option<String> {
        self.server_session.get().cloned()
    }
}

/// The setting that a server is asked for when only its answer counts.
const APPLICATION_ID: &str = "spark.app.id";

fn ask(key: &str) -> proto::ConfigOperation {
    proto::ConfigOperation { set: None, get_option: Some(proto::ConfigGet { keys: vec![key.to_owned()] }) }
}

/// A header of every call; its value is shown nowhere.
///
/// # Errors
/// When gRPC can't send it; the value is not quoted.
pub(super) fn header(name: &str, value: &str) -> Result<(AsciiMetadataKey, MetadataValue<Ascii>), String> {
    let key = AsciiMetadataKey::from_bytes(name.as_bytes())
        .map_err(|_| format!("`{name}` is no name of a header"))?;
    let mut value = MetadataValue::<Ascii>::try_from(value)
        .map_err(|_| format!("the value of the header `{name}` can't be sent"))?;
    value.set_sensitive(true);
    Ok((key, value))
}

fn tuned(endpoint: Endpoint) -> Endpoint {
    endpoint
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

/// A plan that gives the rows of `sql`.
pub(super) fn query_plan(sql: &str) -> Plan {
    rows_plan(Bytes::from(sql_relation(sql).encode_to_vec()))
}

/// A plan that gives the rows of a relation which the server handed out.
pub(super) fn rows_plan(relation: Bytes) -> Plan {
    Plan { op_type: Some(PlanKind::Root(relation)) }
}

/// A plan that runs `sql` at once if it is a command, and gives a relation.
pub(super) fn command_plan(sql: &str) -> Plan {
    let command = proto::Command { sql_command: Some(proto::SqlCommand { input: Some(sql_relation(sql)) }) };
    Plan { op_type: Some(PlanKind::Command(Bytes::from(command.encode_to_vec()))) }
}

fn sql_relation(sql: &str) -> proto::Relation {
    proto::Relation {
        common: Some(proto::RelationCommon { plan_id: Some(0) }),
        sql: Some(proto::Sql { query: sql.to_owned() }),
    }
}

impl Client {
    /// A client of the server at 127.0.0.1:`port`, which asks for `token`, if for any. Connects with the first call.
    ///
    /// # Errors
    /// When the token is no text for a header.
    pub(super) fn local(port: u16, token: Option<&str>) -> Result<Self, String> {
        let endpoint =
            Endpoint::from_shared(format!("http://127.0.0.1:{port}")).map_err(|e| e.to_string())?;
        let headers = token.map(|token| header("authorization", &format!("Bearer {token}"))).transpose()?;
        let endpoint = tuned(endpoint);
        Ok(Self {
            channel: endpoint.connect_lazy(),
            short_calls: endpoint.connect_lazy(),
            headers: headers.into_iter().collect(),
            user: None,
        })
    }

    /// A client of a server somewhere. TLS trusts the system's roots, and the certificates `ca` (PEM) besides.
    ///
    /// # Errors
    /// When a header or a certificate can't be used; never with the token in it.
    pub(super) fn remote(address: &Address, ca: Option<&[u8]>) -> Result<Self, String> {
        let scheme = if address.tls { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}:{}", address.host, address.port))
            .map_err(|e| e.to_string())?;
        if address.tls {
            let given = ca.map(|ca| ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)));
            let both = given.clone().unwrap_or_default().with_native_roots();
            endpoint = match (endpoint.clone().tls_config(both), given) {
                // A small container has no authorities of its own.
                (Err(_), Some(given)) => endpoint.tls_config(given),
                (tuned, _) => tuned,
            }
            .map_err(|e| format!("the certificates can't be used: {e}"))?;
        }
        let endpoint = endpoint
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true);
        let token = address.token.as_deref().map(|token| ("authorization", format!("Bearer {token}")));
        let others = address.headers.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let headers: Result<Vec<_>, _> =
            token.into_iter().chain(others).map(|(name, value)| header(name, &value)).collect();
        let endpoint = tuned(endpoint);
        Ok(Self {
            channel: endpoint.connect_lazy(),
            short_calls: endpoint.connect_lazy(),
            headers: headers?.into(),
            user: address.user.as_deref().map(Arc::from),
        })
    }

    fn user_context(&self, operation: &Operation) -> UserContext {
        let user = self.user.as_deref().unwrap_or(&operation.user);
        UserContext { user_id: user.to_owned(), user_name: user.to_owned() }
    }

    /// Executes `plan`, or attaches to the operation if the server knows it already; never runs it twice.
    pub(super) async fn execute(&self, operation: &Operation, plan: Plan) -> Result<Responses, Status> {
        let request = proto::ExecutePlanRequest {
            session_id: operation.session.to_string(),
            user_context: Some(self.user_context(operation)),
            plan: Some(plan),
            client_type: Some(CLIENT_TYPE.to_owned()),
            request_options: vec![proto::RequestOption {
                reattach_options: Some(proto::ReattachOptions { reattachable: true }),
            }],
            operation_id: Some(operation.id.to_string()),
            tags: vec![operation.tag.to_string()],
            observed_session: operation.observed(),
        };
        self.stream(path::EXECUTE_PLAN, request).await
    }

    /// Attaches to an operation, after the response `last`.
    pub(super) async fn reattach(&self, operation: &Operation, last: &str) -> Result<Responses, Status> {
        let request = proto::ReattachExecuteRequest {
            session_id: operation.session.to_string(),
            user_context: Some(self.user_context(operation)),
            operation_id: operation.id.to_string(),
            client_type: Some(CLIENT_TYPE.to_owned()),
            last_response_id: Some(last.to_owned()),
            observed_session: operation.observed(),
        };
        self.stream(path::REATTACH_EXECUTE, request).await
    }

    /// Interrupts everything in the session that carries the operation's tag; answers which operations heard it.
    pub(super) async fn interrupt(&self, operation: &Operation) -> Result<Vec<Uuid>, Status> {
        let request = proto::InterruptRequest {
            session_id: operation.session.to_string(),
            user_context: Some(self.user_context(operation)),
            interrupt_type: proto::INTERRUPT_TYPE_TAG,
            operation_tag: Some(operation.tag.to_string()),
        };
        let met: proto::InterruptResponse = self.unary(path::INTERRUPT, request).await?;
        Ok(met.interrupted_ids.iter().filter_map(|id| id.parse().ok()).collect())
    }

    /// True while the server works on one of `ids` in the operation's session.
    pub(super) async fn is_alive(&self, operation: &Operation, ids: &[Uuid]) -> Result<bool, Status> {
        let request = proto::GetStatusRequest {
            session_id: operation.session.to_string(),
            user_context: Some(self.user_context(operation)),
            operation_status: Some(proto::OperationStatusRequest {
                operation_ids: ids.iter().map(Uuid::to_string).collect(),
            }),
        };
        let answer: proto::GetStatusResponse = self.unary(path::GET_STATUS, request).await?;
        Ok(answer
            .operation_statuses
            .iter()
            .any(|s| ids.iter().any(|id| id.to_string() == s.operation_id) && s.is_alive()))
    }

    /// The whole text of an error that the operation's session met; None when the server has forgotten it.
    pub(super) async fn error_message(
        &self,
        operation: &Operation,
        error: &str,
    ) -> Result<Option<String>, Status> {
        let request = proto::FetchErrorDetailsRequest {
            session_id: operation.session.to_string(),
            user_context: Some(self.user_context(operation)),
            error_id: error.to_owned(),
            observed_session: operation.observed(),
        };
        let answer: proto::FetchErrorDetailsResponse = self.unary(path::FETCH_ERROR_DETAILS, request).await?;
        let root = answer.root_error.and_then(|at| usize::try_from(at).ok());
        Ok(root.and_then(|at| answer.errors.into_iter().nth(at)).map(|error| error.message))
    }

    /// Lets go of an operation and of the responses that the server keeps for it.
    pub(super) async fn release_operation(&self, operation: &Operation) -> Result<(), Status> {
        let request = proto::ReleaseExecuteRequest {
            session_id: operation.session.to_string(),
            user_context: Some(self.user_context(operation)),
            operation_id: operation.id.to_string(),
            release_all: Some(proto::ReleaseAll {}),
        };
        self.unary::<_, proto::Ignored>(path::RELEASE_EXECUTE, request).await.map(drop)
    }

    /// Ends a session with all of its operations.
    pub(super) async fn release_session(&self, operation: &Operation) -> Result<(), Status> {
        let request = proto::ReleaseSessionRequest {
            session_id: operation.session.to_string(),
            user_context: Some(self.user_context(operation)),
        };
        self.unary::<_, proto::Ignored>(path::RELEASE_SESSION, request).await.map(drop)
    }

    /// Sets Spark settings of the operation's session.
    pub(super) async fn configure(
        &self,
        operation: &Operation,
        pairs: impl Iterator<Item = (String, String)>,
    ) -> Result<(), Status> {
        let pairs = pairs.map(|(key, value)| proto::KeyValue { key, value: Some(value) }).collect();
        let set = proto::ConfigOperation { set: Some(proto::ConfigSet { pairs }), get_option: None };
        self.config(operation, set).await.map(drop)
    }

    /// Spark's application id. Asked in a session of the server's own name; proves that the
    /// server lets this client in.
    pub(super) async fn application_id(&self, session: Uuid) -> Result<Option<String>, Status> {
        let operation = Operation {
            user: CLIENT_TYPE.to_owned(),
            session,
            id: session,
            tag: session,
            server_session: Arc::default(),
        };
        let answer = self.config(&operation, ask(APPLICATION_ID)).await?;
        Ok(answer.pairs.into_iter().next().and_then(|pair| pair.value))
    }

    /// Makes the operation's session, unless it is there; answers the server's own name of it, which is empty when
    /// the server gives none.
    pub(super) async fn open_session(&self, operation: &Operation) -> Result<String, Status> {
        Ok(self.config(operation, ask(APPLICATION_ID)).await?.server_session)
    }

    async fn config(
        &self,
        operation: &Operation,
        config: proto::ConfigOperation,
    ) -> Result<proto::ConfigResponse, Status> {
        let request = proto::ConfigRequest {
            session_id: operation.session.to_string(),
            user_context: Some(self.user_context(operation)),
            operation: Some(config),
            observed_session: operation.observed(),
        };
        self.unary(path::CONFIG, request).await
    }

    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        for (name, value) in self.headers.iter() {
            request.metadata_mut().insert(name.clone(), value.clone());
        }
        request
    }

    async fn ready(channel: &Channel) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        grpc.ready()
            .await
            .map_err(|e| Status::unavailable(format!("no connection to the Spark server: {e}")))?;
        Ok(grpc)
    }

    async fn stream<M>(&self, path: &'static str, message: M) -> Result<Responses, Status>
    where
        M: Message + Default + 'static,
    {
        let codec = ProstCodec::<M, ExecutePlanResponse>::default();
        let mut grpc = Self::ready(&self.channel).await?;
        let answer =
            grpc.server_streaming(self.request(message), PathAndQuery::from_static(path), codec).await?;
        Ok(answer.into_inner())
    }

    async fn unary<M, A>(&self, path: &'static str, message: M) -> Result<A, Status>
    where
        M: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        let call = async {
            let codec = ProstCodec::<M, A>::default();
            let mut grpc = Self::ready(&self.short_calls).await?;
            let answer = grpc.unary(self.request(message), PathAndQuery::from_static(path), codec).await?;
            Ok(answer.into_inner())
        };
        tokio::time::timeout(CALL_TIMEOUT, call)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("the Spark server did not answer in time")))
    }
}
