//! The loop that takes connections in, the same for DNS and for HTTP.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use crate::log::Recurring;

/// How long accepting rests when the system has no descriptors left.
const REST: Duration = Duration::from_millis(100);

/// Accepts connections as long as it is polled, and gives each to `take` with its client's address: IPv4 where it is one
/// mapped into IPv6. The caller looks for a place for it first.
pub async fn accept(listener: &TcpListener, mut take: impl FnMut(TcpStream, IpAddr)) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Replies are small and wait for nothing.
                let _ = stream.set_nodelay(true);
                take(stream, peer.ip().to_canonical());
            }
            // A connection that broke before it was accepted is none of ours; without descriptors, wait for some.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
            Err(error) => {
                static CAUSE: Recurring = Recurring::new();
                if let Some(before) = CAUSE.due() {
                    tracing::warn!(%error, before, "accept failed");
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
}
