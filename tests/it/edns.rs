//! EDNS towards clients: sizes, truncation, versions, options, DO.

use crate::common::cast::{API, RECORDS, record};
use crate::common::{Answer, FakeAzureDns, Play, Pldns, Query, Script, dns};

/// So many addresses that one answer needs about `16 * count` bytes.
fn many(name: &str, count: usize) -> String {
    let addresses: Vec<String> = (0..count).map(|n| format!("10.9.{}.{}", n / 200, n % 200 + 1)).collect();
    record(name, "A", &addresses.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn the_answer_fits_the_clients_size_and_ours() {
    let fake = FakeAzureDns::start();
    // 20 addresses: more than 512 with EDNS is not needed; 45: between 512 and 1232; 100: above 1232.
    let records = many("s.example", 20) + &many("m.example", 45) + &many("l.example", 100);
    let server = Pldns::start(&fake.rule("."), &records);
    let ask = |query: Query, limit: usize, whole: usize| {
        let got = query.ask_at(server.address());
        got.rcode("NOERROR").aa();
        assert!(got.bytes.len() <= limit, "{} bytes, {limit} allowed", got.bytes.len());
        if whole == 0 {
            got.tc().no_answers();
        } else {
            got.no_tc();
            assert_eq!(got.message.answers.len(), whole, "{}", got.message);
        }
    };
    let query = |name: &str| Query::new(&format!("{name} A"));
    ask(query("s.example").no_edns(), 512, 20);
    ask(query("m.example").no_edns(), 512, 0);
    ask(query("m.example").edns_size(512), 512, 0);
    ask(query("m.example").edns_size(1000), 1000, 45);
    ask(query("m.example").edns_size(1232), 1232, 45);
    ask(query("l.example").edns_size(1232), 1232, 0);
    ask(query("l.example").edns_size(4096), 1232, 0);
    ask(query("l.example").edns_size(65_535), 1232, 0);
    ask(query("l.example").tcp(), 65_535, 100);
    ask(query("l.example").tcp().no_edns(), 65_535, 100);
    ask(query("l.example").tcp().edns_size(512), 65_535, 100);
}

#[test]
fn sizes_below_512_count_as_512() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), &many("s.example", 20));
    for size in [0, 1, 100, 511] {
        let got = Query::new("s.example A").edns_size(size).ask_at(server.address());
        got.no_tc();
        assert_eq!(got.message.answers.len(), 20, "{}", got.message);
    }
}

#[test]
fn truncation_falls_between_record_sets() {
    let fake = FakeAzureDns::start();
    let records = record("a.example", "CNAME", &["l.example."]) + &many("l.example", 100);
    let server = Pldns::start(&fake.rule("."), &records);
    let got = server.ask("a.example A");
    got.tc();
    assert!(got.message.answers.iter().all(|record| record.rtype == 5), "a part of a record set: {}", got.message);
    Query::new("a.example A").tcp().ask_at(server.address()).no_tc().answer("a.example 10 IN CNAME l.example");
}

