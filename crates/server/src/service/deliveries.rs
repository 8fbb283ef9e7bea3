//! Messages to webhooks as people see them: read, and sent again (contract A12).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libra_api::feed::{ReplayView, WebhookListView, WebhookView};
use libra_api::problem::Code;
use libra_core::id::JobId;
use libra_store::tables::deliveries::{self, DeliveryFilter, Place, Standing};

use super::{Service, ServiceError, view};
use crate::auth::{Principal, Role, may_see};

/// Messages replayed in one transaction.
const REPLAYED_AT_ONCE: u32 = 1_000;

/// Which messages to list.
pub(crate) struct WebhookQuery {
    pub(crate) standing: Option<Standing>,
    pub(crate) job: Option<JobId>,
    pub(crate) limit: u32,
    pub(crate) cursor: Option<String>,
}

impl Service {
    /// A page of messages about jobs that `principal` may see.
    pub(crate) async fn webhooks(
        &self,
        principal: &Principal,
        query: WebhookQuery,
    ) -> Result<WebhookListView, ServiceError> {
        let from = query.cursor.as_deref().map(|c| read_cursor(c, query.standing)).transpose()?;
        let filter = DeliveryFilter { standing: query.standing, job: query.job, owner: owner(principal) };
        let (found, next) = self.db.read(move |tx| deliveries::list(tx, &filter, from, query.limit)).await?;
        let now = self.clock.now();
        Ok(WebhookListView {
            webhooks: found.into_iter().map(|d| view::webhook(d, now)).collect(),
            next_cursor: next.map(|place| write_cursor(place, query.standing)),
        })
    }

    /// Sends one message again: one that was given up gets all its tries anew, one that is pending its next one now.
    pub(crate) async fn replay_webhook(
        &self,
        principal: &Principal,
        id: &str,
    ) -> Result<WebhookView, ServiceError> {
        let number: i64 = id.parse().map_err(|_| webhook_not_found(id))?;
        let found = self.db.read(move |tx| deliveries::get(tx, number)).await?;
        // Who may not see it is told the same as if there were none.
        if found.is_none_or(|d| !may_see(principal, &d.user, &d.tenant)) {
            return Err(webhook_not_found(id));
        }
        let (replayed, after) = self
            .db
            .write(move |tx| Ok((deliveries::replay(tx, number)?, deliveries::get(tx, number)?)))
            .await?;
        let after = after.ok_or_else(|| webhook_not_found(id))?;
        if !replayed {
            let message = format!("message {number} was already delivered; it is not sent again");
            return Err(ServiceError::new(Code::AlreadyDelivered, message));
        }
        tracing::info!(webhook = number, job_id = %after.job_id, user_id = %principal.user, "a webhook is sent again");
        Ok(view::webhook(after, self.clock.now()))
    }

    /// Sends again what was given up, about one job or about all that `principal` may see.
    pub(crate) async fn replay_dead_webhooks(
        &self,
        principal: &Principal,
        job: Option<JobId>,
    ) -> Result<ReplayView, ServiceError> {
        let filter = DeliveryFilter { standing: Some(Standing::Dead), job, owner: owner(principal) };
        // What dies again meanwhile is not replayed again.
        let until = self.db.read(|tx| tx.now()).await?;
        let mut replayed = 0;
        loop {
            let filter = filter.clone();
            let some = self
                .db
                .write(move |tx| deliveries::replay_dead(tx, &filter, until, REPLAYED_AT_ONCE))
                .await?;
            replayed += some;
            if some < u64::from(REPLAYED_AT_ONCE) {
                break;
            }
        }
        tracing::info!(replayed, user_id = %principal.user, "webhooks that were given up are sent again");
        Ok(ReplayView { replayed })
    }
}

/// Whose messages `principal` sees; None = everybody's.
fn owner(principal: &Principal) -> Option<(String, String)> {
    match principal.role {
        Role::Admin => None,
        Role::Viewer | Role::Developer => Some((principal.user.clone(), principal.tenant.clone())),
    }
}

fn webhook_not_found(id: &str) -> ServiceError {
    let shown: String = id.chars().take(40).collect();
    ServiceError::new(Code::WebhookNotFound, format!("there is no webhook message {shown}"))
}

fn write_cursor((at, id): Place, standing: Option<Standing>) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{at}:{id}", standing.map_or("", Standing::as_str)))
}

fn read_cursor(cursor: &str, standing: Option<Standing>) -> Result<Place, ServiceError> {
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let text = std::str::from_utf8(&bytes).ok()?;
        let (of, place) = text.split_once(':')?;
        let (at, id) = place.split_once(':')?;
        (of == standing.map_or("", Standing::as_str)).then_some((at.parse().ok()?, id.parse().ok()?))
    };
    read().ok_or_else(|| {
        ServiceError::query("cursor", "is not one that this list gave out; begin again without a cursor")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_works_for_its_own_list_only() {
        let cursor = write_cursor((17, 3), Some(Standing::Dead));
        assert_eq!(read_cursor(&cursor, Some(Standing::Dead)).unwrap(), (17, 3));
        assert!(read_cursor(&cursor, Some(Standing::Pending)).is_err());
        assert!(read_cursor(&cursor, None).is_err());
        for text in ["", "x", "!!!!", "AAAA"] {
            assert!(read_cursor(text, None).is_err(), "{text}");
        }
    }
}
