//! What clusters that are made up use, taken as from agents (contract H3, H4).

use libra_api::hpc::samples::{JobSample, NodeTotals, SampleBatch};
use libra_core::hpc::mock::{JobUse, NodeUse};
use libra_core::time::{MICROS_PER_SECOND, Timestamp};

use super::ByWhom;
use crate::auth::Principal;
use crate::service::{Service, ServiceError};
use crate::slurm::SlurmCluster;

impl Service {
    /// Takes what the jobs of a cluster that is made up use at this moment. Moments are whole intervals: who is asked twice says
    /// the same.
    pub(crate) async fn record_made_up_samples(&self, cluster: &SlurmCluster) -> Result<(), ServiceError> {
        let Some(made_up) = cluster.slurm.made_up() else { return Ok(()) };
        let interval = i64::from(cluster.interval_seconds.max(1)) * MICROS_PER_SECOND;
        let now = self.clock.now();
        let at = now.plus_micros(-now.0.rem_euclid(interval));
        let by = ByWhom {
            who: Principal { tenant: cluster.tenant.clone(), ..Principal::local() },
            changed_by: "collector".to_owned(),
            source: "mock".to_owned(),
            correlation_id: format!("{}-{}", cluster.name, at.0),
        };
        for node in made_up.uses(at) {
            self.record_hpc_batch(&by, batch(&cluster.name, node, at), Vec::new(), None).await?;
        }
        Ok(())
    }
}

fn batch(cluster: &str, node: NodeUse, at: Timestamp) -> SampleBatch {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    SampleBatch {
        cluster: cluster.to_owned(),
        node: node.node,
        samples: node.jobs.into_iter().map(|job| sample(job, at)).collect(),
        node_totals: Some(NodeTotals {
            timestamp: at.rfc3339(),
            cpu_usage: Some(node.cpu_percent),
            cpus: Some(count(node.cpus)),
            memory_used_mb: Some(node.memory_mb),
            memory_total_mb: Some(node.memory_total_mb),
            gpu_usage: node.gpu_percent,
            gpus: node.gpus.map(count),
        }),
    }
}

fn sample(job: JobUse, at: Timestamp) -> JobSample {
    JobSample {
        external_job_id: Some(job.external_id),
        timestamp: at.rfc3339(),
        cpu_usage: Some(job.cpu_percent),
        cpu_cores: Some(job.cores),
        memory_usage_mb: Some(job.memory_mb),
        memory_peak_mb: Some(job.memory_peak_mb),
        gpu_usage: job.gpu.map(|gpu| gpu.percent),
        gpu_memory_mb: job.gpu.map(|gpu| gpu.memory_mb),
        gpu_power_watts: job.gpu.map(|gpu| gpu.watts),
        gpu_energy_joules: job.gpu.map(|gpu| gpu.joules),
        io_read_bytes: Some(job.read_bytes),
        io_write_bytes: Some(job.written_bytes),
        ..JobSample::default()
    }
}