#[test]
fn forwarded_answers_are_truncated_for_the_client_and_whole_over_tcp() {
    let fake = FakeAzureDns::start();
    let lines: Vec<String> = (1..=100).map(|n| format!("big.example 60 IN A 192.0.2.{n}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let truncated = Answer::of(&[]).flag(dns::TC);
    fake.on("big.example A", Script::udp([Play::of(truncated)]).tcp([Play::answers(&lines)]));
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("big.example A").rcode("NOERROR").tc();
    Query::new("big.example A").no_edns().ask_at(server.address()).tc();
    let whole = Query::new("big.example A").tcp().ask_at(server.address());
    whole.no_tc();
    assert_eq!(whole.message.answers.len(), 100, "{}", whole.message);
}

#[test]
fn our_own_size_stands_in_every_answer() {
    let fake = FakeAzureDns::start();
    fake.answer("f.example A", &["f.example 60 IN A 192.0.2.1"]);
    let server = Pldns::start(&fake.rule("."), RECORDS);
    for question in [format!("{API} A"), format!("{API} AAAA"), "f.example A".to_owned(), "f.example A".to_owned()] {
        let got = server.ask(&question);
        assert_eq!((got.opt().size, got.opt().version), (1232, 0), "{}", got.message);
    }
}

#[test]
fn a_version_we_do_not_know_is_answered_badvers() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    for version in [1, 2, 255] {
        let got = Query::new(&format!("{API} A")).edns_version(version).ask_at(server.address());
        got.rcode("BADVERS").no_answers();
        assert_eq!(got.opt().version, 0, "{}", got.message);
    }
}

#[test]
fn do_is_mirrored_and_other_flags_are_not() {
    let fake = FakeAzureDns::start();
    fake.answer("f.example A", &["f.example 60 IN A 192.0.2.1"]);
    let server = Pldns::start(&fake.rule("."), RECORDS);
    for question in [format!("{API} A"), format!("{API} TXT"), "f.example A".to_owned()] {
        for (asked, expected) in [(0, 0), (dns::DO, dns::DO), (0x7fff, 0), (0xffff, dns::DO)] {
            let got = Query::new(&question).edns_flags(asked).ask_at(server.address());
            assert_eq!(got.opt().flags, expected, "asked {asked:#06x}: {}", got.message);
        }
    }
}

#[test]
fn options_that_nobody_knows_are_ignored() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let got = Query::new(&format!("{API} A"))
        .option(65_001, b"private use")
        .option(100, b"")
        .option(65_001, b"twice")
        .ask_at(server.address());
    got.rcode("NOERROR").answers(&[format!("{API} 10 IN A 10.1.0.5")]);
    assert!(got.opt().options.iter().all(|(code, _)| ![65_001, 100].contains(code)), "{}", got.message);
}

#[test]
fn extended_errors_stay_out_of_good_answers() {
    let fake = FakeAzureDns::start();
    fake.answer("f.example A", &["f.example 60 IN A 192.0.2.1"]);
    let server = Pldns::start(&fake.rule("."), RECORDS);
    server.ask(&format!("{API} A")).no_ede();
    server.ask("f.example A").no_ede();
    server.ask("f.example A").no_ede();
}

#[test]
fn an_upstreams_answer_above_what_it_was_told_is_still_an_answer() {
    let fake = FakeAzureDns::start();
    let lines: Vec<String> = (1..=85).map(|n| format!("big.example 60 IN A 192.0.2.{n}")).collect();
    fake.answer("big.example A", &lines.iter().map(String::as_str).collect::<Vec<_>>());
    let server = Pldns::start(&fake.rule("."), "");
    let got = Query::new("big.example A").tcp().ask_at(server.address());
    got.rcode("NOERROR").no_tc();
    assert_eq!(got.message.answers.len(), 85, "{}", got.message);
    let cut = server.ask("big.example A");
    cut.tc();
    assert!(cut.message.answers.is_empty(), "a part of a record set: {}", cut.message);
}

#[test]
fn forwarded_answers_are_cut_between_record_sets() {
    let fake = FakeAzureDns::start();
    let alias = "a.example 60 IN CNAME big.example".to_owned();
    let addresses = (1..=60).map(|n| format!("big.example 60 IN A 192.0.2.{n}"));
    let lines: Vec<String> = std::iter::once(alias).chain(addresses).collect();
    fake.answer("a.example A", &lines.iter().map(String::as_str).collect::<Vec<_>>());
    let server = Pldns::start(&fake.rule("."), "");
    let whole = server.ask("a.example A");
    assert_eq!(whole.message.answers.len(), 61, "{}", whole.message);
    let cut = Query::new("a.example A").no_edns().ask_at(server.address());
    cut.tc();
    assert!(cut.message.answers.iter().all(|record| record.rtype == 5), "a part of a record set: {}", cut.message);
}

#[test]
fn large_queries_are_queries() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let query = |bytes: usize| Query::new(&format!("{API} A")).option(65_001, &vec![7; bytes]);
    for bytes in [500, 1100] {
        query(bytes).ask_at(server.address()).rcode("NOERROR").aa();
    }
    for bytes in [1100, 5000, 60_000] {
        query(bytes).tcp().ask_at(server.address()).rcode("NOERROR").aa();
    }
}
