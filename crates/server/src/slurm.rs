//! The Slurm clusters that are configured, each with its client.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use libra_core::hpc::mock::MockCluster;
use libra_engines::slurm::{Access, Cluster, Commands, Mock, Rest, Slurm, TokenFrom};
use tokio::sync::Notify;

use crate::config::{self, SlurmWay};

/// All of them.
#[derive(Default)]
pub(crate) struct SlurmClusters {
    /// In the order of the configuration.
    all: Vec<Arc<SlurmCluster>>,
    /// Wakes those who wait for what a read brings.
    pub(crate) heard: Arc<Notify>,
}

/// One cluster.
pub(crate) struct SlurmCluster {
    /// Its configured name.
    pub(crate) name: String,
    /// Whose jobs are on it.
    pub(crate) tenant: String,
    /// Its client.
    pub(crate) slurm: Slurm,
    /// Requests to slurmctld in a minute, at most.
    pub(crate) requests_per_minute: u32,
    /// The pause between two reads when nothing is wrong, in seconds.
    pub(crate) interval_seconds: u32,
    /// Whether its nodes see the files of Libra's jobs.
    pub(crate) shares_files: bool,
    /// Where its nodes have Spark, where that is not where this machine has it.
    pub(crate) spark_home: Option<PathBuf>,
    /// What kept it from being read the last time that this replica has tried.
    trouble: Mutex<Option<String>>,
}

impl SlurmCluster {
    /// A read has ended: what is wrong, or None. Answers what was wrong before.
    pub(crate) fn note_trouble(&self, trouble: Option<String>) -> Option<String> {
        std::mem::replace(&mut *self.trouble.lock().unwrap_or_else(PoisonError::into_inner), trouble)
    }

    /// What keeps it from being read at present.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl SlurmClusters {
    /// Clients for the configured clusters. Nothing is sent.
    ///
    /// # Errors
    /// A file that can't be read, or an address or certificate that is none: in words, with the key.
    pub(crate) fn of(clusters: &[config::SlurmCluster]) -> Result<Self, String> {
        let made = clusters.iter().map(|cluster| {
            let slurm = client(&cluster.way)
                .map_err(|why| format!("libra.slurm.clusters: {}: {why}", cluster.name))?;
            Ok(Arc::new(SlurmCluster {
                name: cluster.name.clone(),
                tenant: cluster.tenant.clone(),
                slurm,
                requests_per_minute: cluster.requests_per_minute,
                interval_seconds: cluster.interval_seconds,
                shares_files: cluster.shares_files,
                spark_home: cluster.spark_home.clone(),
                trouble: Mutex::default(),
            }))
        });
        Ok(Self { all: made.collect::<Result<_, String>>()?, heard: Arc::default() })
    }

    /// What keeps the cluster that is named, or the only one, from being read at present.
    pub(crate) fn trouble(&self, name: Option<&str>) -> Option<String> {
        let name = name.or(self.only())?;
        self.all.iter().find(|cluster| cluster.name == name)?.trouble()
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<SlurmCluster>> {
        self.all.iter()
    }

    /// The same for the engine that submits to them.
    pub(crate) fn to_submit_to(&self) -> BTreeMap<String, Cluster> {
        let one = |cluster: &Arc<SlurmCluster>| {
            let to = Cluster {
                slurm: cluster.slurm.clone(),
                shares_files: cluster.shares_files,
                spark_home: cluster.spark_home.clone(),
            };
            (cluster.name.clone(), to)
        };
        self.all.iter().map(one).collect()
    }

    /// True where there is a cluster of this name to be asked.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.all.iter().any(|cluster| cluster.name == name)
    }

    /// True for a cluster that is made up.
    pub(crate) fn is_made_up(&self, name: &str) -> bool {
        self.all.iter().any(|cluster| cluster.name == name && cluster.slurm.made_up().is_some())
    }

    /// Whose the jobs of a cluster are, where it is one of these.
    pub(crate) fn tenant(&self, name: &str) -> Option<&str> {
        let named = self.all.iter().find(|cluster| cluster.name == name)?;
        Some(&named.tenant)
    }

    /// The one that is meant where none is named: the only one that runs anything, or the only one at all.
    pub(crate) fn only(&self) -> Option<&str> {
        let real: Vec<&str> =
            self.all.iter().filter(|one| one.slurm.made_up().is_none()).map(|one| &*one.name).collect();
        match (real.as_slice(), self.all.as_slice()) {
            ([only], _) => Some(only),
            ([], [only]) => Some(&only.name),
            ([] | [_, ..], _) => None,
        }
    }
}

/// A client for a cluster. Nothing is sent.
///
/// # Errors
/// A file that can't be read, or an address or certificate that is none: in words.
pub fn client(way: &SlurmWay) -> Result<Slurm, String> {
    match way {
        SlurmWay::Rest { url, version, user, jwt_file, jwt_key_file, ca_file } => {
            let token = match (jwt_file, jwt_key_file) {
                (Some(file), _) => TokenFrom::File(file.clone()),
                (None, Some(key)) => TokenFrom::Key(key.clone()),
                (None, None) => TokenFrom::Nowhere,
            };
            let trusted = ca_file.as_deref().map(read).transpose()?.unwrap_or_default();
            let access = Access { url: url.clone(), version: *version, user: user.clone(), token, trusted };
            Ok(Slurm::Rest(Rest::new(&access)?))
        }
        SlurmWay::Commands { conf, path } => {
            Ok(Slurm::Commands(Commands { conf: conf.clone(), path: path.clone() }))
        }
        SlurmWay::Mock { seed, nodes } => Ok(Slurm::Mock(Mock::new(MockCluster::new(*seed, *nodes)))),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("{} can't be read: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clusters(all: &[(&str, bool)]) -> SlurmClusters {
        let one = |(name, made_up): &(&str, bool)| config::SlurmCluster {
            name: (*name).to_owned(),
            tenant: "default".to_owned(),
            way: if *made_up {
                SlurmWay::Mock { seed: 1, nodes: 1 }
            } else {
                SlurmWay::Commands { conf: None, path: None }
            },
            requests_per_minute: 1,
            interval_seconds: 1,
            shares_files: false,
            spark_home: None,
        };
        SlurmClusters::of(&all.iter().map(one).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn where_none_is_named_the_only_one_that_runs_anything_is_meant() {
        assert_eq!(clusters(&[("lab", false), ("demo", true)]).only(), Some("lab"));
        assert_eq!(clusters(&[("demo", true)]).only(), Some("demo"));
        assert_eq!(clusters(&[("a", false), ("b", false)]).only(), None);
        assert_eq!(clusters(&[("a", true), ("b", true)]).only(), None);
        assert_eq!(clusters(&[]).only(), None);
    }
}
