//! Arbitrary bytes that fit each type, bytes that nearly fit, bytes and texts that need not fit at all.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::rdata::schema::SCHEMAS;

/// Bytes that are valid as this field.
fn valid(field: Field) -> BoxedStrategy<Vec<u8>> {
    match field {
        Field::U8 | Field::NamedU8(_) => exactly(1),
        Field::U16 | Field::NamedU16(_) | Field::Type => exactly(2),
        Field::U32 | Field::Period | Field::Time | Field::Ipv4 => exactly(4),
        Field::Node | Field::Groups => exactly(8),
        Field::Ipv6 => exactly(16),
        Field::Eui(len) => exactly(len),
        Field::Name => name(),
        Field::Names => several(name(), 0..4),
        Field::String => counted(0..=255),
        Field::OptionalString => several(counted(0..=255), 0..2),
        Field::Strings => several(counted(0..=255), 1..4),
        Field::Long(min) | Field::Hex(min) | Field::Base64(min) => vec(any::<u8>(), min..min + 300).boxed(),
        Field::Nsap => vec(any::<u8>(), 1..30).boxed(),
        Field::Object => vec(any::<u8>(), 0..30).boxed(),
        Field::Salt => counted(0..=255),
        Field::Hash => counted(1..=255),
        Field::Tag => "[a-zA-Z0-9]{1,255}".prop_map(|tag| with_len(tag.as_bytes())).boxed(),
        Field::Ports => trimmed(0..8193),
        Field::Types => types(),
        Field::Prefixes => several(prefix(), 0..5),
        Field::Location => location(),
        Field::Gateway => by_kind().prop_map(|(kind, bytes)| [&[kind, 2], &bytes[..]].concat()).boxed(),
        Field::Relay => (any::<bool>(), by_kind())
            .prop_map(|(bit, (kind, bytes))| [&[u8::from(bit) << 7 | kind], &bytes[..]].concat())
            .boxed(),
        Field::Identity => (any::<u8>(), vec(any::<u8>(), 1..256), vec(any::<u8>(), 1..600))
            .prop_map(|(algorithm, tag, key)| {
                [&[tag.len() as u8, algorithm][..], &(key.len() as u16).to_be_bytes(), &tag, &key].concat()
            })
            .boxed(),
        Field::Parameters => parameters(),
    }
}

fn exactly(len: usize) -> BoxedStrategy<Vec<u8>> {
    vec(any::<u8>(), len).boxed()
}

fn with_len(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8], bytes].concat()
}

fn counted(len: std::ops::RangeInclusive<usize>) -> BoxedStrategy<Vec<u8>> {
    vec(any::<u8>(), len).prop_map(|bytes| with_len(&bytes)).boxed()
}

fn several(one: BoxedStrategy<Vec<u8>>, amount: std::ops::Range<usize>) -> BoxedStrategy<Vec<u8>> {
    vec(one, amount).prop_map(|all| all.concat()).boxed()
}

/// Bytes whose last is not zero.
fn trimmed(len: std::ops::Range<usize>) -> BoxedStrategy<Vec<u8>> {
    vec(select(vec![0, 0, 1, 0x80, 0xff]), len).prop_map(|bytes| address::without_final_zeros(&bytes).to_vec()).boxed()
}

fn name() -> BoxedStrategy<Vec<u8>> {
    let labels = prop_oneof![several(counted(1..=20), 0..5), several(counted(1..=63), 3..4)];
    labels.prop_map(|labels| [&labels[..], &[0]].concat()).boxed()
}

fn types() -> BoxedStrategy<Vec<u8>> {
    proptest::collection::btree_map(any::<u8>(), trimmed(1..33), 0..4)
        .prop_map(|windows| {
            let filled = windows.into_iter().filter(|(_, bits)| !bits.is_empty());
            filled.flat_map(|(window, bits)| [vec![window], with_len(&bits)].concat()).collect()
        })
        .boxed()
}

fn prefix() -> BoxedStrategy<Vec<u8>> {
    let family = prop_oneof![Just((1, 4_usize)), Just((2, 16_usize))];
    (family, any::<bool>(), any::<Index>())
        .prop_flat_map(|((family, len), negated, prefix)| {
            let prefix = prefix.index(len * 8 + 1) as u8;
            trimmed(0..len + 1).prop_map(move |bytes| {
                [&[0, family, prefix, u8::from(negated) << 7 | bytes.len() as u8], &bytes[..]].concat()
            })
        })
        .boxed()
}

