//! One look at who may start now.

use super::ledger::{Counted, Hindrance, Ledger};
use super::placement::Placement;
use super::pool::Promise;
use super::scheduler::{Running, Scheduler, Waiting, expected_end};
use super::tree::{ScopeIx, ShapeIx, Turn, Wanted};
use crate::id::JobId;
use crate::time::Timestamp;

/// Looks in one pass: each next one sees what the one before started and kept. Two are the rule.
const MOST_LOOKS: usize = 64;

/// Why a job starts now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its turn has come, and there is room.
    Turn,
    /// The room was kept for it.
    Reserved,
    /// It starts before `ahead`, whose turn is first, and does not delay it.
    Backfill {
        /// The job that the next room is kept for.
        ahead: JobId,
        /// When that room is there at the latest, as far as is known.
        reserved_at: Timestamp,
    },
}

/// A job starts now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The job.
    pub job: JobId,
    /// Its pool.
    pub pool: String,
    /// The node of its driver.
    pub node: String,
    /// Executors that room is kept for, by node.
    pub executors: Vec<(String, u32)>,
    /// Why it and not another.
    pub why: Why,
}

impl Scheduler {
    /// Who starts now, in order. The decisions are taken as done: a job whose start could not be written down is reported
    /// by [`Scheduler::ended`], and by [`Scheduler::queued`] when it still waits.
    pub fn pass(&mut self, now: Timestamp) -> Vec<Decision> {
        self.advance(now);
        let mut decisions = Vec::new();
        // What started may have changed where room is kept, or that it need not be kept any longer: look once more.
        for _ in 0..MOST_LOOKS {
            let (started, kept) = (decisions.len(), self.keepers_now());
            self.look(&mut decisions);
            if decisions.len() == started && self.keepers_now() == kept {
                break;
            }
        }
        decisions
    }

    /// For whom room is kept, in pools and under limits.
    fn keepers_now(&self) -> Vec<Option<JobId>> {
        let scopes = self.ledger.scopes.iter().map(|s| s.keeper);
        self.pools.iter().map(|p| p.keeper).chain(scopes).collect()
    }

    /// Gives turns in every pool.
    fn look(&mut self, decisions: &mut Vec<Decision>) {
        self.pass += 1;
        self.refresh_reservations();
        for pool in 0..u32::try_from(self.pools.len()).unwrap_or(u32::MAX) {
            self.pass_pool(pool, decisions);
        }
    }

    /// Works out anew when the room that is kept will be there. A pass does so by itself; who only follows another scheduler
    /// gives no turns and has to ask for it.
    pub fn refresh_reservations(&mut self) {
        for pool in 0..u32::try_from(self.pools.len()).unwrap_or(u32::MAX) {
            self.refresh_promise(pool);
        }
        let kept: Vec<ScopeIx> = self.ledger.kept.iter().copied().collect();
        for scope in kept {
            self.refresh_scope(scope);
        }
    }

    /// The times from which there is room for a waiting job. First the earliest. Then, for its user, its tenant and its
    /// queue, as far as there are others beside them: the time at which there is room if all that they hold stays held.
    /// Without these a party below its share would wait for its own jobs to end, and never get what others hold too much.
    pub(super) fn promises(&self, job: &Waiting) -> Vec<Promise> {
        let pool = &self.pools[job.pool as usize];
        let shape = &pool.shapes[job.shape as usize];
        if !shape.possible {
            return Vec::new();
        }
        let promise = |own: Option<&[u32]>| {
            pool.promise(&shape.key.demand, self.now, |id| {
                let running = self.running.get(&id)?;
                let gives = own.is_none_or(|own| !running.path.starts_with(own));
                gives.then_some(running.parts.as_slice())
            })
        };
        let Some(first) = promise(None) else { return Vec::new() };
        let parties = (1..=job.path.len()).rev().filter(|n| pool.root.has_rivals(&job.path[..*n]));
        let later = parties.filter_map(|n| promise(Some(&job.path[..n])));
        std::iter::once(first).chain(later).collect()
    }

    fn refresh_promise(&mut self, pool: u32) {
        let keeper = self.pools[pool as usize].keeper;
        let promises = keeper.and_then(|id| Some(self.promises(self.waiting.get(&id)?))).unwrap_or_default();
        let pool = &mut self.pools[pool as usize];
        pool.keeper = keeper.filter(|_| !promises.is_empty());
        pool.promises = promises;
    }

    fn refresh_scope(&mut self, scope: ScopeIx) {
        let Some(keeper) = self.ledger.at(scope).keeper else { return };
        let Some(job) = self.waiting.get(&keeper) else { return };
        let pool = &self.pools[job.pool as usize];
        let promised = pool.promises.first().filter(|_| pool.keeper == Some(keeper));
        let earliest = promised.map_or(self.now, |p| p.at.max(self.now));
        let counted = pool.shapes[job.shape as usize].counted;
        let running = &self.running;
        self.ledger
            .refresh(scope, &counted, earliest, |id| running.get(&id).map(|r| r.counted).unwrap_or_default());
    }

