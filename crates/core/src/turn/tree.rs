//! The waiting jobs of one pool in the order of their turns: a tree of queue, tenant and user.

use std::collections::{BTreeMap, BTreeSet};

use super::memory::{Charge, Window};
use super::resources::Resources;
use crate::id::JobId;
use crate::time::Timestamp;

/// The number of a shape in its pool.
pub(super) type ShapeIx = u32;
/// The number of a limited scope.
pub(super) type ScopeIx = u32;
/// Queue, tenant and user: where a job stands in the tree.
pub(super) type Path = [u32; 3];

/// A job's place among those of its user: lower first. It never changes while the job waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    /// When it began to wait, less the head start of its priority; in microseconds.
    pub(super) key: i64,
    /// The job; ids are ordered by time.
    pub(super) id: JobId,
}

/// A branch's place among those beside it: the least share first, then whose next job is first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) share: u64,
    pub(super) head: Turn,
    child: u32,
}

impl Rank {
    /// The number of the branch that it is about.
    pub(super) fn child(&self) -> u32 {
        self.child
    }

    /// The same branch in another place.
    pub(super) fn moved(self, share: u64, head: Turn) -> Self {
        Self { share, head, ..self }
    }
}

/// Which shapes are looked for.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// All but these.
    AllBut(BTreeSet<ShapeIx>),
    /// These, as a list and by number.
    These(Vec<ShapeIx>, Vec<bool>),
}

impl Wanted {
    /// These, of so many.
    pub(super) fn these(list: Vec<ShapeIx>, count: usize) -> Self {
        let mut has = vec![false; count];
        for shape in &list {
            has[*shape as usize] = true;
        }
        Self::These(list, has)
    }

    /// Only those further that are kept.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(ShapeIx) -> bool) {
        if let Self::These(list, has) = self {
            list.retain(|shape| {
                let kept = keep(*shape);
                has[*shape as usize] = kept;
                kept
            });
        }
    }

    /// True when nothing is looked for.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::These(list, _) if list.is_empty())
    }

    fn has(&self, shape: ShapeIx) -> bool {
        match self {
            Self::AllBut(not) => !not.contains(&shape),
            Self::These(_, has) => has[shape as usize],
        }
    }

    fn any_of(&self, shapes: &BTreeMap<ShapeIx, u32>) -> bool {
        match self {
            Self::These(list, _) if list.len() < shapes.len() => list.iter().any(|s| shapes.contains_key(s)),
            Self::AllBut(_) | Self::These(..) => shapes.keys().any(|s| self.has(*s)),
        }
    }
}

/// A job whose turn it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) turn: Turn,
    pub(super) shape: ShapeIx,
}

/// A queue, a tenant or a user, or the root above the queues.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub(super) name: String,
    weight: u32,
    /// What its jobs hold in this pool.
    pub(super) charge: Charge,
    /// The scope that limits it.
    scope: Option<ScopeIx>,
    children: Vec<Branch>,
    by_name: BTreeMap<String, u32>,
    /// Its children in which jobs wait.
    order: BTreeSet<Rank>,
    /// Its own place in the order above.
    rank: Option<Rank>,
    /// Waiting jobs by shape, here and below.
    shapes: BTreeMap<ShapeIx, u32>,
    /// Waiting jobs, here and below.
    pub(super) waiting: u64,
    /// Of a user: the jobs of each shape in order.
    groups: BTreeMap<ShapeIx, BTreeSet<Turn>>,
    /// Of a user: the first of each group, in order.
    heads: BTreeSet<(Turn, ShapeIx)>,
    /// The pass that found nothing more here.
    barren: u64,
}

/// What every step in a tree needs to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    pub(super) window: Window,
    pub(super) capacity: Resources,
    pub(super) now: Timestamp,
}

