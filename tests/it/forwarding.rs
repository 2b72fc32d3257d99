//! Forwarding: which upstream, what goes there, what comes back, how long it may take, how often it is asked.

use crate::common::ask::{client, receive};
use crate::common::cast::{API, RECORDS, record};
use crate::common::fake::dead_address;
use crate::common::{Answer, FakeAzureDns, Play, Pldns, Query, Script, Transport, dns};
use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

/// The patience of one query, with what a busy machine adds.
const PATIENCE: Duration = Duration::from_millis(4900);

fn two(first: &FakeAzureDns, second: &FakeAzureDns) -> String {
    format!(
        "[[forward]]\nzone = \".\"\nupstreams = [\"{}\", \"{}\"]\n",
        first.address(),
        second.address()
    )
}

#[test]
fn the_longest_rule_wins() {
    let (root, corp, lab) = (FakeAzureDns::start(), FakeAzureDns::start(), FakeAzureDns::start());
    for name in [
        "a.example",
        "corp.example",
        "a.corp.example",
        "a.lab.corp.example",
        "a.notcorp.example",
    ] {
        for (fake, address) in [(&root, "192.0.2.1"), (&corp, "192.0.2.2"), (&lab, "192.0.2.3")] {
            fake.answer(&format!("{name} A"), &[&format!("{name} 60 IN A {address}")]);
        }
    }
    let settings = lab.rule("lab.corp.example") + &root.rule(".") + &corp.rule("Corp.Example.");
    let server = Pldns::start(&settings, "");
    for (name, address) in [
        ("a.example", "192.0.2.1"),
        ("a.notcorp.example", "192.0.2.1"),
        ("corp.example", "192.0.2.2"),
        ("A.CORP.example", "192.0.2.2"),
        ("a.lab.corp.example", "192.0.2.3"),
    ] {
        server
            .ask(&format!("{name} A"))
            .answers(&[format!("{name} 60 IN A {address}")]);
    }
}

#[test]
fn the_upstreams_answer_goes_through_whole() {
    let fake = FakeAzureDns::start();
    let answer = Answer::of(&[
        "srv.example 70 IN SRV 0 0 443 host.example",
        "srv.example 70 IN SRV 1 0 443 other.example",
    ])
    .authority(&["example 80 IN NS ns.example"])
    .additional(&["host.example 90 IN A 192.0.2.1", "ns.example 90 IN AAAA 2001:db8::53"])
    .flag(dns::AD)
    .option(15, &[0, 3, b's', b't', b'a', b'l', b'e']);
    fake.gives("srv.example SRV", answer);
    fake.answer("odd.example TYPE65400", &[r"odd.example 60 IN TYPE65400 \# 3 abcdef"]);
    fake.answer(
        "web.example HTTPS",
        &[r"web.example 60 IN HTTPS \# 10 00010000010003026832"],
    );
    fake.gives("no.example A", Answer::negative("NXDOMAIN", "example"));
    fake.gives("empty.example AAAA", Answer::negative("NOERROR", "example"));
    let server = Pldns::start(&fake.rule("."), "");
    let got = Query::new("Srv.Example SRV").flag(dns::AD).ask_at(server.address());
    got.rcode("NOERROR").no_aa().ra().ad().no_tc();
    got.answers(&[
        "srv.example 70 IN SRV 0 0 443 host.example",
        "srv.example 70 IN SRV 1 0 443 other.example",
    ])
    .authority(&["example 80 IN NS ns.example"])
    .additional(&["host.example 90 IN A 192.0.2.1", "ns.example 90 IN AAAA 2001:db8::53"])
    .ede(3);
    assert_eq!(
        got.extended_errors(),
        [(3, "stale".to_owned())],
        "the upstream's own words"
    );
    server
        .ask("odd.example TYPE65400")
        .answers(&[r"odd.example 60 IN TYPE65400 \# 3 abcdef"]);
    server
        .ask("web.example HTTPS")
        .answers(&[r"web.example 60 IN HTTPS \# 10 00010000010003026832"]);
    let missing = server.ask("no.example A");
    missing.rcode("NXDOMAIN").no_aa().no_answers();
    assert_eq!(
        missing.message.authorities[0].name,
        dns::name("example"),
        "{}",
        missing.message
    );
    server.ask("empty.example AAAA").rcode("NOERROR").no_aa().no_answers();
}

#[test]
fn the_upstreams_aa_is_not_ours() {
    let fake = FakeAzureDns::start();
    fake.gives(
        "a.example A",
        Answer::of(&["a.example 60 IN A 192.0.2.1"]).flag(dns::AA),
    );
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("a.example A").no_aa();
    server.ask("a.example A").no_aa();
}

