//! Ending what runs on although it is over: a driver whose attempt was given up while its host was cut off, and whose
//! watcher died there, has nobody else.

use std::sync::Arc;
use std::time::Duration;

use libra_core::id::Token;
use libra_engines::shim;
use libra_store::StoreError;
use libra_store::tables::attempts;
use tokio::time::sleep;

use super::Shutdown;
use crate::service::Service;

/// It looks this often, and soon after the start.
const PERIOD: Duration = Duration::from_secs(30);
/// An attempt that has just ended is left to whoever ended it.
const GRACE_SECONDS: i64 = 10;
/// How long one round of ending takes, at most.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown) {
    loop {
        match tokio::task::spawn_blocking(shim::tokens).await {
            Ok(Ok(tokens)) => {
                for token in tokens {
                    if let Err(e) = look_at(&service, token).await {
                        tracing::warn!(error = %e, "it could not be looked up whether a process is to run");
                    }
                }
            }
            Ok(Err(e)) => tracing::warn!(error = %e, "the processes of this machine can't be listed"),
            Err(e) => tracing::warn!(error = %e, "the processes of this machine could not be listed"),
        }
        tokio::select! {
            biased;
            () = shutdown.wait() => return,
            () = sleep(PERIOD) => {}
        }
    }
}

/// Ends what carries `token`, if that is an attempt of this store that is over.
async fn look_at(service: &Service, token: Token) -> Result<(), StoreError> {
    let over = service
        .db
        .read(move |tx| {
            let ended =
                attempts::of_token(tx, token)?.and_then(|attempt| Some((attempt.job_id, attempt.ended_at?)));
            let now = tx.now()?;
            Ok(ended.filter(|(_, at)| at.plus_seconds(GRACE_SECONDS) < now).map(|(job, _)| job))
        })
        .await?;
    let Some(job_id) = over else { return Ok(()) };
    tracing::warn!(%job_id, %token, "processes of an attempt that is over still run: they are ended");
    match shim::kill_everything(&token.to_string(), PATIENCE).await {
        Ok(true) => {}
        Ok(false) => tracing::warn!(%job_id, "some of them are still there; trying again"),
        Err(e) => tracing::warn!(%job_id, error = %e, "they can't be ended; trying again"),
    }
    Ok(())
}
