//! A look at an upstream at start-up, as the user that will serve: does it answer by UDP, does it answer by TCP?

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::stream::Streams;
use crate::forward::{Protocol, Target};

/// How long an answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(4);

/// What was found.
#[derive(Debug)]
pub struct ProbeResult {
    /// Whether any answer came by UDP, where the upstream is asked so.
    pub datagram: Option<io::Result<()>>,
    /// Whether any answer came by TCP, or by TLS or HTTPS where the upstream is asked so.
    pub stream: io::Result<()>,
}

/// Asks `target` the given query by all its ways at once. What it answers does not matter.
pub async fn probe(streams: &Streams, target: &Target, query: &[u8]) -> ProbeResult {
    let by_datagram = async {
        match target.protocol {
            Protocol::Datagram => Some(by_datagram(target.address, query).await),
            _ => None,
        }
    };
    let (datagram, stream) = tokio::join!(by_datagram, streams.ask(target, query, 1, Instant::now() + TIMEOUT));
    ProbeResult { datagram, stream: stream.map(|_| ()) }
}

async fn by_datagram(upstream: SocketAddr, query: &[u8]) -> io::Result<()> {
    let any: SocketAddr = if upstream.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(upstream).await?;
    socket.send(query).await?;
    let mut answer = [0; 512];
    timeout(TIMEOUT, socket.recv(&mut answer)).await??;
    Ok(())
}