fn location() -> BoxedStrategy<Vec<u8>> {
    let size = || prop_oneof![Just(0), (1..=9_u8, 0..=9_u8).prop_map(|(digit, power)| digit << 4 | power)];
    let angle = |max: u32| (0x8000_0000 - max * 3_600_000)..=(0x8000_0000 + max * 3_600_000);
    ([size(), size(), size()], angle(90), angle(180), any::<u32>())
        .prop_map(|(sizes, latitude, longitude, altitude)| {
            let values = [latitude, longitude, altitude].map(u32::to_be_bytes).concat();
            [&[0][..], &sizes, &values].concat()
        })
        .boxed()
}

fn by_kind() -> BoxedStrategy<(u8, Vec<u8>)> {
    prop_oneof![
        Just((0, Vec::new())),
        exactly(4).prop_map(|bytes| (1, bytes)),
        exactly(16).prop_map(|bytes| (2, bytes)),
        name().prop_map(|bytes| (3, bytes)),
    ]
    .boxed()
}

fn parameters() -> BoxedStrategy<Vec<u8>> {
    let maybe = |key: u16, value: BoxedStrategy<Vec<u8>>| {
        proptest::option::of(value).prop_map(move |value| value.map(|value| parameter(key, &value)).unwrap_or_default())
    };
    let list = |len: usize| {
        vec(any::<u8>(), len..len * 4).prop_map(move |mut bytes| {
            bytes.truncate(bytes.len() / len * len);
            bytes
        })
    };
    let alpn = several(counted(1..=255), 1..4).prop_map(|alpn| parameter(1, &alpn));
    (
        any::<[bool; 2]>(),
        alpn,
        maybe(3, exactly(2)),
        maybe(4, list(4).boxed()),
        maybe(5, vec(any::<u8>(), 1..50).boxed()),
        maybe(6, list(16).boxed()),
        maybe(7, "[ -~é]{1,20}".prop_map(String::into_bytes).boxed()),
        maybe(65280, vec(any::<u8>(), 0..300).boxed()),
    )
        .prop_map(|([mandatory, no_default], alpn, port, ipv4, ech, ipv6, path, other)| {
            let mandatory = if mandatory { parameter(0, &[0, 1]) } else { Vec::new() };
            let no_default = if no_default { parameter(2, &[]) } else { Vec::new() };
            [mandatory, alpn, no_default, port, ipv4, ech, ipv6, path, other].concat()
        })
        .boxed()
}

fn parameter(key: u16, value: &[u8]) -> Vec<u8> {
    [&key.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), value].concat()
}

fn valid_record() -> impl Strategy<Value = (Rtype, Vec<u8>)> {
    select((0..SCHEMAS.len()).collect::<Vec<_>>()).prop_flat_map(|at| {
        let schema = &SCHEMAS[at];
        let fields: Vec<_> = schema.fields.iter().map(|&(_, field)| valid(field)).collect();
        fields.prop_map(move |fields| (schema.rtype, fields.concat()))
    })
}

fn known_type() -> impl Strategy<Value = Rtype> {
    (0..SCHEMAS.len()).prop_map(|at| SCHEMAS[at].rtype)
}

