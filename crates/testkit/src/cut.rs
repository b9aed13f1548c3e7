//! A network that can be cut: what connects to a server through it loses its connections, and gets none until it is healed.

use std::io;
use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// The way to one server. Dropping it closes the port and all connections.
#[derive(Debug)]
pub struct Cut {
    addr: SocketAddr,
    is_cut: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl Cut {
    /// A way to this server, whole at first, from this port of 127.0.0.1; 0 is a free one.
    ///
    /// # Panics
    /// When the port cannot be had.
    pub async fn start(port: u16, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let is_cut = watch::Sender::new(false);
        let server = tokio::spawn(serve(listener, to, is_cut.subscribe()));
        Self { addr, is_cut, server }
    }

    /// Where to connect instead of to the server.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes all connections, and each new one at once.
    pub fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Lets connections through again.
    pub fn heal(&self) {
        self.is_cut.send_replace(false);
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, to: SocketAddr, is_cut: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        // fails when the client gave up before we accepted
        let Ok((stream, _)) = listener.accept().await else { continue };
        if *is_cut.borrow() {
            continue;
        }
        connections.spawn(pass_until_cut(stream, to, is_cut.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Passes bytes both ways; what is under way when the network is cut is lost.
async fn pass_until_cut(stream: TcpStream, to: SocketAddr, mut is_cut: watch::Receiver<bool>) {
    // an error means that one of the two went away, which the other learns by the end of its connection
    let passed = async { pass(stream, to).await.is_ok() };
    let cut = async { is_cut.wait_for(|is_cut| *is_cut).await.is_ok() };
    tokio::select! {
        _ = passed => {}
        _ = cut => {}
    }
}

async fn pass(mut stream: TcpStream, to: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(to).await?;
    // small messages go back and forth here: none may wait for the next
    stream.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut stream, &mut server).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A server that says everything back.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        addr
    }

    /// Whether a word comes back.
    async fn answers(stream: &mut TcpStream) -> bool {
        let mut word = [0; 4];
        stream.write_all(b"ping").await.is_ok()
            && stream.read_exact(&mut word).await.is_ok()
            && word == *b"ping"
    }

    #[tokio::test]
    async fn a_cut_ends_what_is_connected_and_lets_nothing_new_through_until_it_is_healed() {
        let cut = Cut::start(0, echo().await).await;
        let connect = async || TcpStream::connect(cut.addr()).await.expect("it listens");
        let mut before = connect().await;
        assert!(answers(&mut before).await);

        cut.cut();
        assert!(!answers(&mut before).await);
        assert!(!answers(&mut connect().await).await);

        cut.heal();
        assert!(answers(&mut connect().await).await);
        assert!(!answers(&mut before).await);
    }
}
