//! All types together: other makes' bytes, both directions, errors with place and hint.

mod examples;
mod round_trip;

use super::*;
use examples::EXAMPLES;

fn rtype(text: &str) -> Rtype {
    Rtype::parse(text).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    encoded::HEX.encode(bytes)
}

#[test]
fn bytes_are_those_of_bind() {
    for &(mnemonic, text, expected) in EXAMPLES {
        match parse(rtype(mnemonic), text) {
            Ok(rdata) => assert_eq!(hex(&rdata), expected, "{mnemonic} {text}"),
            Err(error) => panic!("{mnemonic} {text}: {error} at {}", error.at),
        }
    }
}

/// What hickory 0.26 reads into other bytes than BIND: it takes case from NS names, writes bytes above 127 as UTF-8,
/// leaves escapes in values of service parameters, and keeps parameters in the order of the text.
const HICKORY_DIFFERS: &[&str] = &[
    "ns1.Example.com.",
    r#""" "a\"b\\c\000\255" x"#,
    r#"1 foo.example.com. key667="hello\210qoo""#,
    "16 foo.example.org. alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1",
    r#"16 foo.example.org. alpn="f\\\\oo\\,bar,h2""#,
    r"16 foo.example.org. alpn=f\\\092oo\092,bar,h2",
];

/// The types whose text hickory 0.26 reads.
const HICKORY_READS: &[&str] = &[
    "A",
    "AAAA",
    "CAA",
    "CERT",
    "CNAME",
    "CSYNC",
    "HINFO",
    "HTTPS",
    "MX",
    "NAPTR",
    "NS",
    "OPENPGPKEY",
    "PTR",
    "SMIMEA",
    "SOA",
    "SRV",
    "SSHFP",
    "SVCB",
    "TLSA",
    "TXT",
];

#[test]
fn bytes_are_those_of_hickory() {
    use hickory_proto::rr::{RData, RecordType};
    use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};
    let mut judged = std::collections::BTreeSet::new();
    for &(mnemonic, text, expected) in EXAMPLES.iter().filter(|example| !HICKORY_DIFFERS.contains(&example.1)) {
        let Ok(theirs) = RData::try_from_str(RecordType::from(rtype(mnemonic).0), text) else {
            continue;
        };
        let mut bytes = Vec::new();
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_name_encoding(NameEncoding::Uncompressed);
        let encoded = theirs.emit(&mut encoder);
        assert!(encoded.is_ok(), "{mnemonic} {text}: {encoded:?}");
        assert_eq!(hex(&bytes), expected, "{mnemonic} {text}");
        judged.insert(mnemonic);
    }
    assert_eq!(judged.into_iter().collect::<Vec<_>>(), HICKORY_READS);
}

#[test]
fn hickory_reads_these_bytes() {
    use hickory_proto::rr::{RData, RecordType};
    use hickory_proto::serialize::binary::{BinDecoder, Restrict};
    for &(mnemonic, text, _) in EXAMPLES {
        let rdata = parse(rtype(mnemonic), text).unwrap();
        let length = Restrict::new(u16::try_from(rdata.len()).unwrap());
        let read = RData::read(&mut BinDecoder::new(&rdata), RecordType::from(rtype(mnemonic).0), length);
        assert!(read.is_ok(), "{mnemonic} {text}: {read:?}");
    }
}

#[test]
fn what_is_printed_reads_back() {
    for &(mnemonic, text, _) in EXAMPLES {
        let rtype = rtype(mnemonic);
        let rdata = parse(rtype, text).unwrap();
        let printed = present(rtype, &rdata);
        assert_eq!(parse(rtype, &printed).as_ref(), Ok(&rdata), "{mnemonic} {printed}");
        let own_form = schema::find(rtype).is_some();
        assert_eq!(printed.starts_with(generic::MARK), !own_form, "{mnemonic} {printed}");
        let generic = generic::present(&rdata);
        assert_eq!(parse(rtype, &generic), Ok(rdata), "{mnemonic} {generic}");
    }
}