#[test]
fn what_goes_upstream_is_a_clean_query_of_our_own() {
    let fake = FakeAzureDns::start();
    fake.answer("a.example A", &["a.example 60 IN A 192.0.2.1"]);
    let server = Pldns::start(&fake.rule("."), "");
    let subnet = [0, 1, 24, 0, 10, 1, 2];
    let query = Query::new("a.example A")
        .option(8, &subnet)
        .option(10, &[0x42; 8])
        .option(65_001, b"secret")
        .edns_size(4096)
        .ask_at(server.address());
    query.rcode("NOERROR");
    assert!(
        query.opt().options.iter().all(|(code, _)| *code != 8),
        "{}",
        query.message
    );
    let seen = &fake.wait_for("a.example A", 1)[0];
    let opt = seen.message.opt.as_ref().expect("EDNS upstream");
    assert_eq!((opt.size, opt.version), (1232, 0));
    assert!(
        seen.options().iter().all(|(code, _)| ![8, 65_001].contains(code)),
        "{:?}",
        seen.options()
    );
    assert!(
        seen.options().iter().all(|(_, data)| data != &[0x42; 8]),
        "the client's cookie: {:?}",
        seen.options()
    );
    assert!(
        seen.message.has(dns::RD) && !seen.message.has(dns::QR),
        "{}",
        seen.message
    );
    assert_eq!(seen.message.flags & 0x7800, 0, "{}", seen.message);
}

#[test]
fn do_and_cd_reach_the_upstream_and_are_cached_apart() {
    let fake = FakeAzureDns::start();
    fake.answer("a.example A", &["a.example 60 IN A 192.0.2.1"]);
    let server = Pldns::start(&fake.rule("."), "");
    for _ in 0..2 {
        for (do_bit, cd) in [(0, 0), (dns::DO, 0), (0, dns::CD), (dns::DO, dns::CD)] {
            let got = Query::new("a.example A")
                .edns_flags(do_bit)
                .flag(cd)
                .ask_at(server.address());
            got.rcode("NOERROR");
            assert_eq!(got.message.flags & dns::CD, cd, "CD is copied: {}", got.message);
        }
    }
    let asked: HashSet<(bool, bool)> = fake
        .seen("a.example A")
        .iter()
        .map(|seen| {
            (
                seen.message.opt.as_ref().unwrap().flags & dns::DO != 0,
                seen.message.has(dns::CD),
            )
        })
        .collect();
    assert_eq!(asked.len(), 4, "each of DO and CD once: {asked:?}");
    assert_eq!(
        fake.seen("a.example A").len(),
        4,
        "the second round comes from the cache"
    );
}

