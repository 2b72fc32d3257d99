use crate::common::ask::{connect, read_frame, write_frame};
use crate::common::cast::{API, RECORDS};
use crate::common::{Answer, FakeAzureDns, Play, Pldns, Query, Script, dns};
use std::io::Write;
use std::time::Duration;

#[test]
fn s_5_everything_that_udp_answers_tcp_answers() {
    let fake = FakeAzureDns::start();
    fake.answer("f.example A", &["f.example 60 IN A 192.0.2.1"]);
    let server = Pldns::start(&fake.rule("."), RECORDS);
    for question in
        [&format!("{API} A"), &format!("{API} AAAA"), "f.example A", "none.example A", "x.invalid A", "localhost A"]
    {
        let udp = Query::new(question).ask_at(server.address());
        let tcp = Query::new(question).tcp().ask_at(server.address());
        assert_eq!(tcp.message.rcode(), udp.message.rcode(), "{question}");
        assert_eq!(tcp.message.flags, udp.message.flags, "{question}");
        assert_eq!(tcp.message.answers.len(), udp.message.answers.len(), "{question}");
    }
}

#[test]
fn s_6_2_1_connections_are_reused() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let mut stream = connect(None, server.address());
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for _ in 0..10 {
        let query = Query::new(&format!("{API} A")).tcp();
        write_frame(&mut stream, &query.bytes());
        query.check(&read_frame(&mut stream).expect("an answer")).unwrap();
    }
}

#[test]
fn s_6_2_1_1_pipelined_queries_do_not_wait_for_each_other() {
    let fake = FakeAzureDns::start();
    let slow = Play::silence().then(600, Answer::of(&["slow.example 60 IN A 192.0.2.1"]));
    fake.on("slow.example A", Script::udp([slow]));
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let mut stream = connect(None, server.address());
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (slow, quick) = (Query::new("slow.example A").tcp(), Query::new(&format!("{API} A")).tcp());
    write_frame(&mut stream, &slow.bytes());
    write_frame(&mut stream, &quick.bytes());
    quick.check(&read_frame(&mut stream).expect("the quick answer")).expect("the quick answer first");
    slow.check(&read_frame(&mut stream).expect("the slow answer")).expect("then the slow one");
}

#[test]
fn s_8_length_and_message_may_come_apart() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let mut stream = connect(None, server.address());
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.set_nodelay(true).unwrap();
    let query = Query::new(&format!("{API} A")).tcp();
    let bytes = query.bytes();
    let framed = [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
    for part in [&framed[..1], &framed[1..2], &framed[2..9], &framed[9..]] {
        stream.write_all(part).unwrap();
        std::thread::sleep(Duration::from_millis(30));
    }
    let answer = read_frame(&mut stream).expect("an answer");
    query.check(&answer).unwrap_or_else(|why| panic!("{why}\n{}", dns::show(&answer)));
}
