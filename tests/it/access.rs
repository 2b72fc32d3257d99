//! Who may ask: `[access] allow` stands before records, cache and forwarding, on every transport the same.

use crate::common::cast::{API, RECORDS, zone};
use crate::common::{FakeAzureDns, Pldns, Query, Setup};

#[test]
fn loopback_and_private_networks_may_ask_by_default() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    for client in ["127.0.0.1", "127.0.0.2", "127.255.255.254"] {
        Query::new(&format!("{API} A")).from(client).ask_at(server.address()).rcode("NOERROR");
    }
}

#[test]
fn others_are_refused_with_a_reason_whatever_they_ask() {
    let fake = FakeAzureDns::start();
    fake.answer("cached.example A", &["cached.example 60 IN A 192.0.2.1"]);
    let settings =
        "[access]\nallow = [\"127.0.0.1/32\"]\n\n".to_owned() + &zone("corp.example", "nxdomain") + &fake.rule(".");
    let server = Pldns::start(&settings, RECORDS);
    server.ask("cached.example A").rcode("NOERROR");
    let questions = [&format!("{API} A"), "cached.example A", "fresh.example A", "x.corp.example A", "localhost A"];
    for question in questions {
        for query in [Query::new(question), Query::new(question).tcp()] {
            let query = query.from("127.0.0.2");
            query.ask_at(server.address()).rcode("REFUSED").no_answers().no_aa();
            // There is room for the reason where the query was as long: over UDP the reply is not longer than the query.
            query.option(65_001, &[7; 6]).ask_at(server.address()).rcode("REFUSED").ede(18).no_answers().no_aa();
        }
    }
    assert!(fake.seen("fresh.example *").is_empty(), "a stranger's question went upstream");
    let stopped = server.stop();
    assert_eq!((stopped.received, stopped.answered, stopped.refused), (21, 1, 20));
}

#[test]
fn a_refusal_is_never_longer_than_the_query() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&format!("[access]\nallow = []\n{}", fake.rule(".")), RECORDS);
    let query = || Query::new(&format!("{API} A"));
    let options = (0..8).map(|len| query().option(65_001, &vec![7; len]));
    let others =
        [query(), query().no_edns(), Query::new(". A"), query().opcode(4), query().class(3), query().edns_version(1)];
    for query in options.chain(others) {
        let got = query.ask_at(server.address());
        got.rcode("REFUSED");
        assert!(got.bytes.len() <= query.bytes().len(), "{} bytes for {}", got.bytes.len(), query.bytes().len());
    }
    query().tcp().ask_at(server.address()).rcode("REFUSED").ede(18);
}

#[test]
fn prefixes_are_bits_not_bytes() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&format!("[access]\nallow = [\"127.0.8.0/22\"]\n{}", fake.rule(".")), RECORDS);
    for (client, rcode) in
        [("127.0.7.255", "REFUSED"), ("127.0.8.0", "NOERROR"), ("127.0.11.255", "NOERROR"), ("127.0.12.0", "REFUSED")]
    {
        Query::new(&format!("{API} A")).from(client).ask_at(server.address()).rcode(rcode);
    }
}

#[test]
fn ipv6_clients_are_served_and_judged_like_others() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("this machine has no IPv6 loopback: nothing is shown");
        return;
    }
    let fake = FakeAzureDns::start();
    let server = Setup::new(&fake.rule("."), RECORDS).listen("[::1]:0").listen("127.0.0.1:0").start();
    let strict = Setup::new(&format!("[access]\nallow = [\"127.0.0.1/32\"]\n{}", fake.rule(".")), RECORDS);
    let strict = strict.listen("[::1]:0").start();
    for query in [Query::new(&format!("{API} A")), Query::new(&format!("{API} A")).tcp()] {
        for address in server.addresses() {
            query.ask_at(*address).rcode("NOERROR").aa();
        }
        query.option(65_001, &[7; 6]).ask_at(strict.address()).rcode("REFUSED").ede(18);
    }
}

#[test]
fn wildcard_binds_of_both_families_stand_beside_each_other() {
    let fake = FakeAzureDns::start();
    if std::net::UdpSocket::bind("[::]:0").is_err() {
        eprintln!("this machine has no IPv6: nothing is shown");
        return;
    }
    let server = Setup::new(&fake.rule("."), RECORDS).listen("[::]:0").listen("0.0.0.0:0").start();
    for address in server.addresses() {
        let loopback: std::net::IpAddr =
            if address.is_ipv4() { std::net::Ipv4Addr::LOCALHOST.into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        let at = (loopback, address.port()).into();
        Query::new(&format!("{API} A")).ask_at(at).rcode("NOERROR");
        Query::new(&format!("{API} A")).tcp().ask_at(at).rcode("NOERROR");
    }
}

#[test]
fn replies_leave_from_the_address_that_was_asked_on_a_wildcard_bind() {
    let fake = FakeAzureDns::start();
    fake.answer("f.example A", &["f.example 60 IN A 192.0.2.1"]);
    let server = Setup::new(&fake.rule("."), RECORDS).listen("0.0.0.0:0").start();
    let port = server.address().port();
    // The client's socket is connected: an answer from another address would not be heard.
    for ip in ["127.0.0.1", "127.0.0.3", "127.7.7.7"] {
        let at = format!("{ip}:{port}").parse().unwrap();
        Query::new(&format!("{API} A")).ask_at(at).rcode("NOERROR");
        Query::new("f.example A").ask_at(at).rcode("NOERROR");
        Query::new(&format!("{API} A")).tcp().ask_at(at).rcode("NOERROR");
    }
}

#[test]
fn strangers_of_one_network_get_few_refusals_and_nobody_else_notices() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&format!("[access]\nallow = [\"127.0.0.1/32\"]\n{}", fake.rule(".")), RECORDS);
    let stranger = crate::common::ask::client(Some("127.0.0.2".parse().unwrap()), server.address());
    let query = Query::new(&format!("{API} A"));
    for _ in 0..500 {
        stranger.send(&query.bytes()).unwrap();
        server.ask(&format!("{API} A")).rcode("NOERROR");
    }
    let stopped = server.stop();
    assert_eq!((stopped.received, stopped.answered), (1000, 500));
    // A slow machine takes several seconds for them.
    assert!(stopped.dropped > 0 && stopped.refused >= 20, "{} refused, {} dropped", stopped.refused, stopped.dropped);
}
