//! Which fields the data of each type has, in order, the same in text and on the wire.

use super::field::Field;
use super::number::{ALGORITHMS, CERTIFICATES, PROTOCOLS, SCHEMES};
use crate::wire::Rtype;

/// The form of one type's data.
pub(super) struct Schema {
    pub(super) rtype: Rtype,
    /// What each field is called in errors, and its kind.
    pub(super) fields: &'static [(&'static str, Field)],
    /// Data of this type, for hints.
    pub(super) example: &'static str,
}

impl Schema {
    /// The expected form, with an example.
    pub(super) fn hint(&self) -> String {
        let labels: Vec<&str> = self.fields.iter().map(|(label, _)| *label).collect();
        format!("{}, such as {}", labels.join(" "), self.example)
    }
}

/// The form of this type's data; nothing when it has none but `\# LENGTH HEX`.
pub(super) fn find(rtype: Rtype) -> Option<&'static Schema> {
    let at = SCHEMAS.binary_search_by_key(&rtype, |schema| schema.rtype).ok()?;
    SCHEMAS.get(at)
}

/// Shapes that several types share.
const NAME: &[(&str, Field)] = &[("a domain name", Field::Name)];
const TEXTS: &[(&str, Field)] = &[("one or more texts", Field::Strings)];
const BYTES: &[(&str, Field)] = &[("hexadecimal digits", Field::Hex(1))];
const BASE_64: &[(&str, Field)] = &[("base64", Field::Base64(1))];
const PREFERRED_NAME: &[(&str, Field)] = &[("PREFERENCE", Field::U16), ("NAME", Field::Name)];
const DIGEST: &[(&str, Field)] = &[
    ("KEY-TAG", Field::U16),
    ("ALGORITHM", Field::NamedU8(ALGORITHMS)),
    ("DIGEST-TYPE", Field::U8),
    ("DIGEST", Field::Hex(1)),
];
const KEY: &[(&str, Field)] = &[
    ("FLAGS", Field::U16),
    ("PROTOCOL", Field::U8),
    ("ALGORITHM", Field::NamedU8(ALGORITHMS)),
    ("PUBLIC-KEY", Field::Base64(1)),
];
/// A key may be empty where the flags say that there is none (RFC 2535 §3.1.2).
const OPTIONAL_KEY: &[(&str, Field)] = &[
    ("FLAGS", Field::U16),
    ("PROTOCOL", Field::U8),
    ("ALGORITHM", Field::NamedU8(ALGORITHMS)),
    ("PUBLIC-KEY", Field::Base64(0)),
];
const SIGNATURE: &[(&str, Field)] = &[
    ("TYPE-COVERED", Field::Type),
    ("ALGORITHM", Field::NamedU8(ALGORITHMS)),
    ("LABELS", Field::U8),
    ("ORIGINAL-TTL", Field::U32),
    ("EXPIRATION", Field::Time),
    ("INCEPTION", Field::Time),
    ("KEY-TAG", Field::U16),
    ("SIGNER", Field::Name),
    ("SIGNATURE", Field::Base64(1)),
];
const CERTIFICATE: &[(&str, Field)] =
    &[("USAGE", Field::U8), ("SELECTOR", Field::U8), ("MATCHING-TYPE", Field::U8), ("DATA", Field::Hex(1))];
const SERVICE: &[(&str, Field)] =
    &[("PRIORITY", Field::U16), ("TARGET", Field::Name), ("[KEY=VALUE]...", Field::Parameters)];

const fn schema(rtype: Rtype, fields: &'static [(&'static str, Field)], example: &'static str) -> Schema {
    Schema { rtype, fields, example }
}

