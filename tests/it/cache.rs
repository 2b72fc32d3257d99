//! Cached answers and questions in flight: asked once, used as long as they say, kept apart where they differ.

use crate::common::ask::{client, receive};
use crate::common::{Answer, FakeAzureDns, Play, Pldns, Query, Script, dns};
use std::collections::HashSet;
use std::thread;
use std::time::Duration;

#[test]
fn do_and_cd_reach_the_upstream_and_are_cached_apart() {
    let fake = FakeAzureDns::start();
    fake.answer("a.example A", &["a.example 60 IN A 192.0.2.1"]);
    let server = Pldns::start(&fake.rule("."), "");
    for _ in 0..2 {
        for (do_bit, cd) in [(0, 0), (dns::DO, 0), (0, dns::CD), (dns::DO, dns::CD)] {
            let got = Query::new("a.example A").edns_flags(do_bit).flag(cd).ask_at(server.address());
            got.rcode("NOERROR");
            assert_eq!(got.message.flags & dns::CD, cd, "CD is copied: {}", got.message);
        }
    }
    let asked: HashSet<(bool, bool)> = fake
        .seen("a.example A")
        .iter()
        .map(|seen| (seen.message.opt.as_ref().unwrap().flags & dns::DO != 0, seen.message.has(dns::CD)))
        .collect();
    assert_eq!(asked.len(), 4, "each of DO and CD once: {asked:?}");
    assert_eq!(fake.seen("a.example A").len(), 4, "the second round comes from the cache");
}

#[test]
fn answers_are_cached_and_their_ttl_counts_down() {
    let fake = FakeAzureDns::start();
    fake.answer("a.example A", &["a.example 300 IN CNAME b.example", "b.example 60 IN A 192.0.2.1"]);
    fake.gives("no.example A", Answer::negative("NXDOMAIN", "example"));
    let server = Pldns::start(&fake.rule("."), "");
    let answers = |ttls: (u32, u32)| {
        [format!("a.example {} IN CNAME b.example", ttls.0), format!("b.example {} IN A 192.0.2.1", ttls.1)]
    };
    server.ask("a.example A").answers(&answers((300, 60)));
    server.ask("no.example A").rcode("NXDOMAIN");
    thread::sleep(Duration::from_millis(1200));
    let got = Query::new("A.eXample A").ask_at(server.address());
    let spent = 300 - got.message.answers[0].ttl;
    assert!((1..=5).contains(&spent), "{}", got.message);
    got.answers(&answers((300 - spent, 60 - spent)));
    server.ask("no.example A").rcode("NXDOMAIN");
    assert_eq!(fake.seen("a.example A").len(), 1);
    assert_eq!(fake.seen("no.example A").len(), 1);
}

#[test]
fn an_answer_is_not_used_longer_than_it_says() {
    let fake = FakeAzureDns::start();
    fake.on(
        "a.example A",
        Script::udp([Play::answers(&["a.example 1 IN A 192.0.2.1"]), Play::answers(&["a.example 60 IN A 192.0.2.2"])]),
    );
    fake.on(
        "zero.example A",
        Script::udp([
            Play::answers(&["zero.example 0 IN A 192.0.2.1"]),
            Play::answers(&["zero.example 0 IN A 192.0.2.2"]),
        ]),
    );
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("zero.example A").answers(&["zero.example 0 IN A 192.0.2.1"]);
    server.ask("zero.example A").answers(&["zero.example 0 IN A 192.0.2.2"]);
    server.ask("a.example A").answers(&["a.example 1 IN A 192.0.2.1"]);
    thread::sleep(Duration::from_millis(1600));
    server.ask("a.example A").answers(&["a.example 60 IN A 192.0.2.2"]);
}

#[test]
fn ttls_are_capped_at_an_hour() {
    let fake = FakeAzureDns::start();
    fake.answer("long.example A", &["long.example 86400 IN A 192.0.2.1"]);
    let server = Pldns::start(&fake.rule("."), "");
    for _ in 0..2 {
        let got = server.ask("long.example A");
        assert!((3590..=3600).contains(&got.message.answers[0].ttl), "{}", got.message);
    }
}

