//! Answers from the table: exact names, every type, NODATA, rotation, what is refused.

use crate::common::ask::{client, receive};
use crate::common::cast::{API, RECORDS, record, record_with, zone};
use crate::common::{Answer, FakeAzureDns, Pldns, Query, Setup, dns};
use std::collections::HashSet;
use std::time::Duration;

#[test]
fn a_name_of_the_table_is_answered_with_its_address() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    server
        .ask(&format!("{API} A"))
        .rcode("NOERROR")
        .aa()
        .ra()
        .no_ad()
        .no_tc()
        .no_ede()
        .answers(&[format!("{API} 10 IN A 10.1.0.5")])
        .authority::<&str>(&[])
        .additional::<&str>(&[]);
    assert!(fake.seen(&format!("{API} *")).is_empty(), "the upstream was asked");
}

#[test]
fn letters_match_in_any_case_and_the_question_comes_back_as_asked() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), &record("MixedCase.Example", "A", &["10.0.0.1"]));
    // The echo of the question is checked, letter by letter, in every ask.
    for name in ["mixedcase.example", "MIXEDCASE.EXAMPLE", "mIxEdCaSe.eXaMpLe"] {
        server.ask(&format!("{name} A")).rcode("NOERROR").aa().answers(&["mixedcase.example 10 IN A 10.0.0.1"]);
        server.ask(&format!("{name} AAAA")).nodata("mixedcase.example");
    }
}

#[test]
fn several_addresses_rotate_and_are_always_complete() {
    let fake = FakeAzureDns::start();
    let addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
    let server = Pldns::start(&fake.rule("."), &record("many.example", "A", &addresses));
    let lines: Vec<String> = addresses.iter().map(|ip| format!("many.example 10 IN A {ip}")).collect();
    let mut first = HashSet::new();
    for _ in 0..60 {
        let got = server.ask("many.example A");
        got.rcode("NOERROR").aa().answers_in_any_order(&lines);
        first.insert(got.message.answers[0].rdata.clone());
    }
    assert_eq!(first.len(), 3, "every address stands first at times");
}

#[test]
fn another_type_of_an_existing_name_is_nodata_and_never_asked_of_the_upstream() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    for kind in ["AAAA", "HTTPS", "SVCB", "TXT", "MX", "NS", "SRV", "CAA", "PTR", "TYPE65280"] {
        fake.answer(&format!("{API} {kind}"), &[&format!("{API} 60 IN TXT \"leaked\"")]);
        server.ask(&format!("{API} {kind}")).nodata(API).no_ede();
    }
    server.ask(&format!("{API} CNAME")).nodata(API);
    assert!(fake.seen(&format!("{API} *")).is_empty(), "the upstream was asked");
}

#[test]
fn the_soa_of_a_negative_answer_is_the_longest_zones() {
    let fake = FakeAzureDns::start();
    let settings = zone("example", "forward") + &zone("sub.example", "forward") + &fake.rule(".");
    let records = record("a.example", "A", &["10.0.0.1"])
        + &record("a.sub.example", "A", &["10.0.0.2"])
        + &record("a.other.test", "A", &["10.0.0.3"]);
    let server = Pldns::start(&settings, &records);
    server.ask("a.example AAAA").nodata("example");
    server.ask("a.sub.example AAAA").nodata("sub.example");
    server.ask("a.other.test AAAA").nodata("a.other.test");
}

#[test]
fn the_soa_without_a_zone_is_the_parents_for_wildcards_and_partial_wildcards() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    server.ask("ep.eastus.inference.ml.azure.com AAAA").nodata("eastus.inference.ml.azure.com");
    let notebook = crate::common::cast::NOTEBOOK;
    server.ask(&format!("{notebook} AAAA")).nodata("eastus.notebooks.azure.net");
}

#[test]
fn a_name_outside_zones_gives_the_soa_of_its_negative_answers_when_asked_for_it() {
    let fake = FakeAzureDns::start();
    let settings = zone("example", "forward") + &fake.rule(".");
    let server = Pldns::start(&settings, &(RECORDS.to_owned() + &record("a.example", "A", &["10.0.0.1"])));
    for name in [API, "5.0.1.10.in-addr.arpa"] {
        let negative = server.ask(&format!("{name} AAAA"));
        negative.nodata(name);
        let got = server.ask(&format!("{name} SOA"));
        got.rcode("NOERROR").aa().authority::<&str>(&[]);
        assert_eq!(got.message.answers, negative.message.authorities, "{}", got.message);
        assert!(fake.seen(&format!("{name} *")).is_empty(), "the upstream was asked");
    }
    // What is below an apex has none of its own.
    server.ask("a.example SOA").nodata("example");
    server.ask("ep.eastus.inference.ml.azure.com SOA").nodata("eastus.inference.ml.azure.com");
}

