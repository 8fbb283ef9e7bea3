//! The servers for tests are real, private, and gone afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use libra_testkit::{Postgres, Redis, postgres, processes, wait};

#[test]
fn postgres_keeps_what_was_committed_through_a_restart() {
    let mut server = Postgres::start();
    let (one, other) = (server.create_database(), server.create_database());
    assert_ne!(one, other);
    server.query(&one, "CREATE TABLE t (n int); INSERT INTO t VALUES (7)");
    let port = server.port();
    server.restart();
    assert_eq!(server.port(), port);
    assert_eq!(server.query(&one, "SELECT n, 'ä' FROM t"), "7|ä");
    assert_eq!(server.query(&other, "SELECT to_regclass('t') IS NULL"), "t");
    assert_eq!(
        server.query(&one, "SELECT current_setting('fsync'), current_setting('max_connections')"),
        "on|200"
    );
    let pid = server.pid().expect("it runs");
    drop(server);
    assert!(!processes::is_alive(pid));
}

#[test]
fn postgres_asks_for_a_password_and_for_tls() {
    let server = postgres::Setup::new().password("secret1").tls().setting("shared_buffers", "16MB").start();
    let url = server.create_database();
    let verified = format!("{url}?sslmode=verify-full&sslrootcert={}", server.authority().display());
    assert_eq!(server.query(&verified, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"), "t");
    let refused = |url: &str| std::panic::catch_unwind(|| server.query(url, "SELECT 1")).is_err();
    assert!(refused(&format!("{url}?sslmode=disable")));
    assert!(refused(&url.replace("secret1", "secret2")));
}

#[test]
fn the_tests_of_a_process_share_a_postgres() {
    let pids: Vec<_> = std::thread::scope(|scope| {
        let one = scope.spawn(|| (Postgres::shared().pid(), Postgres::shared().create_database()));
        let other = scope.spawn(|| (Postgres::shared().pid(), Postgres::shared().create_database()));
        vec![one.join().unwrap(), other.join().unwrap()]
    });
    assert_eq!(pids[0].0, pids[1].0);
    assert_ne!(pids[0].1, pids[1].1);
}

#[test]
fn redis_forgets_when_it_is_killed() {
    let mut server = Redis::start_with_password("secret1");
    server.command(&["RPUSH", "list", "a", "b"]);
    assert_eq!(server.command(&["LRANGE", "list", "0", "-1"]), "a\nb");
    server.flush();
    assert_eq!(server.command(&["EXISTS", "list"]), "0");
    server.command(&["SET", "key", "value"]);
    let port = server.port();
    server.kill();
    server.start_again();
    assert_eq!(server.port(), port);
    assert_eq!(server.command(&["GET", "key"]), "(nil)");
    let pid = server.pid().expect("it runs");
    drop(server);
    assert!(!processes::is_alive(pid));
}

/// Runs itself once more in a process that is killed.
#[test]
fn servers_end_when_their_test_process_is_killed() {
    const NAME: &str = "servers_end_when_their_test_process_is_killed";
    const PIDS: &str = "SERVERS_TEST_PIDS";
    if let Ok(file) = std::env::var(PIDS) {
        let redis = Redis::start();
        let pids = [Postgres::shared().pid(), redis.pid()].map(|pid| pid.unwrap().to_string());
        fs::write(&file, pids.join(" ") + "\n").unwrap();
        loop {
            std::thread::park();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pids");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", NAME]).env(PIDS, &file).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let written = || fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n'));
    wait::block_until("both servers run", Duration::from_mins(1), written).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let pids: Vec<i32> = text.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    wait::block_until("both servers end", Duration::from_mins(1), || {
        !pids.iter().any(|pid| processes::is_alive(*pid))
    })
    .unwrap();
}
