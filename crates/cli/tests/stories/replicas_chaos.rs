//! A short piece of `make chaos`: two replicas, everything that can break, and nothing is lost or done twice.

use std::time::Duration;

use libra_chaos::Settings;

use crate::surroundings::turn;

#[tokio::test(flavor = "multi_thread")]
async fn a_while_of_chaos_loses_nothing_and_repeats_nothing() {
    // contract: L2, L3, L6, L7, A5, A10, Q2
    let _turn = turn().await;
    let keep = tempfile::Builder::new().prefix("libra-chaos.").tempdir().unwrap().keep();
    let settings = Settings {
        time: Duration::from_secs(45),
        replicas: 2,
        lease: Duration::from_secs(3),
        jobs_per_second: 3.0,
        // Stories about Spark are told elsewhere.
        real_share: 0.0,
        sql_share: 0.0,
        // No test asserts a timing.
        strict_times: false,
        ..Settings::new(env!("CARGO_BIN_EXE_libra"), &keep)
    };
    let report = libra_chaos::run(&settings).await.unwrap();
    assert!(report.is_good(), "{report}\nseed {:#x}, logs in {}", settings.seed, keep.display());
    std::fs::remove_dir_all(keep).unwrap();
}
