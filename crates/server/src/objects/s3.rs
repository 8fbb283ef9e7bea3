//! Requests to an S3-compatible store, signed by AWS's Signature Version 4.

use std::path::{Path, PathBuf};

use jiff::Timestamp as Instant;
use libra_core::time::Timestamp;
use ring::hmac;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::Missed;
use crate::hex;

/// The sha256 of nothing: the body of a GET.
const NO_BODY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// An S3-compatible store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    /// Where it answers.
    pub endpoint: Url,
    /// Its region, which is part of a signature.
    pub region: String,
    /// A file that holds the id of the key alone.
    pub access_key_file: PathBuf,
    /// A file that holds the key alone.
    pub secret_key_file: PathBuf,
    /// A file that holds the token of a temporary key alone.
    pub session_token_file: Option<PathBuf>,
    /// The bucket is part of the host's name, instead of the path.
    pub virtual_hosts: bool,
    /// Buckets that may be read; None = all that the key may read.
    pub buckets: Option<Vec<String>>,
}

/// A request that is signed.
pub(super) struct Request {
    pub(super) url: Url,
    pub(super) headers: Vec<(&'static str, String)>,
}

struct Key {
    id: String,
    secret: String,
    token: Option<String>,
}

impl S3 {
    /// The request for an object, given as `bucket/key`.
    pub(super) async fn request(&self, object: &str, now: Timestamp) -> Result<Request, Missed> {
        let (bucket, key) = object.split_once('/').unwrap_or((object, ""));
        if self.buckets.as_ref().is_some_and(|allowed| !allowed.iter().any(|one| one == bucket)) {
            let reason =
                format!("is in the bucket {bucket}, which `libra.flink.artifacts.s3.buckets` does not have");
            return Err(Missed::Wrong(reason));
        }
        let url = self.url(bucket, key).map_err(Missed::Wrong)?;
        let key = Key {
            id: read(&self.access_key_file).await?,
            secret: read(&self.secret_key_file).await?,
            token: match &self.session_token_file {
                Some(file) => Some(read(file).await?),
                None => None,
            },
        };
        let at = Instant::from_microsecond(now.0).map_err(|e| Missed::Later(e.to_string()))?;
        let headers = sign(&url, &self.region, &key, at, &[]);
        Ok(Request { url, headers })
    }

    fn url(&self, bucket: &str, key: &str) -> Result<Url, String> {
        let mut url = self.endpoint.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        let path = if self.virtual_hosts {
            let host = format!("{bucket}.{}", url.host_str().unwrap_or_default());
            url.set_host(Some(&host)).map_err(|_| format!("is in {bucket}, which is no name of a bucket"))?;
            format!("{base}/{}", encoded(key))
        } else {
            format!("{base}/{}/{}", encoded(bucket), encoded(key))
        };
        url.set_path(&path);
        // `.` and `..` in a key would be another object.
        if url.path() == path { Ok(url) } else { Err("must not have `.` or `..` as a part of it".to_owned()) }
    }
}

async fn read(file: &Path) -> Result<String, Missed> {
    let text = tokio::fs::read_to_string(file).await;
    let text = text.map_err(|e| Missed::Later(format!("the file {} can't be read: {e}", file.display())))?;
    Ok(text.trim().to_owned())
}

/// Percent-encoded but for `/`, as signatures have it.
fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            // Writing to a String can't fail.
            other => drop(write!(out, "%{other:02X}")),
        }
        out
    })
}

/// The headers of a GET: `more` ones are signed, too; names are in lower case.
fn sign(
    url: &Url,
    region: &str,
    key: &Key,
    at: Instant,
    more: &[(&'static str, String)],
) -> Vec<(&'static str, String)> {
    let (time, day) = (at.strftime("%Y%m%dT%H%M%SZ").to_string(), at.strftime("%Y%m%d").to_string());
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let mut signed =
        vec![("host", host), ("x-amz-content-sha256", NO_BODY.to_owned()), ("x-amz-date", time.clone())];
    signed.extend(key.token.clone().map(|token| ("x-amz-security-token", token)));
    signed.extend_from_slice(more);
    signed.sort();
    let lines: Vec<String> = signed.iter().map(|(name, value)| format!("{name}:{value}")).collect();
    let lines = lines.join("\n");
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let request = format!("GET\n{}\n\n{lines}\n\n{names}\n{NO_BODY}", url.path());
    let scope = format!("{day}/{region}/s3/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request.as_bytes())));
    let first = format!("AWS4{}", key.secret).into_bytes();
    let derived = [&day, region, "s3", "aws4_request"].iter().fold(first, |key, part| mac(&key, part));
    let signature = hex(&mac(&derived, &text));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        key.id
    );
    // The client writes the host itself.
    let mut headers: Vec<_> = signed.into_iter().filter(|(name, _)| *name != "host").collect();
    headers.push(("authorization", authorization));
    headers
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(endpoint: &str, virtual_hosts: bool) -> S3 {
        S3 {
            endpoint: Url::parse(endpoint).unwrap(),
            region: "us-east-1".into(),
            access_key_file: "/none".into(),
            secret_key_file: "/none".into(),
            session_token_file: None,
            virtual_hosts,
            buckets: None,
        }
    }

    #[test]
    fn signatures_are_those_of_the_documentation() {
        // The first example of AWS's pages on Signature Version 4 for S3, with the keys of examples.
        let url = store("https://s3.amazonaws.com", true).url("examplebucket", "test.txt").unwrap();
        let key = Key {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            token: None,
        };
        let at: Instant = "2013-05-24T00:00:00Z".parse().unwrap();
        let headers = sign(&url, "us-east-1", &key, at, &[("range", "bytes=0-9".to_owned())]);
        let (_, authorization) = headers.last().unwrap();
        assert!(
            authorization.ends_with(
                "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, \
                 Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
            ),
            "{authorization}"
        );
    }

    #[test]
    fn buckets_are_in_the_path_or_in_the_host() {
        let url = |virtual_hosts, key: &str| {
            store("http://store.example:9000/s3/", virtual_hosts).url("jobs", key).map(|url| url.to_string())
        };
        assert_eq!(url(false, "a/b c+d.jar").unwrap(), "http://store.example:9000/s3/jobs/a/b%20c%2Bd.jar");
        assert_eq!(url(true, "a/b.jar").unwrap(), "http://jobs.store.example:9000/s3/a/b.jar");
        assert!(url(false, "a/../../other/b.jar").is_err());
        assert!(url(false, "../other/b.jar").is_err());
    }
}
