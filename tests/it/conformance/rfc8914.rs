use crate::common::cast::{API, RECORDS, record};
use crate::common::{FakeAzureDns, Play, Pldns, Query, Script};

#[test]
fn s_4_19_prohibited_is_said_to_clients_that_may_not_ask() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&format!("[access]\nallow = [\"10.0.0.0/8\"]\n{}", fake.rule(".")), RECORDS);
    let query = Query::new(&format!("{API} A"));
    query.clone().tcp().ask_at(server.address()).rcode("REFUSED").ede(18);
    // Over UDP where the query is long enough: a reply to a stranger is not longer.
    query.option(65_001, &[7; 6]).ask_at(server.address()).rcode("REFUSED").ede(18);
}

#[test]
fn s_4_21_not_authoritative_is_said_where_recursion_was_not_desired() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    Query::new("f.example A").no_rd().ask_at(server.address()).rcode("REFUSED").ede(20);
}

#[test]
fn s_4_23_no_reachable_authority_is_said_where_no_upstream_answers() {
    let fake = FakeAzureDns::start();
    fake.on("dead.example A", Script::udp([Play::silence()]));
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("dead.example A").rcode("SERVFAIL").ede(22);
}

#[test]
fn s_2_every_refusal_and_failure_of_our_own_says_why_and_texts_are_utf_8() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), &record("loop.test", "CNAME", &["loop.test."]));
    for query in [
        Query::new("loop.test A"),
        Query::new("f.example A").class(3),
        Query::new("f.example AXFR"),
        Query::new("f.example A").no_rd(),
    ] {
        let got = query.ask_at(server.address());
        got.some_ede();
        for (code, data) in &got.opt().options {
            if *code == 15 {
                assert!(std::str::from_utf8(&data[2..]).is_ok(), "{}", got.message);
            }
        }
    }
}
