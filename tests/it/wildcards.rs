//! Wildcards by RFC 4592, partial wildcards of our own, empty non-terminals.

use crate::common::cast::{GUID, NOTEBOOK, RECORDS, record, zone};
use crate::common::{FakeAzureDns, Pldns};

/// A zone that is all ours, so that missing names show as NXDOMAIN.
fn own_zone(records: &str) -> (FakeAzureDns, Pldns) {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&(zone("example", "nxdomain") + &fake.rule(".")), records);
    (fake, server)
}

#[test]
fn a_wildcard_answers_under_the_name_asked() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    for name in ["ep1", "EP2", "a.b.c"] {
        let name = format!("{name}.eastus.inference.ml.azure.com");
        let got = server.ask(&format!("{name} A"));
        got.rcode("NOERROR").aa().answers(&[format!("{name} 10 IN A 10.1.0.7")]);
    }
}

#[test]
fn the_name_above_a_wildcard_is_not_matched_by_it() {
    let fake = FakeAzureDns::start();
    fake.answer("eastus.inference.ml.azure.com A", &["eastus.inference.ml.azure.com 60 IN A 192.0.2.1"]);
    let server = Pldns::start(&fake.rule("."), RECORDS);
    server.ask("eastus.inference.ml.azure.com A").no_aa().answers(&["eastus.inference.ml.azure.com 60 IN A 192.0.2.1"]);
    server.ask("ep.westus.inference.ml.azure.com A").rcode("NXDOMAIN").no_aa();
}

#[test]
fn the_wildcard_itself_can_be_asked() {
    let (_fake, server) = own_zone(&record("*.w.example", "A", &["10.0.0.1"]));
    server.ask("*.w.example A").aa().answers(&["*.w.example 10 IN A 10.0.0.1"]);
}

#[test]
fn another_type_at_a_wildcard_is_nodata() {
    let fake = FakeAzureDns::start();
    fake.answer("ep.eastus.inference.ml.azure.com AAAA", &["ep.eastus.inference.ml.azure.com 60 IN AAAA 2001:db8::1"]);
    let server = Pldns::start(&fake.rule("."), RECORDS);
    server.ask("ep.eastus.inference.ml.azure.com AAAA").nodata("eastus.inference.ml.azure.com");
    assert!(fake.seen("ep.eastus.inference.ml.azure.com *").is_empty());
}

#[test]
fn the_closest_encloser_alone_may_have_the_wildcard() {
    let (_fake, server) = own_zone(
        &(record("*.example", "A", &["10.0.0.1"])
            + &record("*.near.example", "A", &["10.0.0.2"])
            + &record("host.sub.example", "A", &["10.0.0.3"])),
    );
    server.ask("x.example A").answers(&["x.example 10 IN A 10.0.0.1"]);
    server.ask("x.near.example A").answers(&["x.near.example 10 IN A 10.0.0.2"]);
    server.ask("y.x.near.example A").answers(&["y.x.near.example 10 IN A 10.0.0.2"]);
    // sub.example exists (as empty non-terminal) and has no wildcard below it: *.example does not reach in.
    server.ask("other.sub.example A").nxdomain("example");
    // Nor below a name that exists.
    server.ask("x.host.sub.example A").nxdomain("example");
}