/// Printed in its own form it reads back; printed as bytes it is not of a known type.
fn printed_reads_back(rtype: Rtype, rdata: &[u8]) -> Result<(), TestCaseError> {
    let printed = present(rtype, rdata);
    prop_assert!(printed.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", printed);
    let read = parse(rtype, &printed);
    if printed.starts_with(generic::MARK) && schema::find(rtype).is_some() {
        prop_assert_eq!(read.unwrap_err().problem, Problem::NotOf(rtype));
    } else {
        prop_assert_eq!(read.as_deref(), Ok(rdata), "{} {}", rtype, printed);
    }
    Ok(())
}

/// Words and pieces that occur in record data.
fn likely_text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        select(vec![
            r"\#",
            "0",
            "1",
            "2",
            "3",
            "255",
            "65535",
            "10.1.0.5",
            "::1",
            ".",
            "a.b",
            "N",
            "S",
            "E",
            "W",
            "90",
            "-1.50m",
            "1m",
            "A",
            "TYPE1",
            "-",
            "AA==",
            "AAAA",
            "00",
            "00-00-5e-00-53-2a",
            "1:2:3:4",
            "0x00",
            "1:10.0.0.0/8",
            "!2:::/0",
            "\"",
            "\"a b\"",
            "\"\"",
            "alpn=h2",
            "alpn=\"h2,h3\"",
            "key1=\\002h2",
            "port=1",
            "mandatory=port",
            "no-default-alpn",
            "ipv4hint=10.1.0.5",
            "issue",
            "20240101000000",
            "1h",
            "\\",
            "\\000",
            "(",
            ";",
            "é",
            "\\é",
        ])
        .prop_map(str::to_owned),
        "[0-9]{1,10}",
        "[0-9a-f.:=\\\\\"]{1,6}",
        any::<char>().prop_map(String::from),
    ];
    vec(word, 0..9).prop_map(|words| words.join(" "))
}

/// The text is refused with a place in it, or its bytes are printed and read again.
fn text_is_taken_or_refused(rtype: Rtype, text: &str) -> Result<(), TestCaseError> {
    match parse(rtype, text) {
        Ok(rdata) => {
            let own_form = schema::find(rtype).is_some();
            prop_assert_eq!(fitting(rtype, &rdata).is_some(), own_form, "{} {:?} {}", rtype, text, hex(&rdata));
            printed_reads_back(rtype, &rdata)
        }
        Err(error) => {
            prop_assert!(text.is_char_boundary(error.at), "{} {:?} {:?}", rtype, text, error);
            prop_assert!(!error.to_string().is_empty() && !error.hint().is_empty());
            Ok(())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn valid_bytes_are_printed_in_their_own_form_and_read_back((rtype, rdata) in valid_record()) {
        let Some(printed) = fitting(rtype, &rdata) else {
            return Err(TestCaseError::fail(format!("{rtype} {}", hex(&rdata))));
        };
        prop_assert_eq!(parse(rtype, &printed), Ok(rdata.clone()), "{} {}", rtype, printed);
        prop_assert_eq!(parse(rtype, &generic::present(&rdata)), Ok(rdata));
    }

    #[test]
    fn nearly_valid_bytes_never_read_back_as_others(
        (rtype, mut rdata) in valid_record(), at: Index, byte: u8, cut in 0..3,
    ) {
        match cut {
            0 => rdata.truncate(at.index(rdata.len() + 1)),
            1 => rdata.insert(at.index(rdata.len() + 1), byte),
            _ if rdata.is_empty() => {}
            _ => *at.get_mut(&mut rdata) = byte,
        }
        printed_reads_back(rtype, &rdata)?;
    }

    #[test]
    fn any_bytes_are_printed(rtype in known_type(), rdata in vec(any::<u8>(), 0..40)) {
        printed_reads_back(rtype, &rdata)?;
    }

    #[test]
    fn bytes_of_unknown_types_are_kept(rtype in 65280..=65534_u16, rdata in vec(any::<u8>(), 0..600)) {
        printed_reads_back(Rtype(rtype), &rdata)?;
    }

    #[test]
    fn any_text_is_taken_or_refused(rtype in known_type(), text: String) {
        text_is_taken_or_refused(rtype, &text)?;
    }

    #[test]
    fn likely_text_is_taken_or_refused(rtype in known_type(), text in likely_text()) {
        text_is_taken_or_refused(rtype, &text)?;
    }

    #[test]
    fn any_type_takes_or_refuses_text(rtype: u16, text in likely_text()) {
        text_is_taken_or_refused(Rtype(rtype), &text)?;
    }

    #[test]
    fn changed_text_is_taken_or_refused((rtype, rdata) in valid_record(), at: Index, c: char, cut: bool) {
        let mut text: Vec<char> = present(rtype, &rdata).chars().collect();
        let at = at.index(text.len() + 1);
        if cut { text.truncate(at) } else { text.insert(at, c) }
        text_is_taken_or_refused(rtype, &text.into_iter().collect::<String>())?;
    }
}
