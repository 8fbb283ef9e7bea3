//! What a client asks for under an idempotency key is done once: its first answer is kept in the same transaction, as long as
//! the job lives that it is about (contract A5).

use libra_core::id::JobId;
use libra_core::time::Timestamp;

use crate::error::StoreError;
use crate::lane::Idempotency;
use crate::tables::idempotency;
use crate::tx::Tx;

/// A client's key for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Principal, method and path.
    pub scope: String,
    /// The client's own.
    pub key: String,
    /// SHA-256 of the body, in hex.
    pub body_hash: String,
}

/// An answer that is to be given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The job that it is about: the answer goes with it.
    pub job: JobId,
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub response: String,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Once<T> {
    /// It was done now.
    Done(T),
    /// It was done before: its answer.
    Before {
        /// HTTP status.
        status: u16,
        /// JSON.
        response: String,
    },
    /// The key came before with another body.
    Reused,
}

/// What was done under this key; None where nothing was.
pub fn before<T>(tx: &mut dyn Tx, key: &Key) -> Result<Option<Once<T>>, StoreError> {
    let kept = idempotency::get(tx, &key.scope, &key.key)?;
    Ok(kept.map(|kept| {
        if kept.body_hash == key.body_hash {
            Once::Before { status: kept.status, response: kept.response }
        } else {
            Once::Reused
        }
    }))
}

/// Does something, unless it was done under this key before. What `act` gives besides is kept; where it gives nothing, nothing
/// has come of it that could come twice.
///
/// # Errors
/// [`StoreError::Constraint`] where the same was done by somebody else at the same time: then it was not done here, and
/// [`before`] has the answer.
pub fn once<T>(
    tx: &mut dyn Tx,
    key: Option<&Key>,
    now: Timestamp,
    act: impl FnOnce(&mut dyn Tx) -> Result<(T, Option<Answer>), StoreError>,
) -> Result<Once<T>, StoreError> {
    let Some(key) = key else { return Ok(Once::Done(act(tx)?.0)) };
    if let Some(done) = before(tx, key)? {
        return Ok(done);
    }
    let (value, answer) = act(tx)?;
    if let Some(Answer { job, status, response }) = answer {
        let Key { scope, key, body_hash } = key.clone();
        let kept = Idempotency { scope, key, body_hash, status, response };
        idempotency::insert(tx, &kept, &job.to_string(), now.0)?;
    }
    Ok(Once::Done(value))
}
