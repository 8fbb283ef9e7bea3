//! Uploads with a name and a version, each written once.

use libra_core::time::Timestamp;
use libra_store::tables::artifact_versions::{self as versions, ArtifactVersion};

use crate::given::Store;
use crate::on_every_store;

on_every_store!(a_version_is_written_once);

fn version(tenant: &str, version: &str, at: i64) -> ArtifactVersion {
    ArtifactVersion {
        tenant: tenant.into(),
        name: "etl".into(),
        version: version.into(),
        digest: format!("{at:064x}"),
        size: 7,
        created_at: Timestamp(at),
        created_by: "ada".into(),
    }
}

async fn a_version_is_written_once(s: Store) {
    let create = |new: ArtifactVersion| s.db.write(move |tx| versions::create(tx, &new));
    assert!(create(version("t", "1.0", 5)).await.unwrap());
    assert!(!create(version("t", "1.0", 6)).await.unwrap(), "also with other bytes");
    assert!(create(version("t", "1.1", 6)).await.unwrap());
    assert!(create(version("u", "1.0", 6)).await.unwrap(), "another tenant's");
    let get = |version: &'static str| s.db.read(move |tx| versions::get(tx, "t", "etl", version));
    assert_eq!(get("1.0").await.unwrap(), Some(version("t", "1.0", 5)), "it is as it was");
    assert_eq!(get("2.0").await.unwrap(), None);
    let list = |limit| s.db.read(move |tx| versions::list(tx, "t", "etl", limit));
    assert_eq!(list(10).await.unwrap(), [version("t", "1.1", 6), version("t", "1.0", 5)]);
    assert_eq!(list(1).await.unwrap(), [version("t", "1.1", 6)]);
    assert_eq!(s.db.read(|tx| versions::list(tx, "t", "other", 9)).await.unwrap(), []);
    let mut digests = s.db.read(versions::digests).await.unwrap();
    digests.sort();
    let of = |tenant: &str, at: i64| (tenant.to_owned(), format!("{at:064x}"));
    assert_eq!(digests, [of("t", 5), of("t", 6), of("u", 6)]);
}
