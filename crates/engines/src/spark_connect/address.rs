//! Spark's connection strings: `sc://host:port/;token=…;use_ssl=true;user_id=…`.

use std::fmt;
use std::path::{Path, PathBuf};

use super::client::header;

/// Spark Connect's port when a connection string names none.
const DEFAULT_PORT: u16 = 15002;

/// Where a Spark Connect server is and how to be let in. Printing it shows neither tokens nor headers.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// The host's name or number; IPv6 in brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// True for TLS.
    pub tls: bool,
    /// What is shown to be let in.
    pub token: Option<String>,
    /// The user in whose name everything is asked; None = each job's own.
    pub user: Option<String>,
    /// Headers of every call.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sc://{}:{}", self.host, self.port)
    }
}

impl Address {
    /// Reads a connection string; `token` is one that is kept elsewhere.
    ///
    /// TLS is used when `use_ssl=true`, and when there is a token and the server is not on this machine.
    ///
    /// # Errors
    /// In words that go behind the key's name; they never quote a value.
    pub fn parse(text: &str, token: Option<String>) -> Result<Self, String> {
        let rest = text.strip_prefix("sc://").ok_or("must begin with `sc://`")?;
        let (authority, parameters) = match rest.split_once('/') {
            None => (rest, ""),
            Some((authority, "")) => (authority, ""),
            Some((authority, path)) => {
                (authority, path.strip_prefix(';').ok_or("has a path; parameters follow `/;`")?)
            }
        };
        let (host, port) = split_authority(authority)?;
        let mut address = Self { host, port, tls: false, token: None, user: None, headers: Vec::new() };
        let mut tls = None;
        for parameter in parameters.split(';').filter(|p| !p.is_empty()) {
            let (name, value) = parameter
                .split_once('=')
                .ok_or("has a parameter without a value; they are spelled `name=value`")?;
            let value = decode(value).ok_or_else(|| format!("has a wrong %-escape in `{name}`"))?;
            match name {
                "token" => address.token = Some(value),
                "user_id" => address.user = Some(value),
                "use_ssl" => {
                    tls =
                        Some(value.parse().map_err(|_| "needs `true` or `false` for `use_ssl`".to_owned())?);
                }
                "user_agent" => {}
                "session_id" => return Err("names a session; Libra makes its own".to_owned()),
                header => address.headers.push((header.to_ascii_lowercase(), value)),
            }
        }
        if token.is_some() {
            if address.token.is_some() {
                return Err("holds a token, and another one is given besides".to_owned());
            }
            address.token = token;
        }
        let token = address.token.iter().map(|token| ("authorization", token));
        for (name, value) in token.chain(address.headers.iter().map(|(name, value)| (name.as_str(), value))) {
            header(name, value)
                .map_err(|_| format!("holds a header that can't be sent: `{name}`, or its value"))?;
        }
        let here = address.is_loopback();
        address.tls = tls.unwrap_or(address.token.is_some() && !here);
        if address.token.is_some() && !address.tls && !here {
            return Err("would send the token in the clear: remove `use_ssl=false`".to_owned());
        }
        Ok(address)
    }

    /// True when nobody needs to know a secret to be let in, so that programs of users can be told the way.
    pub fn is_open(&self) -> bool {
        self.token.is_none() && self.headers.is_empty()
    }

    /// True when the server is on this machine.
    fn is_loopback(&self) -> bool {
        let number = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost" || number.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// The way to a server for programs that bring a client of their own, Spark's for Python above all.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Door {
    /// The connection string but for what is the program's own: parameters can be added to it.
    pub(super) remote: String,
    /// What its clients must show.
    pub(super) secret: Option<String>,
    /// The user in whose name everything is asked; None = each job's own.
    pub(super) user: Option<String>,
    /// Certificates (PEM) by which the server is known.
    pub(super) ca_file: Option<PathBuf>,
    /// True when the server is on this machine.
    pub(super) is_here: bool,
}

impl Door {
    /// A server on this machine. Spark's client shows a secret without TLS by the name of localhost alone.
    pub(super) fn local(port: u16, secret: Option<&str>) -> Self {
        let remote = format!("sc://localhost:{port}/");
        Self { remote, secret: secret.map(str::to_owned), user: None, ca_file: None, is_here: true }
    }

    /// A server somewhere.
    pub(super) fn remote(address: &Address, ca_file: Option<&Path>) -> Self {
        let tls = if address.tls { ";use_ssl=true" } else { "" };
        let remote = format!("{address}/{tls}");
        let ca_file = ca_file.map(Path::to_owned);
        Self { remote, secret: None, user: address.user.clone(), ca_file, is_here: address.is_loopback() }
    }
}

fn split_authority(authority: &str) -> Result<(String, u16), String> {
    if authority.contains('@') {
        return Err("names a user before the host; use `user_id=…` and a token".to_owned());
    }
    // The colons of an IPv6 number are within its brackets.
    let behind = authority.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match authority[behind..].rfind(':') {
        None => (authority, DEFAULT_PORT),
        Some(at) => {
            let (host, port) = authority.split_at(behind + at);
            (host, port[1..].parse().map_err(|_| "has no number of a port behind the host".to_owned())?)
        }
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if host.is_empty() || !host.chars().all(plain) {
        return Err("names no host".to_owned());
    }
    Ok((host.to_owned(), port))
}

/// Undoes %-escapes; None for a wrong one.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(behind.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &behind[2..];
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, String> {
        Address::parse(text, None)
    }

    #[test]
    fn sparks_own_spelling_is_read() {
        let plain = parse("sc://localhost").unwrap();
        assert_eq!((plain.host.as_str(), plain.port, plain.tls), ("localhost", 15002, false));
        let full = parse("sc://spark.example.com:443/;token=a%3Db%3B;user_id=ann;X-Tenant=7").unwrap();
        assert_eq!((full.port, full.tls, full.token.as_deref()), (443, true, Some("a=b;")));
        assert_eq!((full.user.as_deref(), full.headers[0].0.as_str()), (Some("ann"), "x-tenant"));
        let six = parse("sc://[::1]:7/;use_ssl=true").unwrap();
        assert_eq!((six.host.as_str(), six.port, six.tls), ("[::1]", 7, true));
        assert!(!parse("sc://127.0.0.1:1/;token=x").unwrap().tls, "nobody else hears it");
    }

    #[test]
    fn what_is_wrong_is_said_without_secrets() {
        for text in [
            "spark://h:1",
            "sc://",
            "sc://h:x",
            "sc://h/path",
            "sc://h/;token",
            "sc://me@h",
            "sc://h/;token=s3cret;use_ssl=false",
            "sc://h/;token=%zs3cret",
            "sc://h/;token=s3cret;session_id=1",
            "sc://h/;token=s3cret%0A",
            "sc://h/;a b=s3cret",
        ] {
            let error = parse(text).unwrap_err();
            assert!(!error.contains("s3cret"), "{text}: {error}");
        }
        assert!(Address::parse("sc://h/;token=a", Some("b".to_owned())).is_err());
        let address = Address::parse("sc://h", Some("s3cret".to_owned())).unwrap();
        assert!(address.tls);
        assert_eq!(format!("{address} {address:?}"), "sc://h:15002 sc://h:15002");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(sc://)?.*") {
            let _ = parse(&text);
        }
    }
}
