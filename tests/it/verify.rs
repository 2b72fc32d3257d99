//! `pldns verify` as a pipeline runs it, against servers that keep their promises and servers that do not.

use crate::common::cast::{GUID, RECORDS, record, record_with};
use crate::common::command::{Ran, run};
use crate::common::{FakeAzureDns, Pldns, Scratch};
use serde_json::Value;

const BLOB: &str = "acct.blob.core.windows.net";
const PRIVATE: &str = "acct.privatelink.blob.core.windows.net";

/// The files that promise something.
fn promised(records: &str) -> Scratch {
    let dir = Scratch::new();
    dir.write("pldns.toml", "[records]\nfiles = [\"records/*.toml\"]\n");
    dir.write("records/r.toml", records);
    dir
}

fn verify(dir: &Scratch, server: &Pldns, more: &[&str]) -> Ran {
    let address = server.address().to_string();
    run(dir.path(), &[&["verify", "-c", "pldns.toml", "--server", &address], more].concat())
}

#[track_caller]
fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {} {}", ran.out, ran.err))
}

#[test]
fn a_server_that_keeps_its_promises_has_no_difference() {
    let fake = FakeAzureDns::start();
    let records = RECORDS.to_owned()
        + &record("many.example", "A", &["10.0.0.1", "10.0.0.2", "10.0.0.3"])
        + &record("alias.example", "CNAME", &["many.example."])
        + &record("*.wild.example", "A", &["10.0.0.4"])
        + &record("ci-anna-*.wild.example", "A", &["10.0.0.5"])
        + &record("six.example", "AAAA", &["fd00::6"]);
    let server = Pldns::start(&fake.rule("."), &records);
    let dir = promised(&records);
    let ran = verify(&dir, &server, &["--format", "json"]);
    let report = json(&ran);
    assert_eq!(
        (&report["differences"], &report["drift"], &report["unchecked"]),
        (&json_list(), &json_list(), &json_list())
    );
    ran.code(0);
    assert!(report["checked"].as_u64().unwrap() > 20, "{report}");
    // Both transports, NODATA, PTR, and an example of each wildcard.
    let text = verify(&dir, &server, &[]);
    assert!(text.code(0).out.contains("0 differences"), "{}", text.out);
    server.stop();
}

fn json_list() -> Value {
    Value::Array(Vec::new())
}

#[test]
fn differences_name_what_was_expected_and_what_came() {
    let fake = FakeAzureDns::start();
    fake.answer(&format!("{BLOB} A"), &[&format!("{BLOB} 60 IN A 20.60.1.1")]);
    let server = Pldns::start(&fake.rule("."), &record("other.example", "A", &["10.0.0.1"]));
    let dir = promised(&(record(BLOB, "A", &["10.1.0.5"]) + &record("other.example", "A", &["10.0.0.2"])));
    let ran = verify(&dir, &server, &["--format", "json"]);
    let report = json(ran.code(1));
    let of = |name: &str, rtype: &str| {
        let all = report["differences"].as_array().unwrap();
        all.iter()
            .find(|one| one["name"] == name && one["type"] == rtype)
            .unwrap_or_else(|| panic!("{name}: {report:#}"))
            .clone()
    };
    let public = of(BLOB, "A");
    assert_eq!((&public["expected"], &public["got"]), (&"10.1.0.5".into(), &"20.60.1.1".into()));
    assert!(public["reason"].as_str().unwrap().contains("public"), "{public}");
    assert_eq!(of("other.example", "A")["got"], "10.0.0.1");
    assert_eq!(of("5.0.1.10.in-addr.arpa", "PTR")["transport"], "udp and tcp");
    let junit = verify(&dir, &server, &["--format", "junit"]);
    let xml = &junit.code(1).out;
    assert!(
        xml.starts_with("<?xml") && xml.contains(&format!("name=\"{BLOB} A\"")) && xml.contains("<failure"),
        "{xml}"
    );
    let text = verify(&dir, &server, &[]);
    assert!(text.code(1).out.contains("expected 10.1.0.5"), "{}", text.out);
    server.stop();
}