#[test]
fn identical_questions_in_flight_are_asked_once() {
    let fake = FakeAzureDns::start();
    let slow = Play::silence().then(800, Answer::of(&["a.example 60 IN A 192.0.2.1"]));
    fake.on("a.example A", Script::udp([slow]));
    let server = Pldns::start(&fake.rule("."), "");
    // 1,000 clients' questions, different in all that may not matter: ID, case, EDNS or none, size, options, address.
    let sockets: Vec<_> =
        (0..50).map(|n| client(Some(format!("127.0.9.{}", n + 1).parse().unwrap()), server.address())).collect();
    let queries: Vec<Query> = (0..1000)
        .map(|n| {
            let query = Query::new(if n % 2 == 0 { "a.example A" } else { "A.ExamplE A" });
            match n % 5 {
                0 => query.no_edns(),
                1 => query.edns_size(4096),
                2 => query.option(8, &[0, 1, 24, 0, 10, (n / 256) as u8, (n % 256) as u8]),
                3 => query.option(10, &(n as u64).to_be_bytes()),
                _ => query,
            }
        })
        .collect();
    for (n, query) in queries.iter().enumerate() {
        // Paced, so that the kernel's queue never overflows: what is shown here is coalescing, not speed.
        if n % 50 == 49 {
            thread::sleep(Duration::from_millis(8));
        }
        sockets[n % 50].send(&query.bytes()).unwrap();
    }
    for (n, socket) in sockets.iter().enumerate() {
        for _ in 0..20 {
            let bytes = receive(socket, Duration::from_secs(5)).expect("every client is answered");
            let mine = queries.iter().skip(n).step_by(50);
            let fits = mine.filter(|query| query.check(&bytes).is_ok()).count();
            assert!(fits >= 1, "an answer to nobody: {}", dns::show(&bytes));
        }
    }
    let seen = fake.seen("a.example A");
    assert!((1..=3).contains(&seen.len()), "one upstream query for all, and repeats after 400 ms: {}", seen.len());
    let stopped = server.stop();
    assert_eq!((stopped.received, stopped.answered), (1000, 1000));
}

#[test]
fn a_question_over_tcp_and_udp_is_one_question() {
    let fake = FakeAzureDns::start();
    let slow = Play::silence().then(350, Answer::of(&["a.example 60 IN A 192.0.2.1"]));
    fake.on("a.example A", Script::udp([slow]));
    let server = Pldns::start(&fake.rule("."), "");
    let address = server.address();
    thread::scope(|scope| {
        scope.spawn(|| {
            Query::new("a.example A").ask_at(address).rcode("NOERROR");
        });
        scope.spawn(|| {
            Query::new("a.example A").tcp().ask_at(address).rcode("NOERROR");
        });
    });
    // A query that is late is repeated after 400 ms.
    let seen = fake.seen("a.example A");
    assert!(seen.len() == 1 || seen[1].at - seen[0].at >= Duration::from_millis(350), "{} queries", seen.len());
}

#[test]
fn each_rules_answers_are_cached_by_the_question_asked_alone() {
    // What rule A's upstream says beside the answer never becomes rule B's answer (RFC 5452, MaginotDNS).
    let (a, b) = (FakeAzureDns::start(), FakeAzureDns::start());
    a.gives(
        "x.a.example A",
        Answer::of(&["x.a.example 60 IN CNAME v.b.example", "v.b.example 60 IN A 203.0.113.66"])
            .authority(&["b.example 60 IN NS evil.a.example"])
            .additional(&["w.b.example 60 IN A 203.0.113.66"]),
    );
    for name in ["v.b.example", "w.b.example"] {
        b.answer(&format!("{name} A"), &[&format!("{name} 60 IN A 192.0.2.1")]);
    }
    let server = Pldns::start(&(a.rule("a.example") + &b.rule("b.example")), "");
    server.ask("x.a.example A").rcode("NOERROR");
    for name in ["v.b.example", "w.b.example"] {
        server.ask(&format!("{name} A")).answers(&[format!("{name} 60 IN A 192.0.2.1")]);
    }
}
