//! Jobs of batch schedulers that Libra sees: their rows, what was changed in them, and what they use (contract H2).

pub mod audit;
pub mod figures;
pub mod jobs;
pub mod list;
pub mod once;
pub mod own;
pub mod retention;
pub mod rollups;
pub mod samples;
pub mod verdicts;
pub mod writes;