#[test]
fn what_is_printed_is_the_usual_form() {
    for (mnemonic, text, printed) in [
        ("A", "10.1.0.5", "10.1.0.5"),
        ("AAAA", "FD00:0:0::0:5", "fd00::5"),
        ("CNAME", "a\\.b.Example.com", "a\\.b.Example.com."),
        ("NS", ".", "."),
        ("MX", " 10\tmail.example.com\n", "10 mail.example.com."),
        ("TXT", r#"v=spf1 "-all é""#, r#""v=spf1" "-all \195\169""#),
        ("SOA", ". . 1 1h 5m 4w 0", ". . 1 3600 300 2419200 0"),
        ("CAA", "0 issue ca.example.net", r#"0 issue "ca.example.net""#),
        ("NSEC", ". TYPE65280 AAAA a", ". A AAAA TYPE65280"),
        ("RRSIG", "A ED25519 2 0 0 4294967295 1 . AA==", "A 15 2 0 19700101000000 21060207062815 1 . AA=="),
        ("HTTPS", r#"1 . port=443 alpn="h2""#, r#"1 . alpn="h2" port=443"#),
        ("LOC", "1 N 2 3 e 4 5", "1 0 0.000 N 2 3 0.000 E 4.00m 5.00m 10000.00m 10.00m"),
        ("WKS", "10.1.0.5 udp 53 7", "10.1.0.5 17 7 53"),
        ("IPN", "1.2", "4294967298"),
        ("CLA", "TCP-v4-v6", r#""TCP-v4-v6""#),
        ("TYPE65280", r"\# 3 aB cdEf", r"\# 3 ABCDEF"),
    ] {
        assert_eq!(present(rtype(mnemonic), &parse(rtype(mnemonic), text).unwrap()), printed);
    }
}

#[test]
fn bytes_that_do_not_fit_are_printed_as_bytes() {
    for (mnemonic, rdata, printed) in [
        ("A", &b"\x0a\x01\x00"[..], r"\# 3 0A0100"),
        ("A", b"\x0a\x01\x00\x05\x00", r"\# 5 0A01000500"),
        ("CNAME", b"\xc0\x0c", r"\# 2 C00C"),
        ("TXT", b"", r"\# 0"),
        ("TXT", b"\x02a", r"\# 2 0261"),
        ("NSEC", b"\x00\x00\x01\x00", r"\# 4 00000100"),
        ("HTTPS", b"\x00\x01\x00\x00\x03\x00\x01\x35", r"\# 8 0001000003000135"),
        ("APL", b"\x00\x01\x21\x00", r"\# 4 00012100"),
        ("APL", b"\x00\x01\x08\x02\x0a\x00", r"\# 6 000108020A00"),
        ("NSEC", b"\x00\x00\x01\x40\x00\x01\x40", r"\# 7 00000140000140"),
        (
            "LOC",
            b"\x00\x05\x16\x13\x80\x00\x00\x00\x80\x00\x00\x00\x00\x98\x96\x80",
            r"\# 16 00051613800000008000000000989680",
        ),
        (
            "HTTPS",
            b"\x00\x01\x00\x00\x03\x00\x02\x00\x35\x00\x03\x00\x02\x00\x35",
            r"\# 15 000100000300020035000300020035",
        ),
        ("HTTPS", b"\x00\x01\x00\x00\x00\x00\x02\x00\x00", r"\# 9 000100000000020000"),
        ("CAA", b"\x00\x00a", r"\# 3 000061"),
        ("HIP", b"\x01\x02\x00\x00a", r"\# 5 0102000061"),
        ("NSAP", b"", r"\# 0"),
        ("OPT", b"\x00", r"\# 1 00"),
    ] {
        assert_eq!(present(rtype(mnemonic), rdata), printed, "{mnemonic}");
    }
}

#[test]
fn names_are_absolute_with_and_without_the_dot() {
    let with = parse(Rtype::MX, "10 mail.example.com.").unwrap();
    assert_eq!(parse(Rtype::MX, "10 mail.example.com").unwrap(), with);
    assert_eq!(with, b"\x00\x0a\x04mail\x07example\x03com\x00");
}

#[test]
fn the_list_of_types_is_in_order_and_its_examples_hold() {
    assert!(schema::SCHEMAS.is_sorted_by(|a, b| a.rtype < b.rtype), "found by binary search");
    for schema in schema::SCHEMAS {
        assert!(!schema.rtype.is_meta() && schema.rtype.mnemonic().is_some(), "{}", schema.rtype);
        let rdata = parse(schema.rtype, schema.example);
        assert!(rdata.is_ok(), "{} {}: {rdata:?}", schema.rtype, schema.example);
    }
}

#[test]
fn errors_say_what_and_where() {
    let long = format!("\"{}\"", "a".repeat(256));
    for (mnemonic, text, at, message) in [
        ("A", "", 0, "an IPv4 address is missing"),
        (
            "A",
            " 10.1.0",
            1,
            r#""10.1.0" cannot be read as an IPv4 address: expected four decimal numbers with dots between"#,
        ),
        (
            "A",
            "10.1.0.05",
            0,
            r#""10.1.0.05" cannot be read as an IPv4 address: expected four decimal numbers with dots between"#,
        ),
        ("A", "10.1.0.5 10.1.0.6", 9, r#""10.1.0.6" is too much: the data is complete before it"#),
        ("A", r#""10.1.0.5""#, 0, "an IPv4 address stands without quotes"),
        ("A", r"\# 3 010203", 0, "these bytes do not form data of type A"),
        ("A", r"\# 4 010203", 3, "the length says 4 bytes, but 3 are given"),
        ("A", r"\# 4 0102030", 12, "HEX is cut off: hexadecimal digits come in pairs"),
        ("A", r"\# 4 01 0x", 9, r#""x" cannot be read as HEX: expected hexadecimal digits"#),
        ("A", r"\#", 2, "LENGTH is missing"),
        (
            "MX",
            "mail.example.com",
            0,
            r#""mail.example.com" cannot be read as PREFERENCE: expected a number from 0 to 65535"#,
        ),
        ("MX", "65536 .", 0, r#""65536" cannot be read as PREFERENCE: expected a number from 0 to 65535"#),
        ("MX", "10", 2, "EXCHANGE is missing"),
        (
            "MX",
            "10 a..b",
            3,
            r#""a..b" cannot be read as EXCHANGE: a label is empty: there are two dots in a row, or one at the start"#,
        ),
        ("TXT", &long, 0, "the text is 256 bytes long, and one string holds at most 255"),
        ("TXT", "v=DMARC1; p=none", 8, "';' outside of quotes means something else in zone files"),
        ("TXT", "a \"b", 2, "the quote that begins here does not end"),
        ("TXT", r"a\300", 1, "a backslash must be followed by three decimal digits up to 255, or by one character"),
        ("TXT", r#"a"b""#, 1, "a quote inside a text must be written \\\""),
        ("TLSA", "3 1 1 00 0g", 10, r#""g" cannot be read as DATA: expected hexadecimal digits"#),
        ("ZONEMD", "1 1 1 0000", 6, "DIGEST has 2 bytes, fewer than the 12 that it must have"),
        ("URI", r#"1 1 """#, 4, "TARGET has 0 bytes, fewer than the 1 that it must have"),
        (
            "LOC",
            "91 N 0 E 0m",
            3,
            r#""N" cannot be read as LATITUDE: expected degrees, then minutes and seconds if wanted, then N or S (up to 90), E or W (up to 180)"#,
        ),
        (
            "LOC",
            "1 2 3 4 N 0 E 0m",
            6,
            r#""4" cannot be read as LATITUDE: expected degrees, then minutes and seconds if wanted, then N or S (up to 90), E or W (up to 180)"#,
        ),
        ("HTTPS", "1 . alpn=h2 alpn=h3", 12, "duplicate parameter alpn"),
        ("HTTPS", "1 . no-default-alpn", 4, "the parameter no-default-alpn needs alpn, which is not there"),
        ("HTTPS", "1 . mandatory=alpn", 4, "the parameter mandatory needs alpn, which is not there"),
        ("HTTPS", "1 . port=http", 9, r#""http" cannot be read as VALUE: expected a port number from 0 to 65535"#),
        (
            "HTTPS",
            "1 . Port=1",
            4,
            r#""Port" cannot be read as KEY: expected a key such as alpn, port or ipv4hint, or keyNNNNN"#,
        ),
        ("NSEC", ". A FOO", 4, r#""FOO" cannot be read as TYPE: expected a record type such as AAAA or TYPE65280"#),
        ("OPT", "", 0, "OPT is a type of questions or messages, never of a record"),
        ("NXNAME", r"\# 0", 0, "NXNAME is a type of questions or messages, never of a record"),
        ("TYPE65280", "x", 0, "data of type TYPE65280 has no form of its own here, only the one by length and bytes"),
    ] {
        let error = parse(rtype(mnemonic), text).expect_err(text);
        assert_eq!((error.at, error.to_string().as_str()), (at, message), "{mnemonic} {text}");
    }
}

#[test]
fn hints_say_what_is_right() {
    let hint = |mnemonic: &str, text: &str| parse(rtype(mnemonic), text).expect_err(text).hint();
    assert_eq!(hint("A", "x"), "an IPv4 address, such as 10.1.0.5");
    assert_eq!(hint("MX", "x"), "PREFERENCE EXCHANGE, such as 10 mail.example.com");
    assert_eq!(hint("TYPE65280", "x"), r"\# LENGTH HEX (RFC 3597), such as \# 4 0A010005");
    assert_eq!(hint("A", r"\# 5 00"), r"\# LENGTH HEX (RFC 3597), such as \# 4 0A010005");
    assert!(hint("TXT", &"a".repeat(256)).starts_with("split it into several quoted strings"));
    assert!(hint("HINFO", &"a".repeat(256)).starts_with("CPU OS"), "HINFO cannot have more strings");
    assert_eq!(hint("TXT", "a; b"), r"put the text in quotes, or write \;");
}

#[test]
fn data_is_as_large_as_a_record_holds() {
    let string = format!(r#""{}""#, "a".repeat(255));
    let last = "a".repeat(254);
    let fits = [vec![string.as_str(); 255], vec![last.as_str()]].concat();
    let rdata = parse(Rtype::TXT, &fits.join(" ")).unwrap();
    assert_eq!(rdata.len(), RDATA_MAX);
    assert_eq!(parse(Rtype::TXT, &present(Rtype::TXT, &rdata)), Ok(rdata));
    let error = parse(Rtype::TXT, &vec![string.as_str(); 256].join(" ")).unwrap_err();
    assert_eq!(error.problem, Problem::TooLong(65536));
    let error = parse(Rtype::HTTPS, &format!("1 . key700={}", "a".repeat(65535))).unwrap_err();
    assert_eq!(error.problem, Problem::TooLong(65542));
}
