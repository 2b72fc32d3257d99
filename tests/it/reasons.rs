//! What clients are told of upstreams that fail, and when.

use crate::common::fake::dead_address;
use crate::common::{Answer, FakeAzureDns, Play, Pldns, Script, dns};

#[test]
fn a_refused_connection_is_named() {
    let upstream = dead_address();
    let server = Pldns::start(&format!("[[forward]]\nzone = \".\"\nupstreams = [\"{upstream}\"]\n"), "");
    let got = server.ask("a.example A");
    got.rcode("SERVFAIL").ede(23);
    assert_eq!(text_of(&got.message), format!("{upstream}: connection refused"));
}

#[test]
fn silence_is_named() {
    let fake = FakeAzureDns::start();
    fake.be_silent(true);
    let server = Pldns::start(&fake.rule("."), "");
    let got = server.ask("a.example A");
    got.rcode("SERVFAIL").ede(22);
    assert_eq!(text_of(&got.message), format!("{}: timed out", fake.address()));
}

#[test]
fn an_answer_that_fits_no_datagram_fails_at_once_where_tcp_is_refused() {
    let fake = FakeAzureDns::start_without_tcp();
    fake.on("a.example A", Script::udp([Play::of(Answer::of(&[]).flag(dns::TC))]));
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("a.example A").rcode("SERVFAIL").ede(23);
    assert_eq!(fake.seen("a.example A").len(), 1, "further datagrams would say the same");
}

#[test]
fn an_upstream_that_drops_our_option_answers_the_third_question_at_once() {
    let fake = FakeAzureDns::start_without_tcp();
    for n in 0..3 {
        let answer = move |without: usize| {
            let line = format!("n{n}.example 60 IN A 192.0.2.1");
            (0..without).map(|_| Play::silence()).chain([Play::of(Answer::of(&[&line]))]).collect::<Vec<_>>()
        };
        // The forms with our option come first: of the first question all but TCP, of the second one.
        let plays = match n {
            0 => answer(2),
            1 => answer(1),
            _ => answer(0),
        };
        fake.on(&format!("n{n}.example A"), Script::udp(plays));
    }
    let server = Pldns::start(&fake.rule("."), "");
    let option = |n: usize| {
        let seen = fake.seen(&format!("n{n}.example A"));
        seen.iter().map(|one| one.options().len()).collect::<Vec<_>>()
    };
    for n in 0..3 {
        server.ask(&format!("n{n}.example A")).answers(&[&format!("n{n}.example 60 IN A 192.0.2.1")]);
    }
    assert_eq!(option(0), [1, 1, 0], "two with it, one without");
    assert_eq!(option(1), [1, 0], "the second try of the next question finds out");
    assert_eq!(option(2), [0], "remembered");
}

/// The text of the extended error.
fn text_of(message: &dns::Message) -> String {
    let options = &message.opt.as_ref().unwrap().options;
    let (_, data) = options.iter().find(|(code, _)| *code == 15).unwrap();
    String::from_utf8(data[2..].to_vec()).unwrap()
}
