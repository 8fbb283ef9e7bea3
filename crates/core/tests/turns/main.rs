//! The scheduler in simulated histories: promises that hold at every instant, and figures that are printed.
//!
//! Figures: `cargo test --release -p libra-core --test turns -- --ignored --nocapture`

mod figures;