#[test]
fn answers_are_cached_and_their_ttl_counts_down() {
    let fake = FakeAzureDns::start();
    fake.answer(
        "a.example A",
        &["a.example 300 IN CNAME b.example", "b.example 60 IN A 192.0.2.1"],
    );
    fake.gives("no.example A", Answer::negative("NXDOMAIN", "example"));
    let server = Pldns::start(&fake.rule("."), "");
    let answers = |ttls: (u32, u32)| {
        [
            format!("a.example {} IN CNAME b.example", ttls.0),
            format!("b.example {} IN A 192.0.2.1", ttls.1),
        ]
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
        Script::udp([
            Play::answers(&["a.example 1 IN A 192.0.2.1"]),
            Play::answers(&["a.example 60 IN A 192.0.2.2"]),
        ]),
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
fn a_silent_upstream_is_asked_four_times_at_most_each_time_anew() {
    let fake = FakeAzureDns::start();
    fake.on("dead.example A", Script::udp([Play::silence()]));
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let got = server.ask("dead.example A");
    got.rcode("SERVFAIL")
        .ede(22)
        .no_answers()
        .within(PATIENCE)
        .not_before(Duration::from_secs(4));
    let seen = fake.seen("dead.example A");
    let udp: Vec<_> = seen.iter().filter(|one| one.transport == Transport::Udp).collect();
    assert!((2..=4).contains(&seen.len()), "{} tries", seen.len());
    let ids: HashSet<u16> = udp.iter().map(|one| one.id()).collect();
    let ports: HashSet<u16> = udp.iter().map(|one| one.source.port()).collect();
    assert_eq!(
        (ids.len(), ports.len()),
        (udp.len(), udp.len()),
        "each try has its own ID and port"
    );
    let pause = udp[1].at - udp[0].at;
    assert!((900..1400).contains(&pause.as_millis()), "asked again after {pause:?}");
    // The table does not wait for anybody.
    server
        .ask(&format!("{API} A"))
        .rcode("NOERROR")
        .within(Duration::from_millis(500));
}

#[test]
fn one_lost_query_costs_a_second() {
    let fake = FakeAzureDns::start();
    let script = Script::udp([Play::silence(), Play::answers(&["a.example 60 IN A 192.0.2.1"])]);
    fake.on("a.example A", script);
    let server = Pldns::start(&fake.rule("."), "");
    server
        .ask("a.example A")
        .answers(&["a.example 60 IN A 192.0.2.1"])
        .not_before(Duration::from_millis(900))
        .within(Duration::from_millis(1600));
}

#[test]
fn a_late_answer_to_an_earlier_try_is_still_good() {
    let fake = FakeAzureDns::start();
    let late = Play::silence().then(1500, Answer::of(&["a.example 60 IN A 192.0.2.1"]));
    fake.on("a.example A", Script::udp([late, Play::silence()]));
    let server = Pldns::start(&fake.rule("."), "");
    server
        .ask("a.example A")
        .answers(&["a.example 60 IN A 192.0.2.1"])
        .within(Duration::from_millis(2500));
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
        got.answers(&[format!("{name} 60 IN A 192.0.2.1")])
            .within(Duration::from_millis(800));
        let silent = first.seen(&format!("{name} A"));
        let spoke = second.seen(&format!("{name} A"));
        if let Some(asked) = silent.first().filter(|asked| asked.at < spoke[0].at) {
            let pause = spoke[0].at - asked.at;
            assert!(
                (250..600).contains(&pause.as_millis()),
                "the next was asked after {pause:?}"
            );
        }
    }
}

#[test]
fn a_dead_upstream_beside_a_living_one_is_left_alone_after_a_while() {
    let living = FakeAzureDns::start();
    for n in 0..20 {
        living.answer(
            &format!("n{n}.example A"),
            &[&format!("n{n}.example 60 IN A 192.0.2.1")],
        );
    }
    let settings = format!(
        "[[forward]]\nzone = \".\"\nupstreams = [\"{}\", \"{}\"]\n",
        dead_address(),
        living.address()
    );
    let server = Pldns::start(&settings, "");
    for n in 0..20 {
        let got = server.ask(&format!("n{n}.example A"));
        got.rcode("NOERROR").within(Duration::from_millis(800));
        if n >= 10 {
            got.within(Duration::from_millis(250));
        }
    }
}

#[test]
fn failures_of_one_upstream_lead_to_the_next() {
    for rcode in ["SERVFAIL", "REFUSED"] {
        let (bad, good) = (FakeAzureDns::start(), FakeAzureDns::start());
        for n in 0..3 {
            bad.gives(&format!("n{n}.example A"), Answer::of(&[]).rcode(rcode));
            good.answer(
                &format!("n{n}.example A"),
                &[&format!("n{n}.example 60 IN A 192.0.2.1")],
            );
        }
        let server = Pldns::start(&two(&bad, &good), "");
        for n in 0..3 {
            server
                .ask(&format!("n{n}.example A"))
                .rcode("NOERROR")
                .within(Duration::from_secs(1));
        }
    }
}

#[test]
fn an_upstreams_refusal_is_passed_on_where_nobody_else_answers() {
    let fake = FakeAzureDns::start();
    fake.gives(
        "fails.example A",
        Answer::of(&[]).rcode("SERVFAIL").option(15, &[0, 9, b'n', b'o']),
    );
    fake.gives("refused.example A", Answer::of(&[]).rcode("REFUSED"));
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("fails.example A").rcode("SERVFAIL").ede(9).within(PATIENCE);
    server.ask("refused.example A").rcode("REFUSED").within(PATIENCE);
    for name in ["fails.example A", "refused.example A"] {
        assert!(fake.seen(name).len() <= 4, "{name}: {} tries", fake.seen(name).len());
    }
}

#[test]
fn an_unreachable_upstream_fails_in_time_and_with_a_reason() {
    let settings = format!("[[forward]]\nzone = \".\"\nupstreams = [\"{}\"]\n", dead_address());
    let server = Pldns::start(&settings, RECORDS);
    let got = server.ask("a.example A");
    got.rcode("SERVFAIL").no_answers().within(PATIENCE);
    let codes: Vec<u16> = got.extended_errors().into_iter().map(|(code, _)| code).collect();
    assert!(
        codes.iter().any(|code| [22, 23].contains(code)),
        "extended error 22 or 23, not {codes:?}"
    );
    server
        .ask(&format!("{API} A"))
        .rcode("NOERROR")
        .within(Duration::from_millis(500));
}

#[test]
fn an_alias_out_of_the_table_to_a_dead_upstream_fails_with_a_reason() {
    let fake = FakeAzureDns::start();
    fake.on("dead.example A", Script::udp([Play::silence()]));
    let server = Pldns::start(&fake.rule("."), &record("a.test", "CNAME", &["dead.example."]));
    server.ask("a.test A").rcode("SERVFAIL").ede(22).within(PATIENCE);
}

#[test]
fn an_upstream_that_comes_back_is_used_at_once() {
    let fake = FakeAzureDns::start();
    for n in 0..5 {
        fake.answer(
            &format!("n{n}.example A"),
            &[&format!("n{n}.example 60 IN A 192.0.2.1")],
        );
    }
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("n0.example A").rcode("NOERROR");
    fake.be_silent(true);
    server.ask("n1.example A").rcode("SERVFAIL").ede(22).within(PATIENCE);
    fake.be_silent(false);
    for n in 2..5 {
        server
            .ask(&format!("n{n}.example A"))
            .rcode("NOERROR")
            .within(Duration::from_millis(1500));
    }
}

#[test]
fn identical_questions_in_flight_are_asked_once() {
    let fake = FakeAzureDns::start();
    let slow = Play::silence().then(800, Answer::of(&["a.example 60 IN A 192.0.2.1"]));
    fake.on("a.example A", Script::udp([slow]));
    let server = Pldns::start(&fake.rule("."), "");
    // 1,000 clients' questions, different in all that may not matter: ID, case, EDNS or none, size, options, address.
    let sockets: Vec<_> = (0..50)
        .map(|n| client(Some(format!("127.0.9.{}", n + 1).parse().unwrap()), server.address()))
        .collect();
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
    assert_eq!(fake.seen("a.example A").len(), 1, "one upstream query for all");
    let stopped = server.stop();
    assert_eq!((stopped.received, stopped.answered), (1000, 1000));
}

#[test]
fn a_question_over_tcp_and_udp_is_one_question() {
    let fake = FakeAzureDns::start();
    let slow = Play::silence().then(500, Answer::of(&["a.example 60 IN A 192.0.2.1"]));
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
    assert_eq!(fake.seen("a.example A").len(), 1);
}

#[test]
fn each_rules_answers_are_cached_by_the_question_asked_alone() {
    // What rule A's upstream says beside the answer never becomes rule B's answer (RFC 5452, MaginotDNS).
    let (a, b) = (FakeAzureDns::start(), FakeAzureDns::start());
    a.gives(
        "x.a.example A",
        Answer::of(&[
            "x.a.example 60 IN CNAME v.b.example",
            "v.b.example 60 IN A 203.0.113.66",
        ])
        .authority(&["b.example 60 IN NS evil.a.example"])
        .additional(&["w.b.example 60 IN A 203.0.113.66"]),
    );
    for name in ["v.b.example", "w.b.example"] {
        b.answer(&format!("{name} A"), &[&format!("{name} 60 IN A 192.0.2.1")]);
    }
    let server = Pldns::start(&(a.rule("a.example") + &b.rule("b.example")), "");
    server.ask("x.a.example A").rcode("NOERROR");
    for name in ["v.b.example", "w.b.example"] {
        server
            .ask(&format!("{name} A"))
            .answers(&[format!("{name} 60 IN A 192.0.2.1")]);
    }
}

#[test]
fn an_upstream_over_tcp_alone_can_be_named() {
    let fake = FakeAzureDns::start();
    fake.answer("a.example A", &["a.example 60 IN A 192.0.2.1"]);
    let settings = format!(
        "[[forward]]\nzone = \".\"\nupstreams = [\"tcp://{}\"]\n",
        fake.address()
    );
    let server = Pldns::start(&settings, "");
    server.ask("a.example A").answers(&["a.example 60 IN A 192.0.2.1"]);
    let seen = fake.seen("a.example A");
    assert!(seen.iter().all(|one| one.transport == Transport::Tcp), "not over TCP");
}

#[test]
fn a_silent_upstream_does_not_delay_the_start() {
    let fake = FakeAzureDns::start();
    fake.be_silent(true);
    let start = Instant::now();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    server
        .ask(&format!("{API} A"))
        .rcode("NOERROR")
        .within(Duration::from_millis(500));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "ready after {took:?}");
}
