//! Whether a server that obeys interrupts by word only has really let a cancelled query go.
//!
//! Sail answers that a query was interrupted while some of its loops go on for hours, and can't be asked what it works
//! on. What is left to look at is the processor time that it uses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libra_core::id::Token;

use super::{Live, STOP_PATIENCE, Server, guests};
use crate::shim;

/// How often its processor time is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// For how many looks in a row it must rest: a machine that is short of processors may give it none for a moment.
const LOOKS: u32 = 4;
/// The kernel counts a process's time in these, hundredths of a second on every Linux.
const TICKS_PER_SECOND: u64 = 100;
/// A server that uses less than this share of one core rests, in percent.
const AT_REST: u64 = 50;

impl Server {
    /// Sees to it that nothing of a cancelled attempt goes on in a server whose word is not enough. One that works on
    /// without anybody else's query in it is ended; one with others in it is replaced, and ends with the last of them.
    pub(in super::super) async fn lay_to_rest(self: &Arc<Self>, live: &Arc<Live>, token: Token) {
        let Some(patience) = live.kill_after() else { return };
        // To see that it rests takes time as well, however short the patience.
        if tokio::time::timeout(patience + LOOK * LOOKS, live.until_at_rest()).await.is_err() {
            self.give_up_on(live, token).await;
        }
    }

    /// Ends a server that does not let go of an attempt, as soon as nobody else's work is in it.
    pub(in super::super) async fn give_up_on(self: &Arc<Self>, live: &Arc<Live>, token: Token) {
        let Some(dir) = live.dir() else { return };
        if guests::count_but(dir, token).is_ok_and(|others| others == 0) {
            tracing::warn!(server = %live.id, "a cancelled job does not obey: its Spark server is ended");
            live.condemn();
            return gone(live).await;
        }
        let why = "a cancelled job may still be at work in it";
        if let Err(failure) = self.recycle(live, why).await {
            tracing::warn!(reason = %failure.message, "the Spark server could not be replaced");
        }
    }
}

impl Live {
    /// Waits until a server whose word is not enough rests; at once for others.
    pub(in super::super) async fn until_at_rest(&self) {
        let mut rested = 0;
        while self.kill_after().is_some() && !self.is_dead() && rested < LOOKS {
            rested = if is_at_rest(self).await { rested + 1 } else { 0 };
        }
    }
}

async fn is_at_rest(live: &Live) -> bool {
    let Some(before) = ticks(live) else { return false };
    tokio::time::sleep(LOOK).await;
    let looked = u64::try_from(LOOK.as_millis()).unwrap_or(u64::MAX);
    ticks(live).is_some_and(|now| now.saturating_sub(before) * 100_000 / TICKS_PER_SECOND < AT_REST * looked)
}

/// Waits until it is dead; whoever needs it later looks again.
async fn gone(live: &Live) {
    let begun = Instant::now();
    while !live.is_dead() && begun.elapsed() < STOP_PATIENCE {
        tokio::time::sleep(LOOK).await;
    }
}

/// The processor time that its processes have used.
fn ticks(live: &Live) -> Option<u64> {
    shim::footprint::of(live.process()?).map(|footprint| footprint.ticks)
}
