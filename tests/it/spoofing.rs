//! Lies on the way from the upstream: what does not match or parse never ends the wait, and the first wrong ID or
//! case makes TCP decide.

use crate::common::{Answer, FakeAzureDns, Play, Pldns, Query, Script, Transport, dns};
use std::collections::HashSet;
use std::thread;

const QUESTION: &str = "a.example A";
const TRUTH: &str = "a.example 60 IN A 192.0.2.1";

fn truth() -> Answer {
    Answer::of(&[TRUTH])
}

fn lie() -> Answer {
    Answer::of(&["a.example 60 IN A 203.0.113.66"])
}

#[test]
fn the_first_wrong_id_or_case_makes_tcp_decide_at_once() {
    for bad in [lie().wrong_id(), lie().wrong_case()] {
        let fake = FakeAzureDns::start();
        // A second lie matches in everything: who guessed that far must still not win.
        fake.on(QUESTION, Script::udp([Play::of(bad).then(20, lie())]).tcp([Play::of(truth())]));
        let server = Pldns::start(&fake.rule("."), "");
        server.ask(QUESTION).answers(&[TRUTH]).before_deadline();
        let transports: Vec<_> = fake.seen(QUESTION).iter().map(|seen| seen.transport).collect();
        assert_eq!(transports, [Transport::Udp, Transport::Tcp], "TCP is asked next, not UDP again");
        server.ask(QUESTION).answers(&["a.example * IN A 192.0.2.1"]);
    }
}

#[test]
fn where_tcp_is_not_to_be_had_the_matching_answer_serves() {
    let fake = FakeAzureDns::start_without_tcp();
    fake.on(QUESTION, Script::udp([Play::of(lie().wrong_id()).then(50, truth())]));
    let server = Pldns::start(&fake.rule("."), "");
    server.ask(QUESTION).answers(&[TRUTH]).before_deadline();
}

#[test]
fn an_upstream_that_refers_to_tcp_and_closes_each_connection_is_not_asked_without_end() {
    let long: Vec<String> = (0..200).map(|n| format!("a.example 60 IN A 192.0.2.{n}")).collect();
    let long = Answer::of(&long.iter().map(String::as_str).collect::<Vec<_>>());
    for datagram in [long, Answer::of(&[]).flag(dns::TC)] {
        let fake = FakeAzureDns::start();
        fake.on(QUESTION, Script::udp([Play::of(datagram)]).tcp([Play::closed()]));
        let server = Pldns::start(&fake.rule("."), "");
        server.ask(QUESTION).rcode("SERVFAIL");
        let by_tcp = fake.seen(QUESTION).iter().filter(|seen| seen.transport == Transport::Tcp).count();
        assert!((1..=5).contains(&by_tcp), "{by_tcp} connections");
    }
}

#[test]
fn answers_to_another_question_do_not_end_the_wait() {
    let fake = FakeAzureDns::start();
    let play = Play::of(lie().wrong_question()).then(
        0,
        lie().edit(|bytes| {
            // Another type in the question.
            let at = 12 + bytes[12..].iter().position(|byte| *byte == 0).unwrap() + 2;
            bytes[at] = 16;
        }),
    );
    fake.on(QUESTION, Script::udp([play.then(50, truth())]));
    let server = Pldns::start(&fake.rule("."), "");
    server.ask(QUESTION).answers(&[TRUTH]).before_deadline();
}

#[test]
fn answers_from_another_port_do_not_count() {
    let fake = FakeAzureDns::start();
    let play = Play::silence().then_from_elsewhere(0, lie()).then(100, truth());
    fake.on(QUESTION, Script::udp([play]));
    let server = Pldns::start(&fake.rule("."), "");
    server.ask(QUESTION).answers(&[TRUTH]).before_deadline();
}

#[test]
fn queries_that_come_back_are_no_answers() {
    let fake = FakeAzureDns::start();
    let echo = truth().edit(|bytes| bytes[2] &= 0x7f);
    let other_opcode = lie().edit(|bytes| bytes[2] |= 0x28);
    fake.on(QUESTION, Script::udp([Play::of(echo).then(0, other_opcode).then(50, truth())]));
    let server = Pldns::start(&fake.rule("."), "");
    server.ask(QUESTION).rcode("NOERROR").answers(&[TRUTH]).before_deadline();
}

