//! How a private PostgreSQL is to be.

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicU32;

use super::programs::{Programs, run};
use super::{Postgres, USER};
use crate::{ports, watchdog};

/// Somebody else may take the port between our look and the server's start.
const PORT_ATTEMPTS: usize = 5;

/// How to start a PostgreSQL. The defaults are PostgreSQL's own, `fsync` included, but for 200 connections.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    settings: Vec<(String, String)>,
    password: Option<String>,
    tls: bool,
}

impl Setup {
    /// The defaults: anybody on the loopback is let in, without TLS.
    pub fn new() -> Self {
        Self::default().setting("max_connections", "200")
    }

    /// A line of `postgresql.conf`: `max_connections`, `shared_buffers` (with a unit, as "256MB") …
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Asks for this password (letters and digits) by SCRAM. The URLs carry it.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        assert!(password.chars().all(|c| c.is_ascii_alphanumeric()), "it goes into URLs as it is");
        self.password = Some(password.to_owned());
        self
    }

    /// Takes connections with TLS only. Its certificate, for `localhost` and 127.0.0.1, is signed by
    /// [`Postgres::authority`].
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Makes and starts one.
    pub fn start(&self) -> Postgres {
        let programs = Programs::find();
        let dir = tempfile::Builder::new().prefix("libra-postgres.").tempdir().unwrap();
        // Real paths: what works below is found by them.
        let dir = dir.keep().canonicalize().unwrap();
        watchdog::watch(&dir);
        // The account has to get through to its own directory below.
        fs::set_permissions(&dir, Permissions::from_mode(0o711)).unwrap();
        self.initialise(&programs, &dir);
        let (password, tls) = (self.password.clone(), self.tls);
        let databases = AtomicU32::new(0);
        let mut postgres = Postgres { programs, dir, port: 0, password, tls, child: None, databases };
        for _ in 0..PORT_ATTEMPTS {
            postgres.port = ports::free();
            match postgres.launch() {
                Ok(()) => return postgres,
                Err(why) if why.contains("Address already in use") => {}
                Err(why) => panic!("{why}"),
            }
        }
        panic!("{PORT_ATTEMPTS} free ports were taken by others before PostgreSQL had them");
    }

    fn initialise(&self, programs: &Programs, dir: &Path) {
        let data = dir.join("data");
        fs::create_dir(&data).unwrap();
        programs.give(&data);
        let mut initdb = programs.server("initdb");
        initdb.arg("-D").arg(&data).args([
            "-U",
            USER,
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "-A",
            "trust",
        ]);
        if let Some(password) = &self.password {
            let file = dir.join("password");
            fs::write(&file, password).unwrap();
            programs.give(&file);
            initdb.arg("--pwfile").arg(file);
        }
        run(&mut initdb);
        let mut text = String::from("listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\n");
        if self.tls {
            certify(programs, dir);
            let file = |name: &str| dir.join(name).display().to_string();
            writeln!(text, "ssl = on\nssl_cert_file = '{}'", file("server.crt")).unwrap();
            writeln!(text, "ssl_key_file = '{}'", file("server.key")).unwrap();
        }
        for (name, value) in &self.settings {
            writeln!(text, "{name} = '{}'", value.replace('\'', "''")).unwrap();
        }
        // Written over and appended to, so that they stay the account's.
        let mut conf = File::options().append(true).open(data.join("postgresql.conf")).unwrap();
        conf.write_all(text.as_bytes()).unwrap();
        let how = if self.tls { "hostssl" } else { "host" };
        let method = if self.password.is_some() { "scram-sha-256" } else { "trust" };
        fs::write(data.join("pg_hba.conf"), format!("{how} all all 127.0.0.1/32 {method}\n")).unwrap();
    }
}

/// An authority and a certificate signed by it. Two, because clients refuse an authority as a server.
fn certify(programs: &Programs, dir: &Path) {
    let request = |name: &str, subject: &str| {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"]);
        openssl.args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", subject]);
        openssl.arg("-keyout").arg(dir.join(format!("{name}.key")));
        openssl.arg("-out").arg(dir.join(format!("{name}.crt")));
        openssl
    };
    run(&mut request("authority", "/CN=Libra test authority"));
    let mut server = request("server", "/CN=localhost");
    server.arg("-CA").arg(dir.join("authority.crt")).arg("-CAkey").arg(dir.join("authority.key"));
    server.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    server.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    run(&mut server);
    programs.give(&dir.join("server.crt"));
    programs.give(&dir.join("server.key"));
}
