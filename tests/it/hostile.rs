//! Upstreams whose answers are built to do harm: to clients, to other answers, to the time that other queries take.

use crate::common::ask::{client, connect, read_frame, receive, write_frame};
use crate::common::cast::{API, RECORDS, record};
use crate::common::{Answer, FakeAzureDns, Play, Pldns, Query, Script, dns};
use std::thread;
use std::time::Duration;

/// The data of an extended error with so many bytes of text.
fn extended_error(text: usize) -> Vec<u8> {
    [&[0, 22][..], &vec![b'x'; text]].concat()
}

fn big(texts: &[usize]) -> Answer {
    let answer = Answer::of(&["e.example 60 IN A 192.0.2.1"]);
    texts.iter().fold(answer, |answer, &text| answer.option(15, &extended_error(text)))
}

/// A script that answers with `answer` over TCP, and truncated over UDP.
fn by_tcp(answer: Answer) -> Script {
    Script::udp([Play::of(Answer::of(&[]).flag(dns::TC))]).tcp([Play::of(answer)])
}

#[test]
fn extended_errors_of_upstreams_are_bounded_and_never_displace_data() {
    for texts in [&[3000][..], &[60_000], &[64; 300], &[1000], &[0; 900]] {
        let fake = FakeAzureDns::start();
        fake.on("e.example A", by_tcp(big(texts)));
        let server = Pldns::start(&fake.rule("."), "");
        let query = || Query::new("e.example A");
        for query in [query().edns_size(512), query(), query().no_edns(), query().tcp()] {
            let got = query.ask_at(server.address());
            got.rcode("NOERROR").no_tc().answers(&["e.example 60 IN A 192.0.2.1"]);
            let errors = got.extended_errors();
            assert!(errors.len() <= 4 && errors.iter().all(|(_, text)| text.len() <= 64), "{}", got.message);
            assert!(got.bytes.len() <= 512, "{} bytes", got.bytes.len());
        }
    }
}

