//! Whose turn is it? Who may start now, why not, and when.
//!
//! # What is fair
//! Every execution mode draws on one [`Pool`] of capacity, and turns are given in each pool by itself. In a pool,
//! queues stand beside each other by their shares, in a queue its tenants, in a tenant its users. Whoever holds the
//! least comes first: what counts is the *dominant share*, the greatest of the parts that it holds of the pool's
//! cores, memory, GPUs and slots, divided by its weight. What it held on average over the past hour
//! ([`Policy::memory`]) counts eight times as much as what it holds now. Without that memory somebody with large jobs, who holds
//! nothing at the moment in which one ends and the next is chosen, would always come before somebody who keeps one
//! small job running. Within a user the order is priority with ageing, then submission: a step of priority is worth a
//! head start of [`Policy::priority_step`], so everybody's turn comes, and the order never changes as time goes by.
//!
//! # What is reserved
//! The first job in order that does not fit holds its pool's one reservation until it starts: the earliest time at
//! which it fits when every running job takes as long as it may ([`RunTime::at_most`]). A later job may start only if
//! it ends before that time, or does not touch what is kept. Limits (of all jobs, a mode, a queue, a tenant, a user, a
//! cluster) are kept in the same way: the first job that a limit holds up has the next room under it, and so has
//! the holder of a pool's reservation under its limits. A job that waits for something without a known end reserves
//! nothing; neither does one that is larger than everything. Room is also kept for the time at which the job would fit
//! if its own user, tenant and queue gave nothing back: else a party below its share, whose next job fits whenever one of
//! its own ends, would never get what others hold too much. When running jobs overrun, reservations move; they keep
//! their holder.
//!
//! # The driver-deadlock guard
//! A job is admitted with its driver *and* its least number of executors, at least one if it may have any: their room
//! is held from the start, whether or not the driver has asked for them. What it grows to beyond is counted once seen.
//!
//! # What is incremental, and what it costs
//! [`Scheduler`] is told of changes. Waiting jobs stand in a tree (queue, tenant, user), grouped by shape: the same
//! needs and about the same length. A change costs O(log n) in each of four levels. A pass asks for each *shape*
//! whether it may start, and descends only to where such a shape waits; so it costs (shapes + jobs that start +
//! branches that a limit holds up), whatever the length of the queue. Decisions are made in whole numbers, from
//! ordered collections: the same facts always give the same decisions, and a scheduler that is rebuilt from a
//! [`Snapshot`] goes on exactly as the one that it was taken from.
//!
//! # How a leader uses it
//! Once: [`Scheduler::rebuild`] from the store. Then, in one place and in order: [`Scheduler::advance`] to now; what has
//! happened since ([`Scheduler::queued`], [`Scheduler::left`], [`Scheduler::ended`], [`Scheduler::began`],
//! [`Scheduler::grown`], [`Scheduler::set_pools`], [`Scheduler::set_policy`]), each of which may be told twice; then
//! [`Scheduler::pass`], and its decisions are written down. One that could not be written is taken back by
//! [`Scheduler::ended`], followed by [`Scheduler::queued`] if the job still waits. Faces ask [`may_submit`] before and
//! [`Scheduler::explain_candidate`] after.

mod demand;
mod explain;
mod learned;
mod ledger;
mod lookahead;
mod memory;
mod order;
mod pass;
mod placement;
mod policy;
mod pool;
mod resources;
mod scheduler;
mod snapshot;
mod spent;
mod standing;
mod submission;
mod tree;

pub use demand::{Candidate, Demand, Elsewhere, Executors, LimitKeys, Micros, Node, Pool, RunTime};
pub use explain::{Blocked, Explanation, HOLDERS_NAMED, PLACES_COUNTED, Position, RESERVATION};
pub use learned::{Basis, Estimate, Learned};
pub use lookahead::{Ahead, StartEstimate};
pub use pass::{Decision, Why};
pub use policy::{
    DEFAULT_QUEUE, Discipline, Limits, MEMORY, PRIORITY_STEP, Policy, Quota, Scope, Shares, Short,
    UnknownQueue,
};
pub use resources::{Dimension, Held, Resources};
pub use scheduler::{Holding, Scheduler};
pub use snapshot::{Exceeded, Keeper, Past, Remembered, Snapshot};
pub use spent::{Moment, Spent, spent};
pub use standing::{LimitStanding, Party, PoolStanding, Reservation};
pub use submission::{Refused, Submitted, may_submit};
