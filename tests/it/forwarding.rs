//! Forwarding: which upstream is asked, what goes there, what comes back.

use crate::common::ask::{client, receive};
use crate::common::{Answer, FakeAzureDns, Play, Pldns, Query, Script, Transport, dns};
use std::time::Duration;

#[test]
fn the_longest_rule_wins() {
    let (root, corp, lab) = (FakeAzureDns::start(), FakeAzureDns::start(), FakeAzureDns::start());
    for name in ["a.example", "corp.example", "a.corp.example", "a.lab.corp.example", "a.notcorp.example"] {
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
        server.ask(&format!("{name} A")).answers(&[format!("{name} 60 IN A {address}")]);
    }
}

#[test]
fn the_upstreams_answer_goes_through_whole() {
    let fake = FakeAzureDns::start();
    let answer =
        Answer::of(&["srv.example 70 IN SRV 0 0 443 host.example", "srv.example 70 IN SRV 1 0 443 other.example"])
            .authority(&["example 80 IN NS ns.example"])
            .additional(&["host.example 90 IN A 192.0.2.1", "ns.example 90 IN AAAA 2001:db8::53"])
            .flag(dns::AD)
            .option(15, &[0, 3, b's', b't', b'a', b'l', b'e']);
    fake.gives("srv.example SRV", answer);
    fake.answer("odd.example TYPE65400", &[r"odd.example 60 IN TYPE65400 \# 3 abcdef"]);
    fake.answer("web.example HTTPS", &[r"web.example 60 IN HTTPS \# 10 00010000010003026832"]);
    fake.gives("no.example A", Answer::negative("NXDOMAIN", "example"));
    fake.gives("empty.example AAAA", Answer::negative("NOERROR", "example"));
    let server = Pldns::start(&fake.rule("."), "");
    let got = Query::new("Srv.Example SRV").flag(dns::AD).ask_at(server.address());
    got.rcode("NOERROR").no_aa().ra().ad().no_tc();
    got.answers(&["srv.example 70 IN SRV 0 0 443 host.example", "srv.example 70 IN SRV 1 0 443 other.example"])
        .authority(&["example 80 IN NS ns.example"])
        .additional(&["host.example 90 IN A 192.0.2.1", "ns.example 90 IN AAAA 2001:db8::53"])
        .ede(3);
    assert_eq!(got.extended_errors(), [(3, "stale".to_owned())], "the upstream's own words");
    server.ask("odd.example TYPE65400").answers(&[r"odd.example 60 IN TYPE65400 \# 3 abcdef"]);
    server.ask("web.example HTTPS").answers(&[r"web.example 60 IN HTTPS \# 10 00010000010003026832"]);
    let missing = server.ask("no.example A");
    missing.rcode("NXDOMAIN").no_aa().no_answers();
    assert_eq!(missing.message.authorities[0].name, dns::name("example"), "{}", missing.message);
    server.ask("empty.example AAAA").rcode("NOERROR").no_aa().no_answers();
}

#[test]
fn the_upstreams_aa_is_not_ours() {
    let fake = FakeAzureDns::start();
    fake.gives("a.example A", Answer::of(&["a.example 60 IN A 192.0.2.1"]).flag(dns::AA));
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
    assert!(query.opt().options.iter().all(|(code, _)| *code != 8), "{}", query.message);
    let seen = &fake.wait_for("a.example A", 1)[0];
    let opt = seen.message.opt.as_ref().expect("EDNS upstream");
    assert_eq!((opt.size, opt.version), (1232, 0));
    assert!(seen.options().iter().all(|(code, _)| ![8, 65_001].contains(code)), "{:?}", seen.options());
    assert!(seen.options().iter().all(|(_, data)| data != &[0x42; 8]), "the client's cookie: {:?}", seen.options());
    assert!(seen.message.has(dns::RD) && !seen.message.has(dns::QR), "{}", seen.message);
    assert_eq!(seen.message.flags & 0x7800, 0, "{}", seen.message);
}

#[test]
fn an_upstreams_refusal_is_passed_on_where_nobody_else_answers() {
    let fake = FakeAzureDns::start();
    fake.gives("fails.example A", Answer::of(&[]).rcode("SERVFAIL").option(15, &[0, 9, b'n', b'o']));
    fake.gives("refused.example A", Answer::of(&[]).rcode("REFUSED"));
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("fails.example A").rcode("SERVFAIL").ede(9);
    server.ask("refused.example A").rcode("REFUSED");
    for name in ["fails.example A", "refused.example A"] {
        assert!(fake.seen(name).len() <= 4, "{name}: {} tries", fake.seen(name).len());
    }
}

#[test]
fn an_upstream_over_tcp_alone_can_be_named() {
    let fake = FakeAzureDns::start();
    fake.answer("a.example A", &["a.example 60 IN A 192.0.2.1"]);
    let settings = format!("[[forward]]\nzone = \".\"\nupstreams = [\"tcp://{}\"]\n", fake.address());
    let server = Pldns::start(&settings, "");
    server.ask("a.example A").answers(&["a.example 60 IN A 192.0.2.1"]);
    let seen = fake.seen("a.example A");
    assert!(seen.iter().all(|one| one.transport == Transport::Tcp), "not over TCP");
}

#[test]
fn an_upstream_may_have_an_ipv6_address() {
    let Some(fake) = FakeAzureDns::start_on_ipv6() else {
        eprintln!("this machine has no IPv6 loopback: nothing is shown");
        return;
    };
    fake.answer("a.example A", &["a.example 60 IN A 192.0.2.1"]);
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("a.example A").answers(&["a.example 60 IN A 192.0.2.1"]);
}

#[test]
fn the_root_is_a_name_like_others() {
    let fake = FakeAzureDns::start();
    fake.answer(". NS", &[". 600 IN NS a.root.example"]);
    let server = Pldns::start(&fake.rule("."), "");
    server.ask(". NS").rcode("NOERROR").no_aa().answers(&[". 600 IN NS a.root.example"]);
}

#[test]
fn hundreds_of_names_in_flight_are_all_answered() {
    let fake = FakeAzureDns::start();
    let count = 400;
    for n in 0..count {
        let answer = Answer::of(&[&format!("n{n}.example 60 IN A 192.0.2.1")]);
        fake.on(&format!("n{n}.example A"), Script::udp([Play::silence().then(400, answer)]));
    }
    let server = Pldns::start(&fake.rule("."), "");
    // Several sockets, so that no kernel queue overflows on our side.
    let sockets: Vec<_> = (0..10).map(|_| client(None, server.address())).collect();
    let queries: Vec<Query> = (0..count).map(|n| Query::new(&format!("n{n}.example A"))).collect();
    for (n, query) in queries.iter().enumerate() {
        if n % 50 == 49 {
            std::thread::sleep(Duration::from_millis(8));
        }
        sockets[n % 10].send(&query.bytes()).unwrap();
    }
    for (start, socket) in sockets.iter().enumerate() {
        let mut left: Vec<&Query> = queries.iter().skip(start).step_by(10).collect();
        while !left.is_empty() {
            let bytes =
                receive(socket, Duration::from_secs(5)).unwrap_or_else(|| panic!("{} without answer", left.len()));
            let fits = |query: &&Query| query.check(&bytes).is_ok_and(|message| message.answers.len() == 1);
            let place = left.iter().position(fits);
            left.swap_remove(place.unwrap_or_else(|| panic!("an answer to nobody\n{}", dns::show(&bytes))));
        }
    }
    let stopped = server.stop();
    assert_eq!((stopped.received, stopped.answered), (count, count));
}
