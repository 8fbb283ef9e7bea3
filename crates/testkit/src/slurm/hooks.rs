//! Libra's hooks in a cluster, installed as people install them, with settings of their own beside them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::programs;

/// Where a cluster's hooks are, and what they have kept.
#[derive(Clone, Debug)]
pub struct Hooks {
    dir: PathBuf,
}

impl Hooks {
    /// Those that were installed in a directory.
    pub(super) fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Runs `install.sh` of `deploy/slurm` into a directory. They tell nobody anything yet.
    pub fn install(dir: &Path) -> Self {
        let hooks = Self::at(dir);
        fs::create_dir_all(hooks.scripts()).unwrap();
        // Slurm cleans the environment of its hooks, so that each cluster's settings are beside them.
        hooks.write_settings("");
        let installer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/slurm/install.sh");
        let mut command = Command::new("sh");
        command.arg(installer).arg("--to").arg(hooks.scripts()).arg("--env").arg(hooks.settings());
        programs::run(command.args(["--slurm-user", &programs::user()]));
        hooks
    }

    /// Where the scripts are.
    pub fn scripts(&self) -> PathBuf {
        self.dir.join("scripts")
    }

    /// The file of their settings.
    pub fn settings(&self) -> PathBuf {
        self.scripts().join("slurm.env")
    }

    /// From now on they tell a Libra, of a cluster of this name, with the key in a file if there is one.
    pub fn tell(&self, url: &str, cluster: &str, token_file: Option<&Path>) {
        let token = token_file.map(|file| format!("LIBRA_TOKEN_FILE={}\n", file.display()));
        self.write_settings(&format!(
            "LIBRA_URL={url}\nLIBRA_CLUSTER={cluster}\n{}",
            token.unwrap_or_default()
        ));
    }

    fn write_settings(&self, lines: &str) {
        // Renamed: a hook may be reading the old ones just now.
        let fresh = self.scripts().join(".slurm.env.new");
        fs::write(&fresh, format!("{lines}LIBRA_SPOOL={}\n", self.spool().display())).unwrap();
        fs::rename(fresh, self.settings()).unwrap();
    }

    fn spool(&self) -> PathBuf {
        self.dir.join("spool")
    }

    /// Events that Libra has not taken yet.
    pub fn waiting(&self) -> Vec<PathBuf> {
        self.below("")
    }

    /// Events that it has refused.
    pub fn refused(&self) -> Vec<PathBuf> {
        self.below("refused")
    }

    fn below(&self, room: &str) -> Vec<PathBuf> {
        let queues = ["node", "controller"].map(|queue| self.spool().join(queue).join(room));
        let files = queues.iter().filter_map(|queue| fs::read_dir(queue).ok()).flatten();
        files
            .filter_map(|file| file.ok().map(|file| file.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect()
    }

    /// Runs `drain` to its end; true when nothing is left.
    pub fn drain(&self) -> bool {
        let out = Command::new(self.scripts().join("drain")).output().unwrap();
        out.status.success()
    }
}
