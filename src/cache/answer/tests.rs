//! Answers as they are kept, and replies that are written from them.

use super::*;
use crate::wire::compose::Sections;
use crate::wire::query::tests::query_bytes;
use crate::wire::{Message, Name, NameBuf, Rtype, Section};

pub(crate) const LIMITS: TtlLimits = TtlLimits { max: 3600, max_negative: 60, max_negative_private: 10 };

#[expect(clippy::disallowed_methods, reason = "any instant will do")]
fn new_answer(bytes: &[u8], limits: &TtlLimits) -> Option<Answer> {
    Answer::from_message(b"key", &mut UpstreamMessage::read(bytes.to_vec()), limits, Instant::now())
}

/// An upstream's answer with one address.
pub(crate) fn address_answer(name: &str, ttl: u32) -> Vec<u8> {
    build(name, Rtype::A, 0x8180, &[record(Section::Answer, name, Rtype::A, ttl, vec![192, 0, 2, 1])])
}

fn all_records(answer: &Answer) -> Vec<OwnedRecord> {
    answer.view().records(Age::Seconds(0), |_, _| true).collect()
}

fn record(section: Section, owner: &str, rtype: Rtype, ttl: u32, data: Vec<u8>) -> OwnedRecord {
    OwnedRecord { section, owner: Name::parse(owner).unwrap(), rtype, class: 1, ttl, data }
}

fn build(qname: &str, qtype: Rtype, flags: u16, records: &[OwnedRecord]) -> Vec<u8> {
    let query = query_bytes(qname, qtype, header::RD, None);
    let mut bytes = Vec::new();
    let mut sections = Sections::start(&query[12..], 65_535, &mut bytes);
    assert!(records.iter().all(|record| sections.push_owned(record)));
    let (Counts { answer, authority, additional }, _) = sections.finish();
    let head = Header { id: 7, flags, qdcount: 1, ancount: answer, nscount: authority, arcount: additional };
    bytes[..12].copy_from_slice(&head.to_bytes());
    bytes
}

fn soa(ttl: u32, minimum: u32) -> OwnedRecord {
    let names = [b"\x01m\0".as_slice(), b"\x01r\0"].concat();
    let numbers = [1u32, 2, 3, 4, minimum].iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<_>>();
    record(Section::Authority, "example", Rtype::SOA, ttl, [names, numbers].concat())
}

#[test]
fn ttls_are_capped_and_counted_down() {
    let answer = new_answer(&address_answer("a.example", 1_006_632_960), &LIMITS).unwrap();
    assert_eq!(answer.view().ttl(), 3600);
    let bytes = query_bytes("A.example", Rtype::A, header::RD, Some((1232, 0)));
    let mut name_buf = NameBuf::new();
    let query = Query::parse(&bytes, &mut name_buf).unwrap();
    let mut out = Vec::new();
    answer.view().write(&query, Age::Seconds(100), 1232, &mut out);
    let message = Message::parse(&out).unwrap();
    assert_eq!(message.records[0].ttl, 3500);
    assert_eq!(message.header.id, 0x1234);
    assert_eq!(&out[12..15], b"\x01A\x07", "the question keeps the client's case");
    assert_eq!(message.records[1].rtype, Rtype::OPT);
}

#[test]
fn aliases_are_followed_in_any_order() {
    let targets = |records: &[OwnedRecord]| {
        let answer = new_answer(&build("A.example", Rtype::A, 0x8180, records), &LIMITS).unwrap();
        let targets: Vec<_> = answer.view().targets().map(|target| Name::from_wire(target).unwrap()).collect();
        assert!(targets.iter().all(|name| name.as_wire() == name.to_lowercase().as_wire()));
        (targets.iter().map(Name::to_string).collect::<Vec<_>>(), answer.view().is_private())
    };
    let address = record(Section::Answer, "c.privatelink.example", Rtype::A, 60, vec![10, 0, 0, 1]);
    let chain = [
        alias("b.example", "C.PrivateLink.example"),
        address,
        alias("a.EXAMPLE", "B.example"),
        alias("d.example", "e.example"),
    ];
    assert_eq!(targets(&chain), (vec!["b.example".to_owned(), "c.privatelink.example".to_owned()], true));
}

fn alias(owner: &str, target: &str) -> OwnedRecord {
    record(Section::Answer, owner, Rtype::CNAME, 60, Name::parse(target).unwrap().as_wire().to_vec())
}

fn address(owner: &str) -> OwnedRecord {
    record(Section::Answer, owner, Rtype::A, 60, vec![10, 0, 0, 1])
}

