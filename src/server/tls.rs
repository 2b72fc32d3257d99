//! TLS towards clients: what handshakes are made with, and how long they may take.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{Error as TlsError, ServerConfig};
use tokio_rustls::server::TlsStream;

use super::certificate::Certificates;
use super::endpoint::EndpointKind;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// Application protocols of DNS over TLS (RFC 7858 §3.1, as registered).
const DOT: [&[u8]; 1] = [b"dot"];
/// Those of DNS over HTTPS.
const HTTPS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What one TLS connection takes at most more than one without, bytes: a record that comes in and its plaintext, one that goes
/// out, and the session.
pub const TLS_BYTES: usize = 48 << 10;

/// What handshakes are made with; all workers share it, so that a session is resumed by whichever gets the connection.
#[derive(Debug, Clone)]
pub(super) struct TlsServer {
    tls: Arc<ServerConfig>,
    https: Arc<ServerConfig>,
}

impl TlsServer {
    /// TLS 1.2 and 1.3 with the certificate that `certificates` has at that moment.
    pub(super) fn new(certificates: &Arc<Certificates>) -> Result<Self, TlsError> {
        let config = |protocols: &[&[u8]]| -> Result<_, TlsError> {
            let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
            let builder = builder.with_safe_default_protocol_versions()?;
            let mut config = builder.with_no_client_auth().with_cert_resolver(certificates.clone());
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            // Tickets are kept by clients, and their keys renewed by themselves: nothing grows here.
            config.ticketer = ring::Ticketer::new()?;
            config.send_tls13_tickets = 1;
            Ok(Arc::new(config))
        };
        Ok(Self { tls: config(&DOT)?, https: config(&HTTPS)? })
    }

    /// Makes a handshake with a client of an endpoint.
    ///
    /// # Errors
    /// What the client sent is no handshake, or it took too long.
    pub(super) async fn accept(&self, kind: EndpointKind, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = if kind == EndpointKind::Https { &self.https } else { &self.tls };
        timeout(HANDSHAKE, TlsAcceptor::from(config.clone()).accept(stream)).await?
    }
}
