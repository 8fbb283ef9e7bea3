//! The hand-off by Redis Streams: one stream for each host, one consumer group, one consumer for each replica.
//!
//! Needs Redis 6.2 (XAUTOCLAIM) or newer. Redis may be flushed, killed or slow at any moment.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::{Cmd, Pipeline, Value, cmd, pipe};
use tokio::time::Instant;

use super::link::{Answers, Link, lock};
use super::wire::{self, Raw};
use super::{Entry, HandOffError, Taken};

/// The consumer group of every stream.
const GROUP: &str = "replicas";
/// A call that does not wait for entries ends by then, whatever Redis does.
const CALL_LIMIT: Duration = Duration::from_millis(500);
/// How much later than asked a wait for entries may be answered: what Redis delivers to a connection that has
/// given up waits for [`Tuning::idle`].
const WAIT_MARGIN: Duration = Duration::from_secs(2);
/// A stream into which nothing was pushed for this long goes, and with it what belongs to a host that is no more.
const STREAM_LIFE: Duration = Duration::from_hours(1);
/// The pause of [`RedisHandOff::take`] after an answer that says no.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// What can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// What the names of the streams begin with; a colon and the host follow.
    pub prefix: String,
    /// An entry that was taken and not settled for this long goes to somebody else.
    pub idle: Duration,
    /// A consumer that has not asked for entries for this long, and holds none, is removed from its group.
    pub gone: Duration,
    /// About as many entries wait in one stream; older ones go, and are found by looking into the store.
    pub max_length: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            prefix: "libra:handoff".to_owned(),
            idle: Duration::from_secs(10),
            gone: Duration::from_hours(1),
            max_length: 10_000,
        }
    }
}

/// Hands scheduled attempts over by Redis Streams. Clones share their connections.
#[derive(Clone, Debug)]
pub struct RedisHandOff(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    link: Link,
    tuning: Tuning,
    upkeep: Mutex<HashMap<String, Upkeep>>,
}

/// When the stream of a host is looked after next.
#[derive(Clone, Copy, Debug)]
struct Upkeep {
    claim_at: Instant,
    consumers_at: Instant,
}

impl RedisHandOff {
    /// For the Redis at `redis://[user:password@]host[:port][/database]`, `rediss://` for TLS with the system's
    /// certificates. Connects at the first call.
    pub fn new(url: &str) -> Result<Self, HandOffError> {
        Self::tuned(url, Tuning::default())
    }

    /// The same with other than the default settings.
    pub fn tuned(url: &str, tuning: Tuning) -> Result<Self, HandOffError> {
        let link = Link::new(url)?;
        Ok(Self(Arc::new(Inner { link, tuning, upkeep: Mutex::default() })))
    }

    /// Host and port, for messages.
    pub fn address(&self) -> &str {
        self.0.link.address()
    }

    /// Whether Redis answers, and lets us in.
    pub async fn ping(&self) -> Result<(), HandOffError> {
        self.one(cmd("PING")).await.map(|_| ())
    }

    /// Puts entries into the streams of their hosts, in order. Ends within half a second. After an error any part
    /// of them may have been handed over; what was not is found by looking into the store.
    pub async fn push(&self, entries: &[Entry]) -> Result<(), HandOffError> {
        let mut commands = pipe();
        for entry in entries {
            let mut add = cmd("XADD");
            add.arg(self.stream(&entry.host)).arg("MAXLEN").arg("~").arg(self.0.tuning.max_length).arg("*");
            for (name, value) in wire::fields(entry) {
                add.arg(name).arg(value);
            }
            commands.add_command(add);
        }
        for host in hosts(entries) {
            commands.cmd("PEXPIRE").arg(self.stream(host)).arg(millis(STREAM_LIFE));
        }
        self.all(commands).await
    }

