//! Where an artifact is.

use crate::artifact::{Digest, Reference, SCHEME};

/// The longest path, name or address, in bytes.
const MAX_BYTES: usize = 4_096;
/// The longest name and the longest version of a stored artifact, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// Where objects may be fetched from.
const OBJECT_SCHEMES: [&str; 3] = ["s3", "https", "http"];

/// `artifact_path`, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArtifactPath {
    /// A path in the configured directories.
    File(String),
    /// `artifact:<name>@<version>`: a version in the artifact store.
    Version {
        /// The artifact.
        name: String,
        /// Its version, as it was uploaded.
        version: String,
    },
    /// `artifact:<name>@sha256:<digits>`, or an upload: the bytes themselves are named.
    Bytes(Digest),
    /// The address of an object.
    Object(String),
}

impl ArtifactPath {
    /// Reads `artifact_path`.
    ///
    /// # Errors
    /// What is wrong with it; reads on after the field's name.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        if text.trim().is_empty() {
            return Err("must not be empty");
        }
        if text.len() > MAX_BYTES {
            return Err("must be at most 4,096 bytes long");
        }
        if text.contains(char::is_control) {
            return Err("must not have control characters");
        }
        if let Some(rest) = text.strip_prefix(SCHEME) {
            return Self::stored(text, rest);
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return Self::object(text, scheme, rest);
        }
        if text.split('/').any(|part| part == "..") {
            return Err("must not have `..` in it: it is a path in the configured directories");
        }
        Ok(Self::File(text.to_owned()))
    }

    /// The digest that the path itself says.
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Bytes(digest) => Some(digest),
            Self::File(_) | Self::Version { .. } | Self::Object(_) => None,
        }
    }

    fn stored(text: &str, rest: &str) -> Result<Self, &'static str> {
        const FORM: &str = "must be `artifact:<name>@<version>`, `artifact:<name>@sha256:<64 digits>` or an upload's \
                            `artifact:sha256:<64 digits>#<file name>`";
        let Some((name, version)) = rest.split_once('@') else {
            let upload = Reference::read(text).and_then(Result::ok).ok_or(FORM)?;
            return Ok(Self::Bytes(upload.digest));
        };
        if !is_name(name) || !is_name(version.strip_prefix("sha256:").unwrap_or(version)) {
            return Err(FORM);
        }
        if version.starts_with("sha256:") {
            return version.parse().map(Self::Bytes).map_err(|_| FORM);
        }
        // A bare digest is one too: nobody calls a version by 64 hexadecimal digits.
        match Digest::of_hex(version) {
            Some(digest) => Ok(Self::Bytes(digest)),
            None => Ok(Self::Version { name: name.to_owned(), version: version.to_owned() }),
        }
    }

    fn object(text: &str, scheme: &str, rest: &str) -> Result<Self, &'static str> {
        if scheme == "file" {
            return Err("must be a path without `file://`: a path in the configured directories");
        }
        if !OBJECT_SCHEMES.contains(&scheme) {
            return Err("must be a path, an `artifact:` or an address with s3, https or http");
        }
        let (host, object) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains('@') {
            return Err("must not have a password in the address: specifications are kept and shown");
        }
        if host.is_empty() || object.is_empty() {
            return Err("must name a host or bucket and an object in it, like `s3://bucket/jobs/a.jar`");
        }
        Ok(Self::Object(text.to_owned()))
    }
}

fn is_name(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    !text.is_empty() && text.len() <= MAX_NAME_BYTES && text.chars().all(fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_path_is_understood() {
        let digits = "a".repeat(64);
        let digest = Digest::of_hex(&digits).unwrap();
        let version = |name: &str, version: &str| ArtifactPath::Version {
            name: name.to_owned(),
            version: version.to_owned(),
        };
        for (text, meant) in [
            ("artifacts/etl.jar".to_owned(), ArtifactPath::File("artifacts/etl.jar".into())),
            ("/srv/jobs/etl.jar".to_owned(), ArtifactPath::File("/srv/jobs/etl.jar".into())),
            ("artifact:etl@1.2.0".to_owned(), version("etl", "1.2.0")),
            (format!("artifact:etl@sha256:{digits}"), ArtifactPath::Bytes(digest.clone())),
            (format!("artifact:etl@{digits}"), ArtifactPath::Bytes(digest.clone())),
            (format!("artifact:sha256:{digits}#etl.jar"), ArtifactPath::Bytes(digest)),
            ("s3://jobs/etl.jar".to_owned(), ArtifactPath::Object("s3://jobs/etl.jar".into())),
        ] {
            assert_eq!(ArtifactPath::read(&text), Ok(meant), "{text}");
        }
    }

    #[test]
    fn other_paths_are_refused_with_what_to_write() {
        for (text, says) in [
            ("", "empty"),
            ("a/../../etc/passwd", "`..`"),
            ("a\nb.jar", "control"),
            ("artifact:etl", "artifact:<name>@<version>"),
            ("artifact:etl@", "artifact:<name>@<version>"),
            ("artifact:etl@sha256:abc", "64 digits"),
            ("artifact:e/tl@1", "artifact:<name>@<version>"),
            ("file:///srv/a.jar", "without `file://`"),
            ("ftp://host/a.jar", "s3, https or http"),
            ("https://me:secret@host/a.jar", "password"),
            ("s3://bucket", "an object in it"),
        ] {
            let reason = ArtifactPath::read(text).unwrap_err();
            assert!(reason.contains(says), "{text}: {reason}");
        }
    }
}
