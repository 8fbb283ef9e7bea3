//! What the attempt's processes use, looked at while they run and kept in the attempt's directory (`usage.json`).
//!
//! The shim does it, because it outlives Libra: a peak while Libra is away counts as well.

use std::time::{Duration, Instant};

use libra_core::attempt::Usage;

use super::footprint::{self, Footprint};
use super::records;
use crate::attempt_dir::AttemptDir;

/// How often the processes are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// In the beginning they are looked at whenever the shim wakes: a short job has a peak as well.
const BEGINNING: Duration = Duration::from_secs(4);
const MILLIS: u64 = 1_000;

/// The meter of one attempt.
#[derive(Debug)]
pub(super) struct Meter {
    /// Ticks that were used before the attempt began.
    before: u64,
    begun: Instant,
    last: Option<(Instant, u64)>,
    usage: Usage,
}

impl Meter {
    /// The meter of an attempt that begins now.
    pub(super) fn new() -> Self {
        let before = footprint::below_this().ticks;
        Self { before, begun: Instant::now(), last: None, usage: Usage::default() }
    }

    /// Looks at the processes, if it is time, and keeps what it sees.
    pub(super) fn look(&mut self, dir: &AttemptDir) {
        let now = Instant::now();
        let early = now.duration_since(self.begun) > BEGINNING
            && self.last.is_some_and(|(at, _)| now.duration_since(at) < EVERY);
        if !early {
            self.take(now, footprint::below_this());
            self.write(dir);
        }
    }

    /// Nothing of the attempt is alive any more, and all of it was waited for.
    pub(super) fn end(&mut self, dir: &AttemptDir) {
        self.take(Instant::now(), footprint::below_this());
        self.usage = self.usage.ended();
        self.write(dir);
    }

    fn take(&mut self, now: Instant, seen: Footprint) {
        let ticks = seen.ticks.saturating_sub(self.before);
        let cpu_millis = ticks.saturating_mul(MILLIS) / rustix::param::clock_ticks_per_second().max(1);
        let (before, last) = (self.usage, self.last);
        self.usage = Usage {
            cpu_millis,
            peak_memory_bytes: seen.resident,
            millicores: None,
            memory_bytes: Some(seen.resident),
            ..Usage::default()
        }
        .after(Some(&before));
        self.usage.millicores = last.and_then(|(at, millis)| {
            let used = self.usage.cpu_millis.saturating_sub(millis).saturating_mul(MILLIS);
            used.checked_div(u64::try_from(now.duration_since(at).as_millis()).ok()?)
        });
        self.last = Some((now, self.usage.cpu_millis));
    }

    /// What can't be kept, as on a full disk, is kept next time. Nothing waits for it.
    fn write(&self, dir: &AttemptDir) {
        if let Ok(bytes) = serde_json::to_vec(&self.usage) {
            let _ = records::replace(&dir.usage_file(), &bytes);
        }
    }
}

/// What the processes of the attempt in `dir` have used, as its shim saw it last; None before the first look.
#[cfg(feature = "spark-submit")]
pub(crate) fn usage(dir: &AttemptDir) -> Option<Usage> {
    records::read(&dir.usage_file()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_peak_never_fall_and_the_rest_is_of_now() {
        let per_second = rustix::param::clock_ticks_per_second();
        let mut meter = Meter::new();
        meter.before = per_second;
        let at = Instant::now();
        meter.take(at, Footprint { resident: 500, ticks: 2 * per_second });
        assert_eq!((meter.usage.cpu_millis, meter.usage.millicores), (1_000, None));
        meter.take(at + Duration::from_secs(2), Footprint { resident: 700, ticks: 5 * per_second });
        assert_eq!((meter.usage.cpu_millis, meter.usage.millicores), (4_000, Some(1_500)));
        // A child that nobody waited for takes its time along.
        meter.take(at + Duration::from_secs(4), Footprint { resident: 300, ticks: 3 * per_second });
        let usage = meter.usage;
        assert_eq!((usage.cpu_millis, usage.millicores), (4_000, Some(0)));
        assert_eq!((usage.memory_bytes, usage.peak_memory_bytes), (Some(300), 700));
        // Two looks at the same moment say nothing of the rate.
        meter.take(at + Duration::from_secs(4), Footprint::default());
        assert_eq!(meter.usage.millicores, None);
    }
}
