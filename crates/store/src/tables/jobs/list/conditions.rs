//! The conditions of a filter, each with the index that lists its jobs by their ids.

use libra_core::id::JobId;
use libra_core::job::State;
use libra_core::mode::Mode;
use libra_core::time::Timestamp;

use super::Filter;

/// A condition whose jobs an index lists by their ids.
pub(super) struct Condition {
    pub(super) table: &'static str,
    /// The column with the job's id.
    pub(super) id: &'static str,
    /// What the index begins with: columns and their values.
    pub(super) equal: Vec<(&'static str, String)>,
    /// The column that follows and its values, each with an order of its own.
    pub(super) one_of: Option<(&'static str, Vec<&'static str>)>,
    /// What the index holds besides, and is looked at there.
    pub(super) within: Option<(&'static str, String)>,
}

impl Condition {
    /// Lookups that it takes to see whether it holds for a job.
    pub(super) fn lookups(&self) -> u64 {
        self.one_of.as_ref().map_or(1, |(_, values)| values.len() as u64)
    }

    fn of_specs(column: &'static str, value: String) -> Self {
        Self { equal: vec![(column, value)], ..Self::always() }
    }

    /// Holds for every job.
    fn always() -> Self {
        Self { table: "job_specs", id: "job_id", equal: Vec::new(), one_of: None, within: None }
    }
}

/// Ids: those at or after `least` that come before `before`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Range {
    pub(super) least: Option<JobId>,
    pub(super) before: Option<JobId>,
}

impl Range {
    /// Those of them that come before `id`.
    pub(super) fn before(self, id: Option<JobId>) -> Self {
        let before = match (self.before, id) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self { before, ..self }
    }
}

/// A time within a millisecond. Ids tell nothing finer than that, so that the jobs of this one millisecond are looked at.
pub(super) enum Moment {
    /// Submitted at this time or later, which jobs from this id on are.
    Since(Timestamp, JobId),
    /// Submitted before this time, which jobs before this id are.
    Until(Timestamp, JobId),
}

/// Microseconds in the unit of time that ids hold.
const ID_UNIT: i64 = 1_000;

/// The least id of the millisecond of `at`.
fn first_at(at: Timestamp) -> JobId {
    JobId::new(at, [0; 10])
}

/// The least id of the first millisecond that begins at `at` or later.
fn first_from(at: Timestamp) -> JobId {
    first_at(Timestamp(at.0.saturating_add(ID_UNIT - 1)))
}

/// The least id of the millisecond after that of `id`.
pub(super) fn first_after(id: JobId) -> JobId {
    first_at(Timestamp(id.made_at().0.saturating_add(ID_UNIT)))
}

/// A filter with everything in the form in which the database has it.
pub(super) struct Conditions {
    /// At least one.
    pub(super) all: Vec<Condition>,
    pub(super) range: Range,
    pub(super) moments: Vec<Moment>,
}

impl Conditions {
    /// None when no job can meet them.
    pub(super) fn of(filter: &Filter) -> Option<Self> {
        let mut all = Vec::new();
        for (key, value) in &filter.labels {
            let equal = vec![("key", key.clone()), ("value", value.clone())];
            all.push(Condition { table: "job_labels", equal, ..Condition::always() });
        }
        let columns = [
            ("name", filter.name.clone()),
            ("queue", filter.queue.clone()),
            ("cluster", filter.cluster.clone()),
            ("kind", filter.kind.map(|kind| kind.as_str().to_owned())),
        ];
        all.extend(
            columns.into_iter().filter_map(|(column, value)| Some(Condition::of_specs(column, value?))),
        );

        let states = (filter.states.len() < State::ALL.len()).then_some(&filter.states);
        let states: Vec<&'static str> = states.into_iter().flatten().map(|state| state.as_str()).collect();
        let user = filter.user.clone().map(|user| ("user_id", user));
        let tenant = filter.tenant.clone().map(|tenant| ("tenant", tenant));
        // The indexes of a user's jobs hold the tenant.
        let (tenant, within) = if user.is_some() { (None, tenant) } else { (tenant, None) };
        if !states.is_empty() {
            let equal = user.into_iter().collect();
            all.push(Condition { table: "jobs", id: "id", equal, one_of: Some(("state", states)), within });
        } else if let Some((column, user)) = user {
            all.push(Condition { within, ..Condition::of_specs(column, user) });
        }
        all.extend(tenant.map(|(column, tenant)| Condition::of_specs(column, tenant)));

        let modes: Vec<&'static str> = Mode::ALL
            .into_iter()
            .filter(|mode| filter.mode.is_none_or(|wanted| wanted == *mode))
            .filter(|mode| filter.engine.as_ref().is_none_or(|engine| mode.engine() == engine))
            .map(Mode::as_str)
            .collect();
        if modes.is_empty() {
            return None;
        }
        if modes.len() < Mode::ALL.len() {
            all.push(Condition { one_of: Some(("mode", modes)), ..Condition::always() });
        }
        if all.is_empty() {
            all.push(Condition::always());
        }

        let uneven = |at: &Timestamp| at.0 % ID_UNIT != 0;
        let since = filter.since.filter(uneven).map(|at| Moment::Since(at, first_from(at)));
        let until = filter.until.filter(uneven).map(|at| Moment::Until(at, first_at(at)));
        Some(Self {
            all,
            range: Range { least: filter.since.map(first_at), before: filter.until.map(first_from) },
            moments: since.into_iter().chain(until).collect(),
        })
    }
}
