//! A door with TLS in front of a server without, and the certificates of those who may pass.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A listener that speaks TLS and hands everything on to a port without. Gone with its runtime.
#[derive(Debug)]
pub struct TlsDoor {
    /// Where it listens, as `localhost`.
    pub port: u16,
    /// The certificate of the authority that vouches for it.
    pub ca_file: PathBuf,
    dir: PathBuf,
    guests: Arc<Mutex<Guests>>,
}

/// Who passes.
#[derive(Debug, Default)]
struct Guests {
    /// The only certificate that passes; anybody without one.
    wanted: Option<CertificateDer<'static>>,
    inside: Vec<AbortHandle>,
}

impl TlsDoor {
    /// Opens a door to `target`, which speaks HTTP/2, for everybody; its files go into `dir`.
    pub async fn open(dir: &Path, target: u16) -> Self {
        Self::begin(dir, target, &[b"h2"], false).await
    }

    /// Opens a door to `target`, which speaks HTTP/1.1, for who shows a certificate: see [`Self::lets_in`].
    pub async fn for_guests(dir: &Path, target: u16) -> Self {
        Self::begin(dir, target, &[b"http/1.1"], true).await
    }

    /// A certificate of the door's authority for a guest, with its key: a PEM file.
    pub fn identity(&self, name: &str) -> PathBuf {
        signed(&self.dir, name, &format!("/CN={name}"), &[]);
        let [certificate, key] =
            ["crt", "key"].map(|kind| fs::read_to_string(self.dir.join(format!("{name}.{kind}"))).unwrap());
        let file = self.dir.join(format!("{name}.pem"));
        fs::write(&file, certificate + &key).unwrap();
        file
    }

    /// From now on only this guest passes. Who is inside has to leave.
    pub fn lets_in(&self, identity: &Path) {
        let mut guests = self.guests.lock().unwrap();
        guests.wanted = Some(CertificateDer::from_pem_file(identity).unwrap());
        for guest in guests.inside.drain(..) {
            guest.abort();
        }
    }

    async fn begin(dir: &Path, target: u16, protocols: &[&[u8]], guests_only: bool) -> Self {
        fs::create_dir_all(dir).unwrap();
        let ca_file = dir.join("authority.crt");
        assert!(request(dir, "authority", "/CN=Libra test authority").status().unwrap().success());
        signed(dir, "server", "/CN=localhost", &["subjectAltName=DNS:localhost"]);
        let chain = CertificateDer::pem_file_iter(dir.join("server.crt")).unwrap().map(Result::unwrap);
        let key = PrivateKeyDer::from_pem_file(dir.join("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = if guests_only {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(&ca_file).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            config.with_no_client_auth()
        };
        let mut config = config.with_single_cert(chain.collect(), key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let guests = Arc::default();
        tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), target, Arc::clone(&guests)));
        Self { port, ca_file, dir: dir.to_owned(), guests }
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, target: u16, guests: Arc<Mutex<Guests>>) {
    while let Ok((outside, _)) = listener.accept().await {
        let (acceptor, all) = (acceptor.clone(), Arc::clone(&guests));
        let guest = tokio::spawn(async move {
            // A client that does not like the certificate goes away.
            let Ok(mut outside) = acceptor.accept(outside).await else { return };
            if !may_pass(&outside, &all) {
                return;
            }
            let Ok(mut inside) = TcpStream::connect(("127.0.0.1", target)).await else { return };
            let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
        });
        guests.lock().unwrap().inside.push(guest.abort_handle());
    }
}

fn may_pass(guest: &TlsStream<TcpStream>, guests: &Mutex<Guests>) -> bool {
    let shown = guest.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let guests = guests.lock().unwrap();
    guests.wanted.as_ref().is_none_or(|wanted| shown == Some(wanted))
}

fn request(dir: &Path, name: &str, subject: &str) -> Command {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"]);
    openssl.args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", subject]);
    openssl.arg("-keyout").arg(dir.join(format!("{name}.key")));
    openssl.arg("-out").arg(dir.join(format!("{name}.crt")));
    openssl.stdout(Stdio::null()).stderr(Stdio::null());
    openssl
}

/// A certificate that the authority in `dir` vouches for: its own is refused as a server's.
fn signed(dir: &Path, name: &str, subject: &str, extensions: &[&str]) {
    let mut openssl = request(dir, name, subject);
    openssl.arg("-CA").arg(dir.join("authority.crt")).arg("-CAkey").arg(dir.join("authority.key"));
    for extension in [&["basicConstraints=critical,CA:FALSE"], extensions].concat() {
        openssl.args(["-addext", extension]);
    }
    assert!(openssl.status().unwrap().success());
}
