//! What is served where: one row for each listener of the settings.

use std::fmt;
use std::net::SocketAddr;

use crate::wire::Transport;

/// What is served at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointKind {
    /// Do53: UDP and TCP.
    Dns,
    /// DNS over TLS.
    Tls,
    /// DNS over HTTPS.
    Https,
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
            Self::Admin => &["admin"],
            Self::Health => &["health"],
        }
    }

    /// How messages travel on its connections.
    pub(super) fn stream_transport(self) -> Transport {
        match self {
            Self::Tls => Transport::Tls,
            Self::Https => Transport::Https,
            Self::Dns | Self::Admin | Self::Health => Transport::Tcp,
        }
    }

    /// Whether it has a socket for datagrams, besides the one for connections that each has.
    pub(super) fn has_datagrams(self) -> bool {
        self == Self::Dns
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
