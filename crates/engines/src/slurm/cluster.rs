//! One Slurm cluster, through slurmrestd where there is one, else through its commands.

use std::collections::HashMap;

use libra_core::hpc::mock::MockCluster;
use libra_core::hpc::record::{ExitStatus, Record};
use libra_core::time::{MICROS_PER_SECOND, Timestamp};

use super::answer::{Answer, Listing, Load};
use super::commands::{COMMAND_PATIENCE, Commands, LIST_COMMAND_PATIENCE, Order};
use super::error::{Error, is_not_configured, of_accounting, of_command, words};
use super::mock::{self, Mock};
use super::rest::{ASK_PATIENCE, About, LIST_PATIENCE, Rest, Told};
use super::submission::Submission;

/// Requests to slurmctld that one [`Slurm::look`] makes.
pub const REQUESTS_OF_A_LOOK: usize = 2;
/// The most jobs that accounting is asked about by number in one request: their numbers are in its address.
pub const MOST_ASKED: usize = 100;
/// The first second since the epoch that Slurm reads as a time.
const LEAST_SECONDS: i64 = 1_000_000;

/// One cluster.
#[derive(Clone, Debug)]
pub enum Slurm {
    /// Through its REST API.
    Rest(Rest),
    /// Through its commands, on this machine.
    Commands(Commands),
    /// Nowhere: it is made up.
    Mock(Mock),
}

/// What one shared read has brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// To be named in the next look: what has not changed since then is not sent again. None where that can't be told.
    pub mark: Option<Timestamp>,
    /// What slurmctld says of itself.
    pub load: Load,
    /// All jobs that slurmctld knows; None when nothing has changed since the mark.
    pub jobs: Option<Listing>,
}

/// What carries a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Numbers of jobs that carry it, each once: an array and a heterogeneous job as a whole.
    pub ids: Vec<String>,
    /// Whether accounting was asked too. Without it a job that ended long ago is not found; slurmctld keeps them for
    /// MinJobAge. It has comments only where slurm.conf has `AccountingStoreFlags=job_comment`.
    pub accounted: bool,
    /// Whether accounting keeps comments: some job of that time has one. Only then what it does not find was never there.
    pub comments_kept: bool,
}

/// A signal to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP.
    Hangup,
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Hangup => "HUP",
            Self::Interrupt => "INT",
            Self::Terminate => "TERM",
            Self::User1 => "USR1",
            Self::User2 => "USR2",
        }
    }
}

impl Slurm {
    /// What is made up, where it is no real cluster.
    pub fn made_up(&self) -> Option<&MockCluster> {
        match self {
            Self::Mock(mock) => Some(mock.cluster()),
            Self::Rest(_) | Self::Commands(_) => None,
        }
    }

    /// All jobs that slurmctld knows, ended ones included for MinJobAge. This is the one read that all users share.
    pub async fn look(&self, since: Option<Timestamp>) -> Result<Look, Error> {
        match self {
            Self::Rest(rest) => {
                // slurmctld's clock is not ours: what it calls changed since is by its own.
                let load = answer(rest.get(About::Slurm, "diag", ASK_PATIENCE).await?)?.load;
                let path = match since {
                    Some(since) => format!("jobs?update_time={}", since.0 / MICROS_PER_SECOND),
                    None => "jobs".to_owned(),
                };
                let jobs = match rest.get(About::Slurm, &path, LIST_PATIENCE).await? {
                    Told::Unchanged => None,
                    Told::Answer(answer) => Some(answer.listing()?),
                };
                Ok(Look { mark: load.at, load, jobs })
            }
            Self::Commands(commands) => {
                // All states, hidden partitions too: newer versions leave out ended jobs otherwise.
                let arguments = ["--json", "--all", "--states=all"];
                let answer = commands.json("squeue", &arguments, LIST_COMMAND_PATIENCE).await?;
                Ok(Look { jobs: Some(answer.listing()?), ..Look::default() })
            }
            Self::Mock(mock) => Ok(mock.look()),
        }
    }