    /// A job becomes the keeper of scopes.
    fn keep_scopes(&mut self, id: JobId, scopes: &[ScopeIx]) {
        if scopes.is_empty() {
            return;
        }
        self.number_keeper(id);
        for scope in scopes {
            self.ledger.keep(*scope, id);
            self.refresh_scope(*scope);
        }
    }

    /// A job becomes a keeper, and the first of its user's jobs: of two alike, the one without a reservation would wait for
    /// the other, which stands behind it.
    pub(super) fn number_keeper(&mut self, id: JobId) {
        if self.waiting.get(&id).is_some_and(|job| job.keeps.is_none()) {
            self.keepers += 1;
            self.set_keeper(id, self.keepers);
        }
    }

    /// Gives a keeper its number, and its place.
    pub(super) fn set_keeper(&mut self, id: JobId, number: u64) {
        let Some(pool) = self.waiting.get(&id).map(|job| job.pool) else { return };
        let around = self.around(pool);
        let Some(job) = self.waiting.get_mut(&id) else { return };
        let root = &mut self.pools[pool as usize].root;
        root.remove(job.path, job.shape, job.turn, None, &around);
        job.turn = Turn { key: i64::MIN.saturating_add_unsigned(number), id };
        job.keeps = Some(number);
        root.insert(job.path, job.shape, job.turn, &around);
    }

    /// What keeps a waiting job from starting, among the limits.
    pub(super) fn hindrance(&self, id: JobId, job: &Waiting) -> Option<Hindrance> {
        let shape = &self.pools[job.pool as usize].shapes[job.shape as usize];
        hindrance(&self.ledger, &self.waiting, id, job, &shape.counted, shape.end(self.now))
    }

    fn pass_pool(&mut self, pool: u32, decisions: &mut Vec<Decision>) {
        let at = pool as usize;
        if let Some(id) = self.pools[at].keeper
            && let Some(job) = self.waiting.get(&id)
        {
            if self.hindrance(id, job).is_some() {
                // What it waits for now is another's, or its own limit: the pool is not kept idle for it.
                let scopes = job.scopes;
                self.pools[at].keeper = None;
                self.pools[at].promises.clear();
                scopes.iter().for_each(|scope| self.refresh_scope(scope));
            } else {
                let state = &self.pools[at];
                let demand = &state.shapes[job.shape as usize].key.demand;
                if let Some(placement) = state.place_in(&state.free(), demand) {
                    decisions.extend(self.start(id, &placement, Why::Reserved));
                }
            }
        }
        // Shapes that can't start before something without a known end has ended, or never.
        let mut hopeless = Wanted::AllBut(self.pools[at].impossible().clone());
        while self.pools[at].keeper.is_none() {
            let Some((id, shape)) = self.pick(pool, &hopeless) else { return };
            let state = &self.pools[at];
            let demand = &state.shapes[shape as usize].key.demand;
            if let Some(placement) = state.place_in(&state.free(), demand) {
                decisions.extend(self.start(id, &placement, Why::Turn));
                continue;
            }
            let Some(job) = self.waiting.get(&id) else { return };
            let promises = self.promises(job);
            if !promises.is_empty() {
                self.become_keeper(pool, id, promises);
            } else if let Wanted::AllBut(shapes) = &mut hopeless {
                shapes.extend(state.shapes_like(demand));
            }
        }
        if self.policy.backfill {
            self.backfill(pool, decisions);
        }
    }

    /// The next room of the pool is for this job, and under its limits as well.
    fn become_keeper(&mut self, pool: u32, id: JobId, promises: Vec<Promise>) {
        let state = &mut self.pools[pool as usize];
        state.keeper = Some(id);
        state.promises = promises;
        self.number_keeper(id);
        let Some(scopes) = self.waiting.get(&id).map(|job| job.scopes) else { return };
        scopes.iter().for_each(|scope| self.refresh_scope(scope));
        self.keep_scopes(id, &self.ledger.unkept(scopes));
    }

