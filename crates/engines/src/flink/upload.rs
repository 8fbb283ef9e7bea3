//! The upload of an artifact: one part of a multipart body, written by hand and read from the file as it is sent.

use std::path::Path;

use bytes::Bytes;
use futures::stream::{self, Stream};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Method};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::answers::Uploaded;
use super::error::{About, Error};
use super::transport::{Flink, UPLOAD_PATIENCE, exchange, read};

/// Bytes that are read and sent at once.
const PIECE_BYTES: usize = 256 * 1024;
/// What no artifact contains: a name of ours and random digits.
const BOUNDARY: &str = "libra-artifact-7d1f0c52b3a94e68";

impl Flink {
    /// Uploads the artifact at `path`, under a name that contains its digest so that it is found again, and gives
    /// Flink's id of it. Flink takes whatever is called `.jar`; a text file is found out when it is run.
    ///
    /// # Errors
    /// [`Error::BadProgram`] when the file can't be read here.
    pub async fn upload(&self, path: &Path, digest: &str) -> Result<String, Error> {
        let unreadable = |e: std::io::Error| Error::BadProgram(format!("the artifact can't be read: {e}"));
        let file = File::open(path).await.map_err(unreadable)?;
        let length = file.metadata().await.map_err(unreadable)?.len();
        let (head, tail) = around(digest);
        let whole = length + u64::try_from(head.len() + tail.len()).unwrap_or(0);
        let request = self
            .request(Method::POST, "/jars/upload", UPLOAD_PATIENCE)
            .header(CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"))
            .header(CONTENT_LENGTH, whole)
            .body(Body::wrap_stream(body(head, file, tail)));
        let (status, answer) = exchange(request).await?;
        id_of(&read(status, &answer, About::Jar)?)
    }
}

/// The name under which an artifact is uploaded.
pub(super) fn jar_name(digest: &str) -> String {
    let plain: String = digest.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{plain}.jar")
}

/// What comes before and after the file.
pub(super) fn around(digest: &str) -> (Bytes, Bytes) {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"jarfile\"; filename=\"{}\"\r\n\
         Content-Type: application/x-java-archive\r\n\r\n",
        jar_name(digest)
    );
    (Bytes::from(head), Bytes::from(format!("\r\n--{BOUNDARY}--\r\n")))
}

enum Part {
    Head(Bytes),
    File,
    Done,
}

fn body(head: Bytes, file: File, tail: Bytes) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    stream::unfold((Part::Head(head), file, tail), |(part, mut file, tail)| async move {
        match part {
            Part::Head(head) => Some((Ok(head), (Part::File, file, tail))),
            Part::File => {
                let mut piece = vec![0; PIECE_BYTES];
                match file.read(&mut piece).await {
                    Ok(0) => Some((Ok(tail.clone()), (Part::Done, file, tail))),
                    Ok(read) => {
                        piece.truncate(read);
                        Some((Ok(Bytes::from(piece)), (Part::File, file, tail)))
                    }
                    Err(error) => Some((Err(error), (Part::Done, file, tail))),
                }
            }
            Part::Done => None,
        }
    })
}

/// Flink's id of an upload is the last part of the path that it tells.
pub(super) fn id_of(uploaded: &Uploaded) -> Result<String, Error> {
    let id = uploaded.filename.rsplit(['/', '\\']).next().unwrap_or_default();
    if uploaded.status != "success" || id.is_empty() {
        return Err(Error::Garbage(format!("an upload that is {}", uploaded.status)));
    }
    Ok(id.to_owned())
}
