//! TCP towards clients (RFC 7766): pipelining, framing, idle connections, many of them.

use crate::common::ask::{connect, read_frame, write_frame};
use crate::common::cast::{API, RECORDS};
use crate::common::{Answer, FakeAzureDns, Play, Pldns, Query, Script, dns};
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

fn table_query() -> Query {
    Query::new(&format!("{API} A")).tcp()
}

fn open(server: &Pldns) -> TcpStream {
    let stream = connect(None, server.address());
    stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

#[track_caller]
fn expect(stream: &mut TcpStream, query: &Query) {
    let bytes = read_frame(stream).expect("an answer");
    query.check(&bytes).unwrap_or_else(|why| panic!("{why}\n{}", dns::show(&bytes)));
}

#[test]
fn one_connection_serves_many_queries_one_after_another() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let mut stream = open(&server);
    for _ in 0..300 {
        let query = table_query();
        write_frame(&mut stream, &query.bytes());
        expect(&mut stream, &query);
    }
}

#[test]
fn pipelined_queries_are_answered_as_they_become_ready() {
    let fake = FakeAzureDns::start();
    let slow = Play::silence().then(700, Answer::of(&["slow.example 60 IN A 192.0.2.1"]));
    fake.on("slow.example A", Script::udp([slow]));
    fake.answer("quick.example A", &["quick.example 60 IN A 192.0.2.2"]);
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let mut stream = open(&server);
    let slow = Query::new("slow.example A").tcp();
    let quick = Query::new("quick.example A").tcp();
    let table = table_query();
    let all: Vec<u8> = [&slow, &quick, &table]
        .iter()
        .flat_map(|query| [&(query.bytes().len() as u16).to_be_bytes()[..], &query.bytes()].concat())
        .collect();
    stream.write_all(&all).unwrap();
    let mut order = Vec::new();
    for _ in 0..3 {
        let bytes = read_frame(&mut stream).expect("an answer");
        order.push(u16::from_be_bytes([bytes[0], bytes[1]]));
    }
    assert_eq!(order.last(), Some(&slow.id()), "the slow one holds nobody up");
    assert!(order.contains(&quick.id()) && order.contains(&table.id()));
}

#[test]
fn a_hundred_queries_in_one_write_are_all_answered() {
    let fake = FakeAzureDns::start();
    for n in 0..50 {
        fake.answer(&format!("n{n}.example A"), &[&format!("n{n}.example 60 IN A 192.0.2.1")]);
    }
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let mut stream = open(&server);
    let queries: Vec<Query> = (0..100)
        .map(|n| if n % 2 == 0 { table_query() } else { Query::new(&format!("n{}.example A", n / 2)).tcp() })
        .collect();
    let mut all = Vec::new();
    for query in &queries {
        all.extend((query.bytes().len() as u16).to_be_bytes());
        all.extend(query.bytes());
    }
    stream.write_all(&all).unwrap();
    let mut left = queries;
    for _ in 0..100 {
        let bytes = read_frame(&mut stream).expect("an answer");
        let place = left.iter().position(|query| query.check(&bytes).is_ok());
        left.swap_remove(place.unwrap_or_else(|| panic!("an answer to nobody\n{}", dns::show(&bytes))));
    }
}

#[test]
fn frames_may_arrive_in_any_pieces() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let mut stream = open(&server);
    let (one, two) = (table_query(), table_query());
    let mut all = Vec::new();
    for query in [&one, &two] {
        all.extend((query.bytes().len() as u16).to_be_bytes());
        all.extend(query.bytes());
    }
    for byte in &all {
        stream.write_all(&[*byte]).unwrap();
        thread::sleep(Duration::from_millis(3));
    }
    expect(&mut stream, &one);
    expect(&mut stream, &two);
}

#[test]
fn answers_above_the_udp_size_come_whole() {
    let fake = FakeAzureDns::start();
    let addresses: Vec<String> = (0..3000).map(|n| format!("10.8.{}.{}", n / 250, n % 250 + 1)).collect();
    let records =
        crate::common::cast::record("huge.example", "A", &addresses.iter().map(String::as_str).collect::<Vec<_>>());
    let server = Pldns::start(&fake.rule("."), &records);
    let got = Query::new("huge.example A").tcp().ask_at(server.address());
    got.no_tc();
    assert_eq!(got.message.answers.len(), 3000);
    Query::new("huge.example A").ask_at(server.address()).tc();
}

#[test]
fn an_idle_connection_is_closed_and_a_used_one_is_not() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let mut idle = open(&server);
    idle.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let start = Instant::now();
    let mut used = open(&server);
    for _ in 0..2 {
        thread::sleep(Duration::from_secs(3));
        let query = table_query();
        write_frame(&mut used, &query.bytes());
        expect(&mut used, &query);
    }
    let end = idle.read(&mut [0]);
    assert!(matches!(end, Ok(0) | Err(_)), "something was sent on an idle connection");
    let lived = start.elapsed();
    assert!((5..=14).contains(&lived.as_secs()), "closed after {lived:?}");
}

