//! The clock and the dice: the only places where the present moment and randomness are read.

use libra_core::id::Entropy;
use libra_core::time::Timestamp;

/// The present moment.
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Random bytes for an identifier.
pub fn entropy() -> Entropy {
    rand::random()
}

/// A random number for a backoff.
pub fn jitter() -> u64 {
    rand::random()
}
