//! Record types by number (RFC 1035 §3.2.2, RFC 6895, RFC 3597 §5 for the unknown ones).

/// A record type or query type: the 16 bits of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rtype(pub u16);

impl Rtype {
    /// IPv4 address (RFC 1035).
    pub const A: Self = Self(1);
    /// Name server (RFC 1035).
    pub const NS: Self = Self(2);
    /// Alias (RFC 1035).
    pub const CNAME: Self = Self(5);
    /// Start of authority (RFC 1035).
    pub const SOA: Self = Self(6);
    /// Name of an address (RFC 1035).
    pub const PTR: Self = Self(12);
    /// Host information (RFC 1035); the answer to ANY (RFC 8482).
    pub const HINFO: Self = Self(13);
    /// Text (RFC 1035).
    pub const TXT: Self = Self(16);
    /// IPv6 address (RFC 3596).
    pub const AAAA: Self = Self(28);
    /// EDNS (RFC 6891).
    pub const OPT: Self = Self(41);
    /// Signature (RFC 4034).
    pub const RRSIG: Self = Self(46);
    /// Every type (RFC 1035, RFC 8482).
    pub const ANY: Self = Self(255);
}
impl Rtype { /// stub
 pub fn parse(t: &str) -> Option<Self> { Some(match t { "A" => Self::A, "AAAA" => Self::AAAA, "CNAME" => Self::CNAME, "PTR" => Self::PTR, "NS" => Self::NS, "TXT" => Self::TXT, _ => return None }) }
 /// stub
 pub fn is_meta(self) -> bool { self == Self::ANY }
}
impl std::fmt::Display for Rtype { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "TYPE{}", self.0) } }
