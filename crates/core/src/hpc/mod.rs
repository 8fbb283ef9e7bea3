//! Jobs of a batch scheduler, as Libra sees them (contract H): what a word of the scheduler, of its hooks or of a person
//! changes of what is known. Libra has not started these jobs, and holds nothing for them. `mock` makes some up.

pub mod collect;
pub mod efficiency;
pub mod efficiency_sums;
pub mod end;
pub mod figures;
pub mod job;
pub mod mock;
pub mod observe;
#[cfg(test)]
mod observe_tests;
pub mod raw_state;
pub mod record;
pub mod usage;
