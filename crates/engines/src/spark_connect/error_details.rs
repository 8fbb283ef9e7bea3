//! The whole text of an error: what comes with a failed call is cut at 2,048 characters, without its end.

use prost::Message;
use tonic::Status;

use super::client::{Client, Operation};

/// How the server's own shortening ends.
const CUT: &str = "...";
/// Under which key the details name the error.
const ERROR_ID: &str = "errorId";

/// `google.rpc.Status`, which a failed call carries in `grpc-status-details-bin`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(map = "string, string", tag = "3")]
    metadata: std::collections::HashMap<String, String>,
}

/// The error with its whole text, if it was cut and the server still has it; else as it came.
pub(super) async fn whole(client: &Client, operation: &Operation, status: Status) -> Status {
    let Some(cut) = status.message().trim_end().strip_suffix(CUT) else { return status };
    let Some(id) = error_id(status.details()) else { return status };
    match client.error_message(operation, &id).await {
        // Another text would not be this error's.
        Ok(Some(message)) if message.trim_start().starts_with(cut.trim_start()) => {
            Status::with_details(status.code(), message, status.details().to_vec().into())
        }
        Ok(_) => status,
        Err(error) => {
            tracing::debug!(%error, "the whole text of an error can't be had");
            status
        }
    }
}

/// The server's name of an error.
fn error_id(details: &[u8]) -> Option<String> {
    let status = RpcStatus::decode(details).ok()?;
    let info = status.details.iter().find(|any| any.type_url.ends_with("google.rpc.ErrorInfo"))?;
    ErrorInfo::decode(info.value.as_slice()).ok()?.metadata.remove(ERROR_ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_named_in_its_details() {
        let info = ErrorInfo { metadata: [(ERROR_ID.to_owned(), "e-1".to_owned())].into() };
        let named = |type_url: &str| {
            let any = Any { type_url: type_url.to_owned(), value: info.encode_to_vec() };
            error_id(&RpcStatus { details: vec![any] }.encode_to_vec())
        };
        assert_eq!(named("type.googleapis.com/google.rpc.ErrorInfo").as_deref(), Some("e-1"));
        assert_eq!(named("type.googleapis.com/google.rpc.Help"), None);
        assert_eq!(error_id(b""), None);
        assert_eq!(error_id(b"\xff\xff"), None);
    }
}
