//! What a standalone master says of its cluster (`/json/` of its web UI).

use libra_core::turn::Resources;
use serde::Deserialize;

use super::rest::{NoAnswer, Rest};

const MIB: u64 = 1024 * 1024;

#[derive(Deserialize)]
struct Master {
    status: String,
    workers: Vec<Worker>,
}

#[derive(Deserialize)]
struct Worker {
    state: String,
    cores: u64,
    /// In MiB.
    memory: u64,
}

/// What the living workers of the cluster have together, whoever uses it. `web_url` is the address of the master's web UI.
///
/// # Errors
/// When it does not answer, or is no standalone master: in words.
pub async fn capacity(web_url: &str) -> Result<Resources, NoAnswer> {
    let rest = Rest::shared().ok_or("there is no HTTP client")?;
    let body = rest.get(&format!("{}/json/", web_url.trim_end_matches('/'))).await?;
    read(&body)
}

fn read(body: &[u8]) -> Result<Resources, NoAnswer> {
    let master: Master =
        serde_json::from_slice(body).map_err(|e| format!("this is no answer of a Spark master: {e}"))?;
    // One that stands by, or has just taken over, knows of no workers.
    if master.status != "ALIVE" {
        return Err(format!("the master is {}", master.status));
    }
    let alive = master.workers.iter().filter(|worker| worker.state == "ALIVE");
    Ok(alive.fold(Resources::default(), |sum, worker| {
        sum.plus(Resources::new(worker.cores, worker.memory.saturating_mul(MIB)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_living_workers_count() {
        let body =
            br#"{"url": "spark://h:7077", "status": "ALIVE", "aliveworkers": 1, "cores": 2, "workers": [
            {"id": "worker-1", "cores": 2, "coresused": 1, "memory": 1024, "state": "ALIVE"},
            {"id": "worker-2", "cores": 8, "coresused": 0, "memory": 4096, "state": "DEAD"}]}"#;
        assert_eq!(read(body).unwrap(), Resources::new(2, 1024 * MIB));
        assert!(read(b"<html>").is_err());
        let standby = br#"{"url": "spark://h:7077", "status": "STANDBY", "workers": []}"#;
        assert_eq!(read(standby).unwrap_err(), "the master is STANDBY");
    }
}
