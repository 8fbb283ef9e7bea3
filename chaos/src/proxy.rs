//! The network between one replica and PostgreSQL, which can be cut.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// As it should be.
    Up,
    /// Connections are reset, new ones as well.
    Down,
    /// A black hole: connections stay, and nothing goes through. What was under way arrives when it is up again.
    Stalled,
}

/// What connections go by: how the network is, and how often all connections have been reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    network: Network,
    resets: u64,
}

/// One network.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    state: watch::Sender<State>,
}

impl Proxy {
    /// A network to `to`, which is up.
    pub(crate) async fn start(to: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, libra_testkit::ports::free())).await?;
        let port = listener.local_addr()?.port();
        let (state, seen) = watch::channel(State { network: Network::Up, resets: 0 });
        tokio::spawn(accept(listener, SocketAddr::from((Ipv4Addr::LOCALHOST, to)), seen));
        Ok(Self { port, state })
    }

    /// Its end on the replica's side.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Changes how it is.
    pub(crate) fn set(&self, network: Network) {
        self.state.send_modify(|state| state.network = network);
    }

    /// Resets every connection; what was under way is lost. New ones go by how it is.
    pub(crate) fn reset(&self) {
        self.state.send_modify(|state| state.resets += 1);
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, mut state: watch::Receiver<State>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((near, _)) = accepted {
                    tokio::spawn(carry(near, to, state.clone()));
                }
            }
            // The sender is gone: the run is over.
            changed = state.changed() => if changed.is_err() { return },
        }
    }
}

async fn carry(near: TcpStream, to: SocketAddr, mut state: watch::Receiver<State>) {
    // Dropped sockets are reset rather than closed: a cut network says no goodbye.
    let _ = near.set_zero_linger();
    let _ = near.set_nodelay(true);
    let resets = state.borrow().resets;
    let cut = {
        let mut state = state.clone();
        async move {
            let _ = state.wait_for(|s| s.resets != resets || s.network == Network::Down).await;
        }
    };
    let through = async {
        if !up(&mut state).await {
            return;
        }
        let Ok(far) = TcpStream::connect(to).await else { return };
        let _ = far.set_nodelay(true);
        let _ = far.set_zero_linger();
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        tokio::select! {
            () = pump(near_read, far_write, state.clone()) => {}
            () = pump(far_read, near_write, state.clone()) => {}
        }
    };
    tokio::select! {
        biased;
        () = cut => {}
        () = through => {}
    }
}

/// Waits until bytes may go through; false when the run is over.
async fn up(state: &mut watch::Receiver<State>) -> bool {
    state.wait_for(|s| s.network == Network::Up).await.is_ok()
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read) = from.read(&mut buffer).await {
        if read == 0 || !up(&mut state).await || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        port
    }

    async fn ask(stream: &mut TcpStream, word: &[u8; 4]) -> io::Result<[u8; 4]> {
        let mut answer = [0; 4];
        stream.write_all(word).await?;
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn a_network_goes_up_and_down() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port()));
        let mut stream = connect().await.unwrap();
        assert_eq!(&ask(&mut stream, b"ping").await.unwrap(), b"ping");

        proxy.set(Network::Stalled);
        let mut late = [0; 4];
        stream.write_all(b"late").await.unwrap();
        let nothing = tokio::time::timeout(Duration::from_millis(100), stream.read_exact(&mut late)).await;
        assert!(nothing.is_err(), "nothing goes through");
        proxy.set(Network::Up);
        stream.read_exact(&mut late).await.unwrap();
        assert_eq!(&late, b"late", "what was under way arrives");

        proxy.reset();
        assert!(ask(&mut stream, b"gone").await.is_err());
        let mut stream = connect().await.unwrap();
        assert_eq!(&ask(&mut stream, b"anew").await.unwrap(), b"anew");
        proxy.set(Network::Down);
        assert!(ask(&mut stream, b"down").await.is_err());
        let refused = match connect().await {
            Ok(mut stream) => ask(&mut stream, b"nobd").await.is_err(),
            Err(_) => true,
        };
        assert!(refused);
    }
}