/// Names of one length, so that the damage below knows where it strikes: the answer's owner name is at byte 26.
fn numbered(n: usize) -> String {
    format!("a{n:02}.test")
}

/// `right` damaged in every way; ID and address are those of the upstream.
fn damaged(right: &Answer) -> Vec<Answer> {
    let edit = |edit: fn(&mut Vec<u8>)| right.clone().edit(edit);
    let mut forms: Vec<Answer> =
        (0..12).map(|length| right.clone().edit(move |bytes| bytes.truncate(length))).collect();
    forms.extend((1..40).step_by(3).map(|count| right.clone().cut(count)));
    // Counts that promise more or less than there is.
    for (at, value) in [(5, 0), (5, 2), (7, 0), (7, 9), (9, 1), (11, 5), (4, 255), (6, 255)] {
        forms.push(right.clone().edit(move |bytes| bytes[at] = value));
    }
    // The owner name of the answer: a pointer forward, one to itself, a label type that is none, too long a label.
    for owner in [[0xc0, 0xff], [0xc0, 26], [0x80, 12], [0x3f, 12]] {
        forms.push(right.clone().edit(move |bytes| bytes[26..28].copy_from_slice(&owner)));
    }
    // The length of the answer's data: too short, too long for an address, too long for the message.
    for length in [3, 5, 255] {
        forms.push(right.clone().edit(move |bytes| bytes[37] = length));
    }
    forms.push(edit(|bytes| bytes.resize(60, 0xff)));
    forms.push(edit(|bytes| bytes.drain(12..22).for_each(drop)));
    forms
}