    /// What slurmctld knows of a job: several records for an array or a heterogeneous job that is named as a whole. A task
    /// of an array that still waits (`8_3`) is told by the record of all that wait.
    ///
    /// # Errors
    /// [`Error::UnknownJob`] for one that it has forgotten or never knew.
    pub async fn job(&self, id: &str) -> Result<Vec<Record>, Error> {
        let whole = number_of(id)?;
        let listing = match self {
            Self::Rest(rest) => {
                // It takes no task for a job.
                answer(rest.get(About::Slurm, &format!("job/{whole}"), ASK_PATIENCE).await?)?.listing()?
            }
            Self::Commands(commands) => {
                // 22.05 lists every job whatever it is asked for.
                let of = format!("--jobs={id}");
                let arguments = ["--json", "--all", "--states=all", &of];
                commands.json("squeue", &arguments, LIST_COMMAND_PATIENCE).await?.listing()?
            }
            Self::Mock(mock) => mock.job(whole),
        };
        let waits = |record: &Record| record.array_waiting.is_some() && record.external_id == whole;
        let (exact, others): (Vec<Record>, Vec<Record>) =
            listing.records.into_iter().partition(|record| names(id, record));
        let told = if exact.is_empty() { others.into_iter().filter(waits).collect() } else { exact };
        match listing.skipped {
            0 if told.is_empty() => Err(Error::UnknownJob),
            // It may be one of these.
            skipped if told.is_empty() => Err(unreadable(skipped)),
            _ => Ok(told),
        }
    }

    /// What accounting keeps of jobs, by number; those that it does not know are left out. Asks for [`MOST_ASKED`] at once.
    pub async fn accounted(&self, ids: &[String]) -> Result<Listing, Error> {
        let mut all = Listing::default();
        for some in ids.chunks(MOST_ASKED) {
            for id in some {
                number_of(id)?;
            }
            let more = match self {
                Self::Rest(rest) => {
                    let path = format!("jobs?step={}&skip_steps=true", some.join("%2C"));
                    kept(rest.get(About::Accounting, &path, LIST_PATIENCE).await)?
                }
                Self::Commands(commands) => sacct(commands, &[&format!("--jobs={}", some.join(","))]).await?,
                Self::Mock(mock) => mock.accounted(some),
            };
            all.records.extend(more.records);
            all.skipped = all.skipped.saturating_add(more.skipped);
        }
        Ok(all)
    }

    /// What accounting keeps of jobs that were waiting, running or ending between two times.
    pub async fn accounted_between(&self, from: Timestamp, to: Timestamp) -> Result<Listing, Error> {
        let times = (from, to);
        let seconds = |time: Timestamp| (time.0 / MICROS_PER_SECOND).max(LEAST_SECONDS);
        let (from, to) = (seconds(from), seconds(to).saturating_add(1));
        match self {
            Self::Rest(rest) => {
                // Slurm's own way to write seconds since the epoch; its other times are in its own zone.
                let path = format!("jobs?start_time=uts{from}&end_time=uts{to}&skip_steps=true");
                kept(rest.get(About::Accounting, &path, LIST_PATIENCE).await)
            }
            Self::Commands(commands) => {
                let (from, to) = (format!("--starttime=uts{from}"), format!("--endtime=uts{to}"));
                sacct(commands, &["--allusers", &from, &to]).await
            }
            Self::Mock(mock) => Ok(mock.accounted_between(times)),
        }
    }

    /// True when slurmctld answers.
    pub async fn ping(&self) -> Result<(), Error> {
        match self {
            Self::Rest(rest) => answer(rest.get(About::Slurm, "ping", ASK_PATIENCE).await?).map(drop),
            Self::Commands(commands) => {
                let order =
                    Order { program: "scontrol", arguments: vec!["ping".to_owned()], ..Order::default() };
                let said = commands.run(order, COMMAND_PATIENCE).await?;
                let text = String::from_utf8_lossy(&said.stdout);
                if said.succeeded && text.contains(" is UP") {
                    return Ok(());
                }
                Err(Error::ControllerAway(words(&format!("{text} {}", said.stderr))))
            }
            Self::Mock(_) => Ok(()),
        }
    }

