//! What clients notice when upstreams fail or have a limit: stale answers, prefetch, budgets, fairness, loops.

use crate::common::ask::{client, receive};
use crate::common::{Answer, FakeAzureDns, Play, Pldns, Query, Script, Setup, dns};
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// Asks until `good`, for so long at most; fails with the last answer.
fn until(server: &Pldns, question: &str, limit: Duration, good: impl Fn(&crate::common::ask::Got) -> bool) {
    let start = Instant::now();
    loop {
        let got = server.ask(question);
        if good(&got) {
            return;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {}", got.message);
        thread::sleep(Duration::from_millis(20));
    }
}

/// Longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(20);

fn two(first: &FakeAzureDns, second: &FakeAzureDns) -> String {
    let upstreams = format!("[\"{}\", \"{}\"]", first.address(), second.address());
    format!("[[forward]]\nzone = \".\"\nupstreams = {upstreams}\n")
}

fn budget(fake: &FakeAzureDns, queries_per_second: u32, pending: u32) -> String {
    format!(
        "{}\n[[upstream]]\naddress = \"{}\"\nqueries_per_second = {queries_per_second}\npending = {pending}\n",
        fake.rule("."),
        fake.address()
    )
}

#[test]
fn an_expired_answer_is_served_while_the_upstream_is_silent_and_not_after() {
    let fake = FakeAzureDns::start();
    fake.answer("a.example A", &["a.example 1 IN A 192.0.2.1"]);
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("a.example A").answer("a.example 1 IN A 192.0.2.1").no_ede();
    fake.be_silent(true);
    thread::sleep(Duration::from_millis(1100));
    // The upstream is given its chance first (RFC 8767 §5), then the client is not kept waiting.
    server
        .ask("a.example A")
        .answer("a.example 30 IN A 192.0.2.1")
        .ede(3)
        .not_before(Duration::from_millis(1500))
        .before_deadline();
    // Once it is known to be silent, there is nothing to wait for.
    for n in 0..4 {
        let socket = client(None, server.address());
        socket.send(&Query::new(&format!("n{n}.example A")).bytes()).unwrap();
    }
    until(&server, "a.example A", LONG, |got| got.took < Duration::from_millis(1500));
    server.ask("a.example A").answer("a.example 30 IN A 192.0.2.1").ede(3).before_deadline();
    fake.be_silent(false);
    until(&server, "a.example A", LONG, |got| got.extended_errors().is_empty());
}

#[test]
fn all_who_wait_are_answered_soon_after_an_outage() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), "");
    fake.be_silent(true);
    let socket = client(None, server.address());
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(6) {
        let n = start.elapsed().as_millis();
        socket.send(&Query::new(&format!("n{n}.example A")).bytes()).unwrap();
        thread::sleep(Duration::from_millis(50));
    }
    let before = fake.seen("* *").len();
    assert!(before < 120, "{before} queries to an upstream that does not answer");
    while receive(&socket, Duration::from_millis(1)).is_some() {}
    fake.be_silent(false);
    server.ask("after.example A").rcode("NXDOMAIN").before_deadline();
    // Some 90 waited. Those that waited longest may have met their deadline just before.
    let mut answered = 0;
    while answered < 60 {
        let reply = receive(&socket, LONG).unwrap_or_else(|| panic!("only {answered} waiting queries were answered"));
        answered += usize::from(reply[3] & 0xf == 3);
    }
}

#[test]
fn a_failure_is_asked_again_after_a_second_not_before() {
    let fake = FakeAzureDns::start();
    fake.gives("broken.example A", Answer::of(&[]).rcode("SERVFAIL"));
    let server = Pldns::start(&fake.rule("."), "");
    for _ in 0..10 {
        server.ask("broken.example A").rcode("SERVFAIL").before_deadline();
    }
    assert_eq!(fake.seen("broken.example A").len(), 1);
    thread::sleep(Duration::from_millis(1100));
    server.ask("broken.example A").rcode("SERVFAIL");
    assert_eq!(fake.seen("broken.example A").len(), 2);
}