impl Branch {
    pub(super) fn new(name: &str, weight: u32, scope: Option<ScopeIx>, now: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            weight,
            charge: Charge::new(now),
            scope,
            children: Vec::new(),
            by_name: BTreeMap::new(),
            order: BTreeSet::new(),
            rank: None,
            shapes: BTreeMap::new(),
            waiting: 0,
            groups: BTreeMap::new(),
            heads: BTreeSet::new(),
            barren: 0,
        }
    }

    /// The child of this name, made if need be.
    pub(super) fn child(&mut self, name: &str, weight: u32, scope: Option<ScopeIx>, now: Timestamp) -> u32 {
        if let Some(index) = self.by_name.get(name) {
            return *index;
        }
        let index = u32::try_from(self.children.len()).unwrap_or(u32::MAX);
        self.children.push(Self::new(name, weight, scope, now));
        self.by_name.insert(name.to_owned(), index);
        index
    }

    /// The branch at the end of `path`.
    pub(super) fn at_mut(&mut self, path: &[u32]) -> &mut Self {
        match path {
            [] => self,
            [first, rest @ ..] => self.children[*first as usize].at_mut(rest),
        }
    }

    /// The branches right below, in order of their making.
    pub(super) fn children(&self) -> &[Self] {
        &self.children
    }

    /// Of a user: all that wait, in turn, each with its shape.
    pub(super) fn groups(&self) -> &BTreeMap<ShapeIx, BTreeSet<Turn>> {
        &self.groups
    }

    /// Children in which jobs wait, in order.
    pub(super) fn order(&self) -> &BTreeSet<Rank> {
        &self.order
    }

    /// Of a user: the first of each group, in order.
    pub(super) fn heads(&self) -> &BTreeSet<(Turn, ShapeIx)> {
        &self.heads
    }

    /// True when somebody beside the branch at the end of `path` holds something or waits.
    pub(super) fn has_rivals(&self, path: &[u32]) -> bool {
        match path {
            [] => false,
            [last] => {
                (0u32..).zip(&self.children).any(|(n, b)| n != *last && (b.waiting > 0 || b.charge.jobs > 0))
            }
            [first, rest @ ..] => self.children[*first as usize].has_rivals(rest),
        }
    }

    /// Its weight against those beside it.
    pub(super) fn weight(&self) -> u32 {
        self.weight
    }

    fn first(&self) -> Option<Turn> {
        match self.heads.first() {
            Some((turn, _)) => Some(*turn),
            None => self.order.first().map(|r| r.head),
        }
    }

    /// Applies `change` to every branch on `path`, from the root down, and puts each in its new place.
    fn along(&mut self, path: &[u32], around: &Around, change: &mut impl FnMut(&mut Self, bool)) {
        change(self, path.is_empty());
        let [first, rest @ ..] = path else { return };
        let child = &mut self.children[*first as usize];
        child.along(rest, around, change);
        let share = |b: &Self| b.charge.share(around.window, &around.capacity, b.weight);
        let rank = child.first().map(|head| Rank { share: share(child), head, child: *first });
        let before = std::mem::replace(&mut child.rank, rank);
        if before != rank {
            if let Some(before) = before {
                self.order.remove(&before);
            }
            self.order.extend(rank);
        }
    }

    /// A job begins to wait.
    pub(super) fn insert(&mut self, path: Path, shape: ShapeIx, turn: Turn, around: &Around) {
        self.along(&path, around, &mut |branch, leaf| branch.count_in(shape, turn, leaf));
    }

    /// The same for one of many: nobody is in their place before [`Self::advance`] has been called.
    pub(super) fn insert_unranked(&mut self, path: Path, shape: ShapeIx, turn: Turn) {
        self.count_in(shape, turn, false);
        let mut branch = self;
        for (level, child) in (1..).zip(path) {
            branch = &mut branch.children[child as usize];
            branch.count_in(shape, turn, level == path.len());
        }
    }

    fn count_in(&mut self, shape: ShapeIx, turn: Turn, leaf: bool) {
        *self.shapes.entry(shape).or_default() += 1;
        self.waiting += 1;
        if leaf {
            let group = self.groups.entry(shape).or_default();
            let before = group.first().copied();
            group.insert(turn);
            if before.is_none_or(|b| turn < b) {
                if let Some(before) = before {
                    self.heads.remove(&(before, shape));
                }
                self.heads.insert((turn, shape));
            }
        }
    }

    /// A job waits no longer. When it starts, `takes` is what it holds from now on.
    pub(super) fn remove(
        &mut self,
        path: Path,
        shape: ShapeIx,
        turn: Turn,
        takes: Option<Resources>,
        around: &Around,
    ) {
        self.along(&path, around, &mut |branch, leaf| {
            branch.waiting -= 1;
            if let Some(count) = branch.shapes.get_mut(&shape) {
                *count -= 1;
                if *count == 0 {
                    branch.shapes.remove(&shape);
                }
            }
            if leaf {
                let group = branch.groups.entry(shape).or_default();
                group.remove(&turn);
                if branch.heads.remove(&(turn, shape))
                    && let Some(next) = group.first()
                {
                    branch.heads.insert((*next, shape));
                }
                if group.is_empty() {
                    branch.groups.remove(&shape);
                }
            }
            if let Some(takes) = takes {
                branch.charge.advance(around.window, around.now);
                branch.charge.take(takes);
                branch.charge.jobs += 1;
            }
        });
    }

    /// Changes what is held at the end of `path` and above.
    pub(super) fn charge(&mut self, path: Path, around: &Around, mut change: impl FnMut(&mut Charge)) {
        self.along(&path, around, &mut |branch, _| {
            branch.charge.advance(around.window, around.now);
            change(&mut branch.charge);
        });
    }

    /// Writes the past down everywhere, and puts everybody in their place anew. Asked at the end of a bucket.
    pub(super) fn advance(&mut self, around: &Around, forget: bool) {
        if forget {
            self.charge.forget(around.now);
        }
        self.charge.advance(around.window, around.now);
        self.order.clear();
        for (index, child) in (0u32..).zip(&mut self.children) {
            child.advance(around, forget);
            let share = child.charge.share(around.window, &around.capacity, child.weight);
            child.rank = child.first().map(|head| Rank { share, head, child: index });
            self.order.extend(child.rank);
        }
    }

    /// The first job in order of a wanted shape that `may` start. Both only ever shrink within one pass, so a branch in
    /// which nothing was found is not visited again in it.
    pub(super) fn pick(
        &mut self,
        pass: u64,
        wanted: &Wanted,
        open: &impl Fn(ScopeIx) -> bool,
        may: &mut impl FnMut(ShapeIx, Turn) -> bool,
    ) -> Option<Found> {
        if self.barren == pass || !wanted.any_of(&self.shapes) {
            return None;
        }
        if self.scope.is_none_or(open) {
            for (turn, shape) in &self.heads {
                if wanted.has(*shape) && may(*shape, *turn) {
                    return Some(Found { turn: *turn, shape: *shape });
                }
            }
            for rank in &self.order {
                let child = &mut self.children[rank.child as usize];
                let found = child.pick(pass, wanted, open, may);
                if found.is_some() {
                    return found;
                }
            }
        }
        self.barren = pass;
        None
    }
}
