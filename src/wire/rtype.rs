//! Record types by number and mnemonic (the IANA registry "Resource Record (RR) TYPEs"; RFC 1035 §3.2.2, RFC 6895),
//! and `TYPEnnn` for the types that have no mnemonic (RFC 3597 §5).
//!
//! One list below gives each type its constant, its mnemonic and its number.

use std::fmt;

/// A record type or query type: the 16 bits of the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rtype(pub u16);

impl Rtype {
    /// Reads a mnemonic without regard to case, or `TYPEnnn` (RFC 3597 §5); nothing when the text is neither.
    ///
    /// `*`, the registry's own name for ANY, is read too.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::ANY);
        }
        let known = MNEMONICS.iter().find(|(_, mnemonic)| mnemonic.eq_ignore_ascii_case(text));
        if let Some(&(number, _)) = known {
            return Some(Self(number));
        }
        let (prefix, digits) = text.split_at_checked(4)?;
        let plain = prefix.eq_ignore_ascii_case("TYPE") && digits.bytes().all(|digit| digit.is_ascii_digit());
        plain.then(|| digits.parse().ok().map(Self))?
    }

    /// The mnemonic of the registry; nothing for a type that has none.
    pub fn mnemonic(self) -> Option<&'static str> {
        let at = MNEMONICS.binary_search_by_key(&self.0, |&(number, _)| number).ok()?;
        MNEMONICS.get(at).map(|&(_, mnemonic)| mnemonic)
    }

    /// Whether this type is asked for or rides in messages, and so can never be a record of a zone: OPT, the range
    /// 128 to 255 (RFC 6895 §3.1: TKEY, TSIG, IXFR, AXFR, MAILB, MAILA, ANY, NXNAME, ...) and the reserved 0.
    pub fn is_meta(self) -> bool {
        matches!(self.0, 0 | 41 | 128..=255)
    }
}

impl fmt::Display for Rtype {
    /// The mnemonic, or `TYPEnnn`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(mnemonic) => f.pad(mnemonic),
            None => f.pad(&format!("TYPE{}", self.0)),
        }
    }
}

