//! One query over TCP (RFC 7766): for answers that do not fit a datagram or are in doubt.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout_at;

/// Asks `upstream` and gives the first message that comes back, by `deadline` at the latest.
///
/// # Errors
/// Those of the connection; `TimedOut` when the deadline passes, `UnexpectedEof` when it closes early.
pub async fn exchange(upstream: SocketAddr, message: &[u8], deadline: Instant) -> io::Result<Vec<u8>> {
    timeout_at(deadline.into(), async {
        let mut stream = TcpStream::connect(upstream).await?;
        stream.set_nodelay(true)?;
        let len = u16::try_from(message.len()).map_err(io::Error::other)?;
        // Length and message in one segment: some servers do not put them together (RFC 7766 §8).
        stream.write_all(&[&len.to_be_bytes(), message].concat()).await?;
        let len = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(len)];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    })
    .await?
}
