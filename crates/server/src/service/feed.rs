//! Reading the change feed (contract A10).

use std::sync::Arc;
use std::time::Duration;

use libra_api::feed::FeedEventView;
use libra_api::problem::Code;
use libra_store::tables::feed::{self, FeedFilter};
use tokio::sync::{Semaphore, broadcast};
use tokio::time::{Instant, timeout_at};

use super::{Service, ServiceError, view};
use crate::auth::{Principal, Role};

/// A reader looks this often even when it was not told that there is something new.
const LOOK: Duration = Duration::from_secs(1);

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// With the oldest event that is kept.
    Oldest,
    /// With the next one that happens.
    Now,
    /// After this number.
    Number(i64),
}

/// Goes along the feed. Between two pieces it holds nothing but its place.
pub(crate) struct FeedReader {
    service: Arc<Service>,
    filter: FeedFilter,
    after: i64,
    fed: broadcast::Receiver<()>,
    /// Shared by all readers: so many read the store at the same time.
    turns: Arc<Semaphore>,
}

impl FeedReader {
    /// A reader of what `principal` may see.
    pub(crate) async fn open(
        service: Arc<Service>,
        principal: &Principal,
        mut filter: FeedFilter,
        after: After,
        turns: Arc<Semaphore>,
    ) -> Result<Self, ServiceError> {
        filter.owner = match principal.role {
            Role::Admin => None,
            Role::Viewer | Role::Developer => Some((principal.user.clone(), principal.tenant.clone())),
        };
        let (newest, begins_after) =
            service.db.read(|tx| Ok((feed::newest(tx)?, feed::begins_after(tx)?))).await?;
        let after = match after {
            After::Oldest => begins_after,
            After::Now => newest,
            After::Number(number) if number < begins_after => return Err(expired(begins_after)),
            After::Number(number) if number > newest => {
                let reason = format!("is {number}, but the newest event so far is number {newest}");
                return Err(ServiceError::query("after", reason));
            }
            After::Number(number) => number,
        };
        // Subscribed before the first look: nothing is missed in between.
        let fed = service.signals.fed.subscribe();
        Ok(Self { service, filter, after, fed, turns })
    }

    /// Everything up to this number was looked at.
    pub(crate) fn after(&self) -> i64 {
        self.after
    }

    /// At most `limit` events that follow; as soon as there are any, or none when `deadline` has come.
    pub(crate) async fn next(
        &mut self,
        limit: u32,
        deadline: Instant,
    ) -> Result<Vec<FeedEventView>, ServiceError> {
        loop {
            let (filter, after) = (self.filter.clone(), self.after);
            // Readers that are far behind would take all the store's time together. Nobody closes the semaphore.
            let turn = self.turns.acquire().await;
            let page = self.service.db.read(move |tx| feed::page(tx, &filter, after, limit)).await?;
            drop(turn);
            if page.begins_after > after {
                return Err(expired(page.begins_after));
            }
            self.after = page.next_after;
            if !page.rows.is_empty() {
                return Ok(page.rows.into_iter().map(view::feed_event).collect());
            }
            if page.next_after < page.newest {
                continue;
            }
            if Instant::now() >= deadline {
                return Ok(Vec::new());
            }
            // News, too many news, or time to look: all the same.
            let _ = timeout_at(deadline.min(Instant::now() + LOOK), self.fed.recv()).await;
        }
    }
}

fn expired(begins_after: i64) -> ServiceError {
    let message = format!(
        "events up to number {begins_after} are no longer kept, so some would be missed; begin again with \
         after={begins_after}, or with after=now"
    );
    ServiceError::new(Code::Expired, message)
}
