//! New jobs, in one statement: their rows, labels, log and messages, and the answers to repeat.
//!
//! A connection that is lost in the middle leaves it open whether the jobs are stored. Then their ids are looked for
//! before anything else is done, so that each sender is told the truth (contract A6).

mod room;
mod statement;

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::types::ToSql;

use super::Command;
use crate::error::StoreError;
use crate::lane::{Submission, Submitted};
use crate::postgres::connection::{Connection, Failure};
use crate::postgres::pool::Pool;
use crate::postgres::rows::{Of, Rows, unnest};
use crate::postgres::tx::{Begin, begin};
use crate::tx::Arg;
use room::{Counted, Known};
use statement::{Prepared, Tickets, insert};

/// How often a batch whose connection was lost is looked for and sent again.
const MAX_LOST: u32 = 3;
/// A server that is away is waited for this long by those who don't know whether their jobs are stored: longer than
/// by others, because nobody can tell their senders what to do.
const OUTCOME_LIMIT: Duration = Duration::from_secs(15);

/// What storing jobs takes.
pub(in crate::postgres) struct Store {
    pool: Arc<Pool>,
    room: Known,
}

impl Store {
    pub(in crate::postgres) fn new(pool: Arc<Pool>) -> Self {
        Self { pool, room: Known::default() }
    }
}

/// What went wrong with a batch.
enum Wrong {
    Server(Failure),
    Here(StoreError),
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Self {
        Self::Server(failure)
    }
}

impl From<StoreError> for Wrong {
    fn from(e: StoreError) -> Self {
        Self::Here(e)
    }
}

impl From<Wrong> for StoreError {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::Server(failure) => failure.into(),
            Wrong::Here(e) => e,
        }
    }
}

impl Command for Submission {
    type Answer = Submitted;
    type Store = Store;

    /// Requests with the same key take turns, so that the second finds the first one's answer.
    fn key(&self) -> impl Hash {
        let mut hasher = DefaultHasher::new();
        match &self.idempotency {
            Some(kept) => (&kept.scope, &kept.key).hash(&mut hasher),
            None => self.job.id.hash(&mut hasher),
        }
        hasher.finish()
    }

    fn bytes(&self) -> usize {
        statement::bytes(self)
    }

    async fn write(store: &Arc<Store>, batch: Vec<Self>) -> Vec<Result<Submitted, StoreError>> {
        let mut answers: Vec<Option<Result<Submitted, StoreError>>> = batch.iter().map(|_| None).collect();
        let prepared: Vec<(usize, Prepared<'_>)> = batch
            .iter()
            .enumerate()
            .filter_map(|(place, new)| match Prepared::of(new) {
                Ok(prepared) => Some((place, prepared)),
                Err(e) => {
                    answers[place] = Some(Err(e));
                    None
                }
            })
            .collect();
        for (place, answer) in all(store, &prepared).await {
            answers[place] = Some(answer);
        }
        answers.into_iter().map(|answer| answer.unwrap_or(Err(StoreError::Closed))).collect()
    }
}

type Placed<'a> = (usize, Prepared<'a>);
type Answers = Vec<(usize, Result<Submitted, StoreError>)>;

