//! What a node agent asks: to take its samples. And what people ask of observed jobs.

use reqwest::Method;

use super::{CALL_TIMEOUT, Client, ClientError, percent};
use crate::hpc::efficiency::{EfficiencyListView, EfficiencyView};
use crate::hpc::jobs::{HpcJobListView, HpcJobView};
use crate::hpc::samples::BatchAnswer;

/// Who says so, for Libra's record of changes.
const CHANGED_BY: (&str, &str) = ("X-Changed-By", "libra-agent");
/// By which way.
const SOURCE: (&str, &str) = ("X-Source", "agent");

impl Client {
    /// The same client with another key.
    #[must_use]
    pub fn with_token(&self, token: Option<String>) -> Self {
        Self { token, ..self.clone() }
    }

    /// Sends a batch of samples, written as JSON. Sending it twice is as good as once.
    ///
    /// # Errors
    /// As every call; the status of a server that is no Libra is in [`ClientError::NotLibra`].
    pub async fn send_samples(&self, batch: String) -> Result<BatchAnswer, ClientError> {
        let request = self
            .request(Method::POST, "/v1/metrics/batch", &[])
            .timeout(CALL_TIMEOUT)
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .header(CHANGED_BY.0, CHANGED_BY.1)
            .header(SOURCE.0, SOURCE.1)
            .body(batch);
        self.answer(request).await
    }

    /// Observed jobs, newest first. `query` has the parameters of `GET /v1/jobs`.
    ///
    /// # Errors
    /// As every call.
    pub async fn hpc_jobs(&self, query: &[(&str, String)]) -> Result<HpcJobListView, ClientError> {
        self.get("/v1/jobs", query).await
    }

    /// One observed job: by Libra's id, by the id that its maker gave it, or by its number with its scheduler.
    ///
    /// # Errors
    /// As every call.
    pub async fn hpc_job(&self, id: &str) -> Result<HpcJobView, ClientError> {
        self.get(&format!("/v1/jobs/{}", percent(id)), &[]).await
    }

    /// What an observed job has made of what it was given.
    ///
    /// # Errors
    /// As every call.
    pub async fn efficiency(&self, id: &str) -> Result<EfficiencyView, ClientError> {
        self.get(&format!("/v1/jobs/{}/efficiency", percent(id)), &[]).await
    }

    /// The same of many jobs, by user. `query` has `user`, `account` and `since`.
    ///
    /// # Errors
    /// As every call.
    pub async fn efficiencies(&self, query: &[(&str, String)]) -> Result<EfficiencyListView, ClientError> {
        self.get("/v1/efficiency", query).await
    }
}