#[test]
fn the_ttl_is_the_records_else_the_settings() {
    let fake = FakeAzureDns::start();
    let settings = format!("{}\n[records]\nfiles = [\"records/*.toml\"]\nttl = \"90s\"\n", fake.rule("."));
    let records =
        record("plain.example", "A", &["10.0.0.1"]) + &record_with("own.example", "A", &["10.0.0.2"], "ttl = \"5m\"");
    let server = Pldns::start(&settings, &records);
    server.ask("plain.example A").answers(&["plain.example 90 IN A 10.0.0.1"]);
    server.ask("own.example A").answers(&["own.example 300 IN A 10.0.0.2"]);
}

#[test]
fn every_type_of_presentation_form_is_served() {
    // Type, data as written in the file, data on the wire.
    let cases = [
        ("A", "10.0.0.1", r"\# 4 0a000001"),
        ("AAAA", "fd00::1", r"\# 16 fd000000000000000000000000000001"),
        ("MX", "10 mail.example.", r"\# 16 000a046d61696c076578616d706c6500"),
        ("TXT", r#""hello world" "x""#, r"\# 14 0b68656c6c6f20776f726c640178"),
        ("SRV", "1 2 443 target.example.", r"\# 22 0001000201bb06746172676574076578616d706c6500"),
        ("NS", "ns.example.", r"\# 12 026e73076578616d706c6500"),
        ("CAA", r#"0 issue "ca.example""#, r"\# 17 000569737375656361 2e6578616d706c65"),
        ("TLSA", "3 1 1 abcd", r"\# 5 030101abcd"),
        ("SSHFP", "1 2 abcd", r"\# 4 0102abcd"),
        ("DS", "1 8 2 abcd", r"\# 6 00010802abcd"),
        ("HTTPS", "1 . alpn=h2", r"\# 10 000100000100030268 32"),
        ("SVCB", "0 svc.example.", r"\# 15 0000 03737663076578616d706c6500"),
        ("NAPTR", r#"1 2 "s" "x" "" ."#, r"\# 10 00010002017301780000"),
        ("HINFO", r#""cpu" "os""#, r"\# 7 03637075026f73"),
        ("TYPE65280", r"\# 3 abcdef", r"\# 3 abcdef"),
        ("TYPE65281", r"\# 0", r"\# 0"),
    ];
    let fake = FakeAzureDns::start();
    let records: String =
        cases.iter().enumerate().map(|(n, (kind, data, _))| record(&format!("n{n}.example"), kind, &[data])).collect();
    let server = Pldns::start(&fake.rule("."), &records);
    for (n, (kind, _, wire)) in cases.iter().enumerate() {
        let name = format!("n{n}.example");
        let expected = dns::rdata(dns::rtype(kind), wire);
        let got = server.ask(&format!("{name} {kind}"));
        got.rcode("NOERROR").aa();
        assert_eq!(got.message.answers.len(), 1, "{kind}: {}", got.message);
        assert_eq!(got.message.answers[0].rdata, expected, "{kind}: {}", got.message);
    }
}

#[test]
fn generic_form_serves_known_types_too() {
    let fake = FakeAzureDns::start();
    let records = record("a.example", "A", &[r"\# 4 0a000001"]) + &record("b.example", "TYPE1", &["10.0.0.2"]);
    let server = Pldns::start(&fake.rule("."), &records);
    server.ask("a.example A").answers(&["a.example 10 IN A 10.0.0.1"]);
    server.ask("b.example A").answers(&["b.example 10 IN A 10.0.0.2"]);
}

#[test]
fn one_name_may_have_several_types() {
    let fake = FakeAzureDns::start();
    let records = record("both.example", "A", &["10.0.0.1"]) + &record("both.example", "AAAA", &["fd00::1"]);
    let server = Pldns::start(&fake.rule("."), &records);
    server.ask("both.example A").answers(&["both.example 10 IN A 10.0.0.1"]);
    server.ask("both.example AAAA").answers(&["both.example 10 IN AAAA fd00::1"]);
    server.ask("both.example TXT").nodata("both.example");
}

#[test]
fn names_compare_as_labels_never_as_text() {
    let fake = FakeAzureDns::start();
    fake.answer("a.b.example A", &["a.b.example 60 IN A 192.0.2.1"]);
    fake.answer(r"x\000.example A", &[r"x\000.example 60 IN A 192.0.2.2"]);
    let records = record(r"a\.b.example", "A", &["10.0.0.1"]) + &record("x.example", "A", &["10.0.0.2"]);
    let server = Pldns::start(&fake.rule("."), &records);
    server.ask(r"a\.b.example A").aa().answers(&[r"a\.b.example 10 IN A 10.0.0.1"]);
    server.ask("a.b.example A").no_aa().answers(&["a.b.example 60 IN A 192.0.2.1"]);
    server.ask(r"x\000.example A").no_aa().answers(&[r"x\000.example 60 IN A 192.0.2.2"]);
}

#[test]
fn a_name_beside_the_table_is_forwarded() {
    let fake = FakeAzureDns::start();
    fake.answer("eastus.api.azureml.ms A", &["eastus.api.azureml.ms 60 IN A 192.0.2.1"]);
    fake.answer(&format!("x.{API} A"), &[&format!("x.{API} 60 IN A 192.0.2.2")]);
    let server = Pldns::start(&fake.rule("."), RECORDS);
    server.ask("eastus.api.azureml.ms A").no_aa().ra().answers(&["eastus.api.azureml.ms 60 IN A 192.0.2.1"]);
    server.ask(&format!("x.{API} A")).no_aa().answers(&[format!("x.{API} 60 IN A 192.0.2.2")]);
}

#[test]
fn a_zone_may_say_that_what_is_missing_does_not_exist() {
    let fake = FakeAzureDns::start();
    let settings = zone("corp.example", "nxdomain") + &fake.rule(".");
    let server = Pldns::start(&settings, &record("a.corp.example", "A", &["10.0.0.1"]));
    server.ask("a.corp.example A").aa().answers(&["a.corp.example 10 IN A 10.0.0.1"]);
    for kind in ["A", "AAAA", "TXT", "CNAME", "ANY"] {
        server.ask(&format!("b.corp.example {kind}")).nxdomain("corp.example");
    }
    server.ask("x.y.z.corp.example A").nxdomain("corp.example");
    // Below an existing name that is no wildcard there is nothing either.
    server.ask("x.a.corp.example A").nxdomain("corp.example");
    // The apex exists.
    server.ask("corp.example A").nodata("corp.example");
    let soa = server.ask("corp.example SOA");
    soa.rcode("NOERROR").aa();
    assert_eq!(soa.message.answers.len(), 1, "{}", soa.message);
    assert_eq!(soa.message.answers[0].rtype, 6, "{}", soa.message);
    assert!(fake.seen("b.corp.example *").is_empty() && fake.seen("corp.example *").is_empty());
}

#[test]
fn the_longest_zone_says_what_a_missing_name_means() {
    let fake = FakeAzureDns::start();
    fake.answer("x.open.corp.example A", &["x.open.corp.example 60 IN A 192.0.2.1"]);
    fake.answer("notcorp.example A", &["notcorp.example 60 IN A 192.0.2.2"]);
    let settings = zone("corp.example", "nxdomain") + &zone("open.corp.example", "forward") + &fake.rule(".");
    let server = Pldns::start(&settings, "");
    server.ask("x.open.corp.example A").no_aa().answers(&["x.open.corp.example 60 IN A 192.0.2.1"]);
    server.ask("x.corp.example A").nxdomain("corp.example");
    server.ask("notcorp.example A").answers(&["notcorp.example 60 IN A 192.0.2.2"]);
}

#[test]
fn any_is_answered_with_the_least() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    server.ask(&format!("{API} ANY")).rcode("NOERROR").aa().answers(&[format!(r#"{API} * IN HINFO "RFC8482" """#)]);
    let name = "ep.eastus.inference.ml.azure.com";
    server.ask(&format!("{name} ANY")).rcode("NOERROR").answers(&[format!(r#"{name} * IN HINFO "RFC8482" """#)]);
}

#[test]
fn zone_transfers_are_refused() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&(zone("corp.example", "nxdomain") + &fake.rule(".")), RECORDS);
    for question in [format!("{API} AXFR"), "corp.example AXFR".to_owned(), "elsewhere.example IXFR".to_owned()] {
        server.ask(&question).rcode("REFUSED").no_answers().some_ede();
        Query::new(&question).tcp().ask_at(server.address()).rcode("REFUSED").no_answers().some_ede();
    }
    assert!(fake.seen("elsewhere.example *").is_empty());
}

#[test]
fn opcodes_other_than_query_are_not_implemented() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    for opcode in [1, 2, 3, 4, 5, 6, 15] {
        let got = Query::new(&format!("{API} SOA")).opcode(opcode).ask_at(server.address());
        got.rcode("NOTIMP").no_answers().some_ede();
    }
}

#[test]
fn classes_other_than_in_are_refused() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    for class in [0, 2, 3, 4, 254, 255, 65_280] {
        for name in [API, "elsewhere.example", "version.bind"] {
            let got = Query::new(&format!("{name} TXT")).class(class).ask_at(server.address());
            got.rcode("REFUSED").no_answers().some_ede();
        }
    }
    assert!(fake.seen("elsewhere.example *").is_empty());
}

#[test]
fn without_recursion_desired_only_the_table_answers() {
    let fake = FakeAzureDns::start();
    fake.answer("elsewhere.example A", &["elsewhere.example 60 IN A 192.0.2.1"]);
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let ask = |question: &str| Query::new(question).no_rd().ask_at(server.address());
    ask(&format!("{API} A")).rcode("NOERROR").aa().ra().answers(&[format!("{API} 10 IN A 10.1.0.5")]);
    ask(&format!("{API} AAAA")).nodata(API);
    ask("elsewhere.example A").rcode("REFUSED").ede(20).no_answers().no_aa();
    assert!(fake.seen("elsewhere.example *").is_empty());
    // Nor does the cache tell what others asked (cache snooping).
    server.ask("elsewhere.example A").rcode("NOERROR");
    ask("elsewhere.example A").rcode("REFUSED").ede(20).no_answers();
}

#[test]
fn several_files_make_one_table_and_the_same_record_twice_is_fine() {
    let fake = FakeAzureDns::start();
    let server = {
        let mut server = Setup::new(&fake.rule("."), &record("a.example", "A", &["10.0.0.1"])).start();
        server.write(
            "records/more.toml",
            &(record("b.example", "A", &["10.0.0.2"]) + &record("A.example", "A", &["10.0.0.1"])),
        );
        server.write("records/none.txt", "not = [\"toml of ours\"]");
        server.signal(libc::SIGHUP);
        server.wait_for("reloaded");
        server
    };
    server.ask("a.example A").answers(&["a.example 10 IN A 10.0.0.1"]);
    server.ask("b.example A").answers(&["b.example 10 IN A 10.0.0.2"]);
}

#[test]
fn an_empty_table_forwards_everything() {
    let fake = FakeAzureDns::start();
    fake.gives("a.example A", Answer::of(&["a.example 60 IN A 192.0.2.1"]));
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("a.example A").no_aa().ra().answers(&["a.example 60 IN A 192.0.2.1"]);
}

#[test]
fn cd_is_copied_and_ad_is_never_claimed_for_the_table() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    for kind in ["A", "AAAA"] {
        let query = Query::new(&format!("{API} {kind}"));
        query.flag(dns::AD | dns::CD).ask_at(server.address()).cd().no_ad();
    }
}

#[test]
fn addresses_rotate_for_a_client_that_always_asks_for_both_families() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), &record("two.example", "A", &["10.0.0.1", "10.0.0.2"]));
    // As glibc asks: A and AAAA from one socket, again and again.
    let socket = client(None, server.address());
    let ask = |question: &str| {
        let query = Query::new(question);
        socket.send(&query.bytes()).unwrap();
        let bytes = receive(&socket, Duration::from_secs(5)).expect("an answer");
        query.check(&bytes).unwrap_or_else(|why| panic!("{why}\n{}", dns::show(&bytes)))
    };
    let mut first = HashSet::new();
    for _ in 0..60 {
        first.insert(ask("two.example A").answers[0].rdata.clone());
        ask("two.example AAAA");
    }
    assert_eq!(first.len(), 2, "every address stands first at times");
}