impl fmt::Debug for Rtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! rtypes {
    ($($(#[$doc:meta])* $constant:ident $mnemonic:literal $number:literal,)*) => {
        impl Rtype {
            $($(#[$doc])* pub const $constant: Self = Self($number);)*
        }

        /// Number and mnemonic, in ascending order of numbers.
        const MNEMONICS: &[(u16, &str)] = &[$(($number, $mnemonic),)*];
    };
}

rtypes! {
    /// IPv4 address (RFC 1035).
    A "A" 1,
    /// Name server (RFC 1035).
    NS "NS" 2,
    /// Mail destination, obsolete (RFC 1035).
    MD "MD" 3,
    /// Mail forwarder, obsolete (RFC 1035).
    MF "MF" 4,
    /// Alias (RFC 1035).
    CNAME "CNAME" 5,
    /// Start of authority (RFC 1035).
    SOA "SOA" 6,
    /// Mailbox (RFC 1035).
    MB "MB" 7,
    /// Mail group member (RFC 1035).
    MG "MG" 8,
    /// Mail rename (RFC 1035).
    MR "MR" 9,
    /// Anything at all (RFC 1035).
    NULL "NULL" 10,
    /// Well known services (RFC 1035).
    WKS "WKS" 11,
    /// Name of an address (RFC 1035).
    PTR "PTR" 12,
    /// Host information (RFC 1035); the answer to ANY (RFC 8482).
    HINFO "HINFO" 13,
    /// Mailbox information (RFC 1035).
    MINFO "MINFO" 14,
    /// Mail exchange (RFC 1035).
    MX "MX" 15,
    /// Text (RFC 1035).
    TXT "TXT" 16,
    /// Responsible person (RFC 1183).
    RP "RP" 17,
    /// AFS or DCE server (RFC 1183, RFC 5864).
    AFSDB "AFSDB" 18,
    /// X.25 address (RFC 1183).
    X25 "X25" 19,
    /// ISDN address (RFC 1183).
    ISDN "ISDN" 20,
    /// Route through (RFC 1183).
    RT "RT" 21,
    /// NSAP address (RFC 1706).
    NSAP "NSAP" 22,
    /// Name of an NSAP address (RFC 1706).
    NSAP_PTR "NSAP-PTR" 23,
    /// Obsolete signature (RFC 2535), and of transactions (RFC 2931).
    SIG "SIG" 24,
    /// Public key of old (RFC 2535), and of transactions (RFC 2930).
    KEY "KEY" 25,
    /// X.400 mapping (RFC 2163).
    PX "PX" 26,
    /// Geographical position (RFC 1712).
    GPOS "GPOS" 27,
    /// IPv6 address (RFC 3596).
    AAAA "AAAA" 28,
    /// Location (RFC 1876).
    LOC "LOC" 29,
    /// Next domain, obsolete (RFC 2535).
    NXT "NXT" 30,
    /// Nimrod endpoint.
    EID "EID" 31,
    /// Nimrod locator.
    NIMLOC "NIMLOC" 32,
    /// Service (RFC 2782).
    SRV "SRV" 33,
    /// ATM address.
    ATMA "ATMA" 34,
    /// Naming authority pointer (RFC 3403).
    NAPTR "NAPTR" 35,
    /// Key exchanger (RFC 2230).
    KX "KX" 36,
    /// Certificate (RFC 4398).
    CERT "CERT" 37,
    /// IPv6 address in pieces, historic (RFC 2874, RFC 6563).
    A6 "A6" 38,
    /// Alias of a subtree (RFC 6672).
    DNAME "DNAME" 39,
    /// Kitchen sink.
    SINK "SINK" 40,
    /// EDNS (RFC 6891).
    OPT "OPT" 41,
    /// Address prefixes (RFC 3123).
    APL "APL" 42,
    /// Delegation signer (RFC 4034).
    DS "DS" 43,
    /// SSH key fingerprint (RFC 4255).
    SSHFP "SSHFP" 44,
    /// IPsec key (RFC 4025).
    IPSECKEY "IPSECKEY" 45,
    /// Signature (RFC 4034).
    RRSIG "RRSIG" 46,
    /// Next name, with types (RFC 4034).
    NSEC "NSEC" 47,
    /// Public key of a zone (RFC 4034).
    DNSKEY "DNSKEY" 48,
    /// DHCP identity (RFC 4701).
    DHCID "DHCID" 49,
    /// Next hashed name, with types (RFC 5155).
    NSEC3 "NSEC3" 50,
    /// Parameters of NSEC3 (RFC 5155).
    NSEC3PARAM "NSEC3PARAM" 51,
    /// Certificate association of TLS (RFC 6698).
    TLSA "TLSA" 52,
    /// Certificate association of S/MIME (RFC 8162).
    SMIMEA "SMIMEA" 53,
    /// Host identity (RFC 8005).
    HIP "HIP" 55,
    /// Zone status information.
    NINFO "NINFO" 56,
    /// Key for encrypting records.
    RKEY "RKEY" 57,
    /// Trust anchor link.
    TALINK "TALINK" 58,
    /// DS of the child (RFC 7344).
    CDS "CDS" 59,
    /// DNSKEY of the child (RFC 7344).
    CDNSKEY "CDNSKEY" 60,
    /// OpenPGP key (RFC 7929).
    OPENPGPKEY "OPENPGPKEY" 61,
    /// Child to parent synchronisation (RFC 7477).
    CSYNC "CSYNC" 62,
    /// Digest of a zone (RFC 8976).
    ZONEMD "ZONEMD" 63,
    /// Service binding (RFC 9460).
    SVCB "SVCB" 64,
    /// Service binding of HTTPS (RFC 9460).
    HTTPS "HTTPS" 65,
    /// Where to send notifications (RFC 9859).
    DSYNC "DSYNC" 66,
    /// Hierarchical host identity tag (RFC 9886).
    HHIT "HHIT" 67,
    /// Broadcast remote identification (RFC 9886).
    BRID "BRID" 68,
    /// Sender policy, obsolete (RFC 7208).
    SPF "SPF" 99,
    /// User information.
    UINFO "UINFO" 100,
    /// User number.
    UID "UID" 101,
    /// Group number.
    GID "GID" 102,
    /// Unspecified.
    UNSPEC "UNSPEC" 103,
    /// ILNP node (RFC 6742).
    NID "NID" 104,
    /// ILNP locator of 32 bits (RFC 6742).
    L32 "L32" 105,
    /// ILNP locator of 64 bits (RFC 6742).
    L64 "L64" 106,
    /// ILNP locator by name (RFC 6742).
    LP "LP" 107,
    /// MAC address of 48 bits (RFC 7043).
    EUI48 "EUI48" 108,
    /// MAC address of 64 bits (RFC 7043).
    EUI64 "EUI64" 109,
    /// Marks a name as missing, in NSEC only (RFC 9824).
    NXNAME "NXNAME" 128,
    /// Key agreement of transactions (RFC 2930).
    TKEY "TKEY" 249,
    /// Signature of transactions (RFC 8945).
    TSIG "TSIG" 250,
    /// Incremental zone transfer (RFC 1995).
    IXFR "IXFR" 251,
    /// Zone transfer (RFC 5936).
    AXFR "AXFR" 252,
    /// Mailbox records: MB, MG, MR (RFC 1035).
    MAILB "MAILB" 253,
    /// Mail agents, obsolete (RFC 1035).
    MAILA "MAILA" 254,
    /// Every type (RFC 1035, RFC 8482).
    ANY "ANY" 255,
    /// Uniform resource identifier (RFC 7553).
    URI "URI" 256,
    /// Who may issue certificates (RFC 8659).
    CAA "CAA" 257,
    /// Application visibility and control.
    AVC "AVC" 258,
    /// Digital object architecture.
    DOA "DOA" 259,
    /// Relay of automatic multicast tunneling (RFC 8777).
    AMTRELAY "AMTRELAY" 260,
    /// What a resolver says of itself (RFC 9606).
    RESINFO "RESINFO" 261,
    /// Public wallet address.
    WALLET "WALLET" 262,
    /// Convergence layer adapter of the bundle protocol.
    CLA "CLA" 263,
    /// Node number of the bundle protocol.
    IPN "IPN" 264,
    /// Trust authorities.
    TA "TA" 32768,
    /// Delegation look-aside, obsolete (RFC 4431, RFC 8749).
    DLV "DLV" 32769,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order() {
        assert!(MNEMONICS.is_sorted_by(|a, b| a.0 < b.0), "found by binary search");
    }

    #[test]
    fn every_number_is_printed_and_read_again() {
        for number in 0..=u16::MAX {
            let rtype = Rtype(number);
            assert_eq!(Rtype::parse(&rtype.to_string()), Some(rtype));
            assert_eq!(Rtype::parse(&format!("type{number}")), Some(rtype));
        }
    }

    #[test]
    fn mnemonics_have_no_case_and_nothing_around_them() {
        assert_eq!(Rtype::parse("aAaA"), Some(Rtype::AAAA));
        assert_eq!(Rtype::parse("nsap-ptr"), Some(Rtype::NSAP_PTR));
        assert_eq!(Rtype::parse("*"), Some(Rtype::ANY));
        assert_eq!(Rtype(65280).to_string(), "TYPE65280");
        assert_eq!(format!("{:?} {:>6}|", Rtype::MX, Rtype::MX), "MX     MX|");
        for text in ["", "A ", "TYPE", "TYPE65536", "TYPE+1", "TYPE-1", "TYPE 1", "ADDRESS", "TÿPE1", "tyé"] {
            assert_eq!(Rtype::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn mnemonics_agree_with_hickory() {
        use hickory_proto::rr::RecordType;
        for &(number, mnemonic) in MNEMONICS {
            let theirs = RecordType::from(number);
            if !matches!(theirs, RecordType::Unknown(_)) {
                assert_eq!(theirs.to_string(), mnemonic);
            }
        }
    }

    #[test]
    fn what_cannot_be_a_record_is_meta() {
        for mnemonic in ["OPT", "TSIG", "TKEY", "IXFR", "AXFR", "MAILB", "MAILA", "ANY", "NXNAME", "TYPE0"] {
            assert!(Rtype::parse(mnemonic).unwrap().is_meta(), "{mnemonic}");
        }
        for mnemonic in ["A", "APL", "NULL", "EUI64", "URI", "DLV", "TYPE127", "TYPE65280"] {
            assert!(!Rtype::parse(mnemonic).unwrap().is_meta(), "{mnemonic}");
        }
    }
}
