//! The face of batch schedulers' jobs under `/v1` (contract H), in the spelling of its reference: snake_case.

pub mod bodies;
pub mod efficiency;
pub mod jobs;
pub mod requests;
pub mod samples;
pub mod strange;
