//! Whether a cluster can be used, for who sets it up.

use libra_core::time::Timestamp;

use super::cluster::Slurm;
use super::commands::{COMMAND_PATIENCE, Commands, Order};
use super::error::{Error, of_command, words};

/// What a cluster was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What answers there, with its version.
    pub door: String,
    /// Jobs that slurmctld tells of.
    pub jobs: usize,
    /// Whether it runs what it is sent.
    pub takes_jobs: bool,
    /// What keeps accounting from being asked; None where it answers.
    pub no_accounting: Option<Error>,
}

impl Slurm {
    /// Asks a cluster all that Libra will ask of it, and changes nothing there.
    ///
    /// # Errors
    /// The first thing without which no job can be seen or submitted.
    pub async fn health(&self, now: Timestamp) -> Result<Health, Error> {
        self.ping().await?;
        let door = match self {
            Self::Rest(rest) => format!("slurmrestd {}", rest.version().await?.as_str()),
            // What submits has to be there, beside what asks.
            Self::Commands(commands) => commands.version("sbatch").await?,
            Self::Mock(_) => "made up".to_owned(),
        };
        let jobs = self.look(None).await?.jobs.map_or(0, |jobs| jobs.records.len());
        let accounted = self.accounted_between(now, now).await;
        Ok(Health { door, jobs, takes_jobs: self.made_up().is_none(), no_accounting: accounted.err() })
    }
}

impl Commands {
    /// What a command says of its version: `sbatch of slurm-wlm 22.05.8`.
    async fn version(&self, program: &str) -> Result<String, Error> {
        let order = Order { program, arguments: vec!["--version".to_owned()], ..Order::default() };
        let said = self.run(order, COMMAND_PATIENCE).await?;
        if said.succeeded {
            let text = words(&String::from_utf8_lossy(&said.stdout));
            return Ok(format!("{program} of {text}"));
        }
        Err(of_command(&said.stderr, false))
    }
}
