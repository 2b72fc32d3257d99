//! TLS towards clients: what handshakes are made with, and how long they may take.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
#[cfg(feature = "quic")]
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ALL_VERSIONS, Error as TlsError, ServerConfig};
use tokio_rustls::server::TlsStream;

use super::certificate::Certificates;
use super::endpoint::EndpointKind;
use super::tickets::Tickets;

/// How long a handshake may take.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(3);

/// Application protocols of DNS over TLS (RFC 7858 §3.1, as registered).
const DOT: [&[u8]; 1] = [b"dot"];
/// Those of DNS over HTTPS.
const HTTPS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// That of DNS over QUIC (RFC 9250 §4.1.1).
#[cfg(feature = "quic")]
const DOQ: [&[u8]; 1] = [b"doq"];

/// Bytes that wait encrypted to be sent, of one connection; the TLS library by itself takes four times as many.
const SEND_MAX: usize = 16 << 10;

/// What one TLS connection takes at most more than one without, bytes: a record that comes in and its plaintext, one that goes
/// out, and the session.
pub const TLS_BYTES: usize = 60 << 10;

/// What handshakes are made with; all workers share it, so that a session is resumed by whichever gets the connection.
#[derive(Debug, Clone)]
pub(super) struct TlsServer {
    tls: Arc<ServerConfig>,
    https: Arc<ServerConfig>,
    #[cfg(feature = "quic")]
    quic: Arc<ServerConfig>,
}

impl TlsServer {
    /// TLS 1.2 and 1.3, of QUIC 1.3 alone, with the certificate and the keys of tickets that there are at that moment.
    pub(super) fn new(certificates: &Arc<Certificates>, tickets: &Arc<Tickets>) -> Result<Self, TlsError> {
        let config = |protocols: &[&[u8]], versions| -> Result<_, TlsError> {
            let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
            let builder = builder.with_protocol_versions(versions)?;
            let mut config = builder.with_no_client_auth().with_cert_resolver(certificates.clone());
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            // Tickets are kept by clients: nothing grows here. Data before the end of the handshake (0-RTT) is not taken: who has it
            // can send it again.
            config.ticketer = tickets.clone();
            config.send_tls13_tickets = 1;
            Ok(Arc::new(config))
        };
        Ok(Self {
            tls: config(&DOT, ALL_VERSIONS)?,
            https: config(&HTTPS, ALL_VERSIONS)?,
            #[cfg(feature = "quic")]
            quic: config(&DOQ, &[&TLS13])?,
        })
    }

    /// What handshakes of QUIC are made with.
    #[cfg(feature = "quic")]
    pub(super) fn quic(&self) -> Arc<ServerConfig> {
        self.quic.clone()
    }

    /// Makes a handshake with a client of an endpoint.
    ///
    /// # Errors
    /// What the client sent is no handshake, or it took too long.
    pub(super) async fn accept(&self, kind: EndpointKind, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = if kind == EndpointKind::Https { &self.https } else { &self.tls };
        let accepting = TlsAcceptor::from(config.clone())
            .accept_with(stream, |connection| connection.set_buffer_limit(Some(SEND_MAX)));
        // What a handshake takes is given back at its end.
        Box::pin(timeout(HANDSHAKE, accepting)).await?
    }
}
