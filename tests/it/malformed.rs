//! What is no query: FORMERR where an ID can be read, silence where not, and never a reply to a reply.

use crate::common::ask::{client, connect, read_frame, receive, write_frame};
use crate::common::cast::{API, RECORDS};
use crate::common::{FakeAzureDns, Pldns, Query, dns};
use std::time::Duration;

const ID: [u8; 2] = [0xab, 0xcd];

/// A header with these counts, RD set.
fn header(counts: [u16; 4]) -> Vec<u8> {
    let mut bytes = [&ID[..], &[1, 0]].concat();
    for count in counts {
        bytes.extend(count.to_be_bytes());
    }
    bytes
}

fn question(name: &[u8]) -> Vec<u8> {
    [name, &[0, 1, 0, 1]].concat()
}

fn opt(options: &[u8]) -> Vec<u8> {
    [&[0, 0, 41, 4, 208, 0, 0, 0, 0], &(options.len() as u16).to_be_bytes()[..], options].concat()
}

/// Messages of 12 bytes or more that are no good query, each with its name.
fn bad() -> Vec<(&'static str, Vec<u8>)> {
    let one = header([1, 0, 0, 0]);
    let one_and_additional = header([1, 0, 0, 1]);
    let good = question(&dns::name(API));
    let join = |parts: &[&[u8]]| parts.concat();
    let long_name = [[63; 64].repeat(4), vec![0]].concat();
    vec![
        ("no question", header([0, 0, 0, 0])),
        ("two questions", join(&[&header([2, 0, 0, 0]), &good, &good])),
        ("65535 questions", join(&[&header([65_535, 0, 0, 0]), &good])),
        ("a question that is not there", one.clone()),
        ("a name that runs out", join(&[&one, b"\x03ab"])),
        ("a name without its end", join(&[&one, b"\x01a\x01b"])),
        ("no type and class", join(&[&one, &dns::name(API)])),
        ("half a class", join(&[&one, &good[..good.len() - 1]])),
        ("a pointer to itself", join(&[&one, &question(&[0xc0, 12])])),
        ("a pointer forward", join(&[&one, &question(&[0xc0, 20]), &dns::name(API)])),
        ("a pointer into the header", join(&[&one, &question(&[0xc0, 0])])),
        ("half a pointer", join(&[&one, &[0xc0]])),
        ("label type 0x40", join(&[&one, &question(&[0x41, b'a', 0])])),
        ("label type 0x80", join(&[&one, &question(&[0x81, b'a', 0])])),
        ("a name of 257 bytes", join(&[&one, &question(&long_name)])),
        ("an additional record that is not there", join(&[&one_and_additional, &good])),
        ("OPT cut in its header", join(&[&one_and_additional, &good, &opt(&[])[..7]])),
        (
            "OPT cut in its data",
            join(&[&one_and_additional, &good, &opt(&[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])[..20]]),
        ),
        ("an option longer than its OPT", join(&[&one_and_additional, &good, &opt(&[0, 10, 0, 8, 1, 2])])),
        ("an option cut in its header", join(&[&one_and_additional, &good, &opt(&[0, 10, 0])])),
        ("OPT with a name", join(&[&one_and_additional, &good, b"\x01a", &opt(&[])])),
        ("two OPT records", join(&[&header([1, 0, 0, 2]), &good, &opt(&[]), &opt(&[])])),
        ("12 bytes of nonsense", [&ID[..], &[1, 0], &[255; 8]].concat()),
    ]
}

#[track_caller]
fn is_formerr(name: &str, bytes: &[u8]) {
    assert!(bytes.len() >= 12, "{name}: {bytes:02x?}");
    assert_eq!(bytes[..2], ID, "{name}: the ID of the query\n{}", dns::show(bytes));
    assert_eq!(bytes[2] & 0xf8, 0x80, "{name}: a response with opcode 0\n{}", dns::show(bytes));
    assert_eq!(bytes[3] & 0xf, 1, "{name}: FORMERR\n{}", dns::show(bytes));
    dns::Message::parse(bytes).unwrap_or_else(|why| panic!("{name}: {why}: {bytes:02x?}"));
}

#[test]
fn what_has_an_id_and_is_no_query_gets_formerr_over_udp() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    for (name, message) in bad() {
        let socket = client(None, server.address());
        socket.send(&message).unwrap();
        let bytes = receive(&socket, Duration::from_secs(5)).unwrap_or_else(|| panic!("{name}: no answer"));
        is_formerr(name, &bytes);
    }
    server.ask(&format!("{API} A")).rcode("NOERROR");
    let stopped = server.stop();
    assert_eq!(stopped.received, bad().len() as u64 + 1);
}

#[test]
fn what_has_an_id_and_is_no_query_gets_formerr_over_tcp() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    for (name, message) in bad() {
        let mut stream = connect(None, server.address());
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        write_frame(&mut stream, &message);
        let bytes = read_frame(&mut stream).unwrap_or_else(|| panic!("{name}: no answer"));
        is_formerr(name, &bytes);
    }
}

