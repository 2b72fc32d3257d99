//! How long a query may take, how often an upstream is asked, which one next, and what is said when none answers.

use crate::common::ask::{client, receive};
use crate::common::cast::{API, RECORDS, record};
use crate::common::fake::dead_address;
use crate::common::{Answer, FakeAzureDns, Play, Pldns, Query, Script, Transport, dns};
use std::collections::HashSet;
use std::time::{Duration, Instant};

fn two(first: &FakeAzureDns, second: &FakeAzureDns) -> String {
    format!("[[forward]]\nzone = \".\"\nupstreams = [\"{}\", \"{}\"]\n", first.address(), second.address())
}

#[test]
fn a_silent_upstream_is_asked_eight_times_at_most_each_time_anew() {
    let fake = FakeAzureDns::start();
    fake.on("dead.example A", Script::udp([Play::silence()]));
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let got = server.ask("dead.example A");
    got.rcode("SERVFAIL").ede(22).no_answers().not_before(Duration::from_secs(4));
    let seen = fake.seen("dead.example A");
    let udp: Vec<_> = seen.iter().filter(|one| one.transport == Transport::Udp).collect();
    assert!((4..=8).contains(&seen.len()), "{} tries", seen.len());
    let ids: HashSet<u16> = udp.iter().map(|one| one.id()).collect();
    let ports: HashSet<u16> = udp.iter().map(|one| one.source.port()).collect();
    assert_eq!((ids.len(), ports.len()), (udp.len(), udp.len()), "each try has its own ID and port");
    let pause = udp[1].at - udp[0].at;
    assert!(pause.as_millis() >= 350, "asked again after {pause:?}");
    // The table does not wait for anybody.
    server.ask(&format!("{API} A")).rcode("NOERROR").before_deadline();
}

#[test]
fn one_lost_query_costs_a_moment() {
    let fake = FakeAzureDns::start();
    let script = Script::udp([Play::silence(), Play::answers(&["a.example 60 IN A 192.0.2.1"])]);
    fake.on("a.example A", script);
    let server = Pldns::start(&fake.rule("."), "");
    server
        .ask("a.example A")
        .answers(&["a.example 60 IN A 192.0.2.1"])
        .not_before(Duration::from_millis(350))
        .before_deadline();
}

#[test]
fn a_late_answer_to_an_earlier_try_is_still_good() {
    let fake = FakeAzureDns::start();
    let late = Play::silence().then(1500, Answer::of(&["a.example 60 IN A 192.0.2.1"]));
    fake.on("a.example A", Script::udp([late, Play::silence()]));
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("a.example A").answers(&["a.example 60 IN A 192.0.2.1"]).before_deadline();
}

#[test]
fn the_next_of_several_upstreams_is_asked_after_300_milliseconds() {
    let (first, second) = (FakeAzureDns::start(), FakeAzureDns::start());
    for n in 0..4 {
        let name = format!("n{n}.example");
        first.on(&format!("{name} A"), Script::udp([Play::silence()]));
        second.answer(&format!("{name} A"), &[&format!("{name} 60 IN A 192.0.2.1")]);
    }
    let server = Pldns::start(&two(&first, &second), "");
    for n in 0..4 {
        let name = format!("n{n}.example");
        let got = server.ask(&format!("{name} A"));
        got.answers(&[format!("{name} 60 IN A 192.0.2.1")]).before_deadline();
        let silent = first.seen(&format!("{name} A"));
        let spoke = second.seen(&format!("{name} A"));
        // After three silences the first is taken for down: then both are asked at once, the first to see whether it is back.
        if n < 3 {
            let pause = spoke[0].at - silent[0].at;
            assert!(pause.as_millis() >= 250, "the next was asked after {pause:?}");
        }
    }
}

#[test]
fn a_dead_upstream_beside_a_living_one_is_left_alone_after_a_while() {
    let living = FakeAzureDns::start();
    for n in 0..20 {
        living.answer(&format!("n{n}.example A"), &[&format!("n{n}.example 60 IN A 192.0.2.1")]);
    }
    let settings =
        format!("[[forward]]\nzone = \".\"\nupstreams = [\"{}\", \"{}\"]\n", dead_address(), living.address());
    let server = Pldns::start(&settings, "");
    for n in 0..20 {
        let got = server.ask(&format!("n{n}.example A"));
        got.rcode("NOERROR").before_deadline();
    }
}

