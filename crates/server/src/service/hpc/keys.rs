//! Requests that come with a client's key: the first answer is given again (contract A5).

use libra_api::problem::Code;
use libra_store::tables::hpc::once::{Key, Once, before};
use serde::Serialize;

use crate::service::submit::key_reused;
use crate::service::{Service, ServiceError};

/// An answer.
#[derive(Debug)]
pub(crate) enum Said<T> {
    /// Of what was done now.
    Now(T),
    /// Of what was done before, under the same key.
    Before {
        /// HTTP status.
        status: u16,
        /// JSON.
        body: String,
    },
}

impl<T> Said<T> {
    pub(super) fn of(once: Once<T>) -> Result<Self, ServiceError> {
        match once {
            Once::Done(value) => Ok(Self::Now(value)),
            Once::Before { status, response } => Ok(Self::Before { status, body: response }),
            Once::Reused => Err(key_reused()),
        }
    }
}

impl Service {
    /// What was answered under this key. It is looked for before any check: the first answer is given again whatever has
    /// changed since.
    pub(super) async fn said_before<T: Send + 'static>(
        &self,
        key: Option<&Key>,
    ) -> Result<Option<Said<T>>, ServiceError> {
        let Some(key) = key.cloned() else { return Ok(None) };
        let found = self.db.read(move |tx| before(tx, &key)).await?;
        found.map(Said::of).transpose()
    }
}

/// An answer as it is kept.
pub(super) fn written(view: &impl Serialize) -> Result<String, ServiceError> {
    serde_json::to_string(view)
        .map_err(|e| ServiceError::new(Code::Internal, format!("the answer can't be written: {e}")))
}
