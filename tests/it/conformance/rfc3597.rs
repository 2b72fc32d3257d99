use crate::common::cast::record;
use crate::common::{Answer, FakeAzureDns, Pldns};

#[test]
fn s_3_unknown_types_are_transparent_through_the_forwarder() {
    let fake = FakeAzureDns::start();
    for kind in ["TYPE62347", "TYPE1234", "TYPE65534"] {
        fake.answer(&format!("u.example {kind}"), &[&format!(r"u.example 60 IN {kind} \# 6 c00c00ff01fe")]);
    }
    let server = Pldns::start(&fake.rule("."), "");
    for kind in ["TYPE62347", "TYPE1234", "TYPE65534"] {
        for _ in 0..2 {
            // Bytes that look like a compression pointer are data.
            server.ask(&format!("u.example {kind}")).answers(&[format!(r"u.example * IN {kind} \# 6 c00c00ff01fe")]);
        }
    }
}

#[test]
fn s_4_names_in_unknown_types_are_never_compressed() {
    let fake = FakeAzureDns::start();
    let data = r"\# 15 0000 03737663076578616d706c6500";
    let server = Pldns::start(&fake.rule("."), &record("svc.example", "TYPE64", &[data]));
    server.ask("svc.example SVCB").aa().answers(&[format!("svc.example 10 IN SVCB {data}")]);
}

#[test]
fn s_5_generic_text_form_is_read_for_any_type() {
    let fake = FakeAzureDns::start();
    let records = record("a.example", "A", &[r"\# 4 0A000001"])
        + &record("b.example", "TYPE62347", &[r"\# 4 0A 00 00 01"])
        + &record("c.example", "TYPE62347", &[r"\# 0"]);
    let server = Pldns::start(&fake.rule("."), &records);
    server.ask("a.example A").answers(&["a.example 10 IN A 10.0.0.1"]);
    server.ask("b.example TYPE62347").answers(&[r"b.example 10 IN TYPE62347 \# 4 0a000001"]);
    server.ask("c.example TYPE62347").answers(&[r"c.example 10 IN TYPE62347 \# 0"]);
    server.ask("a.example TYPE62347").nodata("a.example");
}

#[test]
fn s_6_unknown_types_of_one_name_are_sets_of_their_own() {
    let fake = FakeAzureDns::start();
    let records =
        record("a.example", "TYPE62347", &[r"\# 1 01", r"\# 1 02"]) + &record("a.example", "TYPE62348", &[r"\# 1 03"]);
    let server = Pldns::start(&fake.rule("."), &records);
    server
        .ask("a.example TYPE62347")
        .answers_in_any_order(&[r"a.example 10 IN TYPE62347 \# 1 01", r"a.example 10 IN TYPE62347 \# 1 02"]);
    server.ask("a.example TYPE62348").answers(&[r"a.example 10 IN TYPE62348 \# 1 03"]);
    fake.gives("b.example TYPE62347", Answer::negative("NOERROR", "example"));
    server.ask("b.example TYPE62347").rcode("NOERROR").no_answers();
}
