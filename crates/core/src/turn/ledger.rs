//! What every limited scope holds, who waits under it, and for whom its next room is kept.

use std::collections::{BTreeMap, BTreeSet};

use super::policy::{Policy, Quota, Scope, Short};
use super::resources::{Held, Resources};
use super::tree::ScopeIx;
use crate::id::JobId;
use crate::time::Timestamp;

/// The end of what has no known end.
pub(super) const NEVER: Timestamp = Timestamp(i64::MAX);

/// The scopes that a job counts in: all, mode, cluster, queue, tenant, user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scopes(pub(super) [Option<ScopeIx>; 6]);

impl Scopes {
    pub(super) fn iter(self) -> impl Iterator<Item = ScopeIx> {
        self.0.into_iter().flatten()
    }
}

/// What a job counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// In every scope but a cluster.
    pub(super) all: Resources,
    /// On the cluster.
    pub(super) elsewhere: Resources,
}

/// The reservation under a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// When the keeper's room is there, if running jobs take as long as they may.
    pub(super) at: Timestamp,
    /// What others may hold beyond that time.
    pub(super) beside: Held,
}

/// One scope.
#[derive(Clone, Debug)]
pub(super) struct ScopeState {
    pub(super) scope: Scope,
    pub(super) quota: Quota,
    pub(super) held: Held,
    /// Jobs that wait.
    pub(super) queued: u64,
    /// Running jobs by their expected end.
    pub(super) ends: BTreeSet<(Timestamp, JobId)>,
    /// The job that the next room is kept for.
    pub(super) keeper: Option<JobId>,
    /// What is kept for it, as of the present pass; None = it waits for something without a known end.
    pub(super) kept: Option<Kept>,
}

impl ScopeState {
    pub(super) fn need(&self, counted: &Counted) -> Held {
        Held::one(match self.scope {
            Scope::Cluster(_) => counted.elsewhere,
            Scope::All | Scope::Mode(_) | Scope::Queue(_) | Scope::Tenant(_) | Scope::User(..) => counted.all,
        })
    }
}

/// What stands in a job's way among the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hindrance {
    /// It is larger than the limit itself.
    Never(ScopeIx, Short),
    /// Others hold too much at present.
    Limit(ScopeIx, Short),
    /// There is room, but it is kept for another job.
    Kept(ScopeIx),
}

/// All scopes.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) scopes: Vec<ScopeState>,
    index: BTreeMap<Scope, ScopeIx>,
    /// Scopes with a keeper.
    pub(super) kept: BTreeSet<ScopeIx>,
}

impl Ledger {
    /// The number of a scope, which is made if need be.
    pub(super) fn scope(&mut self, scope: Scope, policy: &Policy) -> ScopeIx {
        if let Some(index) = self.index.get(&scope) {
            return *index;
        }
        let index = ScopeIx::try_from(self.scopes.len()).unwrap_or(ScopeIx::MAX);
        self.index.insert(scope.clone(), index);
        self.scopes.push(ScopeState {
            quota: policy.limits(&scope).running,
            scope,
            held: Held::default(),
            queued: 0,
            ends: BTreeSet::new(),
            keeper: None,
            kept: None,
        });
        index
    }

    pub(super) fn at(&self, scope: ScopeIx) -> &ScopeState {
        &self.scopes[scope as usize]
    }

    fn at_mut(&mut self, scope: ScopeIx) -> &mut ScopeState {
        &mut self.scopes[scope as usize]
    }

    pub(super) fn queued(&mut self, scopes: Scopes, more: bool) {
        for scope in scopes.iter() {
            let queued = &mut self.at_mut(scope).queued;
            *queued = if more { *queued + 1 } else { queued.saturating_sub(1) };
        }
    }

    /// A job runs from now on, until `end` as far as is known.
    pub(super) fn start(&mut self, scopes: Scopes, counted: &Counted, id: JobId, end: Timestamp) {
        for scope in scopes.iter() {
            let state = self.at_mut(scope);
            let need = state.need(counted);
            state.held = state.held.plus(need);
            state.ends.insert((end, id));
            if let Some(kept) = &mut state.kept
                && end > kept.at
            {
                kept.beside = kept.beside.minus(need);
            }
        }
    }

    /// A running job is gone.
    pub(super) fn end(&mut self, scopes: Scopes, counted: &Counted, id: JobId, end: Timestamp) {
        for scope in scopes.iter() {
            let state = self.at_mut(scope);
            state.held = state.held.minus(state.need(counted));
            state.ends.remove(&(end, id));
        }
    }

