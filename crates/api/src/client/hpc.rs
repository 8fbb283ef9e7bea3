//! What a node agent asks: to take its samples.

use reqwest::Method;

use super::{CALL_TIMEOUT, Client, ClientError};
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
}
