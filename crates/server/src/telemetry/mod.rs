//! What operators read: the log and the figures.

pub mod flink;
pub mod hpc;
pub mod log;
pub mod metrics;
pub mod storage;
