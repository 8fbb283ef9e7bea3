//! What a node agent asks: to take its samples.

use reqwest::Method;

use super::{CALL_TIMEOUT, Client, ClientError};
use crate::hpc::samples::BatchAnswer;

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
            .body(batch);
        self.answer(request).await
    }
}
