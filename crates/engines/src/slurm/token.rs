//! The token that slurmrestd wants to see: from a file, or made with the cluster's key.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

use super::error::Error;

/// How long a token that is made here is good for, in seconds. The clocks of both machines may differ by half of it.
pub const TOKEN_LIFE_SECONDS: u64 = 600;
/// The largest file that is read as a token or a key, in bytes.
const MOST_FILE_BYTES: u64 = 64 * 1024;

/// Where tokens come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TokenFrom {
    /// From nowhere: a slurmrestd on a socket knows who we are (`rest_auth/local`).
    #[default]
    Nowhere,
    /// From a file with one token, as `scontrol token` prints it. Read for each request: somebody renews it.
    File(PathBuf),
    /// Made with the key in a file, the one that `jwt_key` in slurm.conf names.
    Key(PathBuf),
}

/// Shows tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    from: TokenFrom,
    /// Whom a token is made for.
    user: String,
    made: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    token: String,
    /// Seconds since the epoch.
    renew_at: u64,
}

impl Tokens {
    pub(super) fn new(from: TokenFrom, user: String) -> Self {
        Self { from, user, made: Mutex::new(None) }
    }

    /// The token to show now; None where none is shown.
    pub(super) fn now(&self) -> Result<Option<String>, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.at(now)
    }

    /// The token to show at a time, in seconds since the epoch.
    fn at(&self, now: u64) -> Result<Option<String>, Error> {
        match &self.from {
            TokenFrom::Nowhere => Ok(None),
            TokenFrom::File(path) => {
                let text = read(path)?;
                let text = String::from_utf8(text)
                    .map_err(|_| Error::NoToken(format!("{} holds no text", path.display())))?;
                let token = text.trim();
                let token = token.strip_prefix("SLURM_JWT=").unwrap_or(token);
                if token.is_empty() {
                    return Err(Error::NoToken(format!("{} is empty", path.display())));
                }
                if ends_at(token).is_some_and(|end| end <= now) {
                    return Err(Error::NoToken(format!("the time of the one in {} is over", path.display())));
                }
                Ok(Some(token.to_owned()))
            }
            TokenFrom::Key(path) => {
                let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
                // A clock that went back makes what was made look younger than it is.
                let fresh =
                    |made: &&Made| now < made.renew_at && made.renew_at - now <= TOKEN_LIFE_SECONDS / 2;
                if let Some(made) = made.as_ref().filter(fresh) {
                    return Ok(Some(made.token.clone()));
                }
                let token = mint(&read(path)?, &self.user, now);
                *made = Some(Made { token: token.clone(), renew_at: now + TOKEN_LIFE_SECONDS / 2 });
                Ok(Some(token))
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |why: String| Error::NoToken(format!("{} can't be read: {why}", path.display()));
    let size = std::fs::metadata(path).map_err(|e| failed(e.to_string()))?.len();
    if size > MOST_FILE_BYTES {
        return Err(failed(format!("it is larger than {MOST_FILE_BYTES} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|e| failed(e.to_string()))?;
    if bytes.is_empty() { Err(failed("it is empty".to_owned())) } else { Ok(bytes) }
}

/// A token for `user` from `now`, in seconds since the epoch: HS256 with the claims that Slurm wants.
fn mint(key: &[u8], user: &str, now: u64) -> String {
    let part = |claims: &Value| URL_SAFE_NO_PAD.encode(claims.to_string());
    let head = part(&json!({"alg": "HS256", "typ": "JWT"}));
    let claims = part(&json!({"exp": now + TOKEN_LIFE_SECONDS, "iat": now, "sun": user}));
    let signed = format!("{head}.{claims}");
    format!("{signed}.{}", sign(key, &signed))
}

fn sign(key: &[u8], text: &str) -> String {
    URL_SAFE_NO_PAD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()))
}

/// When a token ends, in seconds since the epoch; None when it does not say.
fn ends_at(token: &str) -> Option<u64> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Value>(&claims).ok()?.get("exp")?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("libra-token-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_signature_is_that_of_the_standard() {
        // RFC 7515, appendix A.1.
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let text = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let key = URL_SAFE_NO_PAD.decode(key).unwrap();
        assert_eq!(sign(&key, text), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        let key = file("key", b"secret");
        let tokens = Tokens::new(TokenFrom::Key(key.clone()), "ada".to_owned());
        let at = |now: u64| tokens.at(now).unwrap().unwrap();
        let first = at(1_000);
        assert_eq!(ends_at(&first), Some(1_000 + TOKEN_LIFE_SECONDS));
        assert_eq!(at(1_000 + TOKEN_LIFE_SECONDS / 2 - 1), first);
        let second = at(1_000 + TOKEN_LIFE_SECONDS / 2);
        assert_ne!(second, first);
        assert_ne!(at(500), second, "the clock went back");
        let claims = URL_SAFE_NO_PAD.decode(first.split('.').nth(1).unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&claims).unwrap()["sun"], "ada");
        std::fs::remove_file(key).unwrap();
    }

    #[test]
    fn a_file_is_read_again_for_each_request() {
        let good = format!("SLURM_JWT=a.{}.c\n", URL_SAFE_NO_PAD.encode(r#"{"exp":2000}"#));
        let path = file("file", good.as_bytes());
        let tokens = Tokens::new(TokenFrom::File(path.clone()), String::new());
        assert!(tokens.at(1_999).unwrap().unwrap().starts_with("a."));
        assert!(matches!(tokens.at(2_000), Err(Error::NoToken(why)) if why.contains("over")));
        std::fs::write(&path, "other\n").unwrap();
        assert_eq!(tokens.at(2_000).unwrap().as_deref(), Some("other"));
        std::fs::write(&path, "").unwrap();
        assert!(tokens.at(2_000).is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(tokens.at(2_000).is_err());
    }
}
