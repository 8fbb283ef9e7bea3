//! What the database itself says in the end.

use crate::cluster::Cluster;
use crate::settings::Settings;

/// A sentence about the database, and a query that answers no row while it holds.
struct Rule {
    holds: &'static str,
    query: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        holds: "every attempt is closed",
        query: "SELECT job_id, number FROM attempts WHERE ended_at IS NULL",
    },
    Rule {
        holds: "an attempt is scheduled once",
        query: "SELECT job_id, attempt, count(*) FROM transitions WHERE to_state = 'SCHEDULED' \
                GROUP BY job_id, attempt HAVING count(*) > 1",
    },
    Rule {
        holds: "every SCHEDULED row has its attempt, and every attempt its SCHEDULED row",
        query: "SELECT coalesce(t.job_id, a.job_id), coalesce(t.attempt, a.number) FROM \
                (SELECT job_id, attempt FROM transitions WHERE to_state = 'SCHEDULED') t \
                FULL JOIN attempts a ON a.job_id = t.job_id AND a.number = t.attempt \
                WHERE t.job_id IS NULL OR a.job_id IS NULL",
    },
    Rule {
        holds: "the log of a job has no holes: each row goes on from where the one before ended",
        query: "SELECT job_id, id, before, from_state FROM (SELECT job_id, id, from_state, \
                lag(to_state) OVER (PARTITION BY job_id ORDER BY id) AS before FROM transitions) t \
                WHERE before IS DISTINCT FROM from_state",
    },
    Rule {
        holds: "nothing leaves an end but FAILED for RETRYING",
        query: "SELECT job_id, from_state, to_state FROM transitions \
                WHERE from_state IN ('SUCCEEDED', 'CANCELLED', 'TIMEOUT') \
                OR (from_state = 'FAILED' AND to_state <> 'RETRYING')",
    },
    Rule {
        holds: "a job is in the state that its log ends with",
        query: "SELECT j.id, j.state, t.to_state FROM jobs j JOIN (SELECT DISTINCT ON (job_id) job_id, to_state \
                FROM transitions ORDER BY job_id, id DESC) t ON t.job_id = j.id WHERE t.to_state <> j.state",
    },
    Rule {
        holds: "one idempotency key is one job, and one job one key",
        query: "SELECT j.id, count(i.key) FROM jobs j LEFT JOIN idempotency i ON i.job_id = j.id \
                GROUP BY j.id HAVING count(i.key) <> 1",
    },
    Rule {
        holds: "every row of the log is numbered, without gaps",
        query: "SELECT count(DISTINCT t.id), count(seq), count(DISTINCT seq), min(seq), max(seq) \
                FROM transitions t LEFT JOIN (SELECT first_id, length, first_seq - first_id AS shift FROM feed_segments) s \
                ON t.id >= s.first_id AND t.id < s.first_id + s.length, LATERAL (SELECT t.id + s.shift AS seq) n \
                HAVING count(*) > 0 AND (count(DISTINCT t.id) <> count(seq) OR count(DISTINCT seq) <> count(seq) \
                OR min(seq) <> 1 OR max(seq) <> count(seq))",
    },
    Rule {
        holds: "the feed tells a job's rows in their order",
        query: "SELECT job_id, id, seq FROM (SELECT job_id, id, seq, lag(seq) OVER (PARTITION BY job_id ORDER BY id) AS before \
                FROM (SELECT t.job_id, t.id, t.id - s.first_id + s.first_seq AS seq FROM transitions t \
                JOIN feed_segments s ON t.id >= s.first_id AND t.id < s.first_id + s.length) numbered) t \
                WHERE before > seq",
    },
    Rule {
        holds: "leaders schedule in the order of their epochs",
        query: "SELECT id, epoch, before FROM (SELECT id, (metadata::json->>'epoch')::bigint AS epoch, \
                lag((metadata::json->>'epoch')::bigint) OVER (ORDER BY id) AS before FROM transitions \
                WHERE to_state = 'SCHEDULED') t WHERE before > epoch",
    },
    Rule {
        holds: "in one epoch one replica schedules",
        query: "SELECT metadata::json->>'epoch', count(DISTINCT metadata::json->>'leader') FROM transitions \
                WHERE to_state = 'SCHEDULED' GROUP BY 1 HAVING count(DISTINCT metadata::json->>'leader') > 1",
    },
];

/// Rows that are shown of a broken rule.
const SHOWN: usize = 5;

/// The rules that do not hold.
pub(crate) async fn broken(cluster: &Cluster, settings: &Settings) -> Vec<String> {
    let mut broken = Vec::new();
    // In the order of the rows: who schedules has seen the ends that made room, so they are in the log before.
    let limit = format!(
        "SELECT id, running FROM (SELECT t.id, sum(step) OVER (ORDER BY t.id) AS running FROM \
         (SELECT id, job_id, CASE WHEN to_state = 'SCHEDULED' THEN 1 ELSE -1 END AS step FROM transitions \
         WHERE to_state = 'SCHEDULED' OR (from_state IN ('SCHEDULED', 'RUNNING') AND to_state <> 'RUNNING')) t \
         JOIN jobs j ON j.id = t.job_id AND j.mode = 'spark-submit') s WHERE running > {} LIMIT 1",
        settings.concurrent_jobs
    );
    let limit = ("no more jobs at once than the limit", limit);
    let rules = RULES.iter().map(|rule| (rule.holds, rule.query.to_owned()));
    for (holds, query) in rules.chain([limit]) {
        let rows = cluster.query(&query).await;
        if !rows.is_empty() {
            let shown = rows.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
            broken.push(format!("it does not hold that {holds}: {} rows: {shown}", rows.len()));
        }
    }
    broken
}
