//! The order of turns as it stands, as if each job started when its turn comes and none ended.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::memory::{PARTS, share_of};
use super::pool::PoolState;
use super::resources::Resources;
use super::scheduler::Scheduler;
use super::tree::{Around, Branch, Rank, ShapeIx, Turn};
use crate::id::JobId;

/// Walks one branch in order, and charges it with what was taken from it.
struct Cursor<'a> {
    branch: &'a Branch,
    taken: Resources,
    order: BTreeSet<Rank>,
    children: BTreeMap<u32, Cursor<'a>>,
    heads: BTreeSet<(Turn, ShapeIx)>,
}

impl<'a> Cursor<'a> {
    fn new(branch: &'a Branch) -> Self {
        Self {
            branch,
            taken: Resources::default(),
            order: branch.order().clone(),
            children: BTreeMap::new(),
            heads: branch.heads().clone(),
        }
    }

    fn first(&self) -> Option<Turn> {
        self.heads.first().map(|h| h.0).or_else(|| self.order.first().map(|r| r.head))
    }

    fn next(&mut self, pool: &PoolState, around: &Around) -> Option<(Turn, ShapeIx)> {
        let next = if let Some((turn, shape)) = self.heads.pop_first() {
            let group = self.branch.groups().get(&shape);
            let after = group.and_then(|g| g.range((Bound::Excluded(turn), Bound::Unbounded)).next());
            self.heads.extend(after.map(|t| (*t, shape)));
            (turn, shape)
        } else {
            let rank = self.order.pop_first()?;
            let branch: &'a Branch = self.branch.children().get(rank.child() as usize)?;
            let child = self.children.entry(rank.child()).or_insert_with(|| Self::new(branch));
            let next = child.next(pool, around)?;
            if let Some(head) = child.first() {
                let held = branch.charge.weighed(around.window).plus(child.taken.times(PARTS));
                let share = share_of(held, &around.capacity.times(PARTS), branch.weight());
                self.order.insert(rank.moved(share, head));
            }
            next
        };
        let shape = &pool.shapes[next.1 as usize];
        if shape.possible {
            self.taken = self.taken.plus(shape.reserve);
        }
        Some(next)
    }
}

impl Scheduler {
    /// The next jobs of a pool in the order of their turns, at most `most`. The first is the one that room is kept for,
    /// if there is one. Jobs larger than the whole pool have no turn. Costs O(`most` × log).
    pub fn turns(&self, pool: &str, most: usize) -> Vec<JobId> {
        let Some(index) = self.pool_index.get(pool) else { return Vec::new() };
        let state = &self.pools[*index as usize];
        let around = self.around(*index);
        let mut cursor = Cursor::new(&state.root);
        let mut found: Vec<JobId> = state.keeper.into_iter().collect();
        while found.len() < most
            && let Some((turn, shape)) = cursor.next(state, &around)
        {
            if Some(turn.id) != state.keeper && state.shapes[shape as usize].possible {
                found.push(turn.id);
            }
        }
        found
    }
}
