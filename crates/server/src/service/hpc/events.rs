//! What hooks say (contract H1).

use libra_api::hpc::jobs::HpcEventView;
use libra_api::hpc::requests::{self, MAX_NODES};
use libra_core::hpc::job::HpcJob;
use libra_core::hpc::observe::Word;
use libra_engines::slurm::expand;
use serde_json::Value;

use super::ByWhom;
use crate::service::{Service, ServiceError};

impl Service {
    /// A hook says that a job runs. The same twice, late or out of order changes nothing that is known.
    pub(crate) async fn job_started(&self, by: &ByWhom, body: &Value) -> Result<HpcEventView, ServiceError> {
        let mut event = requests::started(body, self.clock.now()).map_err(ServiceError::fields)?;
        event.record.nodes = each(&event.record.nodes);
        let cluster = self.cluster_or_only(event.cluster);
        let number = event.record.external_id.clone();
        let heard = self.hear(by, &cluster, &number, &Word::Started(Box::new(event.record))).await?;
        Ok(answer(heard, &number))
    }

    /// A hook says that a job has ended.
    pub(crate) async fn job_finished(&self, by: &ByWhom, body: &Value) -> Result<HpcEventView, ServiceError> {
        let mut event = requests::finished(body, self.clock.now()).map_err(ServiceError::fields)?;
        event.finished.record.nodes = each(&event.finished.record.nodes);
        let cluster = self.cluster_or_only(event.cluster);
        let number = event.finished.record.external_id.clone();
        let heard = self.hear(by, &cluster, &number, &Word::Finished(Box::new(event.finished))).await?;
        Ok(answer(heard, &number))
    }
}

/// Nodes one by one: the controller's hooks have them as Slurm writes lists, `n[1-3],m1`.
fn each(lists: &[String]) -> Vec<String> {
    lists.iter().flat_map(|list| expand(list)).take(MAX_NODES).collect()
}

fn answer((job, changed): (Option<HpcJob>, bool), number: &str) -> HpcEventView {
    let (status, message) = match (&job, changed) {
        (Some(job), true) => ("processed", format!("the job is {}", job.hpc_state().as_str())),
        (Some(job), false) => ("unchanged", format!("nothing new: the job is {}", job.hpc_state().as_str())),
        (None, _) => ("unchanged", "nothing is known of this job".to_owned()),
    };
    let job_id = job.map_or_else(|| number.to_owned(), |job| job.id.to_string());
    HpcEventView { status: status.to_owned(), job_id, message }
}
