//! What holds for everybody at a moment: whether faults happen, and who is out of service.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::dice::Dice;

/// The weather. Clones see the same.
#[derive(Clone, Default)]
pub(super) struct Weather(Arc<Inner>);

#[derive(Default)]
struct Inner {
    calm: AtomicBool,
    store_down: AtomicBool,
    redis_down: AtomicBool,
}

impl Weather {
    /// No fault happens from now on.
    pub(super) fn calm_down(&self) {
        self.0.calm.store(true, Ordering::Relaxed);
    }

    /// True when a fault of this rate happens now.
    pub(super) fn strikes(&self, dice: &Dice, rate: u32) -> bool {
        // Thrown in any weather, and only where the fault can happen at all.
        rate > 0 && dice.chance(rate) && !self.0.calm.load(Ordering::Relaxed)
    }

    pub(super) fn take_store_down(&self, down: bool) {
        self.0.store_down.store(down, Ordering::Relaxed);
    }

    pub(super) fn store_is_down(&self) -> bool {
        self.0.store_down.load(Ordering::Relaxed)
    }

    pub(super) fn take_redis_down(&self, down: bool) {
        self.0.redis_down.store(down, Ordering::Relaxed);
    }

    pub(super) fn redis_is_down(&self) -> bool {
        self.0.redis_down.load(Ordering::Relaxed)
    }
}