fn answer_of(records: &[OwnedRecord]) -> Option<Answer> {
    new_answer(&build("a.example", Rtype::A, 0x8180, records), &LIMITS)
}

fn lookup(name: &str) -> Rtype {
    Rtype::parse(name).unwrap()
}

#[test]
fn aliases_precede_their_targets() {
    let signature =
        |owner: &str| record(Section::Answer, owner, lookup("RRSIG"), 60, [&[0, 1][..], &[7; 16], &[0, 9]].concat());
    let right = [
        alias("a.example", "b.example"),
        alias("b.example", "c.example"),
        address("c.example"),
        signature("c.example"),
    ];
    let soa = soa(60, 60);
    let written = |order: [usize; 4]| {
        let mut records: Vec<_> = order.iter().map(|&at| right[at].clone()).collect();
        records.push(soa.clone());
        all_records(&answer_of(&records).unwrap())
    };
    let expected = [&right[..], std::slice::from_ref(&soa)].concat();
    for order in [[0, 1, 2, 3], [2, 3, 0, 1], [1, 0, 2, 3], [2, 1, 0, 3], [0, 2, 3, 1]] {
        assert_eq!(written(order), expected, "{order:?}");
    }
}

#[test]
fn what_does_not_belong_to_the_question_is_left_out() {
    let belongs = [alias("a.example", "b.example"), address("b.example")];
    let mut other_class = address("b.example");
    other_class.class = 3;
    for foreign in [
        address("victim.example"),
        address("a.example"),
        alias("b2.example", "b.example"),
        alias("a.example", "evil.example"),
        record(Section::Answer, "b.example", Rtype::TXT, 60, b"\x01x".to_vec()),
        other_class,
    ] {
        for at in 1..3 {
            let mut records = belongs.to_vec();
            records.insert(at, foreign.clone());
            let answer = answer_of(&records).unwrap();
            assert_eq!(all_records(&answer), belongs, "{foreign:?}");
        }
    }
    // A DNAME record of an ancestor belongs to the name that it renames.
    let target = Name::parse("example.net").unwrap().as_wire().to_vec();
    let dname = record(Section::Answer, "example", lookup("DNAME"), 60, target);
    let records = [dname, alias("a.example", "a.example.net"), address("a.example.net")];
    assert_eq!(all_records(&answer_of(&records).unwrap()), records);
}

#[test]
fn a_chain_is_followed_to_its_first_repetition_or_for_seventeen_aliases() {
    let ring = vec![alias("a.example", "b.example"), alias("b.example", "a.example"), address("a.example")];
    let itself = vec![alias("a.example", "A.example")];
    let name = |n: usize| if n == 0 { "a.example".to_owned() } else { format!("n{n}.example") };
    let chain = |len: usize| (0..len).map(|n| alias(&name(n), &name(n + 1))).collect::<Vec<_>>();
    let ended = |len: usize| [chain(len), vec![address(&name(len))]].concat();
    let back = |mut records: Vec<OwnedRecord>| {
        records.reverse();
        records
    };
    for (records, kept, targets, is_unfinished) in [
        (ring, 2, 2, true),
        (itself, 1, 1, true),
        (ended(16), 17, 16, false),
        (ended(17), 18, 17, true),
        (back(ended(16)), 17, 16, false),
        (back(ended(200)), 17, 17, true),
    ] {
        let answer = answer_of(&records).unwrap();
        let view = answer.view();
        let found = (all_records(&answer).len(), view.targets().count(), view.is_unfinished());
        assert_eq!(found, (kept, targets, is_unfinished), "{records:?}");
    }
    assert!(answer_of(&ended(300)).is_none(), "so many aliases are no answer");
    // The answer to a question for CNAME records is not a chain.
    let itself = build("a.example", Rtype::CNAME, 0x8180, &[alias("a.example", "a.example")]);
    assert!(!new_answer(&itself, &LIMITS).unwrap().view().is_unfinished());
}

