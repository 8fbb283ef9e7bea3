//! The figures of the store, by the names of the reference (contract O1). The store counts; here it is only told.

use std::fmt::Error;
use std::sync::{Arc, OnceLock};

use libra_api::problem::Code;
use libra_store::operations::{BOUNDS, ErrorType, Operation, Operations};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

/// The figures of the store.
pub struct StorageMetrics(Arc<Counted>);

#[derive(Debug, Default)]
struct Counted(OnceLock<Arc<Operations>>);

impl StorageMetrics {
    /// Of no store yet.
    pub(super) fn new(r: &mut Registry) -> Self {
        let counted = Arc::new(Counted::default());
        r.register_collector(Box::new(Arc::clone(&counted)));
        Self(counted)
    }

    /// From now on of this one.
    pub fn is_of(&self, operations: &Arc<Operations>) {
        // A server has one store, from its beginning.
        let _ = self.0.0.set(Arc::clone(operations));
    }
}

/// What the reference calls an answer; None of what has nothing to do with what is stored, and of what the store has counted
/// itself.
pub(crate) fn error_type(code: Code) -> Option<ErrorType> {
    let types = [
        (Code::JobNotFound, ErrorType::NotFound),
        (Code::JobExists, ErrorType::Conflict),
        (Code::Ambiguous, ErrorType::Conflict),
        (Code::JobTerminal, ErrorType::JobTerminal),
        (Code::InvalidRequest, ErrorType::InvalidInput),
    ];
    types.into_iter().find(|(of, _)| *of == code).map(|(_, error)| error)
}

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let Some(operations) = self.0.get() else { return Ok(()) };
        let called = |operation: &Operation| {
            [true, false].iter().any(|succeeded| operations.taken(*operation, *succeeded).count() > 0)
        };
        let called: Vec<Operation> = Operation::ALL.into_iter().filter(called).collect();
        if called.is_empty() {
            return Ok(());
        }
        let help = "How long the store took for what it was asked";
        let unit = Some(&Unit::Seconds);
        let mut metric =
            encoder.encode_descriptor("storage_operation_duration", help, unit, MetricType::Histogram)?;
        for operation in &called {
            for succeeded in [true, false] {
                let taken = operations.taken(*operation, succeeded);
                let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
                let buckets: Vec<(f64, u64)> = bounds.zip(taken.buckets).collect();
                let success = if succeeded { "true" } else { "false" };
                let labels = [("operation", operation.as_str()), ("success", success)];
                let mut metric = metric.encode_family(&labels)?;
                if taken.count() > 0 {
                    metric.encode_histogram::<NoLabelSet>(taken.seconds, taken.count(), &buckets, None)?;
                }
            }
        }
        let help = "What went wrong with what the store was asked, by the kind of error";
        let mut metric =
            encoder.encode_descriptor("storage_operation_errors", help, None, MetricType::Counter)?;
        for operation in &called {
            for error in ErrorType::ALL {
                let labels = [("operation", operation.as_str()), ("error_type", error.as_str())];
                let errors = operations.errors(*operation, error);
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&errors, None)?;
            }
        }
        Ok(())
    }
}
