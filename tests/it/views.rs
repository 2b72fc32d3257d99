//! Views: records that only some clients see.

use crate::common::cast::{record, record_with, zone};
use crate::common::{FakeAzureDns, Pldns, Query};

const NAME: &str = "ws.example";

fn views() -> String {
    record_with(NAME, "A", &["10.1.0.5"], r#"clients = ["127.0.1.0/24"]"#)
        + &record_with(NAME, "A", &["10.2.0.5"], r#"clients = ["127.0.2.0/24", "127.0.3.0/24"]"#)
        + &record_with(NAME, "A", &["10.3.0.5"], r#"clients = ["127.0.2.7/32"]"#)
}

#[track_caller]
fn sees(server: &Pldns, client: &str, address: &str) {
    for query in [Query::new("ws.example A"), Query::new("ws.example A").tcp()] {
        query.from(client).ask_at(server.address()).answers(&[format!("{NAME} * IN A {address}")]);
    }
}

#[test]
fn the_most_specific_network_of_a_client_decides() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), &(views() + &record(NAME, "A", &["10.9.0.5"])));
    sees(&server, "127.0.1.1", "10.1.0.5");
    sees(&server, "127.0.2.1", "10.2.0.5");
    sees(&server, "127.0.3.9", "10.2.0.5");
    sees(&server, "127.0.2.7", "10.3.0.5");
    sees(&server, "127.0.0.1", "10.9.0.5");
}

#[test]
fn a_client_that_sees_no_record_has_the_name_forwarded() {
    let fake = FakeAzureDns::start();
    fake.answer("ws.example A", &["ws.example 60 IN A 192.0.2.1"]);
    fake.answer("ws.example AAAA", &["ws.example 60 IN AAAA 2001:db8::1"]);
    let server = Pldns::start(&fake.rule("."), &views());
    sees(&server, "127.0.0.1", "192.0.2.1");
    sees(&server, "127.0.1.1", "10.1.0.5");
    let ask = |client: &str| Query::new("ws.example AAAA").from(client).ask_at(server.address());
    ask("127.0.0.1").no_aa().answers(&["ws.example 60 IN AAAA 2001:db8::1"]);
    ask("127.0.1.1").nodata(NAME);
}

#[test]
fn a_client_that_sees_no_record_in_a_zone_of_our_own_gets_nxdomain() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&(zone("example", "nxdomain") + &fake.rule(".")), &views());
    sees(&server, "127.0.1.1", "10.1.0.5");
    Query::new("ws.example A").from("127.0.0.1").ask_at(server.address()).nxdomain("example");
    assert!(fake.seen("ws.example *").is_empty());
}

#[test]
fn wildcards_and_partial_wildcards_have_views_too() {
    let fake = FakeAzureDns::start();
    let records = record_with("*.w.example", "A", &["10.1.0.1"], r#"clients = ["127.0.1.0/24"]"#)
        + &record("*.w.example", "A", &["10.2.0.1"])
        + &record_with("*-end.example", "A", &["10.1.0.2"], r#"clients = ["127.0.1.0/24"]"#)
        + &record("*-end.example", "A", &["10.2.0.2"]);
    let server = Pldns::start(&fake.rule("."), &records);
    let ask = |name: &str, client: &str, address: &str| {
        let got = Query::new(&format!("{name} A")).from(client).ask_at(server.address());
        got.aa().answers(&[format!("{name} 10 IN A {address}")]);
    };
    ask("x.w.example", "127.0.1.1", "10.1.0.1");
    ask("x.w.example", "127.0.0.1", "10.2.0.1");
    ask("x-end.example", "127.0.1.1", "10.1.0.2");
    ask("x-end.example", "127.0.0.1", "10.2.0.2");
}

#[test]
fn one_cached_answer_is_cut_for_each_client_in_its_own_way() {
    let fake = FakeAzureDns::start();
    fake.answer("pub.example A", &["pub.example 60 IN CNAME ws.example", "ws.example 60 IN A 192.0.2.1"]);
    let server = Pldns::start(&fake.rule("."), &views());
    for _ in 0..2 {
        for (client, address, ttl) in
            [("127.0.1.1", "10.1.0.5", "10"), ("127.0.2.7", "10.3.0.5", "10"), ("127.0.0.1", "192.0.2.1", "*")]
        {
            Query::new("pub.example A")
                .from(client)
                .ask_at(server.address())
                .answers(&["pub.example * IN CNAME ws.example".to_owned(), format!("ws.example {ttl} IN A {address}")]);
        }
    }
    assert_eq!(fake.seen("pub.example A").len(), 1, "one upstream query serves all views");
}

#[test]
fn a_name_that_a_client_does_not_see_does_not_stand_before_a_wildcard() {
    let fake = FakeAzureDns::start();
    let limited = r#"clients = ["127.0.1.0/24"]"#;
    let records = record("*.example", "A", &["10.9.0.1"])
        + &record_with("own.example", "A", &["10.1.0.1"], limited)
        + &record_with("deep.below.example", "A", &["10.1.0.2"], limited);
    let server = Pldns::start(&fake.rule("."), &records);
    for (client, name, address) in [
        ("127.0.1.1", "own.example", "10.1.0.1"),
        ("127.0.0.1", "own.example", "10.9.0.1"),
        ("127.0.0.1", "x.below.example", "10.9.0.1"),
        ("127.0.1.1", "deep.below.example", "10.1.0.2"),
    ] {
        let got = Query::new(&format!("{name} A")).from(client).ask_at(server.address());
        got.aa().answers(&[format!("{name} 10 IN A {address}")]);
    }
}
