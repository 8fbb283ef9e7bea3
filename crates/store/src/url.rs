//! Where the store is: `libra.store.url`.

use std::fmt;
use std::path::{Path, PathBuf};

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::db::DATABASE_FILE;
use crate::error::StoreError;

/// A place for the store. Never shows a password.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A file.
    Sqlite(PathBuf),
    /// A server.
    Postgres(Box<PgUrl>),
}

/// How far the connection to a PostgreSQL server is protected (`sslmode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    Disable,
    /// Encrypted if the server can; whose server it is, is not checked.
    Prefer,
    /// Encrypted; whose server it is, is not checked, unless `sslrootcert` is given.
    Require,
    /// Encrypted, and the server's certificate has to be valid for its name.
    VerifyFull,
}

/// A PostgreSQL server, and how to get in.
#[derive(Clone, PartialEq, Eq)]
pub struct PgUrl {
    config: Config,
    tls: Tls,
    roots: Option<PathBuf>,
    /// `postgres://user@host:5432/database`.
    shown: String,
}

/// What is understood, said wherever something is not.
const FORMS: &str = "write sqlite:, sqlite:///path/of/a/file, or postgres://user:password@host:5432/database; \
     special characters in a password are percent-encoded";

impl StoreUrl {
    /// Reads a URL. `sqlite:` alone is the usual file in `data_dir`.
    ///
    /// # Errors
    /// [`StoreError::Setup`] for what is no such URL; the message never repeats the text, for there may be a
    /// password in it.
    pub fn parse(text: &str, data_dir: &Path) -> Result<Self, StoreError> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" => Ok(Self::Sqlite(data_dir.join(DATABASE_FILE))),
                path => Ok(Self::Sqlite(data_dir.join(path))),
            };
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return PgUrl::parse(text).map(|url| Self::Postgres(Box::new(url)));
        }
        Err(StoreError::setup("libra.store.url is not the URL of a store", FORMS))
    }
}

impl PgUrl {
    /// Reads `postgres://…`; besides what libpq's URLs have, `sslmode` and `sslrootcert` are understood here.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let wrong = |why: &str| Err(StoreError::setup(format!("libra.store.url: {why}"), FORMS));
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let (mut tls, mut roots, mut rest) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", "disable")) => tls = Some(Tls::Disable),
                Some(("sslmode", "prefer")) => tls = Some(Tls::Prefer),
                Some(("sslmode", "require")) => tls = Some(Tls::Require),
                Some(("sslmode", "verify-full")) => tls = Some(Tls::VerifyFull),
                Some(("sslmode", _)) => {
                    return wrong("sslmode is one of disable, prefer, require and verify-full");
                }
                Some(("sslrootcert", path)) => roots = Some(PathBuf::from(decoded(path))),
                _ => rest.push(pair),
            }
        }
        let tls = tls.unwrap_or(if roots.is_some() { Tls::VerifyFull } else { Tls::Prefer });
        let plain = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        let Ok(mut config) = plain.parse::<Config>() else {
            return wrong("it can't be read as the URL of a PostgreSQL server");
        };
        if config.get_hosts().is_empty() {
            return wrong("it names no host");
        }
        if config.get_user().is_none() {
            return wrong("it names no user");
        }
        config.ssl_mode(match tls {
            Tls::Disable => SslMode::Disable,
            Tls::Prefer => SslMode::Prefer,
            Tls::Require | Tls::VerifyFull => SslMode::Require,
        });
        let shown = shown(&config);
        Ok(Self { config, tls, roots, shown })
    }

    /// How to connect; the caller adds what is Libra's own.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// How far the connection is protected.
    pub fn tls(&self) -> Tls {
        self.tls
    }

    /// The file with the authorities that may have signed the server's certificate, PEM; None = the system's.
    pub fn roots(&self) -> Option<&Path> {
        self.roots.as_deref()
    }
}

fn shown(config: &Config) -> String {
    let ports = config.get_ports();
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(n, host)| {
            let port = ports.get(n).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(path) => format!("{}:{port}", path.display()),
            }
        })
        .collect();
    let user = config.get_user().unwrap_or_default();
    format!("postgres://{user}@{}/{}", hosts.join(","), config.get_dbname().unwrap_or(user))
}

/// `%2F` → `/`; anything malformed stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|h| std::str::from_utf8(h).ok());
        let byte = hex.and_then(|h| u8::from_str_radix(h, 16).ok()).filter(|_| first == b'%');
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

impl fmt::Display for PgUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

impl fmt::Debug for PgUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PgUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match StoreUrl::parse(text, Path::new("/data")) {
            Ok(url) => format!("{url}"),
            Err(e) => format!("{e}; {}", e.hint().unwrap_or_default()),
        }
    }

    #[test]
    fn urls_are_read() {
        for (text, expected) in [
            ("sqlite:", "sqlite:///data/libra.db"),
            ("sqlite:///var/x.db", "sqlite:///var/x.db"),
            ("sqlite://x.db", "sqlite:///data/x.db"),
            ("postgres://ada:s%40crat@db/libra", "postgres://ada@db:5432/libra"),
            ("postgresql://ada@db:6000/libra?sslmode=require", "postgres://ada@db:6000/libra"),
            ("postgres://ada@a:1,b:2/libra?target_session_attrs=read-write", "postgres://ada@a:1,b:2/libra"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for text in [
            "mysql://ada:s3cret@db/libra",
            "postgres://ada:s3cret@/libra?sslmode=yes",
            "postgres://ada:s3cret@db:port/libra",
            "postgres://ada:s3cret@db/libra?color=red",
            "postgres://db/libra",
        ] {
            let said = shown(text);
            assert!(said.contains("libra.store.url") && said.contains("write sqlite:"), "{text}: {said}");
            assert!(!said.contains("s3"), "{text}: {said}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let url = StoreUrl::parse("postgres://ada:s3cret@db/libra", Path::new("/data")).unwrap();
        assert!(!format!("{url:?} {url}").contains("s3cret"));
    }

    #[test]
    fn a_root_certificate_means_that_it_is_checked() {
        let url = PgUrl::parse("postgres://ada@db/libra?sslrootcert=%2Fetc%2Fca.pem").unwrap();
        assert_eq!((url.tls(), url.roots()), (Tls::VerifyFull, Some(Path::new("/etc/ca.pem"))));
    }
}
