//! The part of the Spark Connect protocol that Libra speaks, written by hand so that nobody needs `protoc`.
//!
//! Names and field numbers are those of `spark/connect/{base,commands,relations}.proto` of Spark 4.2. Fields
//! that Libra neither sets nor reads are left out: protobuf skips what it does not know. Relations are kept as
//! bytes: one that the server hands out must go back to it unchanged, unknown fields included.

use bytes::Bytes;
use prost::Message;

pub(super) use super::proto_types::DataType;

/// The gRPC paths of `spark.connect.SparkConnectService`.
pub(super) mod path {
    pub(crate) const EXECUTE_PLAN: &str = "/spark.connect.SparkConnectService/ExecutePlan";
    pub(crate) const REATTACH_EXECUTE: &str = "/spark.connect.SparkConnectService/ReattachExecute";
    pub(crate) const RELEASE_EXECUTE: &str = "/spark.connect.SparkConnectService/ReleaseExecute";
    pub(crate) const RELEASE_SESSION: &str = "/spark.connect.SparkConnectService/ReleaseSession";
    pub(crate) const INTERRUPT: &str = "/spark.connect.SparkConnectService/Interrupt";
    pub(crate) const CONFIG: &str = "/spark.connect.SparkConnectService/Config";
    pub(crate) const FETCH_ERROR_DETAILS: &str = "/spark.connect.SparkConnectService/FetchErrorDetails";
    pub(crate) const GET_STATUS: &str = "/spark.connect.SparkConnectService/GetStatus";
}

/// Who asks; sessions belong to a user.
#[derive(Clone, PartialEq, Message)]
pub(super) struct UserContext {
    #[prost(string, tag = "1")]
    pub(crate) user_id: String,
    #[prost(string, tag = "2")]
    pub(crate) user_name: String,
}

/// What to execute: an encoded [`Relation`] for its rows, or an encoded [`Command`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct Plan {
    #[prost(oneof = "PlanKind", tags = "1, 2")]
    pub(crate) op_type: Option<PlanKind>,
}

/// See [`Plan`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum PlanKind {
    #[prost(bytes = "bytes", tag = "1")]
    Root(Bytes),
    #[prost(bytes = "bytes", tag = "2")]
    Command(Bytes),
}

/// A relation made of SQL text.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Relation {
    #[prost(message, optional, tag = "1")]
    pub(crate) common: Option<RelationCommon>,
    #[prost(message, optional, tag = "10")]
    pub(crate) sql: Option<Sql>,
}

/// What all relations have.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RelationCommon {
    #[prost(int64, optional, tag = "2")]
    pub(crate) plan_id: Option<i64>,
}

/// SQL text.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Sql {
    #[prost(string, tag = "1")]
    pub(crate) query: String,
}

/// A command: SQL that may change something.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Command {
    #[prost(message, optional, tag = "5")]
    pub(crate) sql_command: Option<SqlCommand>,
}

/// Runs its input at once if it is a command; answers a relation with the rows either way.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SqlCommand {
    #[prost(message, optional, tag = "6")]
    pub(crate) input: Option<Relation>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ExecutePlanRequest {
    #[prost(string, tag = "1")]
    pub(crate) session_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) user_context: Option<UserContext>,
    #[prost(message, optional, tag = "3")]
    pub(crate) plan: Option<Plan>,
    #[prost(string, optional, tag = "4")]
    pub(crate) client_type: Option<String>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) request_options: Vec<RequestOption>,
    #[prost(string, optional, tag = "6")]
    pub(crate) operation_id: Option<String>,
    #[prost(string, repeated, tag = "7")]
    pub(crate) tags: Vec<String>,
    #[prost(string, optional, tag = "8")]
    pub(crate) observed_session: Option<String>,
}

/// Only the reattach option is used.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RequestOption {
    #[prost(message, optional, tag = "1")]
    pub(crate) reattach_options: Option<ReattachOptions>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ReattachOptions {
    #[prost(bool, tag = "1")]
    pub(crate) reattachable: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReattachExecuteRequest {
    #[prost(string, tag = "1")]
    pub(crate) session_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) user_context: Option<UserContext>,
    #[prost(string, tag = "3")]
    pub(crate) operation_id: String,
    #[prost(string, optional, tag = "4")]
    pub(crate) client_type: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub(crate) last_response_id: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub(crate) observed_session: Option<String>,
}

/// One message of a result stream.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ExecutePlanResponse {
    #[prost(string, tag = "13")]
    pub(crate) response_id: String,
    #[prost(message, optional, tag = "7")]
    pub(crate) schema: Option<DataType>,
    /// Kinds that Libra does not know (metrics, streaming …) read as `None`.
    #[prost(oneof = "ResponseKind", tags = "2, 5, 14, 18")]
    pub(crate) response_type: Option<ResponseKind>,
}

