//! slurmdbd, and the MariaDB that it keeps everything in.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::configuration::{host, secret};
use super::{SlurmCluster, programs};

const DATABASE: &str = "mariadbd";
/// What keeps the accounts of a cluster.
pub(super) const ACCOUNTING: &str = "slurmdbd";
/// Debian's user for MariaDB, which refuses root.
const DATABASE_USER: &str = "mysql";
/// The account that jobs are charged to.
const ACCOUNT: &str = "lab";

/// Starts both, and makes the cluster and its user known. slurmctld does not start without.
pub(super) fn start(cluster: &mut SlurmCluster, name: &str) {
    for program in [DATABASE, "mariadb-install-db", "mariadb", ACCOUNTING, "sacctmgr"] {
        programs::find(program);
    }
    let home = cluster.dir.join("db");
    fs::create_dir(&home).unwrap();
    start_database(cluster, &home);
    let at = cluster.dir.display();
    let conf = format!(
        "AuthType=auth/munge\nAuthInfo=socket={at}/run/munge.sock\nAuthAltTypes=auth/jwt\n\
         AuthAltParameters=jwt_key={at}/etc/jwt.key\nDbdHost={}\nDbdAddr=127.0.0.1\nDbdPort={}\nSlurmUser={}\n\
         LogFile={at}/log/slurmdbd.log\nPidFile={at}/run/slurmdbd.pid\nStorageType=accounting_storage/mysql\n\
         StorageHost=localhost\nStorageUser=slurm\nStoragePass=slurm\nStorageLoc=slurm\n",
        host(),
        cluster.ports.accounting,
        programs::user(),
    );
    secret(&cluster.dir.join("etc/slurmdbd.conf"), conf.as_bytes());
    let mut command = Command::new(programs::find(ACCOUNTING));
    command.arg("-D").env("MYSQL_UNIX_PORT", home.join("socket"));
    cluster.launch(ACCOUNTING, command);
    cluster.wait_until("slurmdbd answers", |cluster| {
        cluster.output(&["sacctmgr", "-n", "show", "cluster"]).status.success()
    });
    cluster.command(&["sacctmgr", "-i", "add", "cluster", name]);
    cluster.command(&["sacctmgr", "-i", "add", "account", ACCOUNT]);
    let account = format!("account={ACCOUNT}");
    // root is known from the beginning; it is charged to another account then.
    let user = programs::user();
    cluster.command(&["sacctmgr", "-i", "add", "user", &user, &account]);
    cluster.command(&[
        "sacctmgr",
        "-i",
        "modify",
        "user",
        &user,
        "set",
        &format!("defaultaccount={ACCOUNT}"),
    ]);
}

fn start_database(cluster: &mut SlurmCluster, home: &Path) {
    let (data, socket) = (home.join("data"), home.join("socket"));
    let as_user = |command: &mut Command| {
        if programs::is_root() {
            command.arg(format!("--user={DATABASE_USER}"));
        }
    };
    if programs::is_root() {
        programs::run(Command::new("chown").arg(DATABASE_USER).arg(home));
    }
    let mut install = Command::new(programs::find("mariadb-install-db"));
    install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    install.arg(format!("--datadir={}", data.display()));
    as_user(&mut install);
    programs::run(&mut install);
    let mut command = Command::new(programs::find(DATABASE));
    command.args(["--no-defaults", "--skip-networking", "--innodb-buffer-pool-size=64M"]);
    command.args(["--innodb-lock-wait-timeout=900", "--innodb-flush-log-at-trx-commit=0"]);
    command.arg(format!("--datadir={}", data.display())).arg(format!("--socket={}", socket.display()));
    command.arg(format!("--pid-file={}", home.join("pid").display()));
    as_user(&mut command);
    cluster.launch(DATABASE, command);
    let sql = |sql: &str| {
        let mut command = Command::new(programs::find("mariadb"));
        command
            .arg("--no-defaults")
            .arg(format!("--socket={}", socket.display()))
            .args(["-u", "root", "-e", sql]);
        command
    };
    cluster.wait_until("MariaDB answers", |_| sql("select 1").output().is_ok_and(|out| out.status.success()));
    programs::run(&mut sql("create database slurm; create user slurm@localhost identified by 'slurm'; \
         grant all on slurm.* to slurm@localhost"));
}
