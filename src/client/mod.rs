//! A DNS client for the operator's commands: one question, over UDP or TCP, and what came of it.
//!
//! `pldns explain`, `/explain` and `pldns verify` ask with it. It shows what happens on the wire (response code, EDNS,
//! truncation, time), which a resolver's library hides; the query path has its own (`upstream`), with budget and health.

#![expect(clippy::disallowed_types, reason = "part of the shell, which owns sockets")]

mod rule;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rand::RngExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

pub use rule::ask_rule;

use crate::wire::header::{HEADER_LEN, Header, QR, TC};
use crate::wire::query::CLASS_IN;
use crate::wire::{Name, Rcode, Rtype, edns};

/// The largest datagram that is read.
const DATAGRAM_MAX: usize = 4096;

/// A query for records, with ID 0, RD and EDNS.
pub fn query(name: &Name, rtype: Rtype) -> Vec<u8> {
    let header = Header { id: 0, flags: crate::wire::header::RD, qdcount: 1, ancount: 0, nscount: 0, arcount: 1 };
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend_from_slice(name.as_wire());
    bytes.extend_from_slice(&rtype.0.to_be_bytes());
    bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
    bytes.extend_from_slice(&edns::opt_head(Rcode::NOERROR, false, 0));
    bytes
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nothing came back in time.
    #[error("timeout")]
    Timeout,
    /// The server cannot be reached.
    #[error("{0}")]
    Unreachable(#[from] io::Error),
    /// Its certificate is not accepted.
    #[error("{0}")]
    Certificate(#[source] io::Error),
}

/// Asks over UDP: sends the query again after each of the `waits` but the last. Datagrams that do not answer the query
/// are ignored.
///
/// # Errors
/// Nothing came back, or the kernel reports that nothing listens there.
pub async fn ask_udp(server: SocketAddr, query: &[u8], waits: &[Duration]) -> Result<Vec<u8>, AskError> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let query = with_id(query, rand::rng().random());
    let mut buffer = vec![0; DATAGRAM_MAX];
    for wait in waits {
        socket.send(&query).await?;
        let end = Instant::now() + *wait;
        while let Ok(received) = timeout_at(end, socket.recv(&mut buffer)).await {
            let message = buffer.get(..received?).unwrap_or_default();
            if is_answer(&query, message) {
                return Ok(message.to_vec());
            }
        }
    }
    Err(AskError::Timeout)
}

/// Asks over a TCP connection of its own.
///
/// # Errors
/// No connection, no answer in time, or one that does not answer the query.
pub async fn ask_tcp(server: SocketAddr, query: &[u8], wait: Duration) -> Result<Vec<u8>, AskError> {
    let query = with_id(query, rand::rng().random());
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        send_framed(&mut stream, &query).await?;
        receive_framed(&mut stream).await
    };
    let message = timeout_at(Instant::now() + wait, exchange).await.map_err(|_| AskError::Timeout)??;
    if is_answer(&query, &message) {
        return Ok(message);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the response does not match the query").into())
}

/// The address that this machine has towards a server; nothing is sent.
///
/// # Errors
/// There is no route to the server.
pub fn local_address(server: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    Ok(socket.local_addr()?.ip().to_canonical())
}

/// Sends a message with its length before it (RFC 1035 §4.2.2).
pub(crate) async fn send_framed(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let len = u16::try_from(message.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    stream.write_all(&[&len.to_be_bytes(), message].concat()).await
}

/// Receives a message with its length before it.
pub(crate) async fn receive_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let len = stream.read_u16().await?;
    let mut message = vec![0; len.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// The query with this ID.
pub fn with_id(query: &[u8], id: u16) -> Vec<u8> {
    let mut query = query.to_vec();
    if let Some(place) = query.first_chunk_mut::<2>() {
        *place = id.to_be_bytes();
    }
    query
}

/// Whether a message is a response with the ID and the question of a query.
pub fn is_answer(query: &[u8], message: &[u8]) -> bool {
    let (Some(asked), Some(header)) = (Header::read(query), Header::read(message)) else {
        return false;
    };
    let end = question_end(query);
    let question = |bytes: &[u8]| bytes.get(HEADER_LEN..end).map(<[u8]>::to_ascii_lowercase);
    header.id == asked.id
        && header.flags & QR != 0
        // A server that cannot read the query may leave the question out.
        && (question(query) == question(message) || (header.qdcount == 0 && header.rcode() != Rcode::NOERROR))
}

/// Whether a message is truncated.
pub fn is_truncated(message: &[u8]) -> bool {
    Header::read(message).is_some_and(|header| header.flags & TC != 0)
}

/// Where the question of a query ends.
fn question_end(query: &[u8]) -> usize {
    let name = query.get(HEADER_LEN..).and_then(crate::wire::name::wire_len).unwrap_or(0);
    HEADER_LEN + name + 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_the_query_is_taken() {
        let query = with_id(&query(&Name::parse("A.example").unwrap(), Rtype::A), 7);
        let mut answer = query.clone();
        answer[2] |= 0x80;
        assert!(is_answer(&query, &answer));
        assert!(is_answer(&query, &answer.to_ascii_lowercase()), "0x20 is not used here");
        assert!(!is_answer(&query, &query), "a query");
        assert!(!is_answer(&query, &with_id(&answer, 8)), "another ID");
        let mut other = answer.clone();
        other[13] = b'b';
        assert!(!is_answer(&query, &other), "another name");
        assert!(!is_answer(&query, &[]));
    }
}
