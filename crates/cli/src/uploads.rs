//! Sending local files along with a job: by their digest, and only what is missing.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use libra_api::artifacts::ArtifactView;
use libra_api::client::Client;
use libra_core::artifact::{Digest, Reference};
use sha2::{Digest as _, Sha256};

use crate::failure::Failure;
use crate::output;

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 256 * 1024;
/// A bar is shown for what takes longer than this.
const SHOWN_AFTER: Duration = Duration::from_secs(2);

/// A local file that the job names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upload {
    path: PathBuf,
    digest: Digest,
    size: u64,
}

/// Files that have to be there before the job is submitted.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Vec<Upload>);

impl Uploads {
    /// What the request says for `given`: a reference for a local file, which is sent later; anything with a scheme
    /// stays as it is. `with_directory`: behind a `#` stands where an archive is unpacked.
    pub(crate) fn name(&mut self, given: &str, with_directory: bool) -> Result<String, Failure> {
        if has_scheme(given) {
            return Ok(given.to_owned());
        }
        let (path, directory) = match given.split_once('#').filter(|_| with_directory) {
            Some((path, directory)) => (path, Some(directory.to_owned())),
            None => (given, None),
        };
        let upload = read(Path::new(path)).map_err(|e| {
            Failure::usage(format!("the file `{path}` can't be read: {e}")).hint(format!(
                "a file on Libra's own host is named by its address, such as file:{}",
                absolute(path)
            ))
        })?;
        let name = Path::new(path).file_name().and_then(|n| n.to_str()).map(str::to_owned);
        let reference = Reference { digest: upload.digest.clone(), name, directory };
        let text = reference.to_string();
        if Reference::read(&text) != Some(Ok(reference)) {
            return Err(Failure::usage(format!(
                "the file `{given}` can't be sent under its name: give it one without , # % ? and \\"
            )));
        }
        if !self.0.iter().any(|known| known.digest == upload.digest) {
            self.0.push(upload);
        }
        Ok(text)
    }

    /// Sends what the service does not have.
    pub(crate) async fn send(&self, client: &Client) -> Result<(), Failure> {
        let mut missing = Vec::new();
        for upload in &self.0 {
            if client.artifact(&upload.digest.to_string()).await?.is_none() {
                missing.push(upload);
            }
        }
        let bar = bar(missing.iter().map(|u| u.size).sum());
        let sent = async {
            for upload in missing {
                bar.set_message(output::one_line(&upload.path.display().to_string()));
                let told = bar.clone();
                let sent = move |bytes: u64| told.inc(bytes);
                client.upload(upload.digest.hex(), &upload.path, upload.size, sent).await?;
            }
            Ok::<_, Failure>(())
        };
        shown(&bar, sent).await
    }
}

/// Sends a file as a version of an artifact.
pub(crate) async fn send_version(
    client: &Client,
    path: &Path,
    named: (&str, &str),
) -> Result<ArtifactView, Failure> {
    let upload = read(path)
        .map_err(|e| Failure::usage(format!("the file `{}` can't be read: {e}", path.display())))?;
    let bar = bar(upload.size);
    let told = bar.clone();
    let sent = move |bytes: u64| told.inc(bytes);
    let sending = client.upload_version(upload.digest.hex(), named, path, upload.size, sent);
    shown(&bar, async { Ok(sending.await?) }).await
}

/// Waits for what is being sent; where that takes a while and somebody looks, the bar is shown.
async fn shown<T>(bar: &ProgressBar, sent: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let shown = async {
        tokio::time::sleep(SHOWN_AFTER).await;
        if std::io::stderr().is_terminal() {
            bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
        }
        std::future::pending::<Infallible>().await
    };
    let done = tokio::select! {
        done = sent => done,
        never = shown => match never {},
    };
    bar.finish_and_clear();
    done
}

/// A bar over this many bytes, hidden so far.
fn bar(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::hidden();
    bar.set_length(bytes);
    // A template that could not be read would leave the built-in one.
    if let Ok(style) = ProgressStyle::with_template("[{bar:30}] {bytes} of {total_bytes} {wide_msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// True for an address: a scheme and a colon before any slash.
pub(crate) fn has_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

fn absolute(path: &str) -> String {
    std::path::absolute(path).map_or_else(|_| path.to_owned(), |p| p.display().to_string())
}

fn read(path: &Path) -> std::io::Result<Upload> {
    use std::fmt::Write as _;
    if !fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    let (mut file, mut hash, mut size) = (File::open(path)?, Sha256::new(), 0u64);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            break;
        }
        hash.update(&piece[..length]);
        size += length as u64;
    }
    let hex = hash.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    let digest = Digest::of_hex(&hex).ok_or_else(|| std::io::Error::other("no digest"))?;
    Ok(Upload { path: path.to_owned(), digest, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_files_are_named_by_digest_and_addresses_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env.tar.gz");
        fs::write(&path, "abc").unwrap();
        let path = path.display().to_string();
        let mut uploads = Uploads::default();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let named = uploads.name(&format!("{path}#env"), true).unwrap();
        assert_eq!(named, format!("artifact:sha256:{abc}#env.tar.gz#env"));
        assert_eq!(uploads.name(&path, false).unwrap(), format!("artifact:sha256:{abc}#env.tar.gz"));
        assert_eq!(uploads.0.len(), 1, "the same bytes are sent once");
        for address in ["s3a://b/x.jar", "file:/opt/x.jar", "artifact:sha256:00", "local:///x"] {
            assert_eq!(uploads.name(address, true).unwrap(), address);
        }
        for wrong in ["/no/such.jar", "no-such.jar", "/", &dir.path().display().to_string()] {
            assert!(uploads.name(wrong, false).is_err(), "{wrong}");
        }
        let odd = dir.path().join("a,b.py");
        fs::write(&odd, "").unwrap();
        assert!(uploads.name(&odd.display().to_string(), false).is_err());
    }
}