/// See [`ExecutePlanResponse`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum ResponseKind {
    #[prost(message, tag = "2")]
    ArrowBatch(ArrowBatch),
    #[prost(message, tag = "5")]
    SqlCommandResult(SqlCommandResult),
    #[prost(message, tag = "14")]
    ResultComplete(ResultComplete),
    #[prost(message, tag = "18")]
    ExecutionProgress(ExecutionProgress),
}

/// A whole Arrow IPC stream with some of the rows.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ArrowBatch {
    #[prost(int64, tag = "1")]
    pub(crate) row_count: i64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) data: Bytes,
}

/// The encoded relation that holds a command's rows.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SqlCommandResult {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(crate) relation: Option<Bytes>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ResultComplete {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ExecutionProgress {
    #[prost(message, repeated, tag = "1")]
    pub(crate) stages: Vec<StageInfo>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct StageInfo {
    #[prost(int64, tag = "1")]
    pub(crate) stage_id: i64,
    #[prost(int64, tag = "2")]
    pub(crate) num_tasks: i64,
    #[prost(int64, tag = "3")]
    pub(crate) num_completed_tasks: i64,
    #[prost(bool, tag = "5")]
    pub(crate) done: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReleaseExecuteRequest {
    #[prost(string, tag = "1")]
    pub(crate) session_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) user_context: Option<UserContext>,
    #[prost(string, tag = "3")]
    pub(crate) operation_id: String,
    #[prost(message, optional, tag = "5")]
    pub(crate) release_all: Option<ReleaseAll>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ReleaseAll {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReleaseSessionRequest {
    #[prost(string, tag = "1")]
    pub(crate) session_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) user_context: Option<UserContext>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct InterruptRequest {
    #[prost(string, tag = "1")]
    pub(crate) session_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) user_context: Option<UserContext>,
    /// One of the `INTERRUPT_TYPE_` constants.
    #[prost(int32, tag = "4")]
    pub(crate) interrupt_type: i32,
    #[prost(string, optional, tag = "5")]
    pub(crate) operation_tag: Option<String>,
}

/// What an interrupt met.
#[derive(Clone, PartialEq, Message)]
pub(super) struct InterruptResponse {
    #[prost(string, repeated, tag = "2")]
    pub(crate) interrupted_ids: Vec<String>,
}

/// `INTERRUPT_TYPE_TAG`: every operation of the session that carries the tag.
pub(super) const INTERRUPT_TYPE_TAG: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetStatusRequest {
    #[prost(string, tag = "1")]
    pub(crate) session_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) user_context: Option<UserContext>,
    #[prost(message, optional, tag = "5")]
    pub(crate) operation_status: Option<OperationStatusRequest>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OperationStatusRequest {
    #[prost(string, repeated, tag = "1")]
    pub(crate) operation_ids: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetStatusResponse {
    #[prost(message, repeated, tag = "3")]
    pub(crate) operation_statuses: Vec<OperationStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OperationStatus {
    #[prost(string, tag = "1")]
    pub(crate) operation_id: String,
    /// `OperationState`: see [`OperationStatus::is_alive`].
    #[prost(int32, tag = "2")]
    pub(crate) state: i32,
}

impl OperationStatus {
    /// True while the server works on the operation (`RUNNING` 2, `TERMINATING` 3).
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.state, 2 | 3)
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ConfigRequest {
    #[prost(string, tag = "1")]
    pub(crate) session_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) user_context: Option<UserContext>,
    #[prost(message, optional, tag = "3")]
    pub(crate) operation: Option<ConfigOperation>,
    #[prost(string, optional, tag = "5")]
    pub(crate) observed_session: Option<String>,
}

/// One of the two.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ConfigOperation {
    #[prost(message, optional, tag = "1")]
    pub(crate) set: Option<ConfigSet>,
    #[prost(message, optional, tag = "4")]
    pub(crate) get_option: Option<ConfigGet>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ConfigSet {
    #[prost(message, repeated, tag = "1")]
    pub(crate) pairs: Vec<KeyValue>,
}

/// The values of those keys that are set.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ConfigGet {
    #[prost(string, repeated, tag = "1")]
    pub(crate) keys: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, optional, tag = "2")]
    pub(crate) value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ConfigResponse {
    #[prost(message, repeated, tag = "2")]
    pub(crate) pairs: Vec<KeyValue>,
    /// The server's own name of the session.
    #[prost(string, tag = "4")]
    pub(crate) server_session: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FetchErrorDetailsRequest {
    #[prost(string, tag = "1")]
    pub(crate) session_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) user_context: Option<UserContext>,
    #[prost(string, tag = "3")]
    pub(crate) error_id: String,
    #[prost(string, optional, tag = "5")]
    pub(crate) observed_session: Option<String>,
}

/// An error and its causes, as a list.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FetchErrorDetailsResponse {
    /// Which of them is the error itself; None when the server has forgotten it.
    #[prost(int32, optional, tag = "1")]
    pub(crate) root_error: Option<i32>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) errors: Vec<ErrorDetails>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ErrorDetails {
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

/// An answer of which nothing is read.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Ignored {}
