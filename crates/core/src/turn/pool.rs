//! One pool: its nodes, its tree of waiting jobs, its shapes, its reservation.

use std::collections::{BTreeMap, BTreeSet};

use super::demand::{Demand, LimitKeys, Micros, Pool};
use super::ledger::{Counted, NEVER};
use super::placement::{Placement, place};
use super::resources::Resources;
use super::tree::{Branch, ShapeIx};
use crate::id::JobId;
use crate::mode::Mode;
use crate::time::Timestamp;

/// What jobs that share work have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ShapeKey {
    pub(super) demand: Demand,
    /// Rounded up.
    pub(super) at_most: Option<Micros>,
    pub(super) mode: Mode,
}

/// A shape, and what follows from it.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) key: ShapeKey,
    pub(super) reserve: Resources,
    pub(super) counted: Counted,
    /// True when the empty pool has room for it.
    pub(super) possible: bool,
    /// Jobs of it that wait.
    pub(super) waiting: u64,
}

impl Shape {
    /// When a job of it would end that starts `now`.
    pub(super) fn end(&self, now: Timestamp) -> Timestamp {
        self.key.at_most.map_or(NEVER, |micros| now.plus_micros(micros))
    }
}

/// Rounds a time up to one of eight steps between two powers of two, so that jobs of about the same length share work.
pub(super) fn rounded_up(micros: Micros) -> Micros {
    let micros = micros.max(1);
    let step = 1i64 << (63 - micros.leading_zeros()).saturating_sub(3);
    micros.checked_add(step - 1).map_or(Micros::MAX, |above| above / step * step)
}

/// One node.
#[derive(Clone, Debug)]
pub(super) struct NodeState {
    pub(super) name: String,
    pub(super) capacity: Resources,
    pub(super) held: Resources,
    pub(super) jobs: u64,
}

/// Room that will be there.
#[derive(Clone, Debug)]
pub(super) struct Promise {
    /// From when.
    pub(super) at: Timestamp,
    /// What of each node others may hold beyond that time.
    pub(super) beside: Vec<Resources>,
}

/// What is free for jobs that end by some time, beside what is promised.
#[derive(Clone, Debug)]
pub(super) struct Rooms {
    /// The times of the promises, the earliest first.
    times: Vec<Timestamp>,
    /// What is free on each node: first for jobs that end by the first time, then for those that end by the next, and so on;
    /// at last for those that stay.
    rooms: Vec<Vec<Resources>>,
}

impl Rooms {
    /// What is free for a job that ends by then.
    pub(super) fn until(&self, end: Timestamp) -> &[Resources] {
        let passed = self.times.partition_point(|at| *at < end);
        self.rooms.get(passed).map(Vec::as_slice).unwrap_or_default()
    }

    /// What is free for a job that stays beyond the first time.
    pub(super) fn beyond(&self) -> &[Resources] {
        self.rooms.get(1).map(Vec::as_slice).unwrap_or_default()
    }

    /// The time of the first promise that keeps a job from starting which ends by `end`.
    pub(super) fn kept_until(
        &self,
        end: Timestamp,
        fits: impl Fn(&[Resources]) -> bool,
    ) -> Option<Timestamp> {
        self.times
            .iter()
            .zip(self.rooms.iter().skip(1))
            .find(|(at, room)| **at < end && !fits(room))
            .map(|t| *t.0)
    }
}

/// One pool.
#[derive(Clone, Debug)]
pub(super) struct PoolState {
    pub(super) name: String,
    pub(super) keys: LimitKeys,
    pub(super) nodes: Vec<NodeState>,
    pub(super) capacity: Resources,
    pub(super) held: Resources,
    pub(super) root: Branch,
    pub(super) shapes: Vec<Shape>,
    index: BTreeMap<ShapeKey, ShapeIx>,
    unused: Vec<ShapeIx>,
    impossible: BTreeSet<ShapeIx>,
    /// Shapes that end at some time, by it.
    by_length: BTreeSet<(Micros, ShapeIx)>,
    /// Running jobs by their expected end.
    pub(super) ends: BTreeSet<(Timestamp, JobId)>,
    /// The job that the next room is kept for.
    pub(super) keeper: Option<JobId>,
    /// When it will be there, as of the last pass: the earliest time first, then the times at which it would be there
    /// if its own party gave nothing back.
    pub(super) promises: Vec<Promise>,
}