    /// Entries for `host`, at most `most`: first those that somebody took and did not settle, else new ones, for
    /// which it waits. Nothing after `wait`, or as much later as a slow Redis takes, at most two seconds.
    ///
    /// After an error it has waited as well, so that a loop around it does not spin. Cancel-safe: entries that were
    /// on their way go to somebody else when they have been idle for long.
    pub async fn take(
        &self,
        host: &str,
        consumer: &str,
        most: usize,
        wait: Duration,
    ) -> Result<Vec<Taken>, HandOffError> {
        let until = Instant::now() + wait;
        let taken = self.look_after_and_read(host, consumer, most, until).await;
        if let Err(e) = &taken {
            let pause = match e {
                HandOffError::Refused { .. } => self.0.link.pause().max(REFUSED_PAUSE),
                HandOffError::Unreachable { .. } | HandOffError::Url(_) => self.0.link.pause(),
            };
            tokio::time::sleep_until(until.min(Instant::now() + pause)).await;
        }
        taken
    }

    /// The claim of these was decided, one way or the other: nobody else needs them. Ends within half a second;
    /// after an error they come again.
    pub async fn settle(&self, taken: &[Taken]) -> Result<(), HandOffError> {
        let mut commands = pipe();
        for host in hosts(taken.iter().map(|t| &t.entry)) {
            let of_host = taken.iter().filter(|t| t.entry.host == host);
            self.remove(&mut commands, host, of_host.map(|t| t.id.as_str()));
        }
        self.all(commands).await
    }

