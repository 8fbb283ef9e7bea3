//! A Spark Connect server that no Libra started, and a door with TLS in front of it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};

use crate::{ports, wait, watchdog};

/// What the server says once it can be asked.
const READY: &str = "Spark Connect server started at";

/// Apache Spark's own server, on a port that stays the same. Ended when it is dropped.
#[derive(Debug)]
pub struct ConnectServer {
    home: PathBuf,
    dir: PathBuf,
    token: String,
    port: u16,
    child: Option<Child>,
}

impl ConnectServer {
    /// Starts one of the Spark in `home`, which asks its clients for `token`.
    pub async fn start(home: &Path, token: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("libra-test.").tempdir().unwrap();
        let dir = dir.keep().canonicalize().unwrap();
        watchdog::watch(&dir);
        let mut server =
            Self { home: home.to_owned(), dir, token: token.to_owned(), port: ports::free(), child: None };
        server.start_again().await;
        server
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again, on the same port, with nothing of what it knew before.
    pub async fn start_again(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        let log = self.dir.join("server.log");
        let file = File::create(&log).unwrap();
        let mut command = Command::new(self.home.join("bin/spark-submit"));
        command
            .args(["--class", "org.apache.spark.sql.connect.service.SparkConnectServer"])
            .args(["--master", "local[1]", "--driver-memory", "600m"])
            .args(["--conf", "spark.connect.grpc.binding.address=127.0.0.1"])
            .args(["--conf", &format!("spark.connect.grpc.binding.port={}", self.port)])
            .args(["--conf", "spark.sql.catalogImplementation=in-memory"])
            .args(["--conf", "spark.driver.bindAddress=127.0.0.1", "--conf", "spark.ui.enabled=false"])
            .arg("spark-internal")
            .env("SPARK_CONNECT_AUTHENTICATE_TOKEN", &self.token)
            .env("SPARK_LOCAL_IP", "127.0.0.1")
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        self.child = Some(command.spawn().unwrap());
        wait::until_true("the Spark Connect server starts", || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let ended = self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            assert!(!ended, "it ended at once:\n{text}");
            text.contains(READY)
        })
        .await;
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for ConnectServer {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A listener that speaks TLS and hands everything on to a port without. Gone with its runtime.
#[derive(Debug)]
pub struct TlsDoor {
    /// Where it listens, as `localhost`.
    pub port: u16,
    /// The certificate of the authority that vouches for it.
    pub ca_file: PathBuf,
}

impl TlsDoor {
    /// Opens a door to `target`; its files go into `dir`.
    pub async fn open(dir: &Path, target: u16) -> Self {
        fs::create_dir_all(dir).unwrap();
        let request = |name: &str, subject: &str| {
            let mut openssl = Command::new("openssl");
            openssl.args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"]);
            openssl.args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", subject]);
            openssl.arg("-keyout").arg(dir.join(format!("{name}.key")));
            openssl.arg("-out").arg(dir.join(format!("{name}.crt")));
            openssl.stdout(Stdio::null()).stderr(Stdio::null());
            openssl
        };
        let ca_file = dir.join("authority.crt");
        assert!(request("authority", "/CN=Libra test authority").status().unwrap().success());
        // Two, because clients refuse an authority as a server.
        let mut server = request("server", "/CN=localhost");
        server.arg("-CA").arg(&ca_file).arg("-CAkey").arg(dir.join("authority.key"));
        server.args(["-addext", "subjectAltName=DNS:localhost"]);
        server.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        assert!(server.status().unwrap().success());

        let chain = CertificateDer::pem_file_iter(dir.join("server.crt")).unwrap().map(Result::unwrap);
        let key = PrivateKeyDer::from_pem_file(dir.join("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.collect(), key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((outside, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not like the certificate goes away.
                    let Ok(mut outside) = acceptor.accept(outside).await else { return };
                    let Ok(mut inside) = TcpStream::connect(("127.0.0.1", target)).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
        Self { port, ca_file }
    }
}