impl PoolState {
    pub(super) fn new(pool: &Pool, now: Timestamp) -> Self {
        let node = |n: &super::Node| NodeState {
            name: n.name.clone(),
            capacity: n.capacity,
            held: Resources::default(),
            jobs: 0,
        };
        Self {
            name: pool.name.clone(),
            keys: pool.keys.clone(),
            nodes: pool.nodes.iter().map(node).collect(),
            capacity: pool.capacity(),
            held: Resources::default(),
            root: Branch::new("", 1, None, now),
            shapes: Vec::new(),
            index: BTreeMap::new(),
            unused: Vec::new(),
            impossible: BTreeSet::new(),
            by_length: BTreeSet::new(),
            ends: BTreeSet::new(),
            keeper: None,
            promises: Vec::new(),
        }
    }

    /// The number of a shape with one more job.
    pub(super) fn shape(&mut self, key: ShapeKey) -> ShapeIx {
        if let Some(index) = self.index.get(&key) {
            self.shapes[*index as usize].waiting += 1;
            return *index;
        }
        let empty: Vec<Resources> = self.nodes.iter().map(|n| n.capacity).collect();
        let shape = Shape {
            reserve: key.demand.reserve(),
            counted: counted(&key.demand),
            possible: place(&empty, |_| 0, &key.demand).is_some(),
            waiting: 1,
            key,
        };
        let index = self.unused.pop().unwrap_or_else(|| {
            self.shapes.push(shape.clone());
            ShapeIx::try_from(self.shapes.len() - 1).unwrap_or(ShapeIx::MAX)
        });
        self.index.insert(shape.key.clone(), index);
        self.by_length.extend(shape.key.at_most.map(|micros| (micros, index)));
        if !shape.possible {
            self.impossible.insert(index);
        }
        self.shapes[index as usize] = shape;
        index
    }

    /// A job of this shape waits no longer.
    pub(super) fn shape_left(&mut self, index: ShapeIx) {
        let shape = &mut self.shapes[index as usize];
        shape.waiting -= 1;
        if shape.waiting == 0 {
            self.index.remove(&shape.key);
            self.impossible.remove(&index);
            if let Some(micros) = shape.key.at_most {
                self.by_length.remove(&(micros, index));
            }
            self.unused.push(index);
        }
    }

    /// Shapes of which jobs wait, and whose driver needs no more cores than some node has in `room`.
    pub(super) fn shapes_within(&self, room: &[Resources]) -> impl Iterator<Item = ShapeIx> {
        let cores = room.iter().map(|r| r.cores).max().unwrap_or(0);
        // The driver's cores come first in the order of keys.
        self.index
            .iter()
            .take_while(move |(key, _)| key.demand.driver.cores <= cores)
            .map(|(_, shape)| *shape)
    }

    /// Shapes of which jobs wait, and that end within this time.
    pub(super) fn shapes_until(&self, micros: Micros) -> impl Iterator<Item = ShapeIx> {
        self.by_length.range(..=(micros, ShapeIx::MAX)).map(|(_, shape)| *shape)
    }

    /// Shapes for which the empty pool has no room.
    pub(super) fn impossible(&self) -> &BTreeSet<ShapeIx> {
        &self.impossible
    }

