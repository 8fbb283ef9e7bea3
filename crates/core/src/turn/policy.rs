//! The rules that an operator sets: shares and limits.

use std::collections::BTreeMap;

use super::demand::{Demand, Micros};
use super::resources::{Dimension, Held, Resources};
use crate::mode::Mode;
use crate::time::MICROS_PER_SECOND;

/// A head start of ten minutes for each step of priority.
pub const PRIORITY_STEP: Micros = 600 * MICROS_PER_SECOND;
/// What was held over the past hour counts.
pub const MEMORY: Micros = 3_600 * MICROS_PER_SECOND;
/// The queue of a job that names none.
pub const DEFAULT_QUEUE: &str = "default";

/// What may be held at once; None = any amount. Zero means that nothing may run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Jobs that run at once.
    pub jobs: Option<u64>,
    /// Cores of all running jobs, wherever they are.
    pub cores: Option<u64>,
    /// Memory of all running jobs, in bytes.
    pub memory: Option<u64>,
    /// GPUs of all running jobs.
    pub gpus: Option<u64>,
}

/// What a quota is short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// One more job is too many.
    Jobs,
    /// There is not enough of this.
    Of(Dimension),
}

impl Quota {
    /// True when nothing is limited.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// True when it limits more than the number of jobs. Only then is room kept: of single jobs each is as large as the
    /// next one, so whose turn it is gets the room, and nobody waits for ever.
    pub fn limits_amounts(&self) -> bool {
        self.cores.is_some() || self.memory.is_some() || self.gpus.is_some()
    }

    /// The most that may be held, with the greatest number where nothing is said.
    pub fn most(&self) -> Held {
        let any = u64::MAX;
        Held {
            jobs: self.jobs.unwrap_or(any),
            resources: Resources {
                cores: self.cores.unwrap_or(any),
                memory: self.memory.unwrap_or(any),
                gpus: self.gpus.unwrap_or(any),
                slots: any,
            },
        }
    }

    /// What `held` is too much of, if anything.
    pub fn exceeded_by(&self, held: &Held) -> Option<Short> {
        let most = self.most();
        if held.jobs > most.jobs {
            return Some(Short::Jobs);
        }
        held.resources.shortage(&most.resources).map(Short::Of)
    }
}

/// Limits of a queue, a tenant or a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// What may be held at once.
    pub running: Quota,
    /// Jobs that may wait at once; asked at submission.
    pub queued: Option<u64>,
    /// Submissions within any minute; asked at submission.
    pub per_minute: Option<u64>,
}

/// A weight, and limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// The weight against others beside it. Zero: it gets what nobody else wants.
    pub share: u32,
    /// What it may have at all.
    pub limits: Limits,
}

impl Default for Shares {
    fn default() -> Self {
        Self { share: 1, limits: Limits::default() }
    }
}

/// Who is limited.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// All jobs together.
    All,
    /// The jobs of one mode.
    Mode(Mode),
    /// What jobs hold on a cluster that is no pool of ours.
    Cluster(String),
    /// The jobs of one queue.
    Queue(String),
    /// The jobs of one tenant.
    Tenant(String),
    /// The jobs of one user, in one tenant: people of the same name in two tenants are two.
    User(String, String),
}

/// In which order jobs stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Discipline {
    /// As the module says.
    #[default]
    Fair,
    /// By priority and submission alone, whoever they are from. With [`Policy::priority_step`] 0: first come, first served.
    InOrder,
}

/// Everything that an operator decides about turns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The order of jobs.
    pub discipline: Discipline,
    /// Whether a later job may start while the first one waits for room.
    pub backfill: bool,
    /// The head start for each step of priority, in microseconds.
    pub priority_step: Micros,
    /// How far back it counts what somebody held, in microseconds; 0 = only the present counts.
    pub memory: Micros,
    /// What all jobs may hold together.
    pub all: Quota,
    /// What each mode may hold.
    pub modes: BTreeMap<Mode, Quota>,
    /// What jobs may hold on clusters that are no pools of ours.
    pub clusters: BTreeMap<String, Quota>,
    /// What the workers of those clusters have, by their masters' words.
    pub workers: BTreeMap<String, Resources>,
    /// The queues. A job may name only these, once there are any.
    pub queues: BTreeMap<String, Shares>,
    /// Tenants by name.
    pub tenants: BTreeMap<String, Shares>,
    /// Every other tenant.
    pub tenant_default: Shares,
    /// Users by name.
    pub users: BTreeMap<String, Limits>,
    /// Every other user.
    pub user_default: Limits,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            discipline: Discipline::Fair,
            backfill: true,
            priority_step: PRIORITY_STEP,
            memory: MEMORY,
            all: Quota::default(),
            modes: BTreeMap::new(),
            clusters: BTreeMap::new(),
            workers: BTreeMap::new(),
            queues: BTreeMap::new(),
            tenants: BTreeMap::new(),
            tenant_default: Shares::default(),
            users: BTreeMap::new(),
            user_default: Limits::default(),
        }
    }
}

