//! Signals between replicas: out by the store's notifications, in to everybody here who waits.

use std::sync::Arc;

use libra_store::StoreError;
use libra_store::signals::Outgoing;
use libra_store::signals::postgres::Exchange;
use libra_store::url::PgUrl;

use super::Shutdown;
use crate::service::Service;

/// Starts the exchange.
///
/// # Errors
/// When TLS can't be set up as the URL wants it.
pub(crate) fn exchange_signals(
    service: &Arc<Service>,
    url: &PgUrl,
    outgoing: Outgoing,
    mut shutdown: Shutdown,
) -> Result<(), StoreError> {
    let exchange = Exchange::new(url, &service.standing.me.id)?;
    let hearing = Arc::clone(service);
    tokio::spawn(async move {
        tokio::select! {
            () = shutdown.wait() => {}
            () = exchange.run(outgoing, move |signal| hearing.signals.heard(signal)) => {}
        }
    });
    Ok(())
}
