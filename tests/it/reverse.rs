//! Reverse names of the table's addresses.

use crate::common::cast::{API, RECORDS, record, zone};
use crate::common::{FakeAzureDns, Pldns};

#[test]
fn every_address_of_the_table_has_its_names() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let cert = API.replace("workspace.eastus.api", "workspace.eastus.cert.api");
    server.ask("5.0.1.10.in-addr.arpa PTR").rcode("NOERROR").aa().answers_in_any_order(&[
        format!("5.0.1.10.in-addr.arpa 10 IN PTR {API}"),
        format!("5.0.1.10.in-addr.arpa 10 IN PTR {cert}"),
    ]);
    server.ask("5.0.1.10.IN-ADDR.ARPA PTR").rcode("NOERROR").aa();
}

#[test]
fn ipv6_addresses_have_names_under_ip6_arpa() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), &record("six.example", "AAAA", &["fd00::12:ab"]));
    let reverse = "b.a.0.0.2.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
    server.ask(&format!("{reverse} PTR")).rcode("NOERROR").aa().answers(&[format!("{reverse} 10 IN PTR six.example")]);
    server.ask(&format!("{} PTR", reverse.to_ascii_uppercase())).rcode("NOERROR").aa();
}

#[test]
fn wildcards_and_partial_wildcards_are_no_names_of_an_address() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), &(RECORDS.to_owned() + &record("plain.example", "A", &["10.1.0.6"])));
    // 10.1.0.6: a partial wildcard and a plain name. 10.1.0.7: wildcards alone, so the table knows nothing of it.
    server.ask("6.0.1.10.in-addr.arpa PTR").answers(&["6.0.1.10.in-addr.arpa 10 IN PTR plain.example"]);
    server.ask("7.0.1.10.in-addr.arpa PTR").rcode("NXDOMAIN").no_aa();
    assert_eq!(fake.seen("7.0.1.10.in-addr.arpa PTR").len(), 1);
}

#[test]
fn another_type_of_a_reverse_name_is_nodata() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let got = server.ask("5.0.1.10.in-addr.arpa A");
    got.rcode("NOERROR").aa().no_answers();
    assert!(fake.seen("5.0.1.10.in-addr.arpa *").is_empty());
}

#[test]
fn reverse_names_beside_the_table_are_forwarded() {
    let fake = FakeAzureDns::start();
    fake.answer("9.0.1.10.in-addr.arpa PTR", &["9.0.1.10.in-addr.arpa 60 IN PTR vm.internal.cloudapp.net"]);
    let server = Pldns::start(&fake.rule("."), RECORDS);
    server
        .ask("9.0.1.10.in-addr.arpa PTR")
        .no_aa()
        .answers(&["9.0.1.10.in-addr.arpa 60 IN PTR vm.internal.cloudapp.net"]);
    server.ask("0.1.10.in-addr.arpa PTR").rcode("NXDOMAIN").no_aa();
    server.ask("x.5.0.1.10.in-addr.arpa PTR").rcode("NXDOMAIN").no_aa();
}

#[test]
fn a_zone_of_reverse_names_holds_them_like_others() {
    let fake = FakeAzureDns::start();
    let settings = zone("1.10.in-addr.arpa", "nxdomain") + &fake.rule(".");
    let server = Pldns::start(&settings, RECORDS);
    server.ask("5.0.1.10.in-addr.arpa PTR").rcode("NOERROR").aa();
    server.ask("5.0.1.10.in-addr.arpa TXT").nodata("1.10.in-addr.arpa");
    server.ask("9.0.1.10.in-addr.arpa PTR").nxdomain("1.10.in-addr.arpa");
    assert!(fake.seen("9.0.1.10.in-addr.arpa *").is_empty());
}
