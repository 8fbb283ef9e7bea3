//! A server that is there already: reached, never started.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use libra_core::attempt::Links;
use libra_core::failure::{ErrorClass, Failure};
use libra_core::id::Token;
use tonic::Code;
use uuid::Uuid;

use super::super::address::{Address, Door};
use super::super::client::Client;
use super::super::failure::{Verdict, judge};
use super::super::query::NAMESPACE;
use super::live::{Live, Place};

/// The code of the failure when nothing answers: jobs wait for the server to come back.
pub(super) const UNREACHABLE: &str = "engine_unreachable";

/// The name of the server at an address: the same after a restart of Libra.
pub(super) fn id(address: &Address) -> Option<Token> {
    Uuid::new_v5(&NAMESPACE, format!("external\0{address}").as_bytes()).to_string().parse().ok()
}

/// Asks the server whether it lets this client in.
pub(super) async fn reach(
    address: &Address,
    ca_file: Option<&Path>,
    lost_after: Duration,
) -> Result<Live, Failure> {
    let wrong = |code: &str, reason: String| {
        Failure::new(
            ErrorClass::Infrastructure,
            code,
            format!("The Spark Connect server at {address} can't be used: {reason}."),
        )
    };
    let ca = match ca_file {
        None => None,
        Some(file) => Some(std::fs::read(file).map_err(|e| {
            wrong("engine_refused", format!("the certificates in {} can't be read: {e}", file.display()))
        })?),
    };
    let client = Client::remote(address, ca.as_deref()).map_err(|e| wrong("engine_refused", e))?;
    let id = id(address).ok_or_else(|| wrong("engine_refused", "it has no name".to_owned()))?;
    let application_id = match client.application_id(id.uuid()).await {
        Ok(application_id) => application_id,
        Err(status) if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) => {
            return Err(wrong("engine_refused", format!("it does not let Libra in: {}", status.message())));
        }
        // Not every server has that setting, and the session in which it is asked may have expired: it answers.
        Err(status) if judge(&status) != Verdict::Retry => None,
        Err(status) => {
            let cause = std::error::Error::source(&status).map(root_cause);
            let reason = cause.unwrap_or_else(|| status.message().to_owned());
            return Err(wrong(UNREACHABLE, format!("it does not answer ({reason})")));
        }
    };
    let name = format!("the server at {address}");
    let place = Place::External { name, lost_after, heard: Mutex::new(Instant::now()) };
    let door = Door::remote(address, ca_file);
    Ok(Live::new(id, (client, door), application_id, Links::default(), place))
}

/// The innermost reason: `Connection refused` rather than `transport error`.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