#[test]
fn damaged_answers_never_end_the_wait() {
    let fake = FakeAzureDns::start();
    let right = |n: usize| Answer::of(&[&format!("{} 60 IN A 192.0.2.1", numbered(n))]);
    let count = damaged(&right(0)).len();
    for n in 0..count {
        let form = damaged(&right(n)).swap_remove(n);
        let udp = Play::of(form).then(5, right(n));
        fake.on(&format!("{} A", numbered(n)), Script::udp([udp]).tcp([Play::of(right(n))]));
    }
    let server = Pldns::start(&fake.rule("."), "");
    let address = server.address();
    let ask = |n: usize| {
        let query = Query::new(&format!("{} A", numbered(n)));
        let bytes = query.send_at(address).ok_or("no answer")?;
        let shown = dns::show(&bytes);
        let message = query.check(&bytes).map_err(|why| format!("{why}\n{shown}"))?;
        let right = dns::record(&format!("{} 60 IN A 192.0.2.1", numbered(n)));
        let good = message.answers.len() == 1 && message.answers[0].is(&right);
        if good { Ok(()) } else { Err(shown) }
    };
    let problems: Vec<String> = thread::scope(|scope| {
        let ask = &ask;
        let part = |start| move || (start..count).step_by(4).filter_map(move |n| Some((n, ask(n).err()?))).collect();
        let parts: Vec<_> = (0..4).map(|start| scope.spawn(part(start))).collect();
        let found = parts.into_iter().flat_map(|part| -> Vec<(usize, String)> { part.join().unwrap() });
        found.map(|(n, why)| format!("form {n}: {why}")).collect()
    });
    assert!(problems.is_empty(), "{} of {count}:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn every_query_has_its_own_id_and_port() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), "");
    let count = 300;
    for n in 0..count {
        server.ask(&format!("n{n}.example A")).rcode("NXDOMAIN");
    }
    let seen: Vec<_> = (0..count).map(|n| fake.seen(&format!("n{n}.example A")).remove(0)).collect();
    let ports: Vec<u16> = seen.iter().map(|one| one.source.port()).collect();
    let ids: Vec<u16> = seen.iter().map(|one| one.id()).collect();
    for (what, values) in [("ports", &ports), ("IDs", &ids)] {
        let distinct: HashSet<u16> = values.iter().copied().collect();
        assert!(distinct.len() > count * 9 / 10, "{what}: {} of {count} differ", distinct.len());
        let steps: HashSet<u16> = values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        assert!(steps.len() > count * 8 / 10, "{what} go in steps: {steps:?}");
    }
    // Ports are of the whole range, 1024 to 65535: a tenth of it is missed once in 10^13 times.
    let tenths: HashSet<u16> = ports.iter().map(|port| (port - 1024) / 6452).collect();
    assert_eq!(tenths.len(), 10, "ports of some tenths of the range only: {tenths:?}");
    // Each bit of an ID is set about half of the times: 300 fair coins stay within 90 of 150 for certain.
    for bit in 0..16 {
        let set = ids.iter().filter(|id| **id & 1 << bit != 0).count();
        assert!((90..=210).contains(&set), "bit {bit} of the IDs is set {set} times of {count}");
    }
}

#[test]
fn what_comes_once_more_is_no_guess_at_the_next_query() {
    let fake = FakeAzureDns::start();
    let (count, name) = (200, |n: usize| format!("n{n}.example A"));
    for n in 0..count {
        let answer = Answer::of(&[&format!("n{n}.example 60 IN A 192.0.2.1")]);
        // At once, and when the next query is on its way: sockets serve one query after another.
        fake.on(&name(n), Script::udp([Play::of(answer.clone()).then(0, answer.clone()).then(1, answer)]));
    }
    let server = Pldns::start(&fake.rule("."), "");
    for n in 0..count {
        server.ask(&name(n)).answers(&[&format!("n{n}.example 60 IN A 192.0.2.1")]);
    }
    // A busy machine sends a few of the late ones later still, when the server knows nothing more of their query.
    let over_tcp = |n: &usize| fake.seen(&name(*n)).iter().any(|one| one.transport == Transport::Tcp);
    let suspected = (0..count).filter(over_tcp).count();
    assert!(suspected <= count / 20, "{suspected} of {count} were asked over TCP");
    let asked: usize = (0..count).map(|n| fake.seen(&name(n)).len()).sum();
    assert_eq!(asked, count + suspected);
}

#[test]
fn a_spoofed_record_beside_the_answer_is_never_served_for_its_own_name() {
    let fake = FakeAzureDns::start();
    let poisoned = Answer::of(&[TRUTH, "victim.example 60 IN A 203.0.113.66"])
        .authority(&["example 60 IN NS evil.test"])
        .additional(&["victim.example 60 IN A 203.0.113.66"]);
    fake.gives(QUESTION, poisoned);
    fake.answer("victim.example A", &["victim.example 60 IN A 192.0.2.7"]);
    let server = Pldns::start(&fake.rule("."), "");
    server.ask(QUESTION).rcode("NOERROR");
    server.ask("victim.example A").answers(&["victim.example 60 IN A 192.0.2.7"]);
}

#[test]
fn a_dname_serves_its_own_question_only() {
    let fake = FakeAzureDns::start();
    fake.answer(
        "x.old.example A",
        &[
            "old.example 60 IN DNAME new.example",
            "x.old.example 60 IN CNAME x.new.example",
            "x.new.example 60 IN A 192.0.2.1",
        ],
    );
    fake.answer("y.old.example A", &["y.old.example 60 IN A 192.0.2.2"]);
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("x.old.example A").answer("x.new.example 60 IN A 192.0.2.1");
    server.ask("y.old.example A").answers(&["y.old.example 60 IN A 192.0.2.2"]);
    assert_eq!(fake.seen("y.old.example A").len(), 1);
}

#[test]
fn a_lie_over_tcp_is_no_better() {
    let fake = FakeAzureDns::start();
    let truncated = Play::of(Answer::of(&[]).flag(dns::TC));
    let tcp = [Play::of(lie().wrong_id()).then(20, truth())];
    fake.on(QUESTION, Script::udp([truncated]).tcp(tcp));
    let server = Pldns::start(&fake.rule("."), "");
    let got = server.ask(QUESTION);
    assert!(!got.message.to_string().contains("203.0.113.66"), "{}", got.message);
}

#[test]
fn noise_from_the_upstream_never_reaches_a_client_unread() {
    let fake = FakeAzureDns::start();
    let count = 600;
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let name = |n: usize| format!("n{n:03}.test");
    for n in 0..count {
        let right = Answer::of(&[
            &format!("{} 60 IN CNAME b.{}", name(n), name(n)),
            &format!("b.{} 60 IN A 192.0.2.1", name(n)),
        ]);
        let changes: Vec<(usize, u8)> = (0..=random() % 5).map(|_| (random(), random() as u8)).collect();
        let noise = right.clone().edit(move |bytes| {
            for (at, value) in &changes {
                // The header and the question stay: what is damaged is behind what every forwarder checks.
                let at = 12 + 10 + 4 + at % (bytes.len() - 26);
                bytes[at] = *value;
            }
        });
        let script = Script::udp([Play::of(noise).then(2, right.clone())]).tcp([Play::of(right)]);
        fake.on(&format!("{} A", name(n)), script);
    }
    let server = Pldns::start(&fake.rule("."), "");
    let mut problems = Vec::new();
    for n in 0..count {
        let query = Query::new(&format!("{} A", name(n)));
        let bytes = query.send_at(server.address()).unwrap_or_else(|| panic!("{}: no answer", name(n)));
        if let Err(why) = dns::Message::parse(&bytes) {
            problems.push(format!("{}: {why}\n{}", name(n), dns::show(&bytes)));
        }
    }
    assert!(problems.is_empty(), "{} of {count}:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn an_upstream_that_only_talks_nonsense_fails_in_time_and_with_a_reason() {
    let fake = FakeAzureDns::start();
    let nonsense = Play::of(truth().cut(5));
    fake.on(QUESTION, Script::udp([nonsense.clone()]).tcp([nonsense]));
    let server = Pldns::start(&fake.rule("."), "");
    server.ask(QUESTION).rcode("SERVFAIL").some_ede();
    assert!(fake.seen(QUESTION).len() <= 8, "asked {} times", fake.seen(QUESTION).len());
}

#[test]
fn a_flood_of_wrong_ids_changes_nothing_but_the_transport() {
    a_flood_of_wrong_ids(|fake| fake.rule("."));
}

/// A flood by an upstream behind these rules.
pub(crate) fn a_flood_of_wrong_ids(rules: impl Fn(&FakeAzureDns) -> String) {
    let fake = FakeAzureDns::start();
    let count = 20;
    let name = |n: usize| format!("n{n}.example A");
    let right = |n: usize| format!("n{n}.example 60 IN A 192.0.2.1");
    for n in 0..count {
        let lie = || Answer::of(&[&format!("n{n}.example 60 IN A 203.0.113.66")]);
        let flood = (0..300).fold(Play::of(lie().wrong_id()), |play, _| play.then(0, lie().wrong_id()));
        // The last one matches in everything: it came too late for that.
        fake.on(&name(n), Script::udp([flood.then(0, lie())]).tcp([Play::of(Answer::of(&[&right(n)]))]));
    }
    let server = Pldns::start(&rules(&fake), "");
    thread::scope(|scope| {
        for n in 0..count {
            let (address, question, right) = (server.address(), name(n), right(n));
            scope.spawn(move || {
                Query::new(&question).ask_at(address).answers(&[&right]);
            });
        }
    });
    for n in 0..count {
        let by_tcp = fake.seen(&name(n)).iter().filter(|seen| seen.transport == Transport::Tcp).count();
        assert_eq!(by_tcp, 1, "{}", name(n));
    }
}

#[test]
fn a_datagram_longer_than_advertised_is_asked_for_over_tcp() {
    let fake = FakeAzureDns::start();
    let many = |third: u8| (0..120).map(|n| format!("a.example 60 IN A 192.0.{third}.{n}")).collect::<Vec<_>>();
    let answer = |lines: &[String]| Answer::of(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let (long, right) = (many(66), many(2));
    fake.on(QUESTION, Script::udp([Play::of(answer(&long))]).tcp([Play::of(answer(&right))]));
    let server = Pldns::start(&fake.rule("."), "");
    let right: Vec<&str> = right.iter().map(String::as_str).collect();
    Query::new(QUESTION).tcp().ask_at(server.address()).answers(&right);
    assert!(fake.seen(QUESTION).iter().any(|seen| seen.transport == Transport::Tcp), "TCP was not asked");
}
