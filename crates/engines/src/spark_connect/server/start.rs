//! Starts a server, or adopts the one that is there.

use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::time::{Duration, Instant};

use libra_core::attempt::Links;
use libra_core::failure::{ErrorClass, Failure};
use libra_core::id::Token;
use libra_core::time::Timestamp;

use super::super::address::Door;
use super::super::client::Client;
use super::super::failure::{Verdict, judge};
use super::super::settings::{Backend, Settings};
use super::files::Kind;
use super::live::{Live, Place};
use super::{KEEPALIVE_EVERY, command, describe_end, files, guests, is_dead, sail, start_failed};
use crate::attempt_dir::AttemptDir;
use crate::shim::{self, Status, process};
use crate::spark_home::SparkHome;

/// How often the log of a starting server is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long a server that did not start in time is waited for after it was told to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// A server without a setting of its own ends a query that does not obey an interrupt after so long.
const KILL_AFTER: Duration = Duration::from_secs(10);
/// Random bytes in the secret that a server asks of its clients.
const SECRET_BYTES: usize = 32;
/// Reading and writing for Libra's user alone.
const PRIVATE_DIRECTORY: u32 = 0o700;

/// Adopts the server that is there, or starts one. One caller at a time, on the whole host.
pub(super) async fn bring_up(settings: &Settings) -> Result<Live, Failure> {
    let _lock = lock(settings).await?;
    let begun = Instant::now();
    match adopt_present(settings).await {
        Ok(Some(live)) => Ok(live),
        Ok(None) => {
            let live = start(settings, When::Now).await?;
            files::prune(&settings.data_dir, is_dead);
            Ok(live)
        }
        Err(failure) => {
            if let Some(id) = files::current(&settings.data_dir) {
                end_hanging(settings, id, begun).await;
            }
            Err(failure)
        }
    }
}

/// Ends a server that could not be adopted because it hangs: it lives, a job needs it, and it gave no answer for as
/// long as a start may take. Any other trouble is looked at again later.
pub(super) async fn end_hanging(settings: &Settings, id: Token, asked_since: Instant) {
    if asked_since.elapsed() >= settings.start_timeout {
        end_unready(&files::directory(&settings.data_dir, id)).await;
    }
}

/// Adopts the server that is there.
pub(super) async fn adopt(settings: &Settings) -> Result<Option<Live>, Failure> {
    if files::current(&settings.data_dir).is_none() {
        return Ok(None);
    }
    let _lock = lock(settings).await?;
    adopt_present(settings).await
}

/// Adopts the server `id`, whether it is the present one or one that is on its way out; None when it is dead.
pub(super) async fn adopt_by_id(settings: &Settings, id: Token) -> Result<Option<Live>, Failure> {
    // Without the lock: its holder may be waiting for what runs on that very server.
    adopt_one(settings, id).await
}