    /// A running job is expected to end at another time.
    pub(super) fn move_end(&mut self, scopes: Scopes, id: JobId, from: Timestamp, to: Timestamp) {
        for scope in scopes.iter() {
            let ends = &mut self.at_mut(scope).ends;
            ends.remove(&(from, id));
            ends.insert((to, id));
        }
    }

    /// True unless no further job at all may run in the scope, and its next room is kept for somebody already, or for
    /// nobody.
    pub(super) fn open(&self, scope: ScopeIx) -> bool {
        let state = self.at(scope);
        let may_be_kept = || state.quota.limits_amounts() && state.keeper.is_none();
        state.quota.jobs.is_none_or(|most| state.held.jobs < most || (most > 0 && may_be_kept()))
    }

    /// What keeps a job that would end by `end` from starting. `keeps_first` says of another keeper whether it became one
    /// before this job did: only those bind it, so that of several keepers one can always go on.
    pub(super) fn hindrance(
        &self,
        scopes: Scopes,
        counted: &Counted,
        id: JobId,
        end: Timestamp,
        keeps_first: impl Fn(JobId) -> bool,
    ) -> Option<Hindrance> {
        let mut found = None;
        for scope in scopes.iter() {
            let state = self.at(scope);
            if state.quota.is_open() {
                continue;
            }
            let need = state.need(counted);
            if let Some(short) = state.quota.exceeded_by(&need) {
                return Some(Hindrance::Never(scope, short));
            }
            if found.is_some() {
                continue;
            }
            if let Some(short) = state.quota.exceeded_by(&state.held.plus(need)) {
                found = Some(Hindrance::Limit(scope, short));
            } else if let (Some(keeper), Some(kept)) = (state.keeper, state.kept)
                && keeper != id
                && end > kept.at
                && keeps_first(keeper)
                && (need.jobs > kept.beside.jobs || !need.resources.fits(&kept.beside.resources))
            {
                found = Some(Hindrance::Kept(scope));
            }
        }
        found
    }

    /// The scopes under which others hold too much for this job, and room is kept.
    pub(super) fn short_of(&self, scopes: Scopes, counted: &Counted) -> Vec<ScopeIx> {
        let short = |s: &ScopeIx| {
            let state = self.at(*s);
            state.quota.limits_amounts()
                && state.quota.exceeded_by(&state.held.plus(state.need(counted))).is_some()
        };
        scopes.iter().filter(short).collect()
    }

    /// Scopes with a limit and without a keeper.
    pub(super) fn unkept(&self, scopes: Scopes) -> Vec<ScopeIx> {
        let free = |s: &ScopeIx| !self.at(*s).quota.is_open() && self.at(*s).keeper.is_none();
        scopes.iter().filter(free).collect()
    }

    /// The next room of `scope` is for `keeper`.
    pub(super) fn keep(&mut self, scope: ScopeIx, keeper: JobId) {
        self.at_mut(scope).keeper = Some(keeper);
        self.kept.insert(scope);
    }

    /// A job waits no longer: nothing is kept for it.
    pub(super) fn release(&mut self, scopes: Scopes, id: JobId) {
        for scope in scopes.iter() {
            let state = self.at_mut(scope);
            if state.keeper == Some(id) {
                state.keeper = None;
                state.kept = None;
                self.kept.remove(&scope);
            }
        }
    }

    /// Nothing is kept for anybody.
    pub(super) fn release_all(&mut self) {
        for scope in std::mem::take(&mut self.kept) {
            let state = self.at_mut(scope);
            state.keeper = None;
            state.kept = None;
        }
    }

    /// Works out when the keeper of `scope` has its room, not before `earliest`, and what others may hold beyond.
    pub(super) fn refresh(
        &mut self,
        scope: ScopeIx,
        keeper: &Counted,
        earliest: Timestamp,
        counted: impl Fn(JobId) -> Counted,
    ) {
        let state = self.at(scope);
        let need = state.need(keeper);
        let mut held = state.held;
        let mut ends = state.ends.iter().take_while(|(end, _)| *end < NEVER).peekable();
        let mut at = earliest;
        let kept = loop {
            while let Some((_, id)) = ends.next_if(|(end, _)| *end <= at) {
                held = held.minus(state.need(&counted(*id)));
            }
            if state.quota.exceeded_by(&held.plus(need)).is_none() {
                break Some(Kept { at, beside: state.quota.most().minus(held).minus(need) });
            }
            match ends.peek() {
                Some((end, _)) => at = *end,
                None => break None,
            }
        };
        self.at_mut(scope).kept = kept;
    }
}
