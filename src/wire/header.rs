//! The twelve bytes in front of every message (RFC 1035 §4.1.1), and response codes.

/// Bytes in a header.
pub const HEADER_LEN: usize = 12;

/// Response (QR), RFC 1035.
pub const QR: u16 = 0x8000;
/// Authoritative answer, RFC 1035.
pub const AA: u16 = 0x0400;
/// Truncated, RFC 1035.
pub const TC: u16 = 0x0200;
/// Recursion desired, RFC 1035.
pub const RD: u16 = 0x0100;
/// Recursion available, RFC 1035.
pub const RA: u16 = 0x0080;
/// Authentic data, RFC 4035.
pub const AD: u16 = 0x0020;
/// Checking disabled, RFC 4035.
pub const CD: u16 = 0x0010;
/// The four bits of the opcode.
pub const OPCODE: u16 = 0x7800;
/// The four low bits of the response code.
pub const RCODE: u16 = 0x000f;

/// A response code: the 4 bits of the header, or 12 with EDNS (RFC 6895 §2.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Rcode(pub u16);

impl Rcode {
    /// No error.
    pub const NOERROR: Self = Self(0);
    /// The query could not be read.
    pub const FORMERR: Self = Self(1);
    /// The query could not be answered.
    pub const SERVFAIL: Self = Self(2);
    /// The name does not exist.
    pub const NXDOMAIN: Self = Self(3);
    /// This kind of query is not supported.
    pub const NOTIMP: Self = Self(4);
    /// The server will not answer this client or question.
    pub const REFUSED: Self = Self(5);
    /// EDNS version not supported (RFC 6891 §6.1.3).
    pub const BADVERS: Self = Self(16);
}

impl std::fmt::Display for Rcode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::NOERROR => f.write_str("NOERROR"),
            Self::FORMERR => f.write_str("FORMERR"),
            Self::SERVFAIL => f.write_str("SERVFAIL"),
            Self::NXDOMAIN => f.write_str("NXDOMAIN"),
            Self::NOTIMP => f.write_str("NOTIMP"),
            Self::REFUSED => f.write_str("REFUSED"),
            Self::BADVERS => f.write_str("BADVERS"),
            Self(other) => write!(f, "RCODE{other}"),
        }
    }
}

/// A header, read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Header {
    /// The ID that ties a response to its query.
    pub id: u16,
    /// QR, opcode, AA, TC, RD, RA, AD, CD and response code.
    pub flags: u16,
    /// Number of questions.
    pub qdcount: u16,
    /// Number of records in the answer section.
    pub ancount: u16,
    /// Number of records in the authority section.
    pub nscount: u16,
    /// Number of records in the additional section.
    pub arcount: u16,
}

impl Header {
    /// Reads the first twelve bytes of `message`; nothing when there are fewer.
    pub fn read(message: &[u8]) -> Option<Self> {
        let &[i0, i1, f0, f1, q0, q1, a0, a1, n0, n1, r0, r1] = message.first_chunk::<HEADER_LEN>()?;
        Some(Self {
            id: u16::from_be_bytes([i0, i1]),
            flags: u16::from_be_bytes([f0, f1]),
            qdcount: u16::from_be_bytes([q0, q1]),
            ancount: u16::from_be_bytes([a0, a1]),
            nscount: u16::from_be_bytes([n0, n1]),
            arcount: u16::from_be_bytes([r0, r1]),
        })
    }

    /// The twelve bytes.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let [i0, i1] = self.id.to_be_bytes();
        let [f0, f1] = self.flags.to_be_bytes();
        let [q0, q1] = self.qdcount.to_be_bytes();
        let [a0, a1] = self.ancount.to_be_bytes();
        let [n0, n1] = self.nscount.to_be_bytes();
        let [r0, r1] = self.arcount.to_be_bytes();
        [i0, i1, f0, f1, q0, q1, a0, a1, n0, n1, r0, r1]
    }

    /// The response code in the header's four bits.
    pub fn rcode(self) -> Rcode {
        Rcode(self.flags & RCODE)
    }

    /// The opcode, 0 for QUERY.
    pub fn opcode(self) -> u16 {
        (self.flags & OPCODE) >> 11
    }
}
