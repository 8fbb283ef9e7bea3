//! Named points at which a test lets the process die, to prove that nothing is lost there.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The environment variable that names the point at which this process aborts; `point@2` does so the second time.
pub const VARIABLE: &str = "LIBRA_FAILPOINT";
/// Points with this prefix belong to the shim; only they are handed on to it.
pub const SHIM_PREFIX: &str = "shim-";

/// The point that this process dies at, read once.
fn armed() -> Option<&'static str> {
    static POINT: OnceLock<Option<String>> = OnceLock::new();
    POINT.get_or_init(|| std::env::var(VARIABLE).ok().filter(|name| !name.is_empty())).as_deref()
}

/// Dies here, at once and without any clean-up, when `name` is the point that is armed and it is time.
pub fn hit(name: &str) {
    static HITS: AtomicU32 = AtomicU32::new(0);
    let Some((point, time)) = armed().map(timed) else { return };
    if point == name && HITS.fetch_add(1, Ordering::Relaxed) + 1 == time {
        std::process::abort();
    }
}

/// The point, and which time of reaching it is meant.
fn timed(armed: &str) -> (&str, u32) {
    let numbered = armed.rsplit_once('@').and_then(|(point, time)| Some((point, time.parse().ok()?)));
    numbered.unwrap_or((armed, 1))
}

/// The armed point, when it is one of the shim's.
pub(crate) fn for_shim() -> Option<&'static str> {
    armed().filter(|name| name.starts_with(SHIM_PREFIX))
}
