//! Who calls, and what they may do: the one authorisation point (contract X1, X2).

mod keys;
mod rules;

pub use keys::{ApiKey, keys_from};
pub use rules::{Permission, Principal, Role, may_see, permission_of};
