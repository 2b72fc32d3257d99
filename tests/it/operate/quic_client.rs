//! A client of DNS over QUIC, by hand on quinn: what is in its streams is up to the test.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, ReadToEndError, VarInt};
use tokio_rustls::rustls::version::TLS13;

use super::server::SOON;
use super::tls_client::{NAME, Pair};

/// Error codes (RFC 9250 §4.3).
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 2;
pub(crate) const REQUEST_CANCELLED: u32 = 3;
pub(crate) const EXCESSIVE_LOAD: u32 = 4;

/// Runs a client to its end, on a runtime of its own.
pub(crate) fn run<T>(client: impl Future<Output = T>) -> T {
    run_on(async { tokio::time::timeout(SOON * 2, client).await.expect("no end") })
}

/// The same however long it takes.
pub(crate) fn run_on<T>(client: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(client)
}

/// A client at an address of loopback that speaks `alpn` and trusts one certificate.
pub(crate) fn endpoint(from: [u8; 4], pair: &Pair, alpn: &[u8]) -> Endpoint {
    let tls = pair.client(&[alpn], &[&TLS13]);
    let mut endpoint = Endpoint::client(SocketAddr::new(IpAddr::from(from), 0)).unwrap();
    let crypto = QuicClientConfig::try_from(tls).unwrap();
    let mut config = ClientConfig::new(Arc::new(crypto));
    let mut transport = quinn::TransportConfig::default();
    // What ends a connection is the server, not a silence.
    transport.max_idle_timeout(Some(VarInt::from_u32(60_000).into()));
    transport.keep_alive_interval(Some(std::time::Duration::from_secs(1)));
    config.transport_config(Arc::new(transport));
    endpoint.set_default_client_config(config);
    endpoint
}

pub(crate) async fn connect(from: [u8; 4], to: SocketAddr, pair: &Pair) -> Result<Connection, ConnectionError> {
    endpoint(from, pair, b"doq").connect(to, NAME).unwrap().await
}

/// A message with its length in front.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

/// Sends these bytes in a stream of their own, and gives what comes back in it.
pub(crate) async fn exchange(connection: &Connection, bytes: &[u8]) -> Result<Vec<u8>, ReadToEndError> {
    let lost = |error| ReadToEndError::Read(quinn::ReadError::ConnectionLost(error));
    let (mut send, mut receive) = connection.open_bi().await.map_err(lost)?;
    let _ = send.write_all(bytes).await;
    let _ = send.finish();
    receive.read_to_end(100_000).await
}

/// Asks; the reply without the length in front.
pub(crate) async fn ask(connection: &Connection, message: &[u8]) -> Result<Vec<u8>, ReadToEndError> {
    let reply = exchange(connection, &framed(message)).await?;
    let (len, message) = reply.split_first_chunk::<2>().expect("a length");
    assert_eq!(usize::from(u16::from_be_bytes(*len)), message.len());
    Ok(message.to_vec())
}

/// The code with which the server closes a connection.
pub(crate) async fn closed_with(connection: &Connection) -> u32 {
    match connection.closed().await {
        ConnectionError::ApplicationClosed(close) => u64::from(close.error_code).try_into().unwrap(),
        other => panic!("{other}"),
    }
}