/// A queue that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no queue `{name}`; there are: {}", known.join(", "))]
pub struct UnknownQueue {
    /// What was asked for.
    pub name: String,
    /// Those that exist.
    pub known: Vec<String>,
}

impl Policy {
    /// First come, first served; with `backfill` later jobs may start where they do not delay the first (EASY).
    pub fn first_come(backfill: bool) -> Self {
        Self { discipline: Discipline::InOrder, backfill, priority_step: 0, memory: 0, ..Self::default() }
    }

    /// The queue of this name. Without any configured queue there is one, `default`.
    ///
    /// # Errors
    /// When there is none of this name: with those that exist.
    pub fn queue(&self, name: &str) -> Result<Shares, UnknownQueue> {
        match self.queues.get(name) {
            Some(queue) => Ok(*queue),
            None if name == DEFAULT_QUEUE => Ok(Shares::default()),
            None => {
                let mut known: Vec<String> = self.queues.keys().cloned().collect();
                if known.iter().all(|k| k != DEFAULT_QUEUE) {
                    known.push(DEFAULT_QUEUE.into());
                }
                Err(UnknownQueue { name: name.into(), known })
            }
        }
    }

    /// The tenant's weight and limits.
    pub fn tenant(&self, name: &str) -> Shares {
        self.tenants.get(name).copied().unwrap_or(self.tenant_default)
    }

    /// The user's limits.
    pub fn user(&self, name: &str) -> Limits {
        self.users.get(name).copied().unwrap_or(self.user_default)
    }

    /// The limits of a scope: what it may hold, and what it may submit.
    pub fn limits(&self, scope: &Scope) -> Limits {
        let running =
            |q: Option<&Quota>| Limits { running: q.copied().unwrap_or_default(), ..Limits::default() };
        match scope {
            Scope::All => running(Some(&self.all)),
            Scope::Mode(mode) => running(self.modes.get(mode)),
            Scope::Cluster(name) => running(Some(&self.cluster(name))),
            // A queue that was taken away while jobs waited in it goes on without limits.
            Scope::Queue(name) => self.queue(name).unwrap_or_default().limits,
            Scope::Tenant(name) => self.tenant(name).limits,
            Scope::User(_, name) => self.user(name),
        }
    }

    /// What jobs may hold on a cluster: no more than its limits, and no more than there is.
    fn cluster(&self, name: &str) -> Quota {
        let limits = self.clusters.get(name).copied().unwrap_or_default();
        let Some(there) = self.workers.get(name) else { return limits };
        let least = |limit: Option<u64>, there: u64| Some(limit.map_or(there, |limit| limit.min(there)));
        Quota {
            cores: least(limits.cores, there.cores),
            memory: least(limits.memory, there.memory),
            ..limits
        }
    }

    /// The limit of `scope` that a job with this demand exceeds alone: its key, and in words with figures. A cluster has what
    /// its limits say: more workers may come.
    pub fn never_allows(&self, scope: &Scope, demand: &Demand) -> Option<(String, String)> {
        let quota = match scope {
            Scope::Cluster(name) => self.clusters.get(name).copied().unwrap_or_default(),
            Scope::All | Scope::Mode(_) | Scope::Queue(_) | Scope::Tenant(_) | Scope::User(..) => {
                self.limits(scope).running
            }
        };
        let need = match scope {
            Scope::Cluster(_) => demand.taken_elsewhere(),
            Scope::All | Scope::Mode(_) | Scope::Queue(_) | Scope::Tenant(_) | Scope::User(..) => {
                demand.counted()
            }
        };
        let short = quota.exceeded_by(&Held::one(need))?;
        let message = match short {
            Short::Jobs => format!("the jobs {} are limited to none at once", scope.words()),
            Short::Of(d) => format!(
                "it needs {}; the jobs {} may hold {}",
                d.words(need.get(d)),
                scope.words(),
                d.figure(quota.most().resources.get(d))
            ),
        };
        let key = match scope {
            Scope::Cluster(name) => cluster_key(name, short),
            Scope::All | Scope::Mode(_) | Scope::Queue(_) | Scope::Tenant(_) | Scope::User(..) => {
                self.key(scope, short)
            }
        };
        Some((key, message))
    }