    /// Submits a job and gives its number. Where the answer was lost, what was submitted is looked for by its token; an
    /// error that [`Error::is_unclear`] remains then when nothing is found (yet): look again with [`Slurm::find`], and only
    /// then submit again.
    pub async fn submit(&self, submission: &Submission) -> Result<String, Error> {
        submission.check().map_err(|flaw| Error::Refused(flaw.words))?;
        match self.send(submission).await {
            Err(error) if error.is_unclear() => match self.found_in_queue(&submission.token).await {
                Ok(ids) => ids.into_iter().next().ok_or(error),
                Err(_) => Err(error),
            },
            answer => answer,
        }
    }

    async fn send(&self, submission: &Submission) -> Result<String, Error> {
        match self {
            Self::Rest(rest) => {
                if let Some(words) = submission.beyond(rest.version().await?) {
                    return Err(Error::Refused(words));
                }
                let told = rest.post("job/submit", |version| submission.body(version), ASK_PATIENCE).await?;
                let id = answer(told)?.job_id;
                id.map(|id| id.to_string())
                    .ok_or_else(|| Error::Garbage("it has no number of a job".to_owned()))
            }
            Self::Commands(commands) => {
                let order = Order {
                    program: "sbatch",
                    arguments: submission.options(),
                    of_job: submission.variables(),
                    input: &submission.script_with_arguments(),
                };
                let said = commands.run(order, COMMAND_PATIENCE).await?;
                if !said.succeeded {
                    return Err(of_command(&said.stderr, true));
                }
                // With the cluster behind a semicolon, where there are several.
                let text = String::from_utf8_lossy(&said.stdout);
                let id = text.trim().split(';').next().unwrap_or_default();
                match id.parse::<u64>() {
                    Ok(id) => Ok(id.to_string()),
                    Err(_) => Err(Error::Garbage(words(&text))),
                }
            }
            Self::Mock(_) => Err(mock::refused()),
        }
    }

    /// Looks for what carries a token: among the jobs that slurmctld knows, and where none does, in accounting from `since`
    /// to `now`.
    pub async fn find(&self, token: &str, since: Timestamp, now: Timestamp) -> Result<Found, Error> {
        let ids = self.found_in_queue(token).await?;
        if !ids.is_empty() {
            return Ok(Found { ids, ..Found::default() });
        }
        match self.accounted_between(since, now).await {
            Ok(listing) => Ok(Found {
                ids: carrying(token, &listing.records),
                accounted: true,
                comments_kept: listing.records.iter().any(|record| record.comment.is_some()),
            }),
            Err(Error::NoAccounting(_)) => Ok(Found::default()),
            Err(error) => Err(error),
        }
    }

    async fn found_in_queue(&self, token: &str) -> Result<Vec<String>, Error> {
        let listing = self.look(None).await?.jobs.unwrap_or_default();
        // A job that can't be read may be the one.
        match carrying(token, &listing.records) {
            none if none.is_empty() && listing.skipped > 0 => Err(unreadable(listing.skipped)),
            ids => Ok(ids),
        }
    }

    /// Cancels a job, waiting or running; one that has ended is fine. `id` as [`name_of`] gives it for one task of an array.
    /// It has ended when its record says so, and not before.
    pub async fn cancel(&self, id: &str) -> Result<(), Error> {
        self.kill(id, None).await
    }

    /// Sends a signal to a job's script and steps.
    pub async fn signal(&self, id: &str, signal: Signal) -> Result<(), Error> {
        self.kill(id, Some(signal)).await
    }

    async fn kill(&self, id: &str, signal: Option<Signal>) -> Result<(), Error> {
        number_of(id)?;
        match self.send_signal(id, signal).await {
            // Nothing is left to cancel.
            Err(Error::AlreadyEnded) => Ok(()),
            answer => answer,
        }
    }

    async fn send_signal(&self, id: &str, signal: Option<Signal>) -> Result<(), Error> {
        match self {
            Self::Rest(rest) => {
                let path = match signal {
                    Some(signal) => format!("job/{id}?signal=SIG{}", signal.name()),
                    None => format!("job/{id}"),
                };
                answer(rest.delete(&path).await?).map(drop)
            }
            Self::Commands(commands) => {
                let signal =
                    signal.map(|signal| [format!("--signal={}", signal.name()), "--full".to_owned()]);
                let arguments =
                    signal.into_iter().flatten().chain(["--verbose".to_owned(), id.to_owned()]).collect();
                let order = Order { program: "scancel", arguments, ..Order::default() };
                let said = commands.run(order, COMMAND_PATIENCE).await?;
                // It succeeds where it has failed, and tells of a job that nobody knows only when it is to be verbose.
                if said.succeeded && !said.stderr.contains("error:") {
                    return Ok(());
                }
                Err(of_command(&said.stderr, true))
            }
            Self::Mock(_) => Err(mock::refused()),
        }
    }
}

