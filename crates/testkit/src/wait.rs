//! Waiting for something to become true. A limit is there to end a test that hangs; none asserts a speed.

use std::time::{Duration, Instant};

/// A test that waits longer than this hangs.
pub const LIMIT: Duration = Duration::from_mins(4);
const LOOK: Duration = Duration::from_millis(50);

/// Waits until `ready` gives something; `what` is named when it never does.
pub async fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "waited {LIMIT:?} in vain: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until `ready` is true.
pub async fn until_true(what: &str, mut ready: impl FnMut() -> bool) {
    until(what, || ready().then_some(())).await;
}

/// Waits until the future that `ready` makes is true.
pub async fn until_async<F: Future<Output = bool>>(what: &str, mut ready: impl FnMut() -> F) {
    let begun = Instant::now();
    while !ready().await {
        assert!(begun.elapsed() < LIMIT, "waited {LIMIT:?} in vain: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// The same without a runtime.
pub fn block_until(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<(), String> {
    let begun = Instant::now();
    while !ready() {
        if begun.elapsed() >= limit {
            return Err(format!("waited {limit:?} in vain: {what}"));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// The end of a log.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