    /// Shapes that need the same.
    pub(super) fn shapes_like(&self, demand: &Demand) -> impl Iterator<Item = ShapeIx> {
        let first = ShapeKey { demand: demand.clone(), at_most: None, mode: Mode::InCluster };
        let demand = demand.clone();
        self.index.range(first..).take_while(move |(key, _)| key.demand == demand).map(|(_, shape)| *shape)
    }

    /// What is free on each node.
    pub(super) fn free(&self) -> Vec<Resources> {
        self.nodes.iter().map(|n| n.capacity.minus(n.held)).collect()
    }

    /// What is free for whom.
    pub(super) fn rooms(&self) -> Rooms {
        let mut room = self.free();
        let mut rooms = vec![room.clone()];
        for promise in &self.promises {
            room = room.iter().zip(&promise.beside).map(|(room, beside)| room.least(*beside)).collect();
            rooms.push(room.clone());
        }
        Rooms { times: self.promises.iter().map(|p| p.at).collect(), rooms }
    }

    /// The place of a job on nodes with this much free.
    pub(super) fn place_in(&self, free: &[Resources], demand: &Demand) -> Option<Placement> {
        place(free, |n| self.nodes[n].jobs, demand)
    }

    pub(super) fn hold(&mut self, parts: &[(u32, Resources)], all: Resources) {
        for (n, (node, part)) in parts.iter().enumerate() {
            let node = &mut self.nodes[*node as usize];
            node.held = node.held.plus(*part);
            node.jobs += u64::from(n == 0);
        }
        self.held = self.held.plus(all);
    }

    pub(super) fn let_go(&mut self, parts: &[(u32, Resources)], all: Resources) {
        for (n, (node, part)) in parts.iter().enumerate() {
            let node = &mut self.nodes[*node as usize];
            node.held = node.held.minus(*part);
            node.jobs = node.jobs.saturating_sub(u64::from(n == 0));
        }
        self.held = self.held.minus(all);
    }

    /// When there is room for `demand` if running jobs take as long as they may; those without `parts` give nothing back.
    /// None when that can't be known: it
    /// waits for something without an end, or is larger than the pool.
    pub(super) fn promise<'r>(
        &self,
        demand: &Demand,
        now: Timestamp,
        parts: impl Fn(JobId) -> Option<&'r [(u32, Resources)]>,
    ) -> Option<Promise> {
        let mut held: Vec<Resources> = self.nodes.iter().map(|n| n.held).collect();
        let reserve = demand.reserve();
        let mut all = self.held;
        let mut ends = self.ends.iter().take_while(|(end, _)| *end < NEVER).peekable();
        let mut at = now;
        loop {
            while let Some((_, id)) = ends.next_if(|(end, _)| *end <= at) {
                for (node, part) in parts(*id).unwrap_or_default() {
                    let held = &mut held[*node as usize];
                    *held = held.minus(*part);
                    all = all.minus(*part);
                }
            }
            // The sum says quickly that there is no room; only the nodes say that there is.
            if reserve.fits(&self.capacity.minus(all)) {
                let free: Vec<Resources> =
                    self.nodes.iter().zip(&held).map(|(n, held)| n.capacity.minus(*held)).collect();
                if let Some(placed) = self.place_in(&free, demand) {
                    let mut beside = free;
                    for (node, part) in placed.parts(demand) {
                        beside[node as usize] = beside[node as usize].minus(part);
                    }
                    return Some(Promise { at, beside });
                }
            }
            at = ends.peek()?.0;
        }
    }
}

/// What a demand counts for in limits.
pub(super) fn counted(demand: &Demand) -> Counted {
    Counted { all: demand.counted(), elsewhere: demand.taken_elsewhere() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up_by_an_eighth_at_most() {
        for micros in [1, 7, 8, 9, 100, 1_000, 3_600_000_000, i64::MAX - 1] {
            let rounded = rounded_up(micros);
            assert!(rounded >= micros && rounded - micros <= micros / 8, "{micros} {rounded}");
            assert_eq!(rounded_up(rounded), rounded);
        }
    }
}
