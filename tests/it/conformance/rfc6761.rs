use crate::common::{FakeAzureDns, Pldns};

#[test]
fn s_6_3_localhost_is_loopback_and_is_not_looked_up() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("app.localhost A").answers(&["app.localhost * IN A 127.0.0.1"]);
    server.ask("localhost AAAA").answers(&["localhost * IN AAAA ::1"]);
    assert!(fake.seen("app.localhost *").is_empty() && fake.seen("localhost *").is_empty());
}

#[test]
fn s_6_4_invalid_is_nxdomain_and_is_not_looked_up() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("anything.invalid A").rcode("NXDOMAIN").no_answers();
    assert!(fake.seen("anything.invalid *").is_empty());
}