#[test]
fn an_answer_in_use_is_asked_for_again_before_it_expires() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), "");
    // The upstream answers each name once and is silent then: replies without an extended error come from an answer that has
    // not expired. A client that has no CPU time in the last tenth of an answer's life misses it, and tries another name.
    let is_refreshed_in_time = |name: &str| {
        let question = format!("{name} A");
        let first = Play::of(Answer::of(&[&format!("{name} 3 IN A 192.0.2.1")]));
        fake.on(&question, Script::udp([first, Play::silence()]));
        loop {
            let got = server.ask(&question);
            if got.message.rcode() != dns::rcode("NOERROR") || !got.extended_errors().is_empty() {
                return false;
            }
            if fake.seen(&question).len() > 1 {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
    };
    assert!((0..6).any(|number| is_refreshed_in_time(&format!("busy{number}.example"))));
}

#[test]
fn the_preferred_upstream_is_asked_again_when_it_is_back() {
    let (first, second) = (FakeAzureDns::start(), FakeAzureDns::start());
    let server = Pldns::start(&two(&first, &second), "");
    first.be_silent(true);
    for n in 0..6 {
        server.ask(&format!("a{n}.example A")).rcode("NXDOMAIN").before_deadline();
    }
    server.ask("b.example A").before_deadline();
    first.be_silent(false);
    let mut n = 0;
    let start = Instant::now();
    loop {
        n += 1;
        let name = format!("c{n}.example A");
        server.ask(&name).rcode("NXDOMAIN").before_deadline();
        if !first.seen(&name).is_empty() && second.seen(&name).is_empty() {
            return;
        }
        assert!(start.elapsed() < LONG, "the first one is not preferred again");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_upstream_gets_no_more_queries_than_its_budget_allows() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&budget(&fake, 100, 0), "");
    let socket = client(None, server.address());
    for n in 0..250 {
        socket.send(&Query::new(&format!("n{n}.example A")).bytes()).unwrap();
    }
    let mut answered = 0;
    while answered < 250 && receive(&socket, Duration::from_secs(3)).is_some() {
        answered += 1;
    }
    assert_eq!(answered, 250, "everybody gets a turn");
    let mut times: Vec<_> = (0..250).flat_map(|n| fake.seen(&format!("n{n}.example A"))).map(|seen| seen.at).collect();
    times.sort_unstable();
    assert_eq!(times.len(), 250, "each was asked once");
    let took = times[249] - times[0];
    assert!(took >= Duration::from_secs(1), "250 queries arrived in {took:?}, the budget is 100 a second");
}

#[test]
fn pending_queries_are_bounded_and_quick_names_pass_slow_ones() {
    let fake = FakeAzureDns::start();
    for n in 0..60 {
        let slow = Play::silence().then(8000, Answer::of(&[&format!("s{n}.slow.example 60 IN A 192.0.2.1")]));
        fake.on(&format!("s{n}.slow.example A"), Script::udp([slow]));
    }
    let server = Pldns::start(&budget(&fake, 0, 36), "");
    let socket = client(None, server.address());
    // One slow name tells of its zone, while others are answered.
    socket.send(&Query::new("s0.slow.example A").bytes()).unwrap();
    for n in 0..20 {
        server.ask(&format!("w{n}.example A")).rcode("NXDOMAIN").before_deadline();
        thread::sleep(Duration::from_millis(15));
    }
    for n in 1..60 {
        socket.send(&Query::new(&format!("s{n}.slow.example A")).bytes()).unwrap();
    }
    for n in 0..50 {
        server.ask(&format!("q{n}.example A")).rcode("NXDOMAIN").before_deadline();
    }
    let under_way = (0..60).filter(|n| !fake.seen(&format!("s{n}.slow.example A")).is_empty()).count();
    assert!((10..=35).contains(&under_way), "{under_way} slow queries at once");
}

#[test]
fn a_noisy_client_does_not_starve_a_quiet_one() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&budget(&fake, 50, 0), "");
    let noisy = client(Some("127.0.0.2".parse().unwrap()), server.address());
    for n in 0..800 {
        noisy.send(&Query::new(&format!("noise{n}.example A")).bytes()).unwrap();
    }
    for n in 0..10 {
        Query::new(&format!("quiet{n}.example A"))
            .from("127.0.0.3")
            .ask_at(server.address())
            .rcode("NXDOMAIN")
            .before_deadline();
    }
}

fn free_port() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn rule_to(upstream: SocketAddr) -> String {
    format!("[[forward]]\nzone = \".\"\nupstreams = [\"{upstream}\"]\n")
}

/// A server must know a port before it is bound: whoever takes it meanwhile is no reason to fail.
fn with_ports<R>(start: impl Fn(SocketAddr, SocketAddr) -> R) -> R {
    for _ in 0..10 {
        let ports = (free_port(), free_port());
        if let Ok(started) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| start(ports.0, ports.1))) {
            return started;
        }
    }
    panic!("ten times, somebody else took the port");
}

#[test]
fn a_server_that_is_its_own_upstream_knows_its_questions() {
    let server = with_ports(|address, _| Setup::new(&rule_to(address), "").listen(&address.to_string()).start());
    for n in 0..20 {
        server.ask(&format!("n{n}.example A")).rcode("REFUSED").some_ede().before_deadline();
    }
    let said = || {
        server.events().iter().filter(|event| event["message"].to_string().contains("forwarding loop detected")).count()
    };
    until(&server, "last.example A", LONG, |_| said() > 0);
    assert_eq!(said(), 1, "said once");
}

#[test]
fn a_loop_through_a_second_server_is_found() {
    let (first, _second) = with_ports(|one, other| {
        let second = Setup::new(&rule_to(one), "").listen(&other.to_string()).start();
        (Setup::new(&rule_to(other), "").listen(&one.to_string()).start(), second)
    });
    first.ask("a.example A").rcode("REFUSED").some_ede().before_deadline();
}
