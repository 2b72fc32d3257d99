use crate::common::{Answer, FakeAzureDns, Play, Pldns, Query, Script};

#[test]
fn s_4_3_an_answer_comes_from_where_the_query_went() {
    let fake = FakeAzureDns::start();
    let lie = Answer::of(&["a.example 60 IN A 203.0.113.66"]);
    let truth = Answer::of(&["a.example 60 IN A 192.0.2.1"]);
    fake.on("a.example A", Script::udp([Play::silence().then_from_elsewhere(0, lie).then(50, truth)]));
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("a.example A").answers(&["a.example 60 IN A 192.0.2.1"]);
}

#[test]
fn s_5_one_question_has_one_query_outstanding() {
    let fake = FakeAzureDns::start();
    let slow = Play::silence().then(400, Answer::of(&["a.example 60 IN A 192.0.2.1"]));
    fake.on("a.example A", Script::udp([slow]));
    let server = Pldns::start(&fake.rule("."), "");
    let address = server.address();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(move || {
                Query::new("a.example A").ask_at(address).rcode("NOERROR").before_deadline();
            });
        }
    });
    // The first attempt, and what repeats of it fit into the time that the answer takes.
    let sent = fake.seen("a.example A").len();
    assert!(sent <= 4, "{sent} queries in flight for one question: more chances to guess");
}
