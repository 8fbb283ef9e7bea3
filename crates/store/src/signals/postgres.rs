//! Signals by PostgreSQL's LISTEN and NOTIFY, on a connection of their own.
//!
//! Never within a transaction that writes: a notification takes one lock for the whole server until its commit is
//! on the disk (design §5). Here each message is a statement by itself, and many signals share one.

use std::future::poll_fn;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Client};

use super::{Outgoing, Signal, decode, encode};
use crate::error::StoreError;
use crate::postgres::Connector;
use crate::url::PgUrl;

/// Signals are gathered for this long: most of them come in swarms.
const GATHER: Duration = Duration::from_millis(4);
/// The wait before the connection is made again; doubled up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A message that is not taken after so long: the connection is gone.
const SEND_LIMIT: Duration = Duration::from_secs(5);
/// Messages heard and not yet looked at; more are dropped, and everything is looked at instead.
const HEARD: usize = 1_024;

/// Sends this replica's signals to the others and hears theirs.
pub struct Exchange {
    connector: Connector,
    sender: String,
}

impl Exchange {
    /// The exchange of the replica `sender`; connects when it runs.
    ///
    /// # Errors
    /// When TLS can't be set up as the URL wants it.
    pub fn new(url: &PgUrl, sender: &str) -> Result<Self, StoreError> {
        Ok(Self { connector: Connector::new(url.clone())?, sender: sender.to_owned() })
    }

    /// Runs until every sink is gone. `hear` is told what the others say; after an interruption, to look at
    /// everything.
    pub async fn run(self, mut outgoing: Outgoing, hear: impl Fn(Signal)) {
        let mut wait = FIRST_WAIT;
        loop {
            match self.connected(&mut outgoing, &hear, &mut wait).await {
                Ok(()) => return,
                Err(e) => {
                    tracing::debug!(error = %e, "signals between replicas are interrupted; each looks by itself");
                }
            }
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn connected(
        &self,
        outgoing: &mut Outgoing,
        hear: &impl Fn(Signal),
        wait: &mut Duration,
    ) -> Result<(), StoreError> {
        let (client, mut driver) = self.connector.connect().await?;
        let (heard, mut inbox) = mpsc::channel(HEARD);
        let driving = tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|cx| driver.poll_message(cx)).await {
                if let AsyncMessage::Notification(note) = message {
                    // A full inbox is emptied all the same, and then everything is looked at.
                    let _ = heard.try_send(note.payload().to_owned());
                }
            }
        });
        let _ended_with_this = AbortOnDrop(driving.abort_handle());
        listen(&client).await?;
        *wait = FIRST_WAIT;
        // Whatever was said meanwhile is lost, in both directions.
        hear(Signal::Everything);
        self.say(&client, &[Signal::Everything]).await?;
        loop {
            tokio::select! {
                biased;
                message = inbox.recv() => match message {
                    Some(text) => self.take_in(&text, inbox.len() + 1 >= HEARD, hear),
                    None => return Err(StoreError::Unreachable("the connection for signals ended".into())),
                },
                batch = outgoing.next() => {
                    let Some(mut batch) = batch else { return Ok(()) };
                    sleep(GATHER).await;
                    outgoing.drain(&mut batch);
                    self.say(&client, &batch).await?;
                }
            }
        }
    }

    fn take_in(&self, text: &str, full: bool, hear: &impl Fn(Signal)) {
        if full {
            hear(Signal::Everything);
        }
        if let Some(message) = decode(text)
            && message.sender != self.sender
        {
            message.signals.into_iter().for_each(hear);
        }
    }

    async fn say(&self, client: &Client, signals: &[Signal]) -> Result<(), StoreError> {
        let text = encode(&self.sender, signals);
        let said = timeout(SEND_LIMIT, client.execute("SELECT pg_notify('libra', $1)", &[&text])).await;
        match said {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(e)) => Err(StoreError::Unreachable(e.to_string())),
            Err(_) => Err(StoreError::Unreachable("no answer to a notification".into())),
        }
    }
}

async fn listen(client: &Client) -> Result<(), StoreError> {
    match timeout(SEND_LIMIT, client.batch_execute("LISTEN libra")).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(StoreError::Unreachable(e.to_string())),
        Err(_) => Err(StoreError::Unreachable("no answer to LISTEN".into())),
    }
}

/// Ends the task that drives the connection together with the connection.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
