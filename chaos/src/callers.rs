//! Callers that have any replica do it, and go on to another one until they get a clear answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libra_api::client::{Client, ClientError};
use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::{sleep, timeout};

use crate::ledger::Ledger;

/// A replica that does not answer by then is left for another one.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// The longest pause between two tries, milliseconds.
const PAUSE_MS: u64 = 400;
/// HTTP statuses from here on say that the replica is in trouble, not that the request is wrong.
const TROUBLE: u16 = 500;

/// All replicas, from outside.
#[derive(Clone, Debug)]
pub(crate) struct Callers {
    clients: Arc<Vec<Client>>,
    pub(crate) ledger: Arc<Ledger>,
}

/// A clear no: the HTTP status and the words.
#[derive(Clone, Debug)]
pub(crate) struct No {
    pub(crate) status: u16,
    pub(crate) message: String,
}

impl Callers {
    /// Callers of the replicas at these addresses.
    pub(crate) fn new(urls: &[String], ledger: Arc<Ledger>) -> Self {
        let clients = urls.iter().map(|url| Client::new(url, None).unwrap()).collect();
        Self { clients: Arc::new(clients), ledger }
    }

    /// One call to any replica. None when there was no clear answer.
    pub(crate) async fn once<T, A>(
        &self,
        random: &mut StdRng,
        call: impl FnOnce(Client) -> A,
    ) -> Option<Result<T, No>>
    where
        A: Future<Output = Result<T, ClientError>>,
    {
        let client = &self.clients[random.random_range(0..self.clients.len())];
        let no = match timeout(CALL_LIMIT, call(client.clone())).await {
            Ok(Ok(answer)) => return Some(Ok(answer)),
            Ok(Err(ClientError::Problem(problem))) if problem.status < TROUBLE => {
                No { status: problem.status, message: problem.message }
            }
            Ok(Err(ClientError::Problem(problem))) if problem.error == "internal" => {
                // 500 is a bug, whatever was broken meanwhile (contract A6).
                self.ledger.wrong(format!(
                    "a replica answered 500: {} ({}, {})",
                    problem.message,
                    client.base(),
                    problem.correlation_id
                ));
                self.ledger.unclear();
                return None;
            }
            Ok(Err(_)) | Err(_) => {
                self.ledger.unclear();
                return None;
            }
        };
        Some(Err(no))
    }

    /// Calls one replica after the other until one gives a clear answer. None when none did until `until`.
    pub(crate) async fn call<T, A>(
        &self,
        random: &mut StdRng,
        until: Instant,
        call: impl Fn(Client) -> A,
    ) -> Option<Result<T, No>>
    where
        A: Future<Output = Result<T, ClientError>>,
    {
        loop {
            if let Some(answer) = self.once(random, &call).await {
                return Some(answer);
            }
            if Instant::now() >= until {
                return None;
            }
            sleep(Duration::from_millis(random.random_range(50..PAUSE_MS))).await;
        }
    }
}

/// A generator that follows from the run's seed, one for each purpose.
pub(crate) fn random(seed: u64, purpose: u64) -> StdRng {
    StdRng::seed_from_u64(seed ^ purpose.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}
