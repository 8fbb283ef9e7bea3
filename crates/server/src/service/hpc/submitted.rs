//! What the engine for Slurm knows of the jobs that it has submitted: what Libra knows of all jobs of their cluster.

use std::sync::{Arc, OnceLock, Weak};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use libra_core::hpc::job::HpcJob;
use libra_core::hpc::record::Record;
use libra_core::time::Timestamp;
use libra_engines::engine::EngineError;
use libra_engines::slurm::Records;
use libra_store::tables::hpc::jobs;

use crate::service::Service;

/// The service that the engines are a part of: they are there before it is.
#[derive(Default)]
pub(crate) struct SlurmRecords(OnceLock<Weak<Service>>);

impl SlurmRecords {
    /// From now on this service is asked.
    pub(crate) fn belong_to(&self, service: &Arc<Service>) {
        // It is told once, when Libra starts.
        let _ = self.0.set(Arc::downgrade(service));
    }

    fn service(&self) -> Result<Arc<Service>, EngineError> {
        let service = self.0.get().and_then(Weak::upgrade);
        service.ok_or_else(|| EngineError("Libra is just starting or ending".to_owned()))
    }
}

impl Records for SlurmRecords {
    fn of<'a>(
        &'a self,
        cluster: &'a str,
        number: &'a str,
    ) -> BoxFuture<'a, Result<Vec<HpcJob>, EngineError>> {
        async move {
            let (of, number) = (cluster.to_owned(), number.to_owned());
            let read = self.service()?.db.read(move |tx| jobs::as_a_whole(tx, &of, &number)).await;
            read.map_err(|e| EngineError(e.to_string()))
        }
        .boxed()
    }

    fn hear<'a>(
        &'a self,
        cluster: &'a str,
        records: Vec<Record>,
        asked_at: Timestamp,
    ) -> BoxFuture<'a, Result<(), EngineError>> {
        async move {
            let heard = self.service()?.hear_records(cluster, &records, asked_at).await;
            heard.map(drop).map_err(|e| EngineError(e.to_string()))
        }
        .boxed()
    }
}