#[test]
fn a_name_that_exists_with_another_type_is_not_covered() {
    let (_fake, server) =
        own_zone(&(record("*.example", "A", &["10.0.0.1"]) + &record("text.example", "TXT", &[r#""here""#])));
    server.ask("text.example A").nodata("example");
    server.ask("other.example A").answers(&["other.example 10 IN A 10.0.0.1"]);
}

#[test]
fn empty_non_terminals_exist_in_a_zone_of_our_own() {
    let (_fake, server) =
        own_zone(&(record("a.b.c.example", "A", &["10.0.0.1"]) + &record("*.example", "A", &["10.0.0.2"])));
    server.ask("b.c.example A").nodata("example");
    server.ask("c.example A").nodata("example");
    server.ask("c.example TXT").nodata("example");
}

#[test]
fn empty_non_terminals_are_forwarded_where_missing_names_are() {
    let fake = FakeAzureDns::start();
    fake.answer("b.example A", &["b.example 60 IN A 192.0.2.1"]);
    fake.answer("x.b.example A", &["x.b.example 60 IN A 192.0.2.2"]);
    let server = Pldns::start(
        &fake.rule("."),
        &(record("a.b.example", "A", &["10.0.0.1"]) + &record("*.example", "A", &["10.0.0.2"])),
    );
    server.ask("b.example A").no_aa().answers(&["b.example 60 IN A 192.0.2.1"]);
    // It stops the wildcard above it here as well.
    server.ask("x.b.example A").no_aa().answers(&["x.b.example 60 IN A 192.0.2.2"]);
    server.ask("x.c.example A").aa().answers(&["x.c.example 10 IN A 10.0.0.2"]);
}

#[test]
fn a_wildcard_may_have_several_types_and_be_an_alias() {
    let (_fake, server) = own_zone(
        &(record("*.w.example", "A", &["10.0.0.1"])
            + &record("*.w.example", "AAAA", &["fd00::1"])
            + &record("*.alias.example", "CNAME", &["target.example."])
            + &record("target.example", "A", &["10.0.0.9"])),
    );
    server.ask("x.w.example AAAA").answers(&["x.w.example 10 IN AAAA fd00::1"]);
    server
        .ask("x.alias.example A")
        .aa()
        .answers(&["x.alias.example 10 IN CNAME target.example", "target.example 10 IN A 10.0.0.9"]);
}

#[test]
fn a_partial_wildcard_matches_every_first_label_that_ends_so() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    let truncated = format!("ml-abc-eastus-{GUID}.eastus.notebooks.azure.net");
    let upper = NOTEBOOK.to_ascii_uppercase();
    for name in [NOTEBOOK, &truncated, &upper] {
        server.ask(&format!("{name} A")).rcode("NOERROR").aa().answers(&[format!("{name} 10 IN A 10.1.0.6")]);
        server.ask(&format!("{name} HTTPS")).nodata("eastus.notebooks.azure.net");
    }
}

#[test]
fn a_partial_wildcard_matches_the_first_label_only() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), RECORDS);
    for name in [
        format!("x.{NOTEBOOK}"),
        format!("ml-x-eastus-{GUID}.westus.notebooks.azure.net"),
        format!("ml-x-eastus-{GUID}x.eastus.notebooks.azure.net"),
        format!("-westus-{GUID}.eastus.notebooks.azure.net"),
        format!("a.b-eastus-{GUID}.x.eastus.notebooks.azure.net"),
    ] {
        server.ask(&format!("{name} A")).rcode("NXDOMAIN").no_aa();
        assert_eq!(fake.seen(&format!("{name} A")).len(), 1, "{name} was not forwarded");
    }
}

#[test]
fn exact_names_come_before_partial_wildcards_and_these_before_wildcards() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(
        &fake.rule("."),
        &(record("*.example", "A", &["10.0.0.1"])
            + &record("*-end.example", "A", &["10.0.0.2"])
            + &record("*-long-end.example", "A", &["10.0.0.3"])
            + &record("exact-end.example", "A", &["10.0.0.4"])
            + &record("text-end.example", "TXT", &[r#""here""#])),
    );
    server.ask("x.example A").answers(&["x.example 10 IN A 10.0.0.1"]);
    server.ask("x-end.example A").answers(&["x-end.example 10 IN A 10.0.0.2"]);
    server.ask("x-long-end.example A").answers(&["x-long-end.example 10 IN A 10.0.0.3"]);
    server.ask("exact-end.example A").answers(&["exact-end.example 10 IN A 10.0.0.4"]);
    // A name that exists is not covered by partial wildcards either.
    server.ask("text-end.example A").nodata("text-end.example");
}

#[test]
fn a_partial_wildcard_may_fix_the_beginning() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(
        &fake.rule("."),
        &(record("ci-anna-*.westeurope.instances.azureml.ms", "A", &["10.0.0.1"])
            + &record("ci-anna.westeurope.instances.azureml.ms", "A", &["10.0.0.2"])),
    );
    for name in ["ci-anna-8787.westeurope.instances.azureml.ms", "CI-ANNA-22.westeurope.instances.azureml.ms"] {
        server.ask(&format!("{name} A")).rcode("NOERROR").aa().answers(&[format!("{name} 10 IN A 10.0.0.1")]);
        server.ask(&format!("{name} AAAA")).nodata("westeurope.instances.azureml.ms");
    }
    server.ask("ci-anna.westeurope.instances.azureml.ms A").aa();
    server.ask("ci-bob-22.westeurope.instances.azureml.ms A").rcode("NXDOMAIN").no_aa();
}
