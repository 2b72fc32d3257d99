//! DNS messages by hand: the tests' own encoder and parser, so that the server is not judged by its own code.
//!
//! Names are uncompressed wire labels; what a test writes and what a failure prints is presentation form.

mod message;
mod name;
mod record;

pub(crate) use message::{Message, Opt, Question, show};
pub(crate) use name::{name, show_name};
pub(crate) use record::{Record, rdata, record};

pub(crate) const QR: u16 = 0x8000;
pub(crate) const AA: u16 = 0x0400;
pub(crate) const TC: u16 = 0x0200;
pub(crate) const RD: u16 = 0x0100;
pub(crate) const RA: u16 = 0x0080;
pub(crate) const AD: u16 = 0x0020;
pub(crate) const CD: u16 = 0x0010;
/// DO of the OPT record's flags.
pub(crate) const DO: u16 = 0x8000;
pub(crate) const OPT: u16 = 41;

const TYPES: &[(u16, &str)] = &[
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (12, "PTR"),
    (13, "HINFO"),
    (15, "MX"),
    (16, "TXT"),
    (28, "AAAA"),
    (33, "SRV"),
    (35, "NAPTR"),
    (39, "DNAME"),
    (41, "OPT"),
    (43, "DS"),
    (44, "SSHFP"),
    (46, "RRSIG"),
    (48, "DNSKEY"),
    (52, "TLSA"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (251, "IXFR"),
    (252, "AXFR"),
    (255, "ANY"),
    (257, "CAA"),
];

const RCODES: &[(u16, &str)] =
    &[(0, "NOERROR"), (1, "FORMERR"), (2, "SERVFAIL"), (3, "NXDOMAIN"), (4, "NOTIMP"), (5, "REFUSED"), (16, "BADVERS")];

/// The number of a type, from its mnemonic or `TYPE123`.
pub(crate) fn rtype(text: &str) -> u16 {
    TYPES.iter().find(|(_, name)| *name == text).map_or_else(
        || text.strip_prefix("TYPE").and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no such type: {text}")),
        |(n, _)| *n,
    )
}

pub(crate) fn show_type(rtype: u16) -> String {
    TYPES.iter().find(|(n, _)| *n == rtype).map_or_else(|| format!("TYPE{rtype}"), |(_, name)| (*name).to_owned())
}

pub(crate) fn rcode(text: &str) -> u16 {
    RCODES.iter().find(|(_, name)| *name == text).unwrap_or_else(|| panic!("no such rcode: {text}")).0
}

pub(crate) fn show_rcode(rcode: u16) -> String {
    RCODES.iter().find(|(n, _)| *n == rcode).map_or_else(|| format!("RCODE{rcode}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Message, name, record, show_name};

    #[test]
    fn names_survive_the_way_through_presentation_form() {
        for text in ["a.b.com", ".", "a\\.b.com", "\\000\\255.x", "*.example"] {
            assert_eq!(show_name(&name(text)), text);
        }
        assert_eq!(name("a.bc"), b"\x01a\x02bc\x00");
    }

    #[test]
    fn records_survive_the_way_through_the_wire() {
        let mut bytes = vec![0, 1, 0x80, 0, 0, 0, 0, 2, 0, 0, 0, 0];
        let soa = record("a.example 10 IN SOA ns.example host.example 1 2 3 4 5");
        let mx = record("a.example 20 IN MX 10 mail.example");
        soa.write(&mut bytes, None);
        mx.write(&mut bytes, None);
        let message = Message::parse(&bytes).expect("readable");
        assert_eq!(message.answers, [soa, mx]);
        bytes.push(0);
        assert!(Message::parse(&bytes).is_err(), "left over bytes are not overlooked");
    }
}
