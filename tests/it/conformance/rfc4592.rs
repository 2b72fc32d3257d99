use crate::common::cast::{record, zone};
use crate::common::{FakeAzureDns, Pldns};

/// The zone of section 2.2.1, without its delegation.
fn example() -> (FakeAzureDns, Pldns) {
    let fake = FakeAzureDns::start();
    let records = record("*.example", "TXT", &[r#""this is a wildcard""#])
        + &record("*.example", "MX", &["10 host1.example."])
        + &record("sub.*.example", "TXT", &[r#""this is not a wildcard""#])
        + &record("host1.example", "A", &["192.0.2.1"])
        + &record("_ssh._tcp.host1.example", "SRV", &["0 0 22 host1.example."])
        + &record("_ssh._tcp.host2.example", "SRV", &["0 0 22 host2.example."]);
    let server = Pldns::start(&(zone("example", "nxdomain") + &fake.rule(".")), &records);
    (fake, server)
}

#[test]
fn s_2_2_1_answers_synthesized_from_the_wildcard() {
    let (_fake, server) = example();
    server.ask("host3.example MX").rcode("NOERROR").aa().answers(&["host3.example 10 IN MX 10 host1.example"]);
    server.ask("host3.example A").nodata("example");
    server.ask("foo.bar.example TXT").answers(&[r#"foo.bar.example 10 IN TXT "this is a wildcard""#]);
}

#[test]
fn s_2_2_1_answers_not_synthesized_from_the_wildcard() {
    let (_fake, server) = example();
    // Because host1.example exists.
    server.ask("host1.example MX").nodata("example");
    // Because sub.*.example exists.
    server.ask("sub.*.example MX").nodata("example");
    server.ask("sub.*.example TXT").answers(&[r#"sub.*.example 10 IN TXT "this is not a wildcard""#]);
    // Because _tcp.host1.example exists and has no wildcard below it.
    server.ask("_telnet._tcp.host1.example SRV").nxdomain("example");
    // Because *.example exists and there is no *.*.example.
    server.ask("ghost.*.example MX").nxdomain("example");
}

#[test]
fn s_2_1_1_an_asterisk_within_a_label_is_no_wildcard_in_a_query() {
    let (_fake, server) = example();
    server.ask("*x.example TXT").answers(&[r#"*x.example 10 IN TXT "this is a wildcard""#]);
    server.ask("*.example TXT").answers(&[r#"*.example 10 IN TXT "this is a wildcard""#]);
    server.ask("x.sub.*.example TXT").nxdomain("example");
}

#[test]
fn s_2_2_2_empty_non_terminals_exist() {
    let (_fake, server) = example();
    server.ask("host2.example TXT").nodata("example");
    server.ask("_tcp.host2.example TXT").nodata("example");
    server.ask("_tcp.host1.example A").nodata("example");
}

#[test]
fn s_3_3_1_the_closest_encloser_is_the_longest_existing_ancestor() {
    let (_fake, server) = example();
    server.ask("x.y.z.example TXT").answers(&[r#"x.y.z.example 10 IN TXT "this is a wildcard""#]);
    server.ask("x.host1.example TXT").nxdomain("example");
    server.ask("x.y._tcp.host2.example TXT").nxdomain("example");
}

#[test]
fn s_4_9_an_empty_non_terminal_wildcard_is_a_source_of_synthesis() {
    let fake = FakeAzureDns::start();
    let records = record("*.b2.*.b1.ex.test", "A", &["192.0.2.1"]);
    let server = Pldns::start(&(zone("ex.test", "nxdomain") + &fake.rule(".")), &records);
    // *.b1.ex.test exists, without data: so do the names that it stands for.
    server.ask("x.b1.ex.test A").nodata("ex.test");
    server.ask("x.y.b1.ex.test A").nodata("ex.test");
    server.ask("x.ex.test A").nxdomain("ex.test");
    server.ask("x.b2.*.b1.ex.test A").answers(&["x.b2.*.b1.ex.test 10 IN A 192.0.2.1"]);
}

#[test]
fn s_4_4_a_wildcard_alias_is_synthesized_and_followed() {
    let fake = FakeAzureDns::start();
    let records =
        record("*.alias.example", "CNAME", &["host1.example."]) + &record("host1.example", "A", &["192.0.2.1"]);
    let server = Pldns::start(&(zone("example", "nxdomain") + &fake.rule(".")), &records);
    server
        .ask("x.alias.example A")
        .answers(&["x.alias.example 10 IN CNAME host1.example", "host1.example 10 IN A 192.0.2.1"]);
    server.ask("x.alias.example CNAME").answers(&["x.alias.example 10 IN CNAME host1.example"]);
}