/// Stores a batch: through lost connections, and one by one where that fails because of one of its members.
async fn all(store: &Store, batch: &[Placed<'_>]) -> Answers {
    let mut answers = Answers::new();
    let mut parts: VecDeque<Vec<&Placed<'_>>> = VecDeque::from([batch.iter().collect()]);
    let mut lost = 0;
    while let Some(part) = parts.pop_front() {
        if part.is_empty() {
            continue;
        }
        let wrong = match attempt(store, &part).await {
            Ok(stored) => {
                answers.extend(stored.into_iter().map(|(place, submitted)| (place, Ok(submitted))));
                continue;
            }
            Err(wrong) => wrong,
        };
        let e = match wrong {
            Wrong::Server(failure) if failure.is_lost() && lost < MAX_LOST => {
                lost += 1;
                store.pool.forget_idle();
                match look_for(store, &part, &mut answers).await {
                    Ok(rest) => {
                        parts.push_front(rest);
                        continue;
                    }
                    Err(_) => failure.into(),
                }
            }
            Wrong::Server(failure) if part.len() > 1 && failure.perhaps_one_by_one() => {
                parts.extend(part.into_iter().map(|one| vec![one]));
                continue;
            }
            // What was sent before a connection was lost may have arrived after it was looked for.
            Wrong::Server(failure) if lost > 0 && failure.is_unique_violation() => {
                match look_for(store, &part, &mut answers).await {
                    Ok(rest) if rest.is_empty() => continue,
                    Ok(_) | Err(_) => failure.into(),
                }
            }
            Wrong::Here(StoreError::Unreachable(why)) if lost > 0 => StoreError::Interrupted(why),
            wrong => StoreError::from(wrong),
        };
        answers.extend(part.iter().map(|(place, _)| (*place, Err(e.clone()))));
    }
    answers
}

/// Answers for those that are stored after all; gives back the others.
async fn look_for<'b, 'a>(
    store: &Store,
    part: &[&'b Placed<'a>],
    answers: &mut Answers,
) -> Result<Vec<&'b Placed<'a>>, StoreError> {
    let ids: Vec<&str> = part.iter().map(|(_, new)| new.id.as_str()).collect();
    let until = Instant::now() + OUTCOME_LIMIT;
    let mut connection = loop {
        match store.pool.get().await {
            Err(StoreError::Unreachable(_)) if Instant::now() < until => {}
            got => break got?,
        }
    };
    let found = connection.query("SELECT id FROM jobs WHERE id = ANY($1::text[])", &[&ids]).await?;
    let there: HashSet<&str> = found.iter().map(|row| row.get(0)).collect();
    let (stored, rest): (Vec<_>, Vec<_>) =
        part.iter().copied().partition(|(_, new)| there.contains(new.id.as_str()));
    answers.extend(stored.into_iter().map(|(place, _)| (*place, Ok(Submitted::Stored))));
    Ok(rest)
}

/// Stores what there is room for.
async fn attempt(store: &Store, part: &[&Placed<'_>]) -> Result<Vec<(usize, Submitted)>, Wrong> {
    let bounds = part.iter().map(|(_, new)| new.submission.max_queued);
    if let Some(until) = store.room.until(bounds, part.len()) {
        if part.iter().all(|(_, new)| new.submission.idempotency.is_none()) {
            let new: Vec<&Prepared<'_>> = part.iter().map(|(_, new)| new).collect();
            let mut connection = store.pool.get().await?;
            if insert(&mut connection, &new, Tickets::Until(until)).await? {
                return Ok(part.iter().map(|(place, _)| (*place, Submitted::Stored)).collect());
            }
        } else if let Some(answers) = in_transaction(store, part, Room::Until(until)).await? {
            return Ok(answers);
        }
    }
    Ok(in_transaction(store, part, Room::Counted).await?.unwrap_or_default())
}

/// How it is made sure that there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// By drawing tickets: there is, if they are not greater than this one.
    Until(i64),
    /// By counting the queue while nobody else enters it.
    Counted,
}

/// Stores in a transaction what there is room for; None when there is not certainly room for all.
async fn in_transaction(
    store: &Store,
    part: &[&Placed<'_>],
    room: Room,
) -> Result<Option<Vec<(usize, Submitted)>>, Wrong> {
    let mut connection = begin(&store.pool, Begin::Write).await?;
    let done = match room {
        // Before the keys: whoever waits for a key must not be waited for here.
        Room::Until(until) => match room::draw(&mut connection, part.len()).await {
            Ok(drawn) if drawn <= until => write(&mut connection, part, None).await.map(Some),
            Ok(_) => Ok(None),
            Err(failure) => Err(failure.into()),
        },
        Room::Counted => {
            let most = part.iter().map(|(_, new)| new.submission.max_queued).max().unwrap_or(0);
            match room::count(&mut connection, most).await {
                Ok(counted) => write(&mut connection, part, Some(counted)).await.map(Some),
                Err(failure) => Err(failure.into()),
            }
        }
    };
    let end = if matches!(done, Ok(Some(_))) { "COMMIT" } else { "ROLLBACK" };
    let ended = connection.batch(end).await;
    connection.set_clean(ended.is_ok());
    match (done, ended) {
        (Ok(Some((answers, counted))), Ok(())) => {
            if let Some(counted) = counted {
                store.room.counted(counted);
            }
            Ok(Some(answers))
        }
        (Ok(None), _) => Ok(None),
        (Ok(Some(_)), Err(failure)) => Err(failure.into()),
        (Err(wrong), _) => Err(wrong),
    }
}

type Written = (Vec<(usize, Submitted)>, Option<Counted>);

/// Keys first, then as many of the others as there is room for: all of them when the queue was not counted.
async fn write(
    connection: &mut Connection,
    part: &[&Placed<'_>],
    counted: Option<Counted>,
) -> Result<Written, Wrong> {
    let kept = reserve(connection, part).await?;
    let mut queued = counted.map_or(0, |c| c.queued);
    let (mut answers, mut new, mut unused) = (Vec::with_capacity(part.len()), Vec::new(), Vec::new());
    for (place, prepared) in part {
        let key = prepared.submission.idempotency.as_ref();
        if let Some(key) = key
            && let Some(kept) = kept.get(&(key.scope.as_str(), key.key.as_str()))
        {
            let same = kept.body_hash == key.body_hash;
            let replay = Submitted::Replayed { status: kept.status, response: kept.response.clone() };
            answers.push((*place, if same { replay } else { Submitted::KeyReused }));
        } else if counted.is_some() && queued >= prepared.submission.max_queued {
            answers.push((*place, Submitted::QueueFull));
            unused.extend(key);
        } else {
            queued += 1;
            answers.push((*place, Submitted::Stored));
            new.push(prepared);
        }
    }
    if !unused.is_empty() {
        let scopes: Vec<&str> = unused.iter().map(|k| k.scope.as_str()).collect();
        let keys: Vec<&str> = unused.iter().map(|k| k.key.as_str()).collect();
        let sql = "DELETE FROM idempotency i USING unnest($1::text[], $2::text[]) AS u(scope, key) \
                   WHERE i.scope = u.scope AND i.key = u.key";
        connection.execute(sql, &[&scopes, &keys]).await?;
    }
    if !new.is_empty() {
        // After a count others still have to see that these have entered.
        let tickets = if counted.is_some() { Tickets::Until(i64::MAX) } else { Tickets::Drawn };
        insert(connection, &new, tickets).await?;
    }
    Ok((answers, counted))
}

/// An answer that was kept.
struct Kept {
    body_hash: String,
    status: u16,
    response: String,
}

/// What is kept with a key.
const KEYS: [(&str, Of); 7] = [
    ("scope", Of::Text),
    ("key", Of::Text),
    ("body_hash", Of::Text),
    ("job_id", Of::Text),
    ("status", Of::Int),
    ("response", Of::Text),
    ("created_at", Of::Int),
];

/// Takes the keys of the batch; answers what is kept of those that were taken before. Waits for another replica that
/// is taking one of them.
async fn reserve<'a>(
    connection: &mut Connection,
    batch: &[&'a Placed<'_>],
) -> Result<HashMap<(&'a str, &'a str), Kept>, Wrong> {
    let mut rows = Rows::new(&KEYS);
    let mut taken = HashMap::new();
    for (_, new) in batch {
        if let Some(key) = &new.submission.idempotency {
            rows.push([
                Arg::from(&key.scope),
                Arg::from(&key.key),
                Arg::from(&key.body_hash),
                Arg::from(&new.id),
                Arg::Int(i64::from(key.status)),
                Arg::from(&key.response),
                new.submission.origin.at.0.into(),
            ]);
            taken.insert(new.id.as_str(), key);
        }
    }
    if taken.is_empty() {
        return Ok(HashMap::new());
    }
    let arguments: Vec<&(dyn ToSql + Sync)> = rows.arguments().collect();
    // In the order of the keys, so that two replicas that take the same ones wait for each other in one direction.
    let sql = format!(
        "INSERT INTO idempotency (scope, key, body_hash, job_id, status, response, created_at) \
         SELECT k.scope, k.key, k.body_hash, k.job_id, k.status, k.response, k.created_at FROM {} \
         ORDER BY k.scope, k.key ON CONFLICT (scope, key) DO NOTHING RETURNING job_id",
        unnest("k", &KEYS, 0)
    );
    for row in connection.query(&sql, &arguments).await? {
        taken.remove(row.get::<_, &str>(0));
    }
    let mut kept = HashMap::new();
    if taken.is_empty() {
        return Ok(kept);
    }
    let scopes: Vec<&str> = taken.values().map(|k| k.scope.as_str()).collect();
    let keys: Vec<&str> = taken.values().map(|k| k.key.as_str()).collect();
    let sql = "SELECT i.scope, i.key, i.body_hash, i.status, i.response \
               FROM unnest($1::text[], $2::text[]) AS u(scope, key) \
               JOIN idempotency i ON i.scope = u.scope AND i.key = u.key";
    let found = connection.query(sql, &[&scopes, &keys]).await?;
    for key in taken.values() {
        let row =
            found.iter().find(|row| row.get::<_, &str>(0) == key.scope && row.get::<_, &str>(1) == key.key);
        // The answer was forgotten with its job between the two statements: the caller tries again.
        let row = row.ok_or_else(|| StoreError::Database("a kept answer has just gone; try again".into()))?;
        let status = u16::try_from(row.get::<_, i64>(3)).map_err(|e| StoreError::unreadable("status", e))?;
        kept.insert(
            (key.scope.as_str(), key.key.as_str()),
            Kept { body_hash: row.get(2), status, response: row.get(4) },
        );
    }
    Ok(kept)
}
