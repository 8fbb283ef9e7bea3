//! One job judged: what its caller was told beside what really ran.

use libra_api::views::JobView;

use crate::clock::parse;
use crate::draft::Plan;
use crate::ledger::{Answer, Entry, Kill, Victim};
use crate::marks::Ran;
use crate::readers::is_end;

/// The API tells times in whole milliseconds.
const ROUNDING: i64 = 2_000;
/// Between a program's last mark and its exit, microseconds: a cancellation that comes in between still strikes. A
/// JVM takes its time to end.
const EXIT: i64 = 2_000_000;
const JVM_EXIT: i64 = 20_000_000;

/// A promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Broken {
    /// Acknowledged, but absent or without an end.
    Lost,
    /// It ran again although nobody had asked for that.
    Twice,
    /// Its end is not what happened.
    Untrue,
}

/// A broken promise, in words.
pub(crate) type Finding = (Broken, String);

/// Everything known about one job.
pub(crate) struct Case<'a> {
    pub(crate) entry: &'a Entry,
    /// As the API shows it in the end.
    pub(crate) job: Option<&'a JobView>,
    /// What it left behind.
    pub(crate) ran: &'a [Ran],
    pub(crate) kills: &'a [Kill],
}

impl Case<'_> {
    /// What is wrong with it.
    pub(crate) fn judge(&self) -> Vec<Finding> {
        let name = &self.entry.draft.name;
        let mut found = Vec::new();
        match (&self.entry.answer, self.job) {
            (Some(Answer::Refused(_)), job) if job.is_some() || !self.ran.is_empty() => {
                found.push((Broken::Untrue, "it was refused and is there".to_owned()));
            }
            (Some(Answer::Refused(_)), _) => {}
            (_, None) => found.push((Broken::Lost, "it is not there".to_owned())),
            (None, Some(_)) => found.push((Broken::Lost, "its submission was never answered".to_owned())),
            (Some(Answer::Taken(id)), Some(job)) if *id != job.job_id => {
                found.push((Broken::Twice, format!("it was acknowledged as {id} and is {}", job.job_id)));
            }
            (Some(Answer::Taken(_)), Some(job)) if !is_end(&job.status) => {
                found.push((Broken::Lost, format!("it does not end: it is {}", job.status)));
            }
            (Some(Answer::Taken(_)), Some(job)) => {
                found.extend(self.end(job).map(|why| (Broken::Untrue, why)));
                found.extend(self.afterwards(job).map(|why| (Broken::Untrue, why)));
            }
        }
        found.extend(self.repeats().map(|why| (Broken::Twice, why)));
        let id = self.job.map_or("no id", |job| job.job_id.as_str());
        let plan = self.entry.draft.plan.as_str();
        found.into_iter().map(|(broken, why)| (broken, format!("{name} ({plan}, {id}): {why}"))).collect()
    }

    /// It ran more often than it may, without regard to how it ended.
    pub(crate) fn was_repeated(&self) -> bool {
        self.ran.len() > 1
    }

    /// From the last mark of a job that ended by itself to its end in Libra, microseconds.
    pub(crate) fn lateness(&self) -> Option<i64> {
        let job = self.job.filter(|job| job.status != "CANCELLED")?;
        let last = self.ran.last()?;
        let (end, _) = last.end.filter(|_| self.killed(last).is_none())?;
        Some(job.completed_at.as_deref().and_then(parse)? - end)
    }

    fn killed(&self, ran: &Ran) -> Option<Victim> {
        // A shim's death says less about what happened: it counts where both were killed.
        let of_it = || self.kills.iter().filter(|kill| kill.token == ran.token);
        of_it().map(|kill| kill.victim).max_by_key(|victim| *victim == Victim::Shim)
    }

    /// Each replica that was about to launch it died, again and again: it is given up, and nothing of it ever ran
    /// (contract L3).
    pub(crate) fn is_given_up(&self) -> bool {
        let error = self.job.and_then(|job| job.error.as_ref());
        error.is_some_and(|e| e.code == "launch_lost") && self.ran.is_empty()
    }

    /// Only its shim was killed: nobody saw how its driver ended.
    fn is_unknowable(&self, ran: &Ran) -> bool {
        let mut kills = self.kills.iter().filter(|kill| kill.token == ran.token).peekable();
        kills.peek().is_some() && kills.all(|kill| kill.victim == Victim::Shim)
    }

    fn any_killed(&self) -> bool {
        // A kill may come before the first mark.
        self.ran.iter().any(|ran| self.killed(ran).is_some())
            || self.job.is_some_and(|job| {
                job.attempts.iter().any(|a| self.kills.iter().any(|kill| kill.token == a.token))
            })
    }

    fn repeats(&self) -> Option<String> {
        if let Some(ran) = self.ran.iter().find(|ran| ran.starts.len() > 1) {
            return Some(format!("attempt {} was started {} times", ran.token, ran.starts.len()));
        }
        let policy = self.entry.draft.plan.has_policy();
        self.ran.windows(2).find_map(|pair| {
            let (before, after) = (&pair[0], &pair[1]);
            if after.first() < before.last() {
                return Some(format!("{} and {} ran at the same time", before.token, after.token));
            }
            let reason = match (self.killed(before), before.end) {
                // Its end is a known one: by infrastructure, which is tried again unless a policy says otherwise.
                (Some(Victim::Driver), _) => true,
                (Some(Victim::Shim), _) => policy,
                (None, Some((_, code))) => policy && code != 0,
                (None, None) => false,
            };
            (!reason).then(|| {
                let end = before.end.map_or("no end".to_owned(), |(_, code)| format!("exit code {code}"));
                format!(
                    "it ran again as {} after {} with {end}, which nobody killed",
                    after.token, before.token
                )
            })
        })
    }

    /// What is untrue about its end.
    fn end(&self, job: &JobView) -> Option<String> {
        let last = self.ran.last();
        let end = last.and_then(|ran| ran.end);
        let code = end.map(|(_, code)| code);
        let error = job.error.as_ref();
        match job.status.as_str() {
            "SUCCEEDED" if self.entry.draft.plan == Plan::Sql => {
                let rows = job.result.as_ref().map(|result| result.rows.as_slice());
                let expected = serde_json::json!({"answer": self.entry.draft.answer()});
                (rows != Some(&[expected])).then(|| format!("SUCCEEDED with {rows:?}"))
            }
            "SUCCEEDED" => (code != Some(0)).then(|| format!("SUCCEEDED, and its last mark is {end:?}")),
            "FAILED" if error.is_some_and(|e| e.class == "user") => {
                let right = code.is_some_and(|code| code != 0) && job.exit_code == code;
                (!right).then(|| {
                    format!("FAILED with exit code {:?}, and its last mark is {end:?}", job.exit_code)
                })
            }
            "FAILED"
                if error.is_some_and(|e| e.outcome.is_none())
                    && last.is_some_and(|l| self.is_unknowable(l)) =>
            {
                Some("FAILED as if one could know that, but its shim was killed".to_owned())
            }
            "FAILED" if self.is_given_up() => None,
            "FAILED" if self.any_killed() => None,
            "FAILED" => {
                let error = error.map(|e| format!("{} {}: {}", e.class, e.code, e.message));
                Some(format!("FAILED with {error:?}, but nobody killed anything; its last mark is {end:?}"))
            }
            "CANCELLED" => {
                let (Some(_), Some(asked)) =
                    (self.entry.cancel_sent_at, job.cancel_requested_at.as_deref().and_then(parse))
                else {
                    return Some("CANCELLED, and nobody asked for it".to_owned());
                };
                let exit = if self.entry.draft.plan == Plan::Real { JVM_EXIT } else { EXIT };
                let (at, code) = end.filter(|(at, _)| at + exit < asked)?;
                let killed = last.is_some_and(|ran| self.killed(ran).is_some());
                (!killed).then(|| format!("CANCELLED, but it had ended at {at} with {code}, before {asked}"))
            }
            other => Some(format!("{other}, which no plan has")),
        }
    }

    /// A mark that is younger than the job's end: something of it was still alive.
    fn afterwards(&self, job: &JobView) -> Option<String> {
        let ended = job.completed_at.as_deref().and_then(parse)?;
        let late = self.ran.iter().map(Ran::last).max().filter(|last| *last > ended + ROUNDING)?;
        Some(format!("it is {} since {ended}, but left a mark at {late}", job.status))
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
