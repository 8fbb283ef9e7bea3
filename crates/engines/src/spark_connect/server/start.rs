//! Starts a server, or adopts the one that is there.

use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use libra_core::attempt::Links;
use libra_core::failure::{ErrorClass, Failure};
use libra_core::id::Token;
use libra_core::time::Timestamp;

use super::super::client::Client;
use super::super::settings::Settings;
use super::{Live, command, describe_end, files, is_dead, start_failed};
use crate::attempt_dir::AttemptDir;
use crate::shim::{self, Status, process};
use crate::spark_home::SparkHome;

/// How often the log of a starting server is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long a server that did not start in time is waited for after it was told to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
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
        Ok(None) => start(settings).await,
        Err(failure) => {
            // It lives, a job needs it, and it gave no answer for as long as a start may take: it hangs. Any other
            // trouble is looked at again by the next job.
            if begun.elapsed() >= settings.start_timeout
                && let Some(id) = files::current(&settings.data_dir)
            {
                end_unready(&files::directory(&settings.data_dir, id)).await;
            }
            Err(failure)
        }
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

/// Waits for the lock that replicas on this host share; it is free again when the file is closed.
async fn lock(settings: &Settings) -> Result<File, Failure> {
    let failed =
        |error: io::Error| start_failed(None, format_args!("{}: {error}", settings.data_dir.display()));
    DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(&settings.data_dir).map_err(failed)?;
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(files::lock_file(&settings.data_dir))
        .map_err(failed)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => tokio::time::sleep(LOOK).await,
            Err(std::fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

async fn adopt_present(settings: &Settings) -> Result<Option<Live>, Failure> {
    let Some(id) = files::current(&settings.data_dir) else { return Ok(None) };
    let dir = files::directory(&settings.data_dir, id);
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

async fn start(settings: &Settings) -> Result<Live, Failure> {
    let spark = find_spark(settings)?;
    let id = Token::new(
        Timestamp(jiff::Timestamp::now().as_microsecond()),
        random().map_err(|e| start_failed(None, e))?,
    );
    let dir = files::directory(&settings.data_dir, id);
    let record = prepare(settings, &dir, id).map_err(|e| start_failed(Some(&dir), e))?;
    let launch = command::launch_file(settings, &spark, &dir, &id.to_string(), &record.secret);
    launch
        .and_then(|launch| process::spawn(&settings.shim_exe, &dir, &launch))
        .map_err(|e| start_failed(Some(&dir), format_args!("its shim: {e}")))?;
    let started = wait_ready(settings, &dir, &record).await;
    if started.is_err() {
        end_unready(&dir).await;
    }
    files::prune(&settings.data_dir, is_dead);
    started
}

fn prepare(settings: &Settings, dir: &AttemptDir, id: Token) -> io::Result<files::ServerRecord> {
    DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(dir.path())?;
    let secret = hex(&random::<SECRET_BYTES>()?);
    let record = files::ServerRecord { id, secret };
    files::write_record(dir, &record)?;
    process::touch(&files::keepalive_file(dir))?;
    // From here on a Libra that comes later looks here.
    files::set_current(&settings.data_dir, id)?;
    Ok(record)
}

/// Ends a server that did not become ready.
async fn end_unready(dir: &AttemptDir) {
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
    let mut answer = "it did not say its port".to_owned();
    while begun.elapsed() < settings.start_timeout {
        let shim_gone = matches!(
            shim::status(dir),
            Ok(Status::Exited { .. } | Status::Revoked | Status::ShimLost { .. })
        );
        if shim_gone {
            return Err(start_failed(Some(dir), describe_end(dir)));
        }
        if let Some(ports) = files::ports(dir) {
            let client =
                Client::new(ports.connect, &record.secret).map_err(|e| start_failed(Some(dir), e))?;
            match client.application_id(record.id.uuid()).await {
                Ok(application_id) => {
                    let ui = ports.ui.map(|port| format!("http://127.0.0.1:{port}"));
                    let links = Links { spark_ui: ui, ..Links::default() };
                    return Ok(Live {
                        id: record.id,
                        client,
                        port: ports.connect,
                        secret: record.secret.clone(),
                        application_id,
                        links,
                        busy: AtomicUsize::new(0),
                        dir: dir.clone(),
                    });
                }
                Err(status) => status.message().clone_into(&mut answer),
            }
        }
        tokio::time::sleep(LOOK).await;
    }
    let seconds = settings.start_timeout.as_secs();
    Err(start_failed(Some(dir), format_args!("it was not ready within {seconds} seconds ({answer})")))
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
