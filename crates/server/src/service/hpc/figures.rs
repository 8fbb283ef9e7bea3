//! What running jobs come to, read for the exporter (contract H5).

use std::collections::BTreeMap;

use libra_api::hpc::samples::NodeTotals as Told;
use libra_core::hpc::figures::{Figures, NodeTotals, STALE_AFTER};
use libra_core::hpc::raw_state::HpcState;
use libra_core::hpc::usage::PER_PERCENT;
use libra_core::time::Timestamp;
use libra_store::StoreError;
use libra_store::tables::hpc::{figures as rows, list};

use crate::service::Service;

impl Service {
    /// How many jobs are in each state. It goes through all of them, so it is asked for less often.
    pub(crate) async fn count_hpc_jobs(&self) -> Result<BTreeMap<HpcState, u64>, StoreError> {
        let counted = self.db.read(list::counts).await?;
        // None in a state is known, once they are counted.
        let mut states: BTreeMap<HpcState, u64> = HpcState::ALL.into_iter().map(|state| (state, 0)).collect();
        states.extend(counted);
        Ok(states)
    }

    /// Reads the figures of observed jobs anew, a page of jobs at a time, and shows them from then on.
    pub(crate) async fn refresh_hpc_figures(
        &self,
        states: BTreeMap<HpcState, u64>,
    ) -> Result<(), StoreError> {
        let (now, bounds) = (self.clock.now(), self.config.figures);
        let mut figures = Figures::new(now, bounds);
        figures.home = self.cluster_or_only(None);
        let mut after = Some(String::new());
        let mut running = 0;
        while let Some(from) = after {
            let (jobs, next) = self.db.read(move |tx| rows::running(tx, &from)).await?;
            after = next;
            running += jobs.len() as u64;
            for job in jobs {
                figures.run(job);
            }
        }
        let most = bounds.nodes.saturating_add(1);
        let since = now.plus_micros(-STALE_AFTER);
        let (pending, nodes) =
            self.db.read(move |tx| Ok((rows::pending(tx)?, rows::nodes(tx, since, most)?))).await?;
        for pending in &pending {
            figures.wait(pending);
        }
        figures.totals = nodes;
        figures.bound();
        figures.states = states;
        figures.states.insert(HpcState::Running, running);
        figures.states.insert(HpcState::Pending, pending.iter().map(|pending| pending.jobs).sum());
        self.metrics.hpc.show(figures);
        Ok(())
    }
}

/// What an agent tells of its node, in the store's units.
pub(super) fn node_totals(cluster: &str, node: &str, told: &Told) -> Option<NodeTotals> {
    #[expect(clippy::cast_possible_truncation, reason = "a float as a whole number ends at its ends")]
    let whole = |value: Option<f64>, times: f64| value.map(|value| (value * times).round() as i64);
    Some(NodeTotals {
        cluster: cluster.to_owned(),
        node: node.to_owned(),
        at: Timestamp::parse_rfc3339(&told.timestamp)?,
        cpu: whole(told.cpu_usage, PER_PERCENT),
        cpus: told.cpus,
        memory_mb: whole(told.memory_used_mb, 1.0),
        memory_total_mb: whole(told.memory_total_mb, 1.0),
        gpu: whole(told.gpu_usage, PER_PERCENT),
        gpus: told.gpus,
    })
}
