//! What operators read: the log and the figures.

pub mod flink;
pub mod log;
pub mod metrics;