    /// Starts what does not delay the pool's keeper.
    fn backfill(&mut self, pool: u32, decisions: &mut Vec<Decision>) {
        let at = pool as usize;
        let Some(ahead) = self.pools[at].keeper else { return };
        let mut wanted: Option<Wanted> = None;
        loop {
            let state = &self.pools[at];
            let Some(reserved_at) = state.promises.first().map(|p| p.at) else { return };
            let rooms = state.rooms();
            let now = self.now;
            let fits = |shape: ShapeIx| {
                let shape = &state.shapes[shape as usize];
                shape.waiting > 0 && state.place_in(rooms.until(shape.end(now)), &shape.key.demand).is_some()
            };
            // Room only shrinks from here: what does not fit now need not be asked again.
            let wanted = match &mut wanted {
                Some(wanted) => {
                    wanted.retain(fits);
                    wanted
                }
                none => {
                    // Two ways lead there: to be short, or to be small beside what is kept.
                    let short = state.shapes_until(reserved_at.0.saturating_sub(now.0));
                    let mut list: Vec<ShapeIx> =
                        short.chain(state.shapes_within(rooms.beyond())).filter(|s| fits(*s)).collect();
                    list.sort_unstable();
                    list.dedup();
                    none.insert(Wanted::these(list, state.shapes.len()))
                }
            };
            if wanted.is_empty() {
                return;
            }
            let Some((id, shape)) = self.pick(pool, wanted) else { return };
            let state = &self.pools[at];
            let shape = &state.shapes[shape as usize];
            let end = shape.end(now);
            let Some(placement) = state.place_in(rooms.until(end), &shape.key.demand) else { return };
            let parts = placement.parts(&shape.key.demand);
            decisions.extend(self.start(id, &placement, Why::Backfill { ahead, reserved_at }));
            for promise in self.pools[at].promises.iter_mut().filter(|p| p.at < end) {
                for (node, part) in &parts {
                    let beside = &mut promise.beside[*node as usize];
                    *beside = beside.minus(*part);
                }
            }
        }
    }

    /// The first job in order, of a wanted shape, that no limit keeps from starting. Those before it that a limit keeps
    /// become the keepers of its next room.
    fn pick(&mut self, pool: u32, wanted: &Wanted) -> Option<(JobId, ShapeIx)> {
        let Self { pools, ledger, waiting, pass, now, .. } = self;
        let state = &mut pools[pool as usize];
        let shapes = &state.shapes;
        let mut held_up: Vec<(JobId, Vec<ScopeIx>)> = Vec::new();
        let mut may = |shape: ShapeIx, turn: Turn| {
            let (Some(job), shape) = (waiting.get(&turn.id), &shapes[shape as usize]) else { return false };
            match hindrance(ledger, waiting, turn.id, job, &shape.counted, shape.end(*now)) {
                None => true,
                Some(Hindrance::Limit(..)) => {
                    held_up.push((turn.id, ledger.short_of(job.scopes, &shape.counted)));
                    false
                }
                Some(Hindrance::Never(..) | Hindrance::Kept(_)) => false,
            }
        };
        let found = state.root.pick(*pass, wanted, &|scope| ledger.open(scope), &mut may);
        for (id, mut scopes) in held_up {
            scopes.retain(|scope| self.ledger.at(*scope).keeper.is_none());
            self.keep_scopes(id, &scopes);
        }
        let found = found?;
        // A keeper that has just come may stand in its way: then the next look decides.
        let job = self.waiting.get(&found.turn.id)?;
        if self.hindrance(found.turn.id, job).is_some() {
            return self.pick(pool, wanted);
        }
        Some((found.turn.id, found.shape))
    }

    /// The job holds its reserve from now on.
    fn start(&mut self, id: JobId, placement: &Placement, why: Why) -> Option<Decision> {
        let job = self.waiting.get(&id)?;
        let candidate = self.candidate(id, job);
        let pool = job.pool;
        let state = &self.pools[pool as usize];
        let (held, counted) = {
            let shape = &state.shapes[job.shape as usize];
            (shape.reserve, shape.counted)
        };
        let name = |node: u32| state.nodes[node as usize].name.clone();
        let decision = Decision {
            job: id,
            pool: state.name.clone(),
            node: name(placement.node),
            executors: placement.executors.iter().map(|(node, n)| (name(*node), *n)).collect(),
            why,
        };
        let job = self.stop_waiting(id, Some(held))?;
        self.run(Running {
            end: expected_end(self.now, candidate.run_time.at_most, self.now),
            parts: placement.parts(&candidate.demand),
            candidate,
            pool,
            path: job.path,
            scopes: job.scopes,
            held,
            counted,
            node: decision.node.clone(),
            executors: decision.executors.clone(),
            since: self.now,
            admitted: self.now,
        });
        Some(decision)
    }
}

fn hindrance(
    ledger: &Ledger,
    waiting: &std::collections::BTreeMap<JobId, Waiting>,
    id: JobId,
    job: &Waiting,
    counted: &Counted,
    end: Timestamp,
) -> Option<Hindrance> {
    let mine = job.keeps.unwrap_or(u64::MAX);
    let first =
        |keeper: JobId| waiting.get(&keeper).and_then(|k| k.keeps).is_some_and(|theirs| theirs < mine);
    ledger.hindrance(job.scopes, counted, id, end, first)
}