#[test]
fn a_message_must_be_whole_soon_after_it_began() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let mut stream = open(&server);
    let start = Instant::now();
    let bytes = table_query().bytes();
    stream.write_all(&(bytes.len() as u16).to_be_bytes()).unwrap();
    // Drips must not keep the connection alive.
    let mut closed = false;
    for byte in &bytes {
        stream.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
        closed = stream.write_all(&[*byte]).is_err() || matches!(stream.read(&mut [0]), Ok(0));
        if closed || start.elapsed() > Duration::from_secs(8) {
            break;
        }
    }
    assert!(closed, "still open after {:?}", start.elapsed());
    table_query().ask_at(server.address()).rcode("NOERROR");
}

#[test]
fn a_client_that_sends_no_more_still_gets_its_answers() {
    let fake = FakeAzureDns::start();
    let slow = Play::silence().then(300, Answer::of(&["slow.example 60 IN A 192.0.2.1"]));
    fake.on("slow.example A", Script::udp([slow]));
    let server = Pldns::start(&fake.rule("."), RECORDS);
    for query in [table_query(), Query::new("slow.example A").tcp()] {
        let mut stream = open(&server);
        write_frame(&mut stream, &query.bytes());
        stream.shutdown(Shutdown::Write).unwrap();
        expect(&mut stream, &query);
        assert!(read_frame(&mut stream).is_none(), "closed after the last answer");
    }
}

#[test]
fn a_client_that_leaves_harms_nobody() {
    let fake = FakeAzureDns::start();
    let slow = Play::silence().then(300, Answer::of(&["slow.example 60 IN A 192.0.2.1"]));
    fake.on("slow.example A", Script::udp([slow]));
    let server = Pldns::start(&fake.rule("."), RECORDS);
    for _ in 0..20 {
        let mut stream = open(&server);
        write_frame(&mut stream, &Query::new("slow.example A").tcp().bytes());
    }
    Query::new("slow.example A").tcp().ask_at(server.address()).rcode("NOERROR");
    server.ask(&format!("{API} A")).rcode("NOERROR");
}

#[test]
fn a_probe_that_connects_and_closes_causes_no_complaint() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    for _ in 0..50 {
        drop(connect(None, server.address()));
    }
    table_query().ask_at(server.address()).rcode("NOERROR");
    let complaints: Vec<_> = server
        .events()
        .into_iter()
        .filter(|event| event["level"] == "WARN" || event["level"] == "ERROR")
        .filter(|event| !event.to_string().contains(&fake.address().to_string()))
        .filter(|event| !event.to_string().contains("running as root"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
fn frames_too_short_for_a_header_harm_nobody() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    for length in [0_usize, 1, 11] {
        let mut stream = open(&server);
        write_frame(&mut stream, &vec![0; length]);
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(read_frame(&mut stream).is_none(), "{length} bytes were answered");
    }
    table_query().ask_at(server.address()).rcode("NOERROR");
}

#[test]
fn idle_connections_of_one_client_never_starve_another() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let hog: IpAddr = "127.0.4.4".parse().unwrap();
    // Some of these may be refused or closed: that is the limit's right.
    let _held: Vec<TcpStream> = (0..200).map(|_| connect(Some(hog), server.address())).collect();
    for _ in 0..10 {
        table_query().ask_at(server.address()).rcode("NOERROR").before_deadline();
        server.ask(&format!("{API} A")).rcode("NOERROR").before_deadline();
    }
}

#[test]
fn sixty_connections_of_one_client_are_all_served() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let mut streams: Vec<TcpStream> = (0..60).map(|_| open(&server)).collect();
    let queries: Vec<Query> = streams.iter().map(|_| table_query()).collect();
    for (stream, query) in streams.iter_mut().zip(&queries) {
        write_frame(stream, &query.bytes());
    }
    for (stream, query) in streams.iter_mut().zip(&queries) {
        expect(stream, query);
    }
}

#[test]
fn more_queries_than_are_served_at_once_wait_their_turn() {
    let fake = FakeAzureDns::start();
    for n in 0..300 {
        let answer = Answer::of(&[&format!("n{n}.example 60 IN A 192.0.2.1")]);
        fake.on(&format!("n{n}.example A"), Script::udp([Play::silence().then(100, answer)]));
    }
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let mut stream = open(&server);
    let mut left: Vec<Query> = (0..300).map(|n| Query::new(&format!("n{n}.example A")).tcp()).collect();
    let mut all = Vec::new();
    for query in &left {
        all.extend((query.bytes().len() as u16).to_be_bytes());
        all.extend(query.bytes());
    }
    stream.write_all(&all).unwrap();
    while !left.is_empty() {
        let bytes = read_frame(&mut stream).unwrap_or_else(|| panic!("{} without answer", left.len()));
        let place = left.iter().position(|query| query.check(&bytes).is_ok());
        left.swap_remove(place.unwrap_or_else(|| panic!("an answer to nobody\n{}", dns::show(&bytes))));
    }
}
