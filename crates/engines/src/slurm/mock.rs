//! A cluster that is made up, asked in the same way as a real one (contract H4). It takes no jobs.

use libra_core::hpc::mock::MockCluster;
use libra_core::hpc::record::Record;
use libra_core::time::Timestamp;

use super::answer::{Listing, Load};
use super::cluster::Look;
use super::error::Error;
use crate::shim::records;

/// The cluster, by this machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mock {
    cluster: MockCluster,
}

impl Mock {
    /// Tells of this cluster.
    pub fn new(cluster: MockCluster) -> Self {
        Self { cluster }
    }

    /// What is made up.
    pub fn cluster(&self) -> &MockCluster {
        &self.cluster
    }

    pub(super) fn look(&self) -> Look {
        let now = records::now();
        let load = Load { at: Some(now), ..Load::default() };
        Look { mark: None, load, jobs: Some(listing(self.cluster.records(now))) }
    }

    pub(super) fn job(&self, number: &str) -> Listing {
        let now = records::now();
        // Who has ended long ago is known to accounting alone.
        let known = self.cluster.records(now).into_iter().filter(|record| record.external_id == number);
        listing(known.collect())
    }

    pub(super) fn accounted(&self, numbers: &[String]) -> Listing {
        let now = records::now();
        listing(numbers.iter().filter_map(|number| self.cluster.record(number, now)).collect())
    }

    pub(super) fn accounted_between(&self, times: (Timestamp, Timestamp)) -> Listing {
        listing(self.cluster.records_between(times, records::now()))
    }
}

/// Nothing can be sent to it.
pub(super) fn refused() -> Error {
    Error::Refused("the cluster is made up (source: mock): it runs nothing".to_owned())
}

fn listing(records: Vec<Record>) -> Listing {
    Listing { records, skipped: 0 }
}
