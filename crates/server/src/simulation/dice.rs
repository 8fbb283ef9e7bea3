//! The one source of chance in a run: a splitmix64 stream. The same seed throws the same numbers, on every machine.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libra_core::id::Entropy;

/// The step of splitmix64.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Dice. Clones throw from the same stream.
#[derive(Clone, Debug)]
pub(super) struct Dice(Arc<AtomicU64>);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(mix(seed.wrapping_add(STEP)))))
    }

    /// Dice of their own for somebody: what others throw does not change theirs.
    pub(super) fn fork(&self, name: &str) -> Self {
        let mark = name.bytes().fold(self.next(), |n, b| mix(n ^ u64::from(b)));
        Self::new(mark)
    }

    pub(super) fn next(&self) -> u64 {
        mix(self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP))
    }

    /// A number from the range, ends included.
    pub(super) fn between(&self, range: RangeInclusive<u64>) -> u64 {
        let span = range.end().saturating_sub(*range.start()).saturating_add(1);
        range.start() + self.next() % span.max(1)
    }

    /// True in `share` of 10,000 throws.
    pub(super) fn chance(&self, share: u32) -> bool {
        self.next() % 10_000 < u64::from(share)
    }

    pub(super) fn pick<'a, T>(&self, from: &'a [T]) -> Option<&'a T> {
        let len = u64::try_from(from.len()).unwrap_or(u64::MAX);
        (len > 0).then(|| self.next() % len).and_then(|n| from.get(usize::try_from(n).ok()?))
    }

    pub(super) fn millis(&self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.between(range))
    }

    pub(super) fn entropy(&self) -> Entropy {
        let mut bytes = Entropy::default();
        let thrown = [self.next().to_le_bytes(), self.next().to_le_bytes()];
        for (byte, from) in bytes.iter_mut().zip(thrown.iter().flatten()) {
            *byte = *from;
        }
        bytes
    }
}

fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}
