//! The Flink clusters that are configured, each with its client and what is known of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use libra_core::deployment::declared::ClusterFacts;
use libra_engines::flink::{Access, ClusterSettings, Flink};
use libra_store::tables::deployments::Name;
use tokio::sync::Notify;

use crate::config;

/// All of them, in the order of the configuration.
#[derive(Default)]
pub(crate) struct FlinkClusters(Vec<Arc<FlinkCluster>>);

/// Tells whoever looks after a cluster's deployments which of them have changed, or have their turn.
#[derive(Default)]
pub(crate) struct Wake {
    bell: Notify,
    names: Mutex<BTreeSet<Name>>,
}

impl Wake {
    /// This one has changed.
    pub(crate) fn ring(&self, name: &Name) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        self.bell.notify_one();
    }

    /// Until one has changed.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Those that have changed since this was last asked.
    pub(crate) fn take(&self) -> BTreeSet<Name> {
        std::mem::take(&mut self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One session cluster.
pub(crate) struct FlinkCluster {
    /// Its configured name.
    pub(crate) name: String,
    /// Its client.
    pub(crate) flink: Flink,
    /// Rings when something is wanted of a deployment on it.
    pub(crate) wake: Wake,
    savepoint_directory: Option<String>,
    /// The Python of Python jobs, where one is configured.
    pub(crate) python: Option<String>,
    /// What it last said of itself.
    settings: RwLock<Option<ClusterSettings>>,
    /// What it is shown of us.
    shown: Mutex<Access>,
}

impl FlinkClusters {
    /// Clients for the configured clusters. Nothing is sent.
    ///
    /// # Errors
    /// A file that can't be read, or an address, header or certificate that is none: in words, with the key.
    pub(crate) fn of(config: &config::Flink) -> Result<Self, String> {
        let mut all = Vec::new();
        for cluster in &config.clusters {
            let wrong = |why: String| format!("libra.flink.clusters: {}: {why}", cluster.name);
            let access = access(cluster).map_err(wrong)?;
            all.push(Arc::new(FlinkCluster {
                name: cluster.name.clone(),
                flink: Flink::new(&access).map_err(wrong)?,
                wake: Wake::default(),
                savepoint_directory: cluster.savepoint_directory.clone(),
                python: cluster.python.clone(),
                settings: RwLock::new(None),
                shown: Mutex::new(access),
            }));
        }
        Ok(Self(all))
    }

    /// One of them, by its name; the first one without a name.
    pub(crate) fn named(&self, name: Option<&str>) -> Option<&Arc<FlinkCluster>> {
        match name {
            None => self.0.first(),
            Some(name) => self.0.iter().find(|cluster| cluster.name == name),
        }
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<FlinkCluster>> {
        self.0.iter()
    }

    /// True where none is configured.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a cluster wants to see of us, as its files say now.
///
/// # Errors
/// A file that can't be read, in words.
pub(crate) fn access(cluster: &config::FlinkCluster) -> Result<Access, String> {
    let read = |file: &Path| {
        std::fs::read(file).map_err(|e| format!("the file {} can't be read: {e}", file.display()))
    };
    let mut headers: Vec<(String, String)> =
        cluster.headers.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect();
    if let Some(file) = &cluster.token_file {
        let token = read(file)?;
        let token = String::from_utf8_lossy(&token);
        headers.push(("authorization".to_owned(), format!("Bearer {}", token.trim())));
    }
    Ok(Access {
        url: cluster.url.clone(),
        headers,
        trusted: cluster.ca_file.as_deref().map(read).transpose()?.unwrap_or_default(),
        identity: cluster.identity_file.as_deref().map(read).transpose()?.unwrap_or_default(),
    })
}

impl FlinkCluster {
    /// Keeps what the cluster says of itself.
    pub(crate) fn learn(&self, settings: ClusterSettings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Some(settings);
    }

    /// Shows it another token or other certificates from now on; answers whether they are others.
    ///
    /// # Errors
    /// What is wrong with them, once; those of before stay.
    pub(crate) fn show(&self, access: Access) -> Result<bool, String> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if *shown == access {
            return Ok(false);
        }
        let renewed = self.flink.renew(&access);
        *shown = access;
        renewed.map(|()| true)
    }

    /// What counts of it: the configured, and what the cluster last said. None before it has said anything.
    pub(crate) fn facts(&self) -> Option<ClusterFacts> {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(ClusterFacts {
            savepoint_directory: self.savepoint_directory.clone().or(settings.savepoints),
            heartbeat_timeout_ms: settings.heartbeat_timeout_ms,
        })
    }

    /// Where its uploads are on the JobManager's host.
    pub(crate) fn uploads(&self) -> Option<String> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).as_ref()?.uploads.clone()
    }

    /// Where its jobs' checkpoints are, as Flink writes it.
    pub(crate) fn checkpoints(&self) -> Option<String> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).as_ref()?.checkpoints.clone()
    }
}
