//! The change feed and the webhooks: what is told to the world, and how that goes (contract A10, A12).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::views::EventView;

/// One event of the feed: a row of a job's history, with the job it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FeedEventView {
    /// The job.
    pub job_id: String,
    /// Who submitted it.
    pub user: String,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What happened; `seq` is its number.
    #[serde(flatten)]
    pub event: EventView,
}

/// A piece of the feed, in the order of the numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FeedPageView {
    /// What happened.
    pub events: Vec<FeedEventView>,
    /// Hand this back as `after` for the next piece. It moves on also where nothing matched.
    pub next_after: i64,
}

/// A message to a webhook, and how its delivery goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookView {
    /// Its id.
    pub id: i64,
    /// What the header `webhook-id` says: the same in every try.
    pub webhook_id: String,
    /// The job it tells of.
    pub job_id: String,
    /// The state it tells of.
    pub event: String,
    /// Where it goes.
    pub target: String,
    /// `pending`, `delivered` or `dead` (given up).
    pub state: String,
    /// How often it was sent, since it was written or last replayed.
    pub tries: u32,
    /// When it was written.
    pub created_at: String,
    /// When it is sent next, while it is pending; absent when that is at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try_at: Option<String>,
    /// When its target took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<String>,
    /// When it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_at: Option<String>,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// What is sent.
    pub payload: Value,
}

/// A page of messages. Pending ones: the next due first; dead ones: the last given up first; else the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookListView {
    /// The messages.
    pub webhooks: Vec<WebhookView>,
    /// Hand this back as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// How many messages were given another chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplayView {
    /// Messages.
    pub replayed: u64,
}
