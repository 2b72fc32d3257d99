//! The transports of DNS by RFC 9499's words, and what each of them demands of a reply.

use super::edns::Edns;
use super::reply::udp_limit;

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Do53 over UDP (RFC 1035 §4.2.1).
    Udp,
    /// Do53 over TCP (RFC 1035 §4.2.2, RFC 7766).
    Tcp,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484).
    Https,
    /// DNS over QUIC (RFC 9250).
    Quic,
}

impl Transport {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Https, Self::Quic];

    /// The word for settings, metrics, logs and `explain`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Https => "https",
            Self::Quic => "quic",
        }
    }

    /// Whether others on the way cannot read the message: then its length is worth hiding (RFC 7830).
    #[inline]
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Https | Self::Quic)
    }

    /// How many bytes the reply to a query with this OPT record may have: what a datagram may carry to the client, or the
    /// longest message that there is.
    #[inline]
    pub fn reply_limit(self, edns: Option<Edns>) -> usize {
        match self {
            Self::Udp => udp_limit(edns),
            Self::Tcp | Self::Tls | Self::Https | Self::Quic => usize::from(u16::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_in_order_and_words_differ() {
        for (place, transport) in Transport::ALL.into_iter().enumerate() {
            assert_eq!(transport as usize, place);
        }
        let words = Transport::ALL.map(Transport::name);
        assert_eq!(words, ["udp", "tcp", "tls", "https", "quic"]);
    }

    #[test]
    fn only_datagrams_are_bounded_by_the_client() {
        let limits = Transport::ALL.map(|transport| transport.reply_limit(None));
        assert_eq!(limits, [512, 65_535, 65_535, 65_535, 65_535]);
    }
}
