//! The scheduler in simulated histories: promises that hold at every instant, and figures that are printed.
//!
//! A failure prints the seed of its history; `LIBRA_TURNS_SEED=<seed>` plays that one alone. More histories:
//! `PROPTEST_CASES=10000`. Figures: `cargo test --release -p libra-core --test turns -- --ignored --nocapture`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod bad_input;
mod explain;
mod fairness;
mod figures;
mod promises;
mod world;
