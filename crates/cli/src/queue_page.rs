//! The page of `libra queue`: pools, shares, limits.

use std::fmt::Write as _;

use libra_api::turns::{AmountView, LimitView, PartyView, PoolView, QueueView};

use crate::listing::columns;

/// How everything stands.
pub(crate) fn queue(view: &QueueView) -> String {
    let oldest = match view.oldest_waiting_seconds {
        Some(seconds) => format!(", the longest for {}", span(seconds)),
        None => String::new(),
    };
    let mut text = format!("{} running, {} waiting{oldest}\n", view.running, view.waiting);
    for excess in &view.exceeded {
        let _ = writeln!(text, "more is held than {} allows: {}", excess.limit, excess.message);
    }
    text.push('\n');
    text.push_str(&columns(
        ["POOL", "HELD", "OF", "RUNNING", "WAITING", "ROOM IS KEPT FOR"],
        view.pools.iter().map(pool),
    ));
    let shares: Vec<[String; 8]> = view.pools.iter().flat_map(shares).collect();
    if !shares.is_empty() {
        text.push('\n');
        text.push_str(&columns(
            ["POOL", "WHO", "SHARE", "FAIR", "HOLDS", "PAST HOUR", "RUNNING", "WAITING"],
            shares,
        ));
    }
    if !view.limits.is_empty() {
        text.push('\n');
        text.push_str(&columns(
            ["LIMIT OF JOBS", "RUNNING", "HELD", "OF", "WAITING", "KEY"],
            view.limits.iter().map(limit),
        ));
    }
    text
}

fn pool(pool: &PoolView) -> [String; 6] {
    let kept = pool.reservation.as_ref().map(|kept| {
        let job = kept.job_id.as_deref().unwrap_or("another's job");
        format!("{job}, by {}", kept.starts_by)
    });
    [
        pool.name.clone(),
        amount(&pool.held),
        amount(&pool.capacity),
        pool.running.to_string(),
        pool.waiting.to_string(),
        kept.unwrap_or_else(|| "-".to_owned()),
    ]
}

/// A line for each queue, tenant and user, with those that are part of another below it.
fn shares(pool: &PoolView) -> Vec<[String; 8]> {
    fn lines(pool: &PoolView, party: &PartyView, depth: usize, all: &mut Vec<[String; 8]>) {
        let percent = |part: f64| format!("{part:.0} %");
        all.push([
            pool.name.clone(),
            format!("{}{}", "· ".repeat(depth), party.name),
            party.share.to_string(),
            percent(party.fair_percent),
            percent(party.held_percent),
            percent(party.average_percent),
            party.running.to_string(),
            party.waiting.to_string(),
        ]);
        for part in &party.parts {
            lines(pool, part, depth + 1, all);
        }
    }
    let mut all = Vec::new();
    for queue in &pool.queues {
        lines(pool, queue, 0, &mut all);
    }
    all
}

fn limit(limit: &LimitView) -> [String; 6] {
    let most = limit.running_jobs.map(|n| format!("{n} jobs"));
    let amounts = Some(amount(&limit.most)).filter(|text| text != "-");
    let of: Vec<String> = most.into_iter().chain(amounts).collect();
    [
        limit.of.clone(),
        limit.running.to_string(),
        amount(&limit.held),
        of.join(", "),
        limit.waiting.to_string(),
        limit.limit.clone(),
    ]
}

fn amount(amount: &AmountView) -> String {
    let parts = [
        amount.cpu_cores.map(|n| format!("{n} cores")),
        amount.memory_gb.map(|n| format!("{n} GiB")),
        amount.gpus.map(|n| format!("{n} GPUs")),
        amount.slots.map(|n| format!("{n} slots")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

fn span(seconds: f64) -> String {
    if seconds < 120.0 {
        format!("{seconds:.0} s")
    } else if seconds < 7_200.0 {
        format!("{:.0} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3_600.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_shares() {
        let amounts = |cores: u64, gib: f64| serde_json::json!({"cpuCores": cores, "memoryGB": gib});
        let party = |name: &str, fair: f64, held: f64, parts: serde_json::Value| {
            serde_json::json!({
                "name": name, "share": 1, "fairPercent": fair, "heldPercent": held, "held": amounts(4, 6.0),
                "averagePercent": 40.0, "running": 2, "waiting": 5, "parts": parts,
            })
        };
        let ann = party("ann", 50.0, 75.0, serde_json::json!([]));
        let acme = party("acme", 100.0, 75.0, serde_json::json!([ann]));
        let view = serde_json::from_value(serde_json::json!({
            "asOf": "2026-01-29T08:00:00.000Z", "waiting": 5, "running": 2, "oldestWaitingSeconds": 840.0,
            "pools": [
                {"name": "in-cluster", "capacity": {"slots": 10}, "held": {"slots": 0}, "running": 0, "waiting": 0,
                 "queues": []},
                {"name": "hosts", "capacity": amounts(8, 22.5), "held": amounts(6, 9.0), "running": 2, "waiting": 5,
                 "reservation": {"jobId": "job-7", "startsBy": "2026-01-29T08:10:00.000Z"},
                 "queues": [party("default", 100.0, 75.0, serde_json::json!([acme]))]},
            ],
            "limits": [{"of": "of the user ann", "limit": "libra.quotas.users.ann.running-jobs", "running": 2,
                        "runningJobs": 2, "held": {"cpuCores": 4}, "most": {"cpuCores": 8}, "waiting": 5}],
            "exceeded": [{"limit": "libra.resources.limits.cpu-cores", "message": "9 of 8 cores are held on m"}],
        }))
        .unwrap();
        insta::assert_snapshot!("queue", queue(&view));
    }
}