#[test]
fn extended_errors_are_left_out_where_data_fill_the_reply() {
    let fake = FakeAzureDns::start();
    // 12 + 15 + 29 * 16 = 491 bytes, 502 with OPT: one code has room in 512, no text.
    let lines: Vec<String> = (1..=29).map(|n| format!("e.example 60 IN A 192.0.2.{n}")).collect();
    let answer = Answer::of(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    fake.gives("e.example A", answer.option(15, &extended_error(20)).option(15, &extended_error(0)));
    let server = Pldns::start(&fake.rule("."), "");
    let got = Query::new("e.example A").edns_size(512).ask_at(server.address());
    got.rcode("NOERROR").no_tc();
    assert_eq!((got.message.answers.len(), got.extended_errors().len()), (29, 1), "{}", got.message);
    assert_eq!(Query::new("e.example A").ask_at(server.address()).extended_errors().len(), 2);
}

/// Two answers of one chain, each full of extended errors: the reply over TCP is one frame, and nothing follows it.
#[test]
fn a_frame_is_as_long_as_its_length_says() {
    let fake = FakeAzureDns::start();
    let full = |line: &str| {
        let answer = Answer::of(&[line]).option(15, &extended_error(45_000));
        Script::udp([Play::of(Answer::of(&[]).flag(dns::TC))]).tcp([Play::of(answer)])
    };
    fake.on("evil.up.test A", full("evil.up.test 60 IN CNAME t.example"));
    fake.on("y.up.test A", full("y.up.test 60 IN A 192.0.2.1"));
    let server = Pldns::start(&fake.rule("."), &record("t.example", "CNAME", &["y.up.test."]));
    let mut stream = connect(None, server.address());
    stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    let queries = [Query::new("evil.up.test A"), Query::new("localhost A")];
    for query in &queries {
        write_frame(&mut stream, &query.bytes());
    }
    let mut answered = Vec::new();
    for _ in &queries {
        let bytes = read_frame(&mut stream).expect("an answer");
        let id = u16::from_be_bytes([bytes[0], bytes[1]]);
        let query = queries.iter().find(|query| query.id() == id).expect("an answer to one of the queries");
        query.check(&bytes).unwrap_or_else(|why| panic!("{why}"));
        answered.push(id);
    }
    answered.sort_unstable();
    let mut ids = queries.map(|query| query.id());
    ids.sort_unstable();
    assert_eq!(answered, ids);
}

/// Damaged over UDP: TCP is asked and decides.
#[track_caller]
fn is_damaged(bad: Answer) {
    let fake = FakeAzureDns::start();
    let right = Answer::of(&["a.example 60 IN A 192.0.2.1"]);
    fake.on("a.example A", Script::udp([Play::of(bad)]).tcp([Play::of(right)]));
    let server = Pldns::start(&fake.rule("."), RECORDS);
    for query in [Query::new("a.example A"), Query::new("a.example A").no_edns()] {
        let got = query.ask_at(server.address());
        got.answers(&["a.example 60 IN A 192.0.2.1"]);
        assert!(got.message.additionals.is_empty(), "{}", got.message);
    }
    assert_eq!(fake.seen("a.example A").len(), 2, "once over UDP, once over TCP");
}

/// An OPT record with an option of some length.
fn opt_with(code: u16) -> Vec<u8> {
    let mut opt = vec![0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 12];
    opt.extend(code.to_be_bytes());
    opt.extend([0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
    opt
}

fn with_opt_in_section(section: usize, owner: &'static [u8]) -> Answer {
    Answer::of(&["a.example 60 IN A 192.0.2.1"]).without_opt().edit(move |bytes| {
        let count = 6 + 2 * section;
        bytes[count + 1] += 1;
        let opt = [owner, &opt_with(10)[1..]].concat();
        bytes.extend(opt);
    })
}

#[test]
fn opt_records_that_are_not_the_only_one_at_the_root_are_damage() {
    let two = Answer::of(&["a.example 60 IN A 192.0.2.1"]).edit(|bytes| {
        bytes[11] += 1;
        bytes.extend(opt_with(10));
    });
    is_damaged(two);
    is_damaged(with_opt_in_section(0, &[0]));
    is_damaged(with_opt_in_section(1, &[0]));
    is_damaged(with_opt_in_section(2, b"\x01x\0"));
    is_damaged(with_opt_in_section(2, &[0xc0, 12]));
}

#[test]
fn records_that_do_not_belong_to_the_question_are_damage() {
    let right = "a.example 60 IN A 192.0.2.1";
    for foreign in [
        "victim.bank 60 IN A 6.6.6.6",
        "b.a.example 60 IN A 6.6.6.6",
        "a.example 60 IN TXT \"x\"",
        "a.example 60 IN AAAA 2001:db8::1",
        "x.example 60 IN CNAME a.example",
        "a.example 60 CH A 6.6.6.6",
    ] {
        is_damaged(Answer::of(&[right, foreign]));
        is_damaged(Answer::of(&[foreign, right]));
    }
    is_damaged(Answer::of(&["a.example 60 IN CNAME b.example", right]));
}

#[test]
fn what_does_not_belong_never_reaches_a_client() {
    let fake = FakeAzureDns::start();
    fake.answer("a.example A", &["victim.bank 60 IN A 6.6.6.6", "a.example 60 IN A 192.0.2.1"]);
    let server = Pldns::start(&fake.rule("."), "");
    for _ in 0..2 {
        server.ask("a.example A").answers(&["a.example 60 IN A 192.0.2.1"]);
    }
}

#[test]
fn pointers_into_a_ttl_are_damage() {
    // The owner of the second record points to the TTL of the first, which reads as a pointer to the question.
    let pointing = Answer::of(&["a.example 49164 IN A 192.0.2.1", "a.example 60 IN A 192.0.2.2"]);
    is_damaged(pointing.edit(|bytes| {
        let first = 12 + dns::name("a.example").len() + 4;
        bytes[first + 16..first + 18].copy_from_slice(&[0xc0, u8::try_from(first + 8).unwrap()]);
    }));
}

#[test]
fn aliases_precede_their_targets_whatever_the_upstreams_order() {
    let fake = FakeAzureDns::start();
    let chain = ["o.example 60 IN CNAME p.example", "p.example 60 IN CNAME t.example", "t.example 60 IN A 192.0.2.1"];
    fake.answer("o.example A", &[chain[2], chain[1], chain[0]]);
    let server = Pldns::start(&fake.rule("."), "");
    for query in [Query::new("o.example A"), Query::new("o.example A").tcp(), Query::new("o.example A").no_edns()] {
        query.ask_at(server.address()).rcode("NOERROR").answers(&chain);
    }
}

#[test]
fn an_alias_loop_of_an_upstream_is_servfail() {
    let fake = FakeAzureDns::start();
    fake.answer("self.example A", &["self.example 60 IN CNAME self.example"]);
    fake.answer("ring.example A", &["ring.example 60 IN CNAME b.example", "b.example 60 IN CNAME ring.example"]);
    let long: Vec<String> = (0..40).map(|n| format!("l{n}.example 60 IN CNAME l{}.example", n + 1)).collect();
    fake.answer("l0.example A", &long.iter().map(String::as_str).collect::<Vec<_>>());
    let server = Pldns::start(&fake.rule("."), "");
    for (name, why) in [("self", "CNAME loop"), ("ring", "CNAME loop"), ("l0", "CNAME chain too long")] {
        let got = server.ask(&format!("{name}.example A"));
        got.rcode("SERVFAIL").no_answers();
        assert_eq!(got.extended_errors(), [(0, why.to_owned())]);
    }
}

/// Also behind an alias of the table, where the reply is put together record by record.
#[test]
fn long_answers_are_truncated_over_udp_and_whole_over_tcp() {
    let fake = FakeAzureDns::start();
    let lines: Vec<String> = (0..1000).map(|n| format!("long.example 60 IN A 10.0.{}.{}", n / 256, n % 256)).collect();
    fake.on("long.example A", by_tcp(Answer::of(&lines.iter().map(String::as_str).collect::<Vec<_>>())));
    let server = Pldns::start(&fake.rule("."), &record("alias.example", "CNAME", &["long.example."]));
    // From the upstream, then from the cache.
    for _ in 0..2 {
        for (name, aliases) in [("long.example A", 0), ("alias.example A", 1)] {
            let short = Query::new(name).ask_at(server.address());
            short.rcode("NOERROR").tc();
            assert_eq!(short.message.answers.len(), aliases, "{}", short.message);
            let whole = Query::new(name).tcp().ask_at(server.address());
            whole.rcode("NOERROR").no_tc();
            assert_eq!(whole.message.answers.len(), aliases + 1000);
        }
    }
}

/// One answer that many of a client's queries waited for, and that is many times as long as they are.
#[test]
fn long_replies_to_many_queries_that_waited_are_cut() {
    let fake = FakeAzureDns::start();
    let text = format!("bomb.example 60 IN TXT {}", vec![format!("\"{}\"", "x".repeat(250)); 4].join(" "));
    fake.on("bomb.example TXT", Script::udp([Play::silence().then(3500, Answer::of(&[&text]))]));
    let server = Pldns::start(&fake.rule("."), "");
    let socket = client(None, server.address());
    let query = Query::new("bomb.example TXT");
    for _ in 0..100 {
        socket.send(&query.bytes()).unwrap();
        thread::sleep(Duration::from_millis(20));
    }
    let first = receive(&socket, Duration::from_secs(20)).unwrap();
    let others = std::iter::repeat_with(|| receive(&socket, Duration::from_secs(3))).map_while(|reply| reply);
    let lengths: Vec<_> = std::iter::once(first).chain(others).take(100).map(|reply| reply.len()).collect();
    let cut = lengths.iter().filter(|len| **len == query.bytes().len()).count();
    assert!(cut >= 64, "{lengths:?}");
    Query::new("bomb.example TXT").tcp().ask_at(server.address()).no_tc().answers(&[text.replace(" 60 ", " * ")]);
}

/// A chain of as many pointers as fit, and records of which each name is the last of them.
fn chain_of_pointers(rtype: u8) -> Answer {
    Answer::of(&[]).without_opt().edit(move |bytes| {
        let (mut last, mut count) = (12_u16, 0_u16);
        while bytes.len() < 60_000 {
            let at = u16::try_from(bytes.len()).unwrap();
            bytes.extend((0xc000 | last).to_be_bytes());
            let data = if rtype == 1 { vec![192, 0, 2, 1] } else { (0xc000 | last).to_be_bytes().to_vec() };
            bytes.extend([0, rtype, 0, 1, 0, 0, 0, 60, 0, u8::try_from(data.len()).unwrap()]);
            bytes.extend(data);
            count += 1;
            if at < 0x3fff {
                last = at;
            }
        }
        bytes[6..8].copy_from_slice(&count.to_be_bytes());
    })
}

#[test]
fn names_of_thousands_of_pointers_are_not_followed() {
    for rtype in [1, 2, 5] {
        let fake = FakeAzureDns::start();
        fake.on("hops.example A", by_tcp(chain_of_pointers(rtype)));
        let server = Pldns::start(&fake.rule("."), RECORDS);
        server.ask("hops.example A").rcode("SERVFAIL").no_answers();
        server.ask(&format!("{API} A")).rcode("NOERROR");
    }
}

#[test]
fn authentic_data_is_told_to_clients_that_understand_it() {
    let fake = FakeAzureDns::start();
    fake.gives("s.example A", Answer::of(&["s.example 60 IN A 192.0.2.1"]).flag(dns::AD));
    let server = Pldns::start(&fake.rule("."), "");
    let query = || Query::new("s.example A");
    for _ in 0..2 {
        query().ask_at(server.address()).no_ad();
        query().no_edns().ask_at(server.address()).no_ad();
        query().flag(dns::AD).ask_at(server.address()).ad();
        query().no_edns().flag(dns::AD).ask_at(server.address()).ad();
        query().edns_flags(dns::DO).ask_at(server.address()).ad();
    }
}
