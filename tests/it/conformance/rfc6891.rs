use crate::common::ask::{client, receive};
use crate::common::cast::{API, RECORDS};
use crate::common::{FakeAzureDns, Pldns, Query, dns};
use std::time::Duration;

fn server(fake: &FakeAzureDns) -> Pldns {
    Pldns::start(&fake.rule("."), RECORDS)
}

#[test]
fn s_6_1_1_an_answer_has_an_opt_if_and_only_if_the_query_had_one() {
    // The rule itself is checked in every ask.
    let fake = FakeAzureDns::start();
    fake.answer("f.example A", &["f.example 60 IN A 192.0.2.1"]);
    let server = server(&fake);
    for question in [&format!("{API} A"), &format!("{API} TXT"), "f.example A", "none.example A", "x.invalid A"] {
        for query in [Query::new(question), Query::new(question).no_edns()] {
            query.ask_at(server.address());
            query.tcp().ask_at(server.address());
        }
    }
}

#[test]
fn s_6_1_1_more_than_one_opt_is_a_format_error() {
    let fake = FakeAzureDns::start();
    let server = server(&fake);
    let mut message = Query::new(&format!("{API} A")).bytes();
    message[11] = 2;
    message.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    let socket = client(None, server.address());
    socket.send(&message).unwrap();
    let answer = receive(&socket, Duration::from_secs(5)).expect("an answer");
    assert_eq!(answer[3] & 0xf, 1, "{}", dns::show(&answer));
}

#[test]
fn s_6_1_1_the_opt_may_stand_anywhere_in_the_additional_section() {
    let fake = FakeAzureDns::start();
    let server = server(&fake);
    let query = Query::new(&format!("{API} A")).no_edns();
    let mut message = query.bytes();
    message[11] = 2;
    message.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    dns::record("other.example 0 IN A 192.0.2.1").write(&mut message, None);
    let socket = client(None, server.address());
    socket.send(&message).unwrap();
    let answer = dns::Message::parse(&receive(&socket, Duration::from_secs(5)).expect("an answer")).unwrap();
    assert_eq!(answer.rcode(), 0, "{answer}");
    assert!(answer.opt.is_some(), "{answer}");
}

#[test]
fn s_6_1_2_unknown_options_are_ignored() {
    let fake = FakeAzureDns::start();
    let server = server(&fake);
    for (code, data) in [(0, &b""[..]), (65_535, b"x"), (4, &[0; 200]), (11, b""), (12, &[0; 100])] {
        let got = Query::new(&format!("{API} A")).option(code, data).ask_at(server.address());
        got.rcode("NOERROR").answers(&[format!("{API} 10 IN A 10.1.0.5")]);
    }
}

#[test]
fn s_6_1_3_a_higher_version_gets_badvers_and_our_version() {
    let fake = FakeAzureDns::start();
    let server = server(&fake);
    for query in [Query::new("f.example A"), Query::new(&format!("{API} A")), Query::new("f.example A").tcp()] {
        let got = query.edns_version(1).ask_at(server.address());
        got.rcode("BADVERS").no_answers();
        assert_eq!(got.opt().version, 0, "{}", got.message);
    }
    assert!(fake.seen("f.example *").is_empty(), "it went upstream all the same");
}

#[test]
fn s_6_1_4_do_is_copied_and_z_is_zero() {
    let fake = FakeAzureDns::start();
    let server = server(&fake);
    for question in [format!("{API} A"), format!("{API} TXT"), "x.invalid A".to_owned()] {
        let with = Query::new(&question).edns_flags(0xffff).ask_at(server.address());
        assert_eq!(with.opt().flags, dns::DO, "{}", with.message);
        let without = Query::new(&question).edns_flags(0x7fff).ask_at(server.address());
        assert_eq!(without.opt().flags, 0, "{}", without.message);
    }
}

#[test]
fn s_6_2_3_sizes_below_512_are_512() {
    let fake = FakeAzureDns::start();
    let server = server(&fake);
    for size in [0, 1, 511] {
        Query::new(&format!("{API} A")).edns_size(size).ask_at(server.address()).no_tc().aa();
    }
}

#[test]
fn s_6_2_6_the_opt_is_of_this_hop_only() {
    let fake = FakeAzureDns::start();
    fake.answer("f.example A", &["f.example 60 IN A 192.0.2.1"]);
    let server = server(&fake);
    Query::new("f.example A").edns_size(700).option(65_001, b"hop").ask_at(server.address()).rcode("NOERROR");
    let seen = fake.wait_for("f.example A", 1);
    let opt = seen[0].message.opt.as_ref().expect("EDNS of our own");
    assert_eq!(opt.size, 1232);
    assert!(opt.options.iter().all(|(code, _)| *code != 65_001), "{:?}", opt.options);
}

#[test]
fn s_7_errors_carry_the_opt_too() {
    let fake = FakeAzureDns::start();
    let server = server(&fake);
    Query::new("f.example A").no_rd().ask_at(server.address()).rcode("REFUSED").opt();
    Query::new(&format!("{API} A")).opcode(2).ask_at(server.address()).rcode("NOTIMP").opt();
}