    /// The configuration key of the limit that `short` is about.
    pub fn key(&self, scope: &Scope, short: Short) -> String {
        let leaf = leaf(short);
        match (scope, short) {
            (Scope::All, Short::Jobs) => "libra.resources.limits.max-concurrent-jobs".into(),
            (Scope::All, Short::Of(_)) => format!("libra.resources.limits.{leaf}"),
            (Scope::Mode(mode), Short::Jobs) => {
                format!("libra.resources.quotas.{}.max-concurrent-jobs", mode.as_str())
            }
            (Scope::Mode(mode), Short::Of(_)) => format!("libra.resources.quotas.{}.{leaf}", mode.as_str()),
            (Scope::Cluster(name), Short::Of(dimension)) if self.is_workers(name, dimension) => {
                format!("libra.clusters.{name}.workers")
            }
            (Scope::Cluster(name), _) => cluster_key(name, short),
            (scope, _) => self.limits_key(scope, leaf),
        }
    }

    /// True when the workers of a cluster have less of this than its limits allow.
    fn is_workers(&self, name: &str, dimension: Dimension) -> bool {
        let configured = self.clusters.get(name).copied().unwrap_or_default().most().resources;
        self.workers
            .get(name)
            .is_some_and(|_| self.cluster(name).most().resources.get(dimension) < configured.get(dimension))
    }

    /// The key of a limit of a queue, a tenant or a user: by its name where it is named, else that of the default.
    pub fn limits_key(&self, scope: &Scope, leaf: &str) -> String {
        let named = |exists: bool, name: &str| if exists { name.to_owned() } else { "default".into() };
        match scope {
            Scope::Queue(name) => format!("libra.queues.{name}.limits.{leaf}"),
            Scope::Tenant(name) => {
                format!("libra.quotas.tenants.{}.{leaf}", named(self.tenants.contains_key(name), name))
            }
            Scope::User(_, name) => {
                format!("libra.quotas.users.{}.{leaf}", named(self.users.contains_key(name), name))
            }
            Scope::All | Scope::Mode(_) | Scope::Cluster(_) => format!("libra.resources.limits.{leaf}"),
        }
    }
}

/// The key of a limit that is configured for a cluster.
fn cluster_key(name: &str, short: Short) -> String {
    format!("libra.clusters.{name}.limits.{}", leaf(short))
}

/// The last part of the key of a limit.
const fn leaf(short: Short) -> &'static str {
    match short {
        Short::Jobs => "running-jobs",
        Short::Of(Dimension::Cores) => "cores",
        Short::Of(Dimension::Memory) => "memory",
        Short::Of(Dimension::Gpus) => "gpus",
        Short::Of(Dimension::Slots) => "slots",
    }
}

impl Scope {
    /// Whom it is about, to stand after a number of jobs: `of tenant blue`.
    pub fn words(&self) -> String {
        match self {
            Self::All => "of all jobs together".into(),
            Self::Mode(mode) => format!("of the mode {}", mode.as_str()),
            Self::Cluster(name) => format!("on the cluster {name}"),
            Self::Queue(name) => format!("of the queue {name}"),
            Self::Tenant(name) => format!("of the tenant {name}"),
            Self::User(_, name) => format!("of the user {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_queue_says_which_there_are() {
        let mut policy = Policy::default();
        assert!(policy.queue("default").is_ok());
        policy.queues.insert("etl".into(), Shares { share: 3, ..Shares::default() });
        let wrong = policy.queue("elt").unwrap_err();
        assert_eq!(wrong.to_string(), "there is no queue `elt`; there are: etl, default");
    }

    #[test]
    fn limits_are_named_by_what_is_configured() {
        let mut policy = Policy::default();
        policy.users.insert("ann".into(), Limits::default());
        let user = |name: &str| Scope::User("t".into(), name.into());
        assert_eq!(policy.key(&user("ann"), Short::Jobs), "libra.quotas.users.ann.running-jobs");
        assert_eq!(policy.key(&user("bob"), Short::Of(Dimension::Cores)), "libra.quotas.users.default.cores");
    }
}
