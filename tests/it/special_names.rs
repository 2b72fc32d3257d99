//! Names that are answered here unless the settings say otherwise.

use crate::common::cast::record;
use crate::common::{FakeAzureDns, Pldns};

const NONEXISTENT: [&str; 8] = [
    "invalid",
    "x.invalid",
    "onion",
    "www.2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion",
    "use-application-dns.net",
    "reddog.microsoft.com",
    "host.reddog.microsoft.com",
    "a.b.Reddog.Microsoft.com",
];

#[test]
fn localhost_is_this_host() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), "");
    for name in ["localhost", "LOCALHOST", "x.localhost", "a.b.localhost"] {
        server.ask(&format!("{name} A")).rcode("NOERROR").ra().answers(&[format!("{name} * IN A 127.0.0.1")]);
        server.ask(&format!("{name} AAAA")).rcode("NOERROR").answers(&[format!("{name} * IN AAAA ::1")]);
        server.ask(&format!("{name} MX")).rcode("NOERROR").no_answers();
        assert!(fake.seen(&format!("{name} *")).is_empty());
    }
}

#[test]
fn names_that_cannot_exist_do_not() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), "");
    for name in NONEXISTENT {
        for kind in ["A", "AAAA", "HTTPS"] {
            let got = server.ask(&format!("{name} {kind}"));
            got.rcode("NXDOMAIN").ra().no_answers();
            assert!(got.message.authorities.iter().any(|record| record.rtype == 6), "an SOA: {}", got.message);
        }
        assert!(fake.seen(&format!("{name} *")).is_empty(), "{name} went upstream");
    }
}

#[test]
fn a_resolvers_encrypted_listeners_are_never_asked_upstream() {
    let fake = FakeAzureDns::start();
    fake.answer("_dns.resolver.arpa SVCB", &["_dns.resolver.arpa 60 IN TYPE64 \\# 3 000100"]);
    let server = Pldns::start(&fake.rule("."), &record("here.test", "CNAME", &["_dns.resolver.arpa."]));
    for question in ["_dns.resolver.arpa SVCB", "_DNS.Resolver.ARPA SVCB", "resolver.arpa A", "a.b.resolver.arpa A"] {
        let got = server.ask(question);
        got.rcode("NOERROR").ra().no_answers().soa("resolver.arpa", 10);
        let name = question.split(' ').next().unwrap();
        assert!(fake.seen(&format!("{name} *")).is_empty(), "{name} went upstream");
    }
    server
        .ask("here.test SVCB")
        .rcode("NOERROR")
        .answers(&["here.test 10 IN CNAME _dns.resolver.arpa"])
        .soa("resolver.arpa", 10);
}

#[test]
fn their_neighbours_follow_the_rules() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), "");
    for name in [
        "test",
        "x.test",
        "example",
        "local",
        "home.arpa",
        "resolver.example",
        "arpa",
        "onion.example",
        "notlocalhost",
        "localhost.example",
        "microsoft.com",
        "xreddog.microsoft.com",
        "www.use-application-dns.net.example",
    ] {
        fake.answer(&format!("{name} A"), &[&format!("{name} 60 IN A 192.0.2.1")]);
        server.ask(&format!("{name} A")).rcode("NOERROR").answers(&[format!("{name} 60 IN A 192.0.2.1")]);
    }
}

#[test]
fn a_rule_that_names_them_is_followed() {
    let fake = FakeAzureDns::start();
    let rules: String = ["localhost", "invalid", "onion", "use-application-dns.net", "reddog.microsoft.com"]
        .map(|zone| fake.rule(zone))
        .concat();
    let server = Pldns::start(&(rules + &fake.rule(".")), "");
    for name in NONEXISTENT.iter().chain(&["localhost", "x.localhost"]) {
        fake.answer(&format!("{name} A"), &[&format!("{name} 60 IN A 192.0.2.1")]);
        server.ask(&format!("{name} A")).rcode("NOERROR").answers(&[format!("{name} 60 IN A 192.0.2.1")]);
    }
}

#[test]
fn a_record_that_names_them_is_served() {
    let fake = FakeAzureDns::start();
    let records = record("x.reddog.microsoft.com", "A", &["10.0.0.1"])
        + &record("db.localhost", "A", &["10.0.0.2"])
        + &record("use-application-dns.net", "A", &["10.0.0.3"]);
    let server = Pldns::start(&fake.rule("."), &records);
    server.ask("x.reddog.microsoft.com A").aa().answers(&["x.reddog.microsoft.com 10 IN A 10.0.0.1"]);
    server.ask("db.localhost A").aa().answers(&["db.localhost 10 IN A 10.0.0.2"]);
    server.ask("use-application-dns.net A").aa().answers(&["use-application-dns.net 10 IN A 10.0.0.3"]);
    server.ask("y.reddog.microsoft.com A").rcode("NXDOMAIN");
    server.ask("x.localhost A").answers(&["x.localhost * IN A 127.0.0.1"]);
}
