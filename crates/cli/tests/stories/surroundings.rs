//! What the stories share: one Libra with its Spark, places among which the heavy ones take turns, and a stand-in
//! for Spark where none has to run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use libra_testkit::{Libra, Setup};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

/// Stories that may have Spark at work at the same time, however many cores there are.
const AT_ONCE: usize = 3;

/// The binary under test, with the defaults of the tests.
pub fn setup() -> Setup {
    // One core a driver, so that two of them fit beside each other on a small machine.
    Setup::new(env!("CARGO_BIN_EXE_libra"))
        .env("LIBRA_EXECUTION_MODES_SPARK_SUBMIT_MASTER", "local[1]")
        .env("LIBRA_QUEUES", "[{name: night}, {name: nightly}]")
}

/// The same without in-cluster jobs.
pub fn submit_only() -> Setup {
    setup().env("LIBRA_EXECUTION_MODES_IN_CLUSTER_ENABLED", "false")
}

/// A turn with Spark. Fails where there is no Spark, before anything else can fail less clearly.
pub async fn turn() -> SemaphorePermit<'static> {
    static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);
    static CHECKED: OnceCell<()> = OnceCell::const_new();
    CHECKED
        .get_or_init(|| async {
            let doctor = setup().run(&["doctor"]);
            let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
            assert!(
                doctor.status.success(),
                "these tests need a real Spark; run `make setup` first:\n{said}"
            );
        })
        .await;
    TURNS.acquire().await.unwrap()
}

/// The one Libra that most stories call, started with the first of them. It is ended along with this process.
pub async fn shared() -> &'static Libra {
    static SHARED: OnceCell<Libra> = OnceCell::const_new();
    SHARED.get_or_init(|| async { setup().start().await }).await
}

/// A Spark whose `spark-submit` sleeps: jobs of it run until they are cancelled, at no cost.
pub fn sleeping_spark() -> PathBuf {
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sleeping-spark");
    let program = home.join("bin/spark-submit");
    fs::create_dir_all(home.join("bin")).unwrap();
    fs::create_dir_all(home.join("jars")).unwrap();
    fs::write(home.join("jars/spark-core_2.13-4.3.0.jar"), "").unwrap();
    // Written aside and renamed: another story may be starting the old one just now.
    let fresh = home.join(format!("bin/fresh.{:?}", std::thread::current().id()));
    fs::write(&fresh, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&fresh, &program).unwrap();
    home
}

/// A Libra whose jobs sleep, one at a time.
pub fn sleepy() -> Setup {
    submit_only()
        .env("LIBRA_SPARK_HOME", sleeping_spark().to_str().unwrap())
        .env("LIBRA_RESOURCES_QUOTAS_SPARK_SUBMIT_MAX_CONCURRENT_JOBS", "1")
}

/// A path as Python writes a text.
pub fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_str().unwrap())
}