    async fn look_after_and_read(
        &self,
        host: &str,
        consumer: &str,
        most: usize,
        until: Instant,
    ) -> Result<Vec<Taken>, HandOffError> {
        let (claim, consumers) = self.due(host);
        if consumers {
            self.remove_gone(host, consumer).await?;
        }
        if claim {
            let mut command = cmd("XAUTOCLAIM");
            command.arg(self.stream(host)).arg(GROUP).arg(consumer).arg(millis(self.0.tuning.idle));
            command.arg("0-0").arg("COUNT").arg(most);
            let answer = self.one(command).await;
            if let Some(answer) = self.or_make_group(host, answer).await? {
                let taken = self.keep_readable(host, wire::claimed(&answer)).await;
                if !taken.is_empty() {
                    return Ok(taken);
                }
            }
        }
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut command = cmd("XREADGROUP");
            command.arg("GROUP").arg(GROUP).arg(consumer).arg("COUNT").arg(most);
            // Zero would be for ever.
            if millis(left) > 0 {
                command.arg("BLOCK").arg(millis(left));
            }
            command.arg("STREAMS").arg(self.stream(host)).arg(">");
            let answer = self.wait(command, left + WAIT_MARGIN).await;
            let answer = self.or_make_group(host, answer).await?;
            let taken = match answer {
                Some(answer) => self.keep_readable(host, wire::read(&answer)).await,
                None => Vec::new(),
            };
            if !taken.is_empty() || millis(until.saturating_duration_since(Instant::now())) == 0 {
                return Ok(taken);
            }
        }
    }

    /// Which looks at the stream of `host` are due; the next ones are a while away.
    fn due(&self, host: &str) -> (bool, bool) {
        let (now, tuning) = (Instant::now(), &self.0.tuning);
        let mut upkeep = lock(&self.0.upkeep);
        let next = upkeep.entry(host.to_owned()).or_insert(Upkeep { claim_at: now, consumers_at: now });
        let due = (next.claim_at <= now, next.consumers_at <= now);
        if due.0 {
            next.claim_at = now + tuning.idle / 2;
        }
        if due.1 {
            next.consumers_at = now + tuning.gone / 2;
        }
        due
    }

    /// Replicas that are started anew come under new names; the old ones would stay for ever.
    async fn remove_gone(&self, host: &str, own: &str) -> Result<(), HandOffError> {
        let stream = self.stream(host);
        let mut info = cmd("XINFO");
        info.arg("CONSUMERS").arg(&stream).arg(GROUP);
        let answer = self.one(info).await;
        let Some(answer) = self.or_make_group(host, answer).await? else { return Ok(()) };
        let mut commands = pipe();
        for row in wire::rows(&answer) {
            let field = |name: &str| row.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
            let number = |name: &str| field(name).and_then(|value| value.parse::<u64>().ok());
            let (Some(name), Some(pending), Some(idle)) = (field("name"), number("pending"), number("idle"))
            else {
                continue;
            };
            if name != own && pending == 0 && idle > millis(self.0.tuning.gone) {
                commands.cmd("XGROUP").arg("DELCONSUMER").arg(&stream).arg(GROUP).arg(name);
            }
        }
        self.all(commands).await
    }

    /// The answer to a command that needs the group. None when there was none: it is made, to be asked again.
    async fn or_make_group(
        &self,
        host: &str,
        answer: Result<Value, HandOffError>,
    ) -> Result<Option<Value>, HandOffError> {
        let (code, why) = match &answer {
            Err(HandOffError::Refused { code, why, .. }) => (code.as_str(), why),
            Ok(_) | Err(HandOffError::Unreachable { .. } | HandOffError::Url(_)) => return answer.map(Some),
        };
        // UNBLOCKED: it went while we waited for entries, as a flush makes it. The text is how XINFO says that
        // there is no such stream.
        if !matches!(code, "NOGROUP" | "UNBLOCKED") && !why.contains("no such key") {
            return answer.map(Some);
        }
        let mut commands = pipe();
        commands.cmd("XGROUP").arg("CREATE").arg(self.stream(host)).arg(GROUP).arg("0").arg("MKSTREAM");
        commands.cmd("PEXPIRE").arg(self.stream(host)).arg(millis(STREAM_LIFE));
        match self.all(commands).await {
            // Busy: another replica was faster.
            Err(HandOffError::Refused { code, .. }) if code == "BUSYGROUP" => Ok(None),
            made => made.map(|()| None),
        }
    }

    /// The entries that can be read. The others are removed: nobody could read them.
    async fn keep_readable(&self, host: &str, raw: Vec<Raw>) -> Vec<Taken> {
        let (mut taken, mut unreadable) = (Vec::new(), Vec::new());
        for raw in raw {
            match wire::parse(&raw, host) {
                Ok(entry) => taken.push(Taken { entry, id: raw.id }),
                Err(why) => {
                    tracing::warn!(stream = self.stream(host), id = raw.id, "not an entry, removed: {why}");
                    unreadable.push(raw.id);
                }
            }
        }
        if !unreadable.is_empty() {
            let mut commands = pipe();
            self.remove(&mut commands, host, unreadable.iter().map(String::as_str));
            // They come again after an error, and are removed then.
            let _ = self.all(commands).await;
        }
        taken
    }

    fn remove<'a>(&self, commands: &mut Pipeline, host: &str, ids: impl Iterator<Item = &'a str> + Clone) {
        let stream = self.stream(host);
        commands.cmd("XACK").arg(&stream).arg(GROUP).arg(ids.clone().collect::<Vec<_>>());
        commands.cmd("XDEL").arg(&stream).arg(ids.collect::<Vec<_>>());
    }

    /// All of these, whatever becomes of each; the error is that of the first one that was refused.
    async fn all(&self, mut commands: Pipeline) -> Result<(), HandOffError> {
        if commands.is_empty() {
            return Ok(());
        }
        let answers = self.0.link.call(commands.ignore_errors(), CALL_LIMIT).await?;
        answers.into_iter().try_for_each(|answer| answer.map(|_| ()).map_err(|e| self.0.link.failure(&e)))
    }

    async fn one(&self, command: Cmd) -> Result<Value, HandOffError> {
        self.only(self.0.link.call(&alone(command), CALL_LIMIT).await?)
    }

    async fn wait(&self, command: Cmd, limit: Duration) -> Result<Value, HandOffError> {
        self.only(self.0.link.wait(&alone(command), limit).await?)
    }

    fn only(&self, answers: Answers) -> Result<Value, HandOffError> {
        let answer = answers.into_iter().next().unwrap_or(Ok(Value::Nil));
        answer.map_err(|e| self.0.link.failure(&e))
    }

    fn stream(&self, host: &str) -> String {
        format!("{}:{host}", self.0.tuning.prefix)
    }
}

fn alone(command: Cmd) -> Pipeline {
    let mut commands = pipe();
    commands.add_command(command).ignore_errors();
    commands
}

/// The hosts of these entries, each once.
fn hosts<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> BTreeSet<&'a str> {
    entries.into_iter().map(|entry| entry.host.as_str()).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
