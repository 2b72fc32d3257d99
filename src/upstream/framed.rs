//! DNS messages over a stream of bytes: TCP (RFC 7766) and TLS (RFC 7858), each message behind its length.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::connection::Connection;
use super::fault::Fault;
use crate::wire::header::HEADER_LEN;

/// Bytes read at once.
const READ_BUFFER: usize = 16 << 10;
/// Bytes of queries that are written at once.
const WRITE_MAX: usize = 16 << 10;

/// Opens TCP.
pub(super) async fn open_tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Opens TLS, verified for `server_name`.
pub(super) async fn open_tls(
    address: SocketAddr,
    server_name: &str,
    config: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(server_name.to_owned()).map_err(io::Error::other)?;
    let stream = open_tcp(address).await?;
    TlsConnector::from(config).connect(name, stream).await
}

/// Carries messages both ways until the connection ends or is not needed any more.
pub(super) async fn carry(
    connection: &Connection,
    stream: impl AsyncRead + AsyncWrite,
    messages: &mut mpsc::UnboundedReceiver<Vec<u8>>,
) -> Result<(), Fault> {
    let (reader, writer) = tokio::io::split(stream);
    tokio::select! {
        outcome = read(connection, reader) => outcome,
        outcome = write(writer, messages) => outcome.map_err(|error| Fault::of(&error)),
        () = connection.until_idle() => Ok(()),
    }
}

async fn read(connection: &Connection, reader: impl AsyncRead + Unpin) -> Result<(), Fault> {
    let mut reader = BufReader::with_capacity(READ_BUFFER, reader);
    loop {
        let message = read_message(&mut reader).await.map_err(|error| Fault::of(&error))?;
        if message.len() < HEADER_LEN {
            return Err(Fault::nonsense("it sent a message without a header"));
        }
        connection.take(message, Instant::now());
    }
}

async fn read_message(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let len = reader.read_u16().await?;
    let mut message = vec![0; usize::from(len)];
    reader.read_exact(&mut message).await?;
    Ok(message)
}

async fn write(mut writer: impl AsyncWrite + Unpin, messages: &mut mpsc::UnboundedReceiver<Vec<u8>>) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(message) = messages.recv().await {
        // Length and message in one segment: some servers do not put them together (RFC 7766 §8).
        push(&mut buffer, &message)?;
        while buffer.len() < WRITE_MAX
            && let Ok(message) = messages.try_recv()
        {
            push(&mut buffer, &message)?;
        }
        writer.write_all(&buffer).await?;
        writer.flush().await?;
        buffer.clear();
    }
    Ok(())
}

fn push(buffer: &mut Vec<u8>, message: &[u8]) -> io::Result<()> {
    let len = u16::try_from(message.len()).map_err(io::Error::other)?;
    buffer.extend_from_slice(&len.to_be_bytes());
    buffer.extend_from_slice(message);
    Ok(())
}
