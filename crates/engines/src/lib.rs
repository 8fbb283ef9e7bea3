//! The engines that Libra drives, each in a folder of its own behind [`engine::Engine`].
//!
//! Invariant: no engine sees the store, the API or the server. An engine is told what to launch and says
//! what it observes; it decides nothing about a job.

#[cfg(feature = "arrow")]
pub mod arrow_rows;
pub mod attempt_dir;
pub mod engine;
pub mod failpoint;
#[cfg(feature = "flink")]
pub mod flink;
pub mod logs;
#[cfg(feature = "spark-submit")]
mod progress;
pub mod shim;
#[cfg(feature = "slurm")]
pub mod slurm;
#[cfg(feature = "spark-connect")]
pub mod spark_connect;
pub mod spark_home;
#[cfg(feature = "spark-submit")]
pub mod spark_submit;