/// Waits for the lock that replicas on this host share; it is free again when the file is closed.
async fn lock(settings: &Settings) -> Result<File, Failure> {
    loop {
        if let Some(file) = try_lock(settings)? {
            return Ok(file);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The lock that replicas on this host share, if nobody holds it.
pub(super) fn try_lock(settings: &Settings) -> Result<Option<File>, Failure> {
    let failed =
        |error: io::Error| start_failed(None, format_args!("{}: {error}", settings.data_dir.display()));
    DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(&settings.data_dir).map_err(failed)?;
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(files::lock_file(&settings.data_dir))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// The caller holds the lock.
async fn adopt_present(settings: &Settings) -> Result<Option<Live>, Failure> {
    let Some(id) = files::current(&settings.data_dir) else { return Ok(None) };
    let dir = files::directory(&settings.data_dir, id);
    if !is_of_this_kind(settings, id) {
        // The configuration names another backend now; what still runs there runs on.
        return Ok(None);
    }
    // Whoever wanted to replace it would hold the lock.
    guests::take_back(&dir).map_err(|error| start_failed(Some(&dir), error))?;
    adopt_one(settings, id).await
}

async fn adopt_one(settings: &Settings, id: Token) -> Result<Option<Live>, Failure> {
    let dir = files::directory(&settings.data_dir, id);
    if !dir.path().exists() {
        // Swept away after its end.
        return Ok(None);
    }
    let unclear = |error: io::Error| start_failed(Some(&dir), error);
    let mut status = shim::status(&dir).map_err(unclear)?;
    // Libra died between naming the server and starting its shim, or just after.
    if status == Status::Absent && !shim::revoke(&dir).map_err(unclear)? {
        status = shim::status(&dir).map_err(unclear)?;
    }
    match status {
        Status::Absent | Status::Revoked | Status::Exited { .. } => Ok(None),
        Status::ShimLost { .. } => {
            // Without its shim nobody would ever end it, and it holds the metastore.
            let ended = shim::kill_everything(&id.to_string(), STOP_PATIENCE).await.map_err(unclear)?;
            if ended { Ok(None) } else { Err(start_failed(Some(&dir), "the one before it can't be ended")) }
        }
        Status::Owned { .. } if dir.stop_file().exists() => match process::stop(&dir, STOP_PATIENCE).await {
            Ok(Status::Exited { .. }) => Ok(None),
            Ok(_) => Err(start_failed(Some(&dir), "the one before it has not ended yet")),
            Err(error) => Err(unclear(error)),
        },
        Status::Owned { .. } => match files::read_record(&dir) {
            Some(record) => wait_ready(settings, &dir, &record).await.map(Some),
            None => Err(start_failed(Some(&dir), "its record is missing")),
        },
    }
}

/// The kind of server that Libra starts; None when it starts none.
pub(super) fn kind(settings: &Settings) -> Option<Kind> {
    match &settings.backend {
        Backend::Spark => Some(Kind::Spark),
        Backend::Sail { .. } => Some(Kind::Sail),
        Backend::External { .. } => None,
    }
}

/// False when the server was started by another backend than the configuration names now.
pub(super) fn is_of_this_kind(settings: &Settings, id: Token) -> bool {
    files::read_record(&files::directory(&settings.data_dir, id))
        .is_none_or(|record| Some(record.kind) == kind(settings))
}

/// When a server that is started becomes the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Before it starts: a Libra that comes later finds it.
    Now,
    /// When the caller says so ([`files::set_current`]); until then it is nobody's, and swept away when the caller dies.
    Later,
}

/// Starts a server. The caller holds the lock.
pub(super) async fn start(settings: &Settings, when: When) -> Result<Live, Failure> {
    let launcher = Launcher::find(settings)?;
    let id = Token::new(
        Timestamp(jiff::Timestamp::now().as_microsecond()),
        random().map_err(|e| start_failed(None, e))?,
    );
    let dir = files::directory(&settings.data_dir, id);
    let record = prepare(&dir, id, launcher.kind()).map_err(|e| start_failed(Some(&dir), e))?;
    if when == When::Now {
        // From here on a Libra that comes later looks here.
        files::set_current(&settings.data_dir, id).map_err(|e| start_failed(Some(&dir), e))?;
    }
    launcher
        .launch_file(settings, &dir, &record)
        .and_then(|launch| process::spawn(&settings.shim_exe, &dir, &launch))
        .map_err(|e| start_failed(Some(&dir), format_args!("its shim: {e}")))?;
    let started = wait_ready(settings, &dir, &record).await;
    if started.is_err() {
        end_unready(&dir).await;
    }
    started
}

/// What a server is started with.
enum Launcher {
    Spark(SparkHome),
    Sail(std::path::PathBuf),
}

impl Launcher {
    fn find(settings: &Settings) -> Result<Self, Failure> {
        match &settings.backend {
            Backend::Spark => find_spark(settings).map(Self::Spark),
            Backend::Sail { program, .. } => sail::find(program.as_deref()).map(Self::Sail),
            Backend::External { .. } => Err(start_failed(None, "Libra starts no server with this backend")),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Spark(_) => Kind::Spark,
            Self::Sail(_) => Kind::Sail,
        }
    }

    fn launch_file(
        &self,
        settings: &Settings,
        dir: &AttemptDir,
        record: &files::ServerRecord,
    ) -> io::Result<shim::LaunchFile> {
        let server = record.id.to_string();
        match self {
            Self::Spark(spark) => command::launch_file(settings, spark, dir, &server, &record.secret),
            Self::Sail(program) => Ok(sail::launch_file(settings, program, dir, &server)),
        }
    }
}

/// Says why no server could ever be started here.
pub(super) fn check(settings: &Settings) -> Result<(), Failure> {
    match settings.backend {
        Backend::External { .. } => Ok(()),
        Backend::Spark | Backend::Sail { .. } => Launcher::find(settings).map(drop),
    }
}

fn prepare(dir: &AttemptDir, id: Token, kind: Kind) -> io::Result<files::ServerRecord> {
    DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(dir.path())?;
    let secret = hex(&random::<SECRET_BYTES>()?);
    let record = files::ServerRecord { id, secret, kind };
    files::write_record(dir, &record)?;
    process::touch(&files::keepalive_file(dir))?;
    Ok(record)
}

/// Ends a server that did not become ready.
pub(super) async fn end_unready(dir: &AttemptDir) {
    if let Err(error) = process::stop(dir, STOP_PATIENCE).await {
        tracing::warn!(%error, "a Spark server that did not start could not be told to stop");
    }
}

/// Waits until the server answers.
async fn wait_ready(
    settings: &Settings,
    dir: &AttemptDir,
    record: &files::ServerRecord,
) -> Result<Live, Failure> {
    let begun = Instant::now();
    let mut touched: Option<Instant> = None;
    let mut answer = "it did not say its port".to_owned();
    while begun.elapsed() < settings.start_timeout {
        // A start may take longer than a server waits for a sign of Libra.
        if touched.is_none_or(|at| at.elapsed() >= KEEPALIVE_EVERY) {
            process::touch(&files::keepalive_file(dir)).map_err(|e| start_failed(Some(dir), e))?;
            touched = Some(Instant::now());
        }
        let shim_gone = matches!(
            shim::status(dir),
            Ok(Status::Exited { .. } | Status::Revoked | Status::ShimLost { .. })
        );
        if shim_gone {
            return Err(start_failed(Some(dir), describe_end(dir)));
        }
        if let Some(ports) = files::ports(dir) {
            let secret = (record.kind == Kind::Spark).then_some(record.secret.as_str());
            let client = Client::local(ports.connect, secret).map_err(|e| start_failed(Some(dir), e))?;
            let said = match client.application_id(record.id.uuid()).await {
                Ok(application_id) => Some(application_id),
                // Sail knows no such setting; that it says so is enough.
                Err(status) if record.kind == Kind::Sail && judge(&status) == Verdict::Final => Some(None),
                Err(status) => {
                    status.message().clone_into(&mut answer);
                    None
                }
            };
            if let Some(application_id) = said {
                let ui = ports.ui.map(|port| format!("http://127.0.0.1:{port}"));
                let links = Links { spark_ui: ui, ..Links::default() };
                let place = Place::Own { dir: dir.clone(), kill_after: kill_after(settings, record.kind) };
                let door = Door::local(ports.connect, secret);
                return Ok(Live::new(record.id, (client, door), application_id, links, place));
            }
        }
        tokio::time::sleep(LOOK).await;
    }
    let seconds = settings.start_timeout.as_secs();
    Err(start_failed(Some(dir), format_args!("it was not ready within {seconds} seconds ({answer})")))
}

/// Spark obeys interrupts; Sail has loops that never look up.
fn kill_after(settings: &Settings, kind: Kind) -> Option<Duration> {
    match (kind, &settings.backend) {
        (Kind::Spark, _) => None,
        (Kind::Sail, Backend::Sail { kill_after, .. }) => Some(*kill_after),
        (Kind::Sail, Backend::Spark | Backend::External { .. }) => Some(KILL_AFTER),
    }
}

/// Spark, or the failure that says what to do.
pub(in super::super) fn find_spark(settings: &Settings) -> Result<SparkHome, Failure> {
    SparkHome::find(settings.spark_home.as_deref())
        .map_err(|missing| Failure::new(ErrorClass::Infrastructure, "spark_missing", missing.to_string()))
}

/// Random bytes from the kernel.
fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
