//! SIGTERM: what is in flight is answered, the sum of all queries is right, the exit code is 0.

use crate::common::ask::{client, connect, read_frame, receive, write_frame};
use crate::common::cast::{API, RECORDS};
use crate::common::{Answer, FakeAzureDns, Play, Pldns, Query, Script, dns};
use std::cell::Cell;
use std::time::{Duration, Instant};

#[test]
fn a_server_that_was_never_asked_has_nothing_to_account_for() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let stopped = server.stop();
    assert_eq!((stopped.received, stopped.answered, stopped.refused, stopped.dropped), (0, 0, 0, 0));
}

#[test]
fn every_query_is_accounted_for_by_what_became_of_it() {
    let fake = FakeAzureDns::start();
    fake.answer("f.example A", &["f.example 60 IN A 192.0.2.1"]);
    let settings = format!("[access]\nallow = [\"127.0.0.1/32\"]\n{}", fake.rule("."));
    let server = Pldns::start(&settings, RECORDS);
    let at = server.address();
    let received = Cell::new(0);
    let ask = |query: Query| {
        received.set(received.get() + 1);
        query.ask_at(at)
    };
    for question in [&format!("{API} A"), &format!("{API} AAAA"), "f.example A", "f.example A", "no.example A"] {
        ask(Query::new(question));
        ask(Query::new(question).tcp());
    }
    ask(Query::new("f.example A").from("127.0.0.2")).rcode("REFUSED");
    ask(Query::new("n.example A").no_rd()).rcode("REFUSED");
    ask(Query::new("f.example A").class(3)).rcode("REFUSED");
    ask(Query::new("f.example AXFR")).rcode("REFUSED");
    let socket = client(None, at);
    for silent in [&[0; 5][..], &[0; 11]] {
        socket.send(silent).unwrap();
        received.set(received.get() + 1);
    }
    ask(Query::new(&format!("{API} A")));
    let stopped = server.stop();
    assert_eq!(stopped.received, received.get());
    assert_eq!(stopped.dropped, 2, "two datagrams without a header");
    assert!(stopped.refused >= 4, "{} refused", stopped.refused);
    assert!(stopped.answered >= 11, "{} answered", stopped.answered);
}

#[test]
fn queries_in_flight_are_answered_before_the_end() {
    let fake = FakeAzureDns::start();
    let slow = Play::silence().then(1200, Answer::of(&["slow.example 60 IN A 192.0.2.1"]));
    fake.on("slow.example A", Script::udp([slow]));
    let mut server = Pldns::start(&fake.rule("."), RECORDS);
    let query = Query::new("slow.example A");
    let udp = client(None, server.address());
    udp.send(&query.bytes()).unwrap();
    let mut tcp = connect(None, server.address());
    tcp.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    write_frame(&mut tcp, &query.bytes());
    fake.wait_for("slow.example A", 1);
    // The query over TCP joins the one in flight; an answer from the table on the same connection shows that it was read.
    let behind = Query::new(&format!("{API} A")).tcp();
    write_frame(&mut tcp, &behind.bytes());
    behind.check(&read_frame(&mut tcp).expect("the table's answer")).unwrap();
    server.signal(libc::SIGTERM);
    let bytes = receive(&udp, Duration::from_secs(6)).expect("the UDP query in flight is answered");
    query.check(&bytes).unwrap_or_else(|why| panic!("{why}\n{}", dns::show(&bytes)));
    let bytes = read_frame(&mut tcp).expect("the TCP query in flight is answered");
    query.clone().tcp().check(&bytes).unwrap_or_else(|why| panic!("{why}\n{}", dns::show(&bytes)));
    let stopped = server.stopped();
    assert_eq!((stopped.received, stopped.answered), (3, 3));
}

#[test]
fn a_dead_upstream_does_not_hold_the_end_up_for_longer_than_a_query_may_take() {
    let fake = FakeAzureDns::start();
    fake.on("dead.example A", Script::udp([Play::silence()]));
    let mut server = Pldns::start(&fake.rule("."), RECORDS);
    let udp = client(None, server.address());
    udp.send(&Query::new("dead.example A").bytes()).unwrap();
    fake.wait_for("dead.example A", 1);
    server.signal(libc::SIGTERM);
    let stopped = server.stopped();
    assert_eq!(stopped.received, 1);
}

#[test]
fn an_idle_server_ends_at_once() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let _idle = connect(None, server.address());
    server.ask(&format!("{API} A")).rcode("NOERROR");
    let start = Instant::now();
    server.stop();
    assert!(start.elapsed() < Duration::from_secs(3), "took {:?}", start.elapsed());
}

#[test]
fn an_interrupt_from_the_keyboard_ends_it_as_well() {
    let fake = FakeAzureDns::start();
    let mut server = Pldns::start(&fake.rule("."), RECORDS);
    server.ask(&format!("{API} A")).rcode("NOERROR");
    server.signal(libc::SIGINT);
    assert_eq!(server.stopped().received, 1);
}
