//! A look at an upstream at start-up, as the user that will serve: does it answer by UDP, does it answer by TCP?

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::stream::exchange;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was found.
#[derive(Debug)]
pub struct Finding {
    /// Whether any answer came by UDP.
    pub datagram: io::Result<()>,
    /// Whether any answer came by TCP.
    pub stream: io::Result<()>,
}

/// Asks `upstream` the given query by both ways at once. What it answers does not matter.
pub async fn probe(upstream: SocketAddr, query: &[u8]) -> Finding {
    let (datagram, stream) =
        tokio::join!(by_datagram(upstream, query), exchange(upstream, query, Instant::now() + PATIENCE));
    Finding { datagram, stream: stream.map(|_| ()) }
}

async fn by_datagram(upstream: SocketAddr, query: &[u8]) -> io::Result<()> {
    let any: SocketAddr = if upstream.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(upstream).await?;
    socket.send(query).await?;
    let mut answer = [0; 512];
    timeout(PATIENCE, socket.recv(&mut answer)).await??;
    Ok(())
}
