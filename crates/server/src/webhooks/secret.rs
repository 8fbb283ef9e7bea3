//! The secret that signs webhooks, and the signature: HMAC-SHA256 over id, timestamp and body.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

/// The file in which Libra keeps the secret that it made itself.
pub(crate) const SECRET_FILE: &str = "webhook.secret";
/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Bytes of a key, as Standard Webhooks demands them.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Bytes of a key that Libra makes.
const MADE_BYTES: usize = 32;
/// Keys of one secret, at most: the present one, and those that receivers may still know.
const MAX_KEYS: usize = 4;

/// One or several keys. Whatever is signed is signed with each, so that receivers can change over at leisure.
#[derive(Clone)]
pub(crate) struct Secret(Vec<hmac::Key>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Secret {
    /// Reads `whsec_<base64>`; several, separated by spaces, while a key is being changed.
    ///
    /// # Errors
    /// What a right one looks like.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let keys: Option<Vec<hmac::Key>> = text.split_whitespace().map(key).collect();
        keys.filter(|keys| (1..=MAX_KEYS).contains(&keys.len())).map(Self).ok_or_else(|| {
            format!(
                "must be `{PREFIX}` and the base64 of {} to {} random bytes; at most {MAX_KEYS} of them, separated \
                 by spaces",
                KEY_BYTES.start(),
                KEY_BYTES.end()
            )
        })
    }

    /// The secret kept in `dir`; made there first where there is none. Replicas that start at the same time in the
    /// same directory come to the same secret.
    pub(crate) fn kept_in(dir: &Path) -> io::Result<Self> {
        let path = dir.join(SECRET_FILE);
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                make(dir, &path)?;
                fs::read_to_string(&path)?
            }
            read => read?,
        };
        let invalid =
            |e: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {e}", path.display()));
        Self::parse(&text).map_err(invalid)
    }

    /// The value of the header `webhook-signature`.
    pub(crate) fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let signed = format!("{id}.{timestamp}.{body}");
        let signatures: Vec<String> = self
            .0
            .iter()
            .map(|key| format!("v1,{}", STANDARD.encode(hmac::sign(key, signed.as_bytes()))))
            .collect();
        signatures.join(" ")
    }
}

fn key(text: &str) -> Option<hmac::Key> {
    let bytes = STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
    KEY_BYTES.contains(&bytes.len()).then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// Makes the file whole, or leaves the one that another made meanwhile.
fn make(dir: &Path, path: &Path) -> io::Result<()> {
    let mut bytes = [0; MADE_BYTES];
    let mut name = [0; 8];
    let random = SystemRandom::new();
    for part in [&mut bytes[..], &mut name[..]] {
        random.fill(part).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    }
    let aside = dir.join(format!("{SECRET_FILE}.{:016x}", u64::from_be_bytes(name)));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    let written = writeln!(file, "{PREFIX}{}", STANDARD.encode(bytes)).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| match fs::hard_link(&aside, path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    fs::remove_file(&aside)?;
    linked
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    // Computed with Python's hmac module; the first is the example of the specification's libraries.
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &str = "{\"test\": 2432232314}";
    const OURS: &str = "{\"jobId\":\"job-1\",\"status\":\"SUCCEEDED\"}";

    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        // contract: A12
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(secret.sign(ID, 1_614_265_330, BODY), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let two = Secret::parse(
            "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=  whsec_ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM=\n",
        )
        .unwrap();
        assert_eq!(
            two.sign("job-1-7", 1_764_671_400, OURS),
            "v1,h+3iMCcQpftdF82Nmfd03osrDT2t1dMENifPpzhp5cY= v1,6jGn74CxxyRINjRaZfrNUVdM0ac3XZ/qKYgaFofYk3I="
        );
    }

    #[test]
    fn other_texts_are_no_secrets() {
        let short = format!("whsec_{}", STANDARD.encode([1; 23]));
        let long = format!("whsec_{}", STANDARD.encode([1; 65]));
        let five = format!("whsec_{} ", STANDARD.encode([1; 24])).repeat(5);
        for text in
            ["", "whsec_", "secret", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!!", &short, &long, &five]
        {
            assert!(Secret::parse(text).is_err(), "{text}");
        }
        assert_eq!(format!("{:?}", Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()), "***");
    }

    #[test]
    fn a_secret_is_made_once_and_for_its_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let made: Vec<String> = std::thread::scope(|threads| {
            let sign = || Secret::kept_in(dir.path()).unwrap().sign("a", 1, "b");
            let threads: Vec<_> = (0..8).map(|_| threads.spawn(sign)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(made.iter().all(|s| *s == made[0]), "everybody has the same one");
        let files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(files, [SECRET_FILE]);
        let rights = fs::metadata(dir.path().join(SECRET_FILE)).unwrap().permissions().mode();
        assert_eq!(rights & 0o777, 0o600);
        fs::write(dir.path().join(SECRET_FILE), "x").unwrap();
        assert!(Secret::kept_in(dir.path()).is_err(), "one that can't be read is not replaced");
    }
}