/// All types with a form of their own, in ascending order of their numbers. The examples are read by a test.
pub(super) const SCHEMAS: &[Schema] = &[
    schema(Rtype::A, &[("an IPv4 address", Field::Ipv4)], "10.1.0.5"),
    schema(Rtype::NS, NAME, "ns1.example.com"),
    schema(Rtype::MD, NAME, "mail.example.com"),
    schema(Rtype::MF, NAME, "mail.example.com"),
    schema(Rtype::CNAME, NAME, "www.example.com"),
    schema(
        Rtype::SOA,
        &[
            ("PRIMARY", Field::Name),
            ("MAILBOX", Field::Name),
            ("SERIAL", Field::U32),
            ("REFRESH", Field::Period),
            ("RETRY", Field::Period),
            ("EXPIRE", Field::Period),
            ("MINIMUM", Field::Period),
        ],
        "ns1.example.com hostmaster.example.com 1 3600 300 2419200 10",
    ),
    schema(Rtype::MB, NAME, "mail.example.com"),
    schema(Rtype::MG, NAME, "member.example.com"),
    schema(Rtype::MR, NAME, "new.example.com"),
    schema(
        Rtype::WKS,
        &[("ADDRESS", Field::Ipv4), ("PROTOCOL", Field::NamedU8(PROTOCOLS)), ("[PORT]...", Field::Ports)],
        "10.1.0.5 TCP 25 80",
    ),
    schema(Rtype::PTR, NAME, "host.example.com"),
    schema(Rtype::HINFO, &[("CPU", Field::String), ("OS", Field::String)], r#""x86_64" "Linux""#),
    schema(
        Rtype::MINFO,
        &[("RESPONSIBLE", Field::Name), ("ERRORS", Field::Name)],
        "admin.example.com errors.example.com",
    ),
    schema(Rtype::MX, &[("PREFERENCE", Field::U16), ("EXCHANGE", Field::Name)], "10 mail.example.com"),
    schema(Rtype::TXT, TEXTS, r#""v=spf1 -all""#),
    schema(Rtype::RP, &[("MAILBOX", Field::Name), ("TEXT-NAME", Field::Name)], "admin.example.com people.example.com"),
    schema(Rtype::AFSDB, &[("SUBTYPE", Field::U16), ("HOST", Field::Name)], "1 afs.example.com"),
    schema(Rtype::X25, &[("an X.25 address", Field::String)], r#""311061700956""#),
    schema(
        Rtype::ISDN,
        &[("ADDRESS", Field::String), ("[SUBADDRESS]", Field::OptionalString)],
        r#""150862028003217" "004""#,
    ),
    schema(Rtype::RT, PREFERRED_NAME, "10 relay.example.com"),
    schema(Rtype::NSAP, &[("an NSAP address", Field::Nsap)], "0x47.0005.80.005a00.0000.0001.e133.ffffff000161.00"),
    schema(Rtype::NSAP_PTR, NAME, "host.example.com"),
    schema(Rtype::SIG, SIGNATURE, "A 13 2 3600 20300101000000 20290101000000 12345 example.com c2lnbmF0dXJl"),
    schema(Rtype::KEY, OPTIONAL_KEY, "512 3 13 cHVibGljIGtleQ=="),
    schema(
        Rtype::PX,
        &[("PREFERENCE", Field::U16), ("MAP822", Field::Name), ("MAPX400", Field::Name)],
        "10 example.com x400.example.com",
    ),
    schema(
        Rtype::GPOS,
        &[("LONGITUDE", Field::String), ("LATITUDE", Field::String), ("ALTITUDE", Field::String)],
        "4.90 52.37 2.0",
    ),
    schema(Rtype::AAAA, &[("an IPv6 address", Field::Ipv6)], "fd00::10:1:0:5"),
    schema(
        Rtype::LOC,
        &[("LATITUDE LONGITUDE ALTITUDE [SIZE [HORIZONTAL-PRECISION [VERTICAL-PRECISION]]]", Field::Location)],
        "52 22 23.000 N 4 53 32.000 E -2m 1m 10000m 10m",
    ),
    schema(Rtype::EID, BYTES, "E32C6F78163A9348"),
    schema(Rtype::NIMLOC, BYTES, "3217"),
    schema(
        Rtype::SRV,
        &[("PRIORITY", Field::U16), ("WEIGHT", Field::U16), ("PORT", Field::U16), ("TARGET", Field::Name)],
        "0 5 5060 sip.example.com",
    ),
    schema(
        Rtype::NAPTR,
        &[
            ("ORDER", Field::U16),
            ("PREFERENCE", Field::U16),
            ("FLAGS", Field::String),
            ("SERVICES", Field::String),
            ("REGEXP", Field::String),
            ("REPLACEMENT", Field::Name),
        ],
        r#"100 10 "s" "SIP+D2U" "" _sip._udp.example.com"#,
    ),
    schema(Rtype::KX, PREFERRED_NAME, "10 kx.example.com"),
    schema(
        Rtype::CERT,
        &[
            ("TYPE", Field::NamedU16(CERTIFICATES)),
            ("KEY-TAG", Field::U16),
            ("ALGORITHM", Field::NamedU8(ALGORITHMS)),
            ("CERTIFICATE", Field::Base64(1)),
        ],
        "PKIX 0 0 Y2VydGlmaWNhdGU=",
    ),
    schema(Rtype::DNAME, NAME, "example.net"),
    schema(Rtype::APL, &[("[FAMILY:ADDRESS/LENGTH]...", Field::Prefixes)], "1:10.1.0.0/16 !1:10.1.5.0/24"),
    schema(Rtype::DS, DIGEST, "12345 13 2 4355A46B19D348DC2F57C046F8EF63D4538EBB936000F3C9EE954A27460DD865"),
    schema(
        Rtype::SSHFP,
        &[("ALGORITHM", Field::U8), ("TYPE", Field::U8), ("FINGERPRINT", Field::Hex(1))],
        "4 2 123456789ABCDEF67890123456789ABCDEF67890123456789ABCDEF123456789",
    ),
    schema(
        Rtype::IPSECKEY,
        &[
            ("PRECEDENCE", Field::U8),
            ("GATEWAY-TYPE ALGORITHM GATEWAY", Field::Gateway),
            ("[PUBLIC-KEY]", Field::Base64(0)),
        ],
        "10 1 2 10.1.0.5 cHVibGljIGtleQ==",
    ),
    schema(Rtype::RRSIG, SIGNATURE, "A 13 2 3600 20300101000000 20290101000000 12345 example.com c2lnbmF0dXJl"),
    schema(
        Rtype::NSEC,
        &[("NEXT-NAME", Field::Name), ("[TYPE]...", Field::Types)],
        "host.example.com A MX RRSIG NSEC TYPE1234",
    ),
    schema(Rtype::DNSKEY, KEY, "257 3 13 cHVibGljIGtleQ=="),
    schema(Rtype::DHCID, BASE_64, "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA="),
    schema(
        Rtype::NSEC3,
        &[
            ("HASH-ALGORITHM", Field::U8),
            ("FLAGS", Field::U8),
            ("ITERATIONS", Field::U16),
            ("SALT", Field::Salt),
            ("NEXT-HASH", Field::Hash),
            ("[TYPE]...", Field::Types),
        ],
        "1 1 0 - 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR A RRSIG",
    ),
    schema(
        Rtype::NSEC3PARAM,
        &[("HASH-ALGORITHM", Field::U8), ("FLAGS", Field::U8), ("ITERATIONS", Field::U16), ("SALT", Field::Salt)],
        "1 0 0 -",
    ),
    schema(Rtype::TLSA, CERTIFICATE, "3 1 1 D2ABDE240D7CD3EE6B4B28C54DF034B97983A1D16E8A410E4561CB106618E971"),
    schema(Rtype::SMIMEA, CERTIFICATE, "3 1 1 D2ABDE240D7CD3EE6B4B28C54DF034B97983A1D16E8A410E4561CB106618E971"),
    schema(
        Rtype::HIP,
        &[("ALGORITHM IDENTITY-TAG PUBLIC-KEY", Field::Identity), ("[RENDEZVOUS-SERVER]...", Field::Names)],
        "2 200100107B1A74DF365639CC39F1D578 cHVibGljIGtleQ== rvs.example.com",
    ),
    schema(Rtype::NINFO, TEXTS, r#""status""#),
    schema(Rtype::RKEY, KEY, "0 255 1 cHVibGljIGtleQ=="),
    schema(Rtype::TALINK, &[("PREVIOUS", Field::Name), ("NEXT", Field::Name)], ". next.example.com"),
    schema(Rtype::CDS, DIGEST, "0 0 0 00"),
    schema(Rtype::CDNSKEY, KEY, "0 3 0 AA=="),
    schema(Rtype::OPENPGPKEY, BASE_64, "cHVibGljIGtleQ=="),
    schema(
        Rtype::CSYNC,
        &[("SERIAL", Field::U32), ("FLAGS", Field::U16), ("[TYPE]...", Field::Types)],
        "66 3 A NS AAAA",
    ),
    schema(
        Rtype::ZONEMD,
        &[("SERIAL", Field::U32), ("SCHEME", Field::U8), ("HASH-ALGORITHM", Field::U8), ("DIGEST", Field::Hex(12))],
        "2018031500 240 241 E2D523F654B9422A96C5A8F44607BBEE",
    ),
    schema(Rtype::SVCB, SERVICE, "1 svc.example.com alpn=h2,h3 port=8443"),
    schema(Rtype::HTTPS, SERVICE, "1 . alpn=h2,h3 ipv4hint=10.1.0.5"),
    schema(
        Rtype::DSYNC,
        &[("TYPE", Field::Type), ("SCHEME", Field::NamedU8(SCHEMES)), ("PORT", Field::U16), ("TARGET", Field::Name)],
        "CDS NOTIFY 5359 notify.example.com",
    ),
    schema(Rtype::HHIT, BASE_64, "aGhpdA=="),
    schema(Rtype::BRID, BASE_64, "YnJpZA=="),
    schema(Rtype::SPF, TEXTS, r#""v=spf1 -all""#),
    schema(Rtype::NID, &[("PREFERENCE", Field::U16), ("NODE-ID", Field::Groups)], "10 0014:4fff:ff20:ee64"),
    schema(Rtype::L32, &[("PREFERENCE", Field::U16), ("LOCATOR", Field::Ipv4)], "10 10.1.2.0"),
    schema(Rtype::L64, &[("PREFERENCE", Field::U16), ("LOCATOR", Field::Groups)], "10 2001:0db8:1140:1000"),
    schema(Rtype::LP, PREFERRED_NAME, "10 l64.example.com"),
    schema(Rtype::EUI48, &[("an EUI-48 address", Field::Eui(6))], "00-00-5e-00-53-2a"),
    schema(Rtype::EUI64, &[("an EUI-64 address", Field::Eui(8))], "00-00-5e-ef-10-00-00-2a"),
    schema(
        Rtype::URI,
        &[("PRIORITY", Field::U16), ("WEIGHT", Field::U16), ("TARGET", Field::Long(1))],
        r#"10 1 "https://www.example.com/path""#,
    ),
    schema(
        Rtype::CAA,
        &[("FLAGS", Field::U8), ("TAG", Field::Tag), ("VALUE", Field::Long(0))],
        r#"0 issue "ca.example.net""#,
    ),
    schema(Rtype::AVC, TEXTS, r#""app-name:WOLFGANG|app-class:OAM""#),
    schema(
        Rtype::DOA,
        &[
            ("ENTERPRISE", Field::U32),
            ("TYPE", Field::U32),
            ("LOCATION", Field::U8),
            ("MEDIA-TYPE", Field::String),
            ("DATA", Field::Object),
        ],
        r#"0 1 2 "text/plain" aGVsbG8="#,
    ),
    schema(
        Rtype::AMTRELAY,
        &[("PRECEDENCE", Field::U8), ("DISCOVERY-OPTIONAL TYPE RELAY", Field::Relay)],
        "10 0 1 10.1.0.5",
    ),
    schema(Rtype::RESINFO, TEXTS, "qnamemin exterr=15,16,17 infourl=https://resolver.example.com/guide"),
    schema(Rtype::WALLET, TEXTS, r#""currency" "address""#),
    schema(Rtype::CLA, TEXTS, r#""TCP-v4-v6""#),
    schema(Rtype::IPN, &[("a node number", Field::Node)], "268485000"),
    schema(Rtype::TA, DIGEST, "12345 13 2 4355A46B19D348DC2F57C046F8EF63D4538EBB936000F3C9EE954A27460DD865"),
    schema(Rtype::DLV, DIGEST, "12345 13 2 4355A46B19D348DC2F57C046F8EF63D4538EBB936000F3C9EE954A27460DD865"),
];
