//! The arrows between the rooms, checked from `cargo metadata` (ARCHITECTURE.md).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Who may use whom. A new arrow is a decision, written down in docs/decisions.
const ARROWS: &[(&str, &[&str])] = &[
    ("libra-core", &[]),
    ("libra-api", &["libra-core"]),
    ("libra-agent", &["libra-api", "libra-core"]),
    ("libra-store", &["libra-core"]),
    ("libra-engines", &["libra-core"]),
    ("libra-server", &["libra-api", "libra-core", "libra-engines", "libra-store"]),
    ("libra", &["libra-agent", "libra-api", "libra-core", "libra-engines", "libra-server", "libra-store"]),
    ("libra-testkit", &["libra-api", "libra-core", "libra-engines", "libra-store"]),
    ("libra-chaos", &["libra-api", "libra-core", "libra-engines", "libra-testkit"]),
    (
        "libra-bench",
        &["libra-api", "libra-core", "libra-engines", "libra-server", "libra-store", "libra-testkit"],
    ),
];

/// What the pure room must never depend on.
const NOT_IN_CORE: &[&str] =
    &["tokio", "rusqlite", "reqwest", "axum", "tonic", "rand", "futures", "hyper", "rustix"];

fn packages() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&out.stdout).unwrap();
    let name = |v: &Value| v["name"].as_str().unwrap().to_owned();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let used = package["dependencies"].as_array().unwrap().iter();
            (name(package), used.filter(|d| d["kind"].is_null()).map(name).collect())
        })
        .collect()
}

#[test]
fn data_flows_one_way() {
    for (name, used) in packages() {
        let allowed = ARROWS.iter().find(|(n, _)| *n == name);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{name} is not in the table of arrows"));
        let ours = used.iter().filter(|d| d.starts_with("libra"));
        let wrong: Vec<_> = ours.filter(|d| !allowed.contains(&d.as_str())).collect();
        assert!(wrong.is_empty(), "{name} must not use {wrong:?}");
    }
}

#[test]
fn core_is_pure() {
    let packages = packages();
    let used = &packages["libra-core"];
    let wrong: Vec<_> = NOT_IN_CORE.iter().filter(|d| used.contains(**d)).collect();
    assert!(wrong.is_empty(), "core must not use {wrong:?}");
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut waiting = vec![src];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for word in [
                    "SystemTime::now",
                    "Instant::now",
                    "std::fs::",
                    "std::net::",
                    "std::thread::",
                    "std::process::",
                ] {
                    assert!(!text.contains(word), "{} uses {word}", path.display());
                }
            }
        }
    }
}

#[test]
fn every_room_states_its_invariant() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ARCHITECTURE.md")).unwrap();
    for (name, _) in ARROWS {
        let section = text.split(&format!("### `{name}`")).nth(1);
        let section = section.unwrap_or_else(|| panic!("ARCHITECTURE.md has no section for {name}"));
        let section = section.split("\n### ").next().unwrap();
        assert!(section.contains("Invariant:"), "{name} states no invariant");
    }
}