#[test]
fn failures_of_one_upstream_lead_to_the_next() {
    for rcode in ["SERVFAIL", "REFUSED"] {
        let (bad, good) = (FakeAzureDns::start(), FakeAzureDns::start());
        for n in 0..3 {
            bad.gives(&format!("n{n}.example A"), Answer::of(&[]).rcode(rcode));
            good.answer(&format!("n{n}.example A"), &[&format!("n{n}.example 60 IN A 192.0.2.1")]);
        }
        let server = Pldns::start(&two(&bad, &good), "");
        for n in 0..3 {
            server.ask(&format!("n{n}.example A")).rcode("NOERROR").before_deadline();
        }
    }
}

#[test]
fn an_unreachable_upstream_fails_in_time_and_with_a_reason() {
    let settings = format!("[[forward]]\nzone = \".\"\nupstreams = [\"{}\"]\n", dead_address());
    let server = Pldns::start(&settings, RECORDS);
    let got = server.ask("a.example A");
    got.rcode("SERVFAIL").no_answers();
    let codes: Vec<u16> = got.extended_errors().into_iter().map(|(code, _)| code).collect();
    assert!(codes.iter().any(|code| [22, 23].contains(code)), "extended error 22 or 23, not {codes:?}");
    server.ask(&format!("{API} A")).rcode("NOERROR").before_deadline();
}

#[test]
fn an_alias_out_of_the_table_to_a_dead_upstream_fails_with_a_reason() {
    let fake = FakeAzureDns::start();
    fake.on("dead.example A", Script::udp([Play::silence()]));
    let server = Pldns::start(&fake.rule("."), &record("a.test", "CNAME", &["dead.example."]));
    server.ask("a.test A").rcode("SERVFAIL").ede(22);
}

#[test]
fn an_upstream_that_comes_back_is_used_at_once() {
    let fake = FakeAzureDns::start();
    for n in 0..5 {
        fake.answer(&format!("n{n}.example A"), &[&format!("n{n}.example 60 IN A 192.0.2.1")]);
    }
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("n0.example A").rcode("NOERROR");
    fake.be_silent(true);
    server.ask("n1.example A").rcode("SERVFAIL").ede(22);
    fake.be_silent(false);
    for n in 2..5 {
        server.ask(&format!("n{n}.example A")).rcode("NOERROR").before_deadline();
    }
}

#[test]
fn a_silent_upstream_does_not_delay_the_start() {
    let fake = FakeAzureDns::start();
    fake.be_silent(true);
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let address = fake.address().to_string();
    let of_upstream = |event: &serde_json::Value| event["upstream"] == address.as_str();
    assert!(!server.events().iter().any(of_upstream), "ready before anything is known of the upstream");
    server.ask(&format!("{API} A")).rcode("NOERROR").before_deadline();
}

#[test]
fn sockets_of_queries_that_nobody_answered_are_given_back() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    server.ask(&format!("{API} A")).rcode("NOERROR");
    server.ask("first.example A").rcode("NXDOMAIN");
    let before = server.descriptors();
    fake.be_silent(true);
    let socket = client(None, server.address());
    let count = 150;
    for n in 0..count {
        socket.send(&Query::new(&format!("n{n}.example A")).bytes()).unwrap();
    }
    for _ in 0..count {
        let answer = receive(&socket, Duration::from_secs(20)).expect("a failure is an answer");
        assert_eq!(answer[3] & 0xf, 2, "{}", dns::show(&answer));
    }
    // The upstream is as silent as before: nothing but time may be needed to give sockets back.
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut after = server.descriptors();
    while after > before + 10 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
        after = server.descriptors();
    }
    assert!(after <= before + 10, "{before} descriptors before, {after} after all was settled");
}

#[test]
fn a_flood_of_names_nobody_answers_leaves_the_table_alone() {
    let fake = FakeAzureDns::start();
    fake.be_silent(true);
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let socket = client(None, server.address());
    for n in 0..2000 {
        socket.send(&Query::new(&format!("n{n}.example A")).bytes()).unwrap();
        if n % 50 == 49 {
            server.ask(&format!("{API} A")).rcode("NOERROR").before_deadline();
            Query::new(&format!("{API} A")).tcp().ask_at(server.address()).before_deadline();
        }
    }
    fake.be_silent(false);
    let end = Instant::now() + Duration::from_secs(20);
    while server.ask("back.example A").message.rcode() != 3 {
        assert!(Instant::now() < end, "the upstream is not used again");
    }
}
