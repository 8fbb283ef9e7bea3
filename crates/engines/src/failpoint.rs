//! Named points at which a test lets the process die, to prove that nothing is lost there.

use std::sync::OnceLock;

/// The environment variable that names the point at which this process aborts.
pub const VARIABLE: &str = "LIBRA_FAILPOINT";
/// Points with this prefix belong to the shim; only they are handed on to it.
pub const SHIM_PREFIX: &str = "shim-";

/// The point that this process dies at, read once.
fn armed() -> Option<&'static str> {
    static POINT: OnceLock<Option<String>> = OnceLock::new();
    POINT.get_or_init(|| std::env::var(VARIABLE).ok().filter(|name| !name.is_empty())).as_deref()
}

/// Dies here, at once and without any clean-up, when `name` is the point that is armed.
pub fn hit(name: &str) {
    if armed() == Some(name) {
        std::process::abort();
    }
}

/// The armed point, when it is one of the shim's.
pub(crate) fn for_shim() -> Option<&'static str> {
    armed().filter(|name| name.starts_with(SHIM_PREFIX))
}