#[test]
fn an_answer_is_finished_by_data_or_a_denial_of_its_last_name() {
    let target = Name::parse("b.test").unwrap().as_wire().to_vec();
    let dname = record(Section::Answer, "example", Rtype::DNAME, 60, target);
    let long = |len: usize| {
        let name = |n: usize| if n == 0 { "a.example".to_owned() } else { format!("n{n}.example") };
        let aliases = (0..len).map(|n| alias(&name(n), &name(n + 1)));
        aliases.chain([address(&name(len))]).collect::<Vec<_>>()
    };
    for (qtype, rcode, records, is_unfinished, ttl) in [
        (Rtype::A, 0, vec![address("a.example")], false, 60),
        (Rtype::A, 0, vec![], false, 0),
        (Rtype::A, 0, vec![alias("a.example", "B.example"), address("b.EXAMPLE")], false, 60),
        (Rtype::A, 0, vec![address("b.example"), alias("a.example", "b.example")], false, 60),
        (Rtype::A, 0, vec![alias("a.example", "b.example"), address("c.example")], true, 60),
        (Rtype::A, 0, vec![alias("a.example", "b.example")], true, 60),
        (Rtype::A, 0, vec![alias("a.example", "b.example"), soa(3600, 30)], false, 30),
        (Rtype::A, 3, vec![alias("a.example", "b.example")], false, 0),
        (Rtype::A, 2, vec![alias("a.example", "b.example")], false, 0),
        (Rtype::A, 0, vec![alias("a.example", "b.example"), alias("b.example", "a.example")], true, 60),
        (Rtype::A, 0, vec![dname.clone()], true, 60),
        (Rtype::DNAME, 0, vec![dname], false, 60),
        (Rtype::CNAME, 0, vec![alias("a.example", "b.example")], false, 60),
        (Rtype::ANY, 0, vec![alias("a.example", "b.example")], false, 60),
        (Rtype::A, 0, long(super::super::ALIASES_MAX), false, 60),
        (Rtype::A, 0, long(super::super::ALIASES_MAX + 1), true, 60),
    ] {
        let bytes = build("a.example", qtype, 0x8180 | rcode, &records);
        let answer = new_answer(&bytes, &LIMITS).unwrap();
        let found = (answer.view().is_unfinished(), answer.view().ttl());
        assert_eq!(found, (is_unfinished, ttl), "{qtype} {rcode} {records:?}");
    }
}

#[test]
fn negative_answers_live_as_long_as_their_soa_says() {
    for (name, rcode, records, ttl) in [
        ("a.example", 3, vec![soa(3600, 30)], 30),
        ("a.example", 3, vec![soa(20, 30)], 20),
        ("a.example", 3, vec![soa(3600, 3600)], 60),
        ("a.privatelink.example", 3, vec![soa(3600, 300)], 10),
        ("a.example", 0, vec![soa(3600, 30)], 30),
        ("a.example", 3, vec![], 0),
        ("a.example", 2, vec![soa(3600, 30)], 0),
        ("a.example", 5, vec![], 0),
    ] {
        let answer = new_answer(&build(name, Rtype::A, 0x8180 | rcode, &records), &LIMITS).unwrap();
        assert_eq!(answer.view().ttl(), ttl, "{name} {rcode} {records:?}");
    }
}

#[test]
fn an_opt_record_in_the_middle_is_taken_out() {
    let records = [
        record(Section::Answer, "a.example", Rtype::A, 60, vec![192, 0, 2, 1]),
        record(Section::Additional, ".", Rtype::OPT, 0, vec![0, 15, 0, 2, 0, 22]),
        record(Section::Additional, "ns.a.example", Rtype::A, 60, vec![192, 0, 2, 2]),
        record(Section::Additional, "x.ns.a.example", Rtype::A, 60, vec![192, 0, 2, 3]),
    ];
    let answer = new_answer(&build("a.example", Rtype::A, 0x8180, &records), &LIMITS).unwrap();
    assert_eq!(answer.view().errors(), [0, 15, 0, 2, 0, 22]);
    let left = all_records(&answer);
    assert_eq!(left, [records[0].clone(), records[2].clone(), records[3].clone()]);
}

#[test]
fn what_does_not_fit_is_cut_by_rrsets() {
    let records: Vec<_> =
        (0..100).map(|n| record(Section::Answer, "a.example", Rtype::A, 60, vec![10, 0, 0, n])).collect();
    let answer = new_answer(&build("a.example", Rtype::A, 0x8180, &records), &LIMITS).unwrap();
    let bytes = query_bytes("a.example", Rtype::A, header::RD, None);
    let mut out = Vec::new();
    answer.view().write(&Query::parse(&bytes, &mut NameBuf::new()).unwrap(), Age::Seconds(0), 512, &mut out);
    let message = Message::parse(&out).unwrap();
    assert_eq!(message.header.ancount, 0);
    assert_ne!(message.header.flags & header::TC, 0);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let mut bytes = bytes;
        if bytes.len() > 6 { bytes[4] = 0; bytes[5] = 1; }
        if let Some(answer) = new_answer(&bytes, &LIMITS) {
            let asked = query_bytes("a.example", Rtype::A, header::RD, Some((1232, 0)));
            let mut name_buf = NameBuf::new();
            answer.view().write(&Query::parse(&asked, &mut name_buf).unwrap(), Age::Stale, 1232, &mut Vec::new());
        }
    }
}
