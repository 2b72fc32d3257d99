//! What is served where: one row for each listener of the settings.

use std::fmt;
use std::net::SocketAddr;

use crate::wire::Transport;

/// What reading the packets of one address for DNS over QUIC takes at most, bytes: the longest batch of them, and those of new
/// connections that wait to be looked at.
pub const QUIC_BYTES: usize = 4 << 20;

/// What is served at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointKind {
    /// Do53: UDP and TCP.
    Dns,
    /// DNS over TLS.
    Tls,
    /// DNS over HTTPS.
    Https,
    /// DNS over QUIC.
    Quic,
    /// HTTP for operators.
    Admin,
    /// HTTP for probes.
    Health,
}

impl EndpointKind {
    /// Its key in `[listen]`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Https => "https",
            Self::Quic => "quic",
            Self::Admin => "admin",
            Self::Health => "health",
        }
    }

    /// The words of its transports, for the log.
    pub fn transports(self) -> &'static [&'static str] {
        match self {
            Self::Dns => &["udp", "tcp"],
            Self::Tls => &["tls"],
            Self::Https => &["https"],
            Self::Quic => &["quic"],
            Self::Admin => &["admin"],
            Self::Health => &["health"],
        }
    }

    /// How messages travel on its connections.
    pub(super) fn stream_transport(self) -> Transport {
        match self {
            Self::Tls => Transport::Tls,
            Self::Https => Transport::Https,
            Self::Quic => Transport::Quic,
            Self::Dns | Self::Admin | Self::Health => Transport::Tcp,
        }
    }

    /// Whether it has sockets for datagrams.
    pub(super) fn has_datagrams(self) -> bool {
        matches!(self, Self::Dns | Self::Quic)
    }

    /// Whether it has sockets for connections.
    pub(super) fn has_streams(self) -> bool {
        self != Self::Quic
    }

    /// How many sockets of each kind `workers` have: one each, or one that one of them reads, where the kernel cannot tell whose a
    /// datagram is.
    pub(super) fn sockets(self, workers: usize) -> usize {
        if self == Self::Quic { 1 } else { workers }
    }
}

/// An address and what is served there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// What.
    pub kind: EndpointKind,
    /// Where; as the settings name it, or with its real port.
    pub address: SocketAddr,
}

impl Endpoint {
    /// An endpoint.
    pub fn new(kind: EndpointKind, address: SocketAddr) -> Self {
        Self { kind, address }
    }

    /// Those of one kind at these addresses.
    pub fn all(kind: EndpointKind, addresses: &[SocketAddr]) -> impl Iterator<Item = Self> {
        addresses.iter().map(move |&address| Self::new(kind, address))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ([listen] {})", self.address, self.kind.key())
    }
}