#[test]
fn public_names_lead_to_the_record_of_their_privatelink_name() {
    let fake = FakeAzureDns::start();
    let alias = format!("{BLOB} 60 IN CNAME {PRIVATE}");
    fake.answer(&format!("{BLOB} A"), &[&alias, &format!("{PRIVATE} 60 IN A 20.60.1.1")]);
    let records = record(PRIVATE, "A", &["10.1.0.5"]);
    let server = Pldns::start(&fake.rule("."), &records);
    let dir = promised(&records);
    verify(&dir, &server, &[]).code(0);
    assert!(!fake.seen(&format!("{BLOB} A")).is_empty(), "the public name was asked for");
    server.stop();
    let without = FakeAzureDns::start();
    without.answer(&format!("{BLOB} A"), &[&format!("{BLOB} 60 IN A 20.60.1.1")]);
    let server = Pldns::start(&without.rule("."), &records);
    let ran = verify(&dir, &server, &["--format", "json"]);
    let report = json(ran.code(1));
    assert_eq!(
        (&report["differences"][0]["name"], &report["differences"][0]["expected"]),
        (&BLOB.into(), &"10.1.0.5".into())
    );
    server.stop();
}

#[test]
fn views_without_a_client_here_are_not_checked() {
    let records = record_with("v.example", "A", &["10.1.0.5"], "clients = [\"10.40.0.0/16\"]")
        + &record_with("w.example", "A", &["10.1.0.6"], "clients = [\"127.0.0.0/8\"]");
    let server = Pldns::start(&FakeAzureDns::start().rule("."), &records);
    let ran = verify(&promised(&records), &server, &["--format", "json"]);
    let report = json(ran.code(0));
    assert_eq!(report["unchecked"][0]["name"], "v.example");
    assert!(report["unchecked"][0]["reason"].as_str().unwrap().contains("10.40.0.0/16"), "{report}");
    server.stop();
}

#[test]
fn another_servers_answers_are_drift_and_no_difference() {
    let fake = FakeAzureDns::start();
    let records = record(BLOB, "A", &["10.1.0.5"]);
    let (new, old) =
        (Pldns::start(&fake.rule("."), &records), Pldns::start(&fake.rule("."), &record(BLOB, "A", &["10.1.0.9"])));
    let against = old.address().to_string();
    let ran = verify(&promised(&records), &new, &["--against", &against, "--format", "json"]);
    let report = json(ran.code(0));
    let drift = report["drift"].as_array().unwrap();
    let found = drift.iter().find(|one| one["name"] == BLOB && one["type"] == "A").unwrap();
    assert_eq!((&found["expected"], &found["got"]), (&"10.1.0.5".into(), &"10.1.0.9".into()));
    new.stop();
    old.stop();
}

#[test]
fn a_server_that_is_not_there_is_a_difference() {
    let dir = promised(&record(BLOB, "A", &["10.1.0.5"]));
    let address = crate::common::fake::dead_address().to_string();
    let ran = run(dir.path(), &["verify", "-c", "pldns.toml", "--server", &address, "--format", "json"]);
    let report = json(ran.code(1));
    assert!(report["differences"][0]["reason"].as_str().unwrap().contains("does not answer"), "{report}");
}

#[test]
fn the_isolation_of_a_workspace_part_by_part() {
    let fake = FakeAzureDns::start();
    let records = RECORDS.to_owned()
        + &record("acct.blob.core.windows.net", "A", &["10.1.0.5"])
        + &record("kv.vault.azure.net", "A", &["20.60.1.1"]);
    let server = Pldns::start(&fake.rule("."), &records);
    let dir = promised(&records);
    let ran = verify(&dir, &server, &["--isolation", "--format", "json"]);
    let report = json(ran.code(0));
    let workspace = &report["isolation"][0];
    assert_eq!(workspace["workspace"], GUID);
    let state = |part: &str| {
        let parts = workspace["parts"].as_array().unwrap();
        parts.iter().find(|one| one["part"] == part).unwrap()["state"].clone()
    };
    assert_eq!((state("workspace"), state("storage: blob")), ("private endpoint".into(), "private endpoint".into()));
    assert_eq!((state("key vault"), state("storage: file")), ("service endpoint or public".into(), "unknown".into()));
    assert_eq!(state("inference"), "private endpoint", "{workspace:#}");
    let text = verify(&dir, &server, &["--isolation"]);
    assert!(text.code(0).out.contains(&format!("workspace {GUID} (eastus, public)")), "{}", text.out);
    assert!(text.out.lines().all(|line| line.chars().count() <= 80), "{}", text.out);
    server.stop();
}
