use crate::common::cast::{API, RECORDS, record};
use crate::common::{FakeAzureDns, Pldns, Query, dns};

fn server(fake: &FakeAzureDns) -> Pldns {
    Pldns::start(&fake.rule("."), RECORDS)
}

#[test]
fn s_2_3_3_letters_compare_without_case_and_the_original_case_is_kept() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), &record("Target.Example", "A", &["10.0.0.1"]));
    let got = server.ask("tARGET.eXAMPLE A");
    got.aa().answers(&["target.example 10 IN A 10.0.0.1"]);
    assert_eq!(got.message.questions[0].name, dns::name("tARGET.eXAMPLE"));
    // Only letters: other bytes that differ by 0x20 are other names.
    let server = Pldns::start(&fake.rule("."), &record("a-b.example", "A", &["10.0.0.1"]));
    server.ask(r"a\013b.example A").rcode("NXDOMAIN").no_aa();
}

#[test]
fn s_2_3_4_names_of_255_bytes_and_labels_of_63_are_names() {
    let fake = FakeAzureDns::start();
    let label = "x".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "y".repeat(61));
    assert_eq!(dns::name(&longest).len(), 255);
    let server = Pldns::start(&fake.rule("."), &record(&longest, "A", &["10.0.0.1"]));
    server.ask(&format!("{longest} A")).rcode("NOERROR").aa().answers(&[format!("{longest} 10 IN A 10.0.0.1")]);
    server.ask(&format!("{longest} AAAA")).nodata(&longest);
}

#[test]
fn s_4_1_1_id_opcode_and_rd_are_copied_and_ra_is_set() {
    let fake = FakeAzureDns::start();
    let server = server(&fake);
    // ID, opcode, RD and Z are checked in every ask.
    for question in [format!("{API} A"), format!("{API} AAAA"), "none.example A".to_owned(), "invalid A".to_owned()] {
        server.ask(&question).ra().no_tc();
        Query::new(&question).no_rd().ask_at(server.address()).ra();
    }
}

#[test]
fn s_4_1_4_what_is_compressed_points_backwards_and_reads_back() {
    // The tests' parser takes backward pointers only, and reads to the last byte.
    let fake = FakeAzureDns::start();
    let records = record("alias.example", "CNAME", &["deep.target.example."])
        + &record("deep.target.example", "MX", &["10 mail.target.example.", "20 deep.target.example."]);
    let server = Pldns::start(&fake.rule("."), &records);
    server.ask("ALIAS.example MX").aa().answers_in_any_order(&[
        "alias.example 10 IN CNAME deep.target.example",
        "deep.target.example 10 IN MX 10 mail.target.example",
        "deep.target.example 10 IN MX 20 deep.target.example",
    ]);
}

#[test]
fn s_4_2_1_udp_without_edns_is_512_bytes_at_most() {
    let fake = FakeAzureDns::start();
    let addresses: Vec<String> = (1..=60).map(|n| format!("10.0.0.{n}")).collect();
    let records = record("big.example", "A", &addresses.iter().map(String::as_str).collect::<Vec<_>>());
    let server = Pldns::start(&fake.rule("."), &records);
    let got = Query::new("big.example A").no_edns().ask_at(server.address());
    got.tc();
    assert!(got.bytes.len() <= 512);
}

#[test]
fn s_4_2_2_tcp_messages_have_their_length_in_front() {
    let fake = FakeAzureDns::start();
    let server = server(&fake);
    let got = Query::new(&format!("{API} A")).tcp().ask_at(server.address());
    got.rcode("NOERROR").aa().answers(&[format!("{API} 10 IN A 10.1.0.5")]);
}

#[test]
fn s_7_3_answers_that_do_not_match_the_question_are_discarded() {
    use crate::common::{Answer, Play, Script};
    let fake = FakeAzureDns::start();
    let right = Answer::of(&["a.example 60 IN A 192.0.2.1"]);
    let play = Play::of(right.clone().wrong_question()).then(20, right);
    fake.on("a.example A", Script::udp([play]));
    let server = server(&fake);
    server.ask("a.example A").answers(&["a.example 60 IN A 192.0.2.1"]);
}