#[test]
fn datagrams_without_a_whole_header_and_responses_get_silence() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let mut messages: Vec<Vec<u8>> = (0..12).map(|length| [header([1, 0, 0, 0])].concat()[..length].to_vec()).collect();
    let whole = Query::new(&format!("{API} A")).bytes();
    let mut response = whole.clone();
    response[2] |= 0x80;
    messages.push(response);
    // A response is none whatever else is wrong with it.
    messages.extend(bad().into_iter().map(|(_, mut message)| {
        message[2] |= 0x80;
        message
    }));
    let socket = client(None, server.address());
    for message in &messages {
        socket.send(message).unwrap();
    }
    // One socket is served in order: the first thing heard is the answer to the good query behind the bad ones.
    let query = Query::new(&format!("{API} A"));
    socket.send(&query.bytes()).unwrap();
    let first = receive(&socket, Duration::from_secs(5)).expect("an answer to the good query");
    query.check(&first).unwrap_or_else(|why| panic!("{why}\n{}", dns::show(&first)));
    let stopped = server.stop();
    assert_eq!(stopped.received, messages.len() as u64 + 1);
    assert_eq!((stopped.dropped, stopped.answered), (messages.len() as u64, 1));
}

#[test]
fn formerr_is_not_longer_than_what_caused_it() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    for (name, message) in bad() {
        let socket = client(None, server.address());
        socket.send(&message).unwrap();
        let answer = receive(&socket, Duration::from_secs(5)).unwrap_or_else(|| panic!("{name}: no answer"));
        assert!(answer.len() <= message.len(), "{name}: {} bytes for {}", answer.len(), message.len());
    }
}

#[test]
fn formerr_has_an_opt_record_where_the_query_had_a_sound_one() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let good = question(&dns::name(API));
    let mut answer = Vec::new();
    dns::record("a.example 60 IN A 10.0.0.1").write(&mut answer, None);
    let one_of_each = |counts, records: &[&[u8]]| [&header(counts)[..], &good, &records.concat()].concat();
    for (name, message, has_opt) in [
        ("a record in the answer section", one_of_each([1, 1, 0, 1], &[&answer, &opt(&[])]), true),
        ("a record in the authority section", one_of_each([1, 0, 1, 1], &[&answer, &opt(&[])]), true),
        ("bytes after the last record", one_of_each([1, 0, 0, 1], &[&opt(&[]), b"abc"]), true),
        ("an additional record that is not there", one_of_each([1, 0, 0, 2], &[&opt(&[])]), true),
        ("no question", [&header([0, 0, 0, 1])[..], &opt(&[])].concat(), true),
        ("two OPT records", one_of_each([1, 0, 0, 2], &[&opt(&[]), &opt(&[])]), false),
        ("an option longer than its OPT", one_of_each([1, 0, 0, 1], &[&opt(&[0, 10, 0, 8, 1])]), false),
        ("OPT in the answer section", one_of_each([1, 1, 0, 0], &[&opt(&[])]), false),
    ] {
        let socket = client(None, server.address());
        socket.send(&message).unwrap();
        let bytes = receive(&socket, Duration::from_secs(5)).unwrap_or_else(|| panic!("{name}: no answer"));
        is_formerr(name, &bytes);
        assert!(bytes.len() <= message.len(), "{name}");
        assert_eq!(dns::Message::parse(&bytes).unwrap().opt.is_some(), has_opt, "{name}\n{}", dns::show(&bytes));
    }
}

#[test]
fn ixfr_is_refused_like_axfr() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let mut soa = Vec::new();
    dns::record("corp.example 60 IN SOA m.corp.example r.corp.example 1 2 3 4 5").write(&mut soa, None);
    let ixfr = |soas: u16| {
        let question = [dns::name("corp.example"), vec![0, 251, 0, 1]].concat();
        [header([1, 0, soas, 1]), question, soa.repeat(soas.into()), opt(&[])].concat()
    };
    for (soas, rcode) in [(0, 5), (1, 5), (2, 1)] {
        let socket = client(None, server.address());
        socket.send(&ixfr(soas)).unwrap();
        let bytes = receive(&socket, Duration::from_secs(5)).expect("an answer");
        assert_eq!(bytes[3] & 0xf, rcode, "{soas} SOA records: {}", dns::show(&bytes));
    }
}

#[test]
fn an_update_or_notify_of_its_own_shape_is_not_implemented() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    // UPDATE (RFC 2136): one zone, one record to add in the authority section.
    let mut update = [&ID[..], &[0x28, 0, 0, 1, 0, 0, 0, 1, 0, 0]].concat();
    update.extend(dns::name("example"));
    update.extend([0, 6, 0, 1]);
    dns::record("a.example 60 IN A 10.0.0.1").write(&mut update, None);
    let socket = client(None, server.address());
    socket.send(&update).unwrap();
    let answer = receive(&socket, Duration::from_secs(5)).expect("an answer");
    assert_eq!((&answer[..2], answer[2] & 0xf8, answer[3] & 0xf), (&ID[..], 0xa8, 4), "{}", dns::show(&answer));
}

#[test]
fn noise_never_stops_the_service() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let socket = client(None, server.address());
    let template = Query::new(&format!("{API} A")).option(10, &[7; 8]).bytes();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for round in 0..3000_u32 {
        let mut message = template.clone();
        match round % 3 {
            0 => message = (0..random() % 80).map(|_| random() as u8).collect(),
            1 => message.truncate(random() % template.len()),
            _ => {
                for _ in 0..=random() % 4 {
                    let at = random() % message.len();
                    message[at] = random() as u8;
                }
            }
        }
        socket.send(&message).unwrap();
        if round % 100 == 99 {
            server.ask(&format!("{API} A")).rcode("NOERROR");
        }
    }
    let stopped = server.stop();
    assert!(stopped.received >= 1000, "most datagrams arrived: {}", stopped.received);
}