/// What to name a job by when it is meant alone: the last task of an array has the number of the whole.
pub fn name_of(record: &Record) -> String {
    match record.array {
        Some(task) => format!("{}_{}", task.job, task.task),
        None => record.external_id.clone(),
    }
}

fn answer(told: Told) -> Result<Answer, Error> {
    match told {
        Told::Answer(answer) => Ok(answer),
        Told::Unchanged => {
            Err(Error::Garbage("it says that nothing has changed, and was not asked".to_owned()))
        }
    }
}

fn unreadable(skipped: u32) -> Error {
    Error::Garbage(format!("{skipped} jobs of it can't be read"))
}

/// The number in `8` and in `8_3`. Nothing else becomes part of a path or a command.
fn number_of(id: &str) -> Result<&str, Error> {
    /// Digits of the largest number that Slurm gives, and a few.
    const MOST_DIGITS: usize = 12;
    let (job, task) = id.split_once('_').unwrap_or((id, "0"));
    let number =
        |part: &str| (1..=MOST_DIGITS).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    if number(job) && !job.starts_with('0') && number(task) { Ok(job) } else { Err(Error::UnknownJob) }
}

/// True when `id` names this job, alone or as a part.
fn names(id: &str, record: &Record) -> bool {
    let is = |number: u64| number.to_string() == id;
    record.external_id == id
        || record.array.is_some_and(|task| is(task.job) || name_of(record) == id)
        || record.het_job.is_some_and(is)
}

/// The jobs that carry a token, each once.
fn carrying(token: &str, records: &[Record]) -> Vec<String> {
    let has = |comment: &String| comment.split_whitespace().any(|word| word == token);
    let mut ids: Vec<u64> = records
        .iter()
        .filter(|record| record.comment.as_ref().is_some_and(has))
        .filter_map(|record| {
            let whole = record.array.map(|task| task.job).or(record.het_job);
            whole.or_else(|| record.external_id.parse().ok())
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().map(|id| id.to_string()).collect()
}

/// What accounting has told. Its word for nothing found is an error; and that a cluster has no accounting is another thing
/// than that slurmdbd does not answer, which it will one day.
fn kept(told: Result<Told, Error>) -> Result<Listing, Error> {
    match told {
        Ok(told) => answer(told)?.listing(),
        Err(Error::UnknownJob) => Ok(Listing::default()),
        Err(Error::ControllerAway(words) | Error::Failed(words)) if is_not_configured(&words) => {
            Err(Error::NoAccounting(words))
        }
        Err(Error::ControllerAway(words) | Error::Failed(words)) => Err(of_accounting(&words)),
        Err(other) => Err(other),
    }
}

/// Asks `sacct`. It tells 0 for every exit code in the JSON of 22.05, so the codes of failed jobs are asked for in words.
async fn sacct(commands: &Commands, which: &[&str]) -> Result<Listing, Error> {
    let arguments = [&["--json"], which].concat();
    let answer = commands.json("sacct", &arguments, LIST_COMMAND_PATIENCE).await;
    let mut listing = kept(answer.map(Told::Answer))?;
    let failed = |record: &Record| record.exit.is_none() && record.raw_state == "FAILED";
    if listing.records.iter().any(failed) {
        let own = ["--allocations", "--noheader", "--parsable2", "--format=JobIDRaw,ExitCode"];
        let arguments = [&own, which].concat().into_iter().map(str::to_owned).collect();
        let order = Order { program: "sacct", arguments, ..Order::default() };
        let said = commands.run(order, LIST_COMMAND_PATIENCE).await?;
        let text = String::from_utf8_lossy(&said.stdout);
        let told: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once('|')).collect();
        for record in listing.records.iter_mut().filter(|record| failed(record)) {
            record.exit = told.get(record.external_id.as_str()).and_then(|pair| ExitStatus::of_pair(pair));
        }
    }
    Ok(listing)
}
