//! What operators read: the log and the figures.

pub mod log;
pub mod metrics;
