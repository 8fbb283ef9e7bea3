//! Many seeds, the same seed twice, and the test of the test.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::play::{Played, play};
use super::twins::Twin;

/// Seeds of an ordinary test run.
const SEEDS: u64 = 500;
/// Runs at once.
const THREADS: usize = 2;
/// Seeds within which a broken twin must be caught.
const TWIN_SEEDS: u64 = 150;
/// Lines of a trace that are printed with a failure.
const LAST_LINES: usize = 60;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What a person needs to know about a run that broke a promise.
fn report(seed: u64, played: &Played) -> String {
    let mut text = format!("seed {seed} breaks a promise:\n");
    for violation in &played.violations {
        let _ = writeln!(text, "  {violation}");
    }
    let lines: Vec<&str> = played.trace.lines().collect();
    let last = lines.len().saturating_sub(LAST_LINES);
    for line in lines.get(last..).unwrap_or_default() {
        let _ = writeln!(text, "  | {line}");
    }
    let _ = write!(
        text,
        "replay, with the whole trace:\n  LIBRA_SIM_FIRST={seed} LIBRA_SIM_SEEDS=1 LIBRA_SIM_TRACE=1 \
         cargo test -p libra-server --lib simulation::tests::promises_hold -- --nocapture"
    );
    text
}

#[test]
fn promises_hold() {
    let (first, seeds) = (number("LIBRA_SIM_FIRST", 1), number("LIBRA_SIM_SEEDS", SEEDS));
    let trace = std::env::var_os("LIBRA_SIM_TRACE").is_some();
    let (next, jobs) = (AtomicU64::new(first), AtomicU64::new(0));
    let failures: Mutex<u64> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first.saturating_add(seeds) {
                        return;
                    }
                    let played = play(seed, None);
                    jobs.fetch_add(played.jobs as u64, Ordering::Relaxed);
                    if trace {
                        print!("{}", played.trace);
                    }
                    if !played.violations.is_empty() {
                        let report = report(seed, &played);
                        println!("{report}\n");
                        *failures.lock().unwrap() += 1;
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    println!("{seeds} seeds from {first} on, {} jobs: {failures} failed", jobs.into_inner());
    assert_eq!(failures, 0, "of {seeds} seeds: each is printed above");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 1..=8 {
        let (one, two) = (play(seed, None), play(seed, None));
        let differ = one.trace.lines().zip(two.trace.lines()).find(|(a, b)| a != b);
        assert_eq!(differ, None, "seed {seed}");
        assert_eq!(one.trace.len(), two.trace.len(), "seed {seed}");
    }
}

#[test]
fn broken_twins_are_caught() {
    let mut escaped = Vec::new();
    for twin in Twin::ALL {
        let caught = (1..=TWIN_SEEDS).find(|seed| {
            let played = play(*seed, Some(twin));
            played.violations.iter().any(|v| twin.breaks().contains(&v.promise))
        });
        match caught {
            Some(seed) => println!("{twin:?} is caught by seed {seed}"),
            None => escaped.push(twin),
        }
    }
    assert!(escaped.is_empty(), "not caught within {TWIN_SEEDS} seeds: {escaped:?}");
}
