//! `pldns zones`: the table, the forwarders of what one owns, and existing lists against it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Run;
use crate::common::Scratch;

const TABLE: &str = include_str!("private-dns-zones.csv");

fn zones(arguments: &[&str]) -> Run {
    Run::command("zones", arguments, b"")
}

/// A row as (cloud, type, group, private zone, public zones).
type Row = (String, String, String, String, Vec<String>);

fn documented() -> Vec<Row> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let text = |at: usize| cells[at].to_owned();
        (text(0), text(1), text(2), text(3), cells[4].split(';').map(str::to_owned).collect())
    };
    TABLE.lines().skip(1).filter(|line| !line.is_empty()).map(row).collect()
}

fn printed(run: &Run) -> Vec<Row> {
    assert_eq!(run.code, Some(0), "{}", run.err);
    let rows: Value = serde_json::from_str(&run.out).unwrap();
    let row = |row: &Value| {
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        let public =
            row["public_zones"].as_array().unwrap().iter().map(|zone| zone.as_str().unwrap().to_owned()).collect();
        assert_eq!(row.as_object().unwrap().len(), 5);
        (text("cloud"), text("resource_type"), text("subresource"), text("private_zone"), public)
    };
    rows.as_array().unwrap().iter().map(row).collect()
}

#[test]
fn the_table_is_the_documentations_row_by_row() {
    assert_eq!(printed(&zones(&["--json"])), documented());
    for cloud in ["public", "china", "usgov"] {
        let expected: Vec<Row> = documented().into_iter().filter(|row| row.0 == cloud).collect();
        assert_eq!(printed(&zones(&["--json", "--cloud", cloud])), expected);
    }
    let text = zones(&[]).out;
    assert_eq!(text.lines().count(), documented().len() + 1);
    assert!(text.starts_with("# ") && text.lines().next().unwrap().contains("2026-05-07"), "{text}");
}

#[test]
fn forwarders_are_cut_to_what_one_owns() {
    let run = zones(&["--for", "config/records/workspace.toml"]);
    let expected = [
        "api.azureml.ms",
        "azurecr.io",
        "blob.core.windows.net",
        "eastus.data.azurecr.io",
        "file.core.windows.net",
        "inference.ml.azure.com",
        "instances.azureml.ms",
        "instances.ml.azure.ms",
        "notebooks.azure.net",
        "vault.azure.net",
        "vaultcore.azure.net",
    ];
    assert_eq!(run.out.lines().collect::<Vec<_>>(), expected, "{}", run.err);
    assert!(!run.out.contains("privatelink"));
    let rows = printed(&zones(&["--for", "config/records", "--json"]));
    let public: BTreeSet<String> = rows.iter().flat_map(|row| row.4.clone()).collect();
    assert_eq!(public, expected.map(str::to_owned).into());
    let names = zones(&["--for", "config/records/workspace.toml", "--names"]).out;
    assert!(
        names.contains("myworkspacest.blob.core.windows.net\n") && !names.contains("\nblob.core.windows.net\n"),
        "{names}"
    );
    assert!(!names.contains('*') && !names.contains("privatelink"), "{names}");
}

#[test]
fn every_format_names_every_zone_and_server() {
    for format in ["windows", "bind", "unbound", "dnsmasq", "coredns", "infoblox", "ruleset", "nrpt"] {
        let run = zones(&[
            "--for",
            "config/records/workspace.toml",
            "--server",
            "10.0.0.4",
            "--server",
            "10.0.0.5",
            "--format",
            format,
        ]);
        assert_eq!(run.code, Some(0), "{format}: {}", run.err);
        for part in ["blob.core.windows.net", "vaultcore.azure.net", "10.0.0.4", "10.0.0.5"] {
            assert!(run.out.contains(part), "{format}: {part}\n{}", run.out);
        }
    }
    for wrong in [
        &["--format", "bind"][..],
        &["--names"],
        &["--server", "dns.example", "--format", "bind"],
        &["--server", "10.0.0.4:5353", "--format", "windows"],
        &["--format", "bind10", "--server", "10.0.0.4"],
    ] {
        assert_eq!(zones(wrong).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn records_that_cannot_be_read_are_an_error_with_their_place() {
    let dir = Scratch::new();
    let broken = dir.write("broken.toml", "[[record]]\nname = \"a b\"\ntype = \"A\"\ndata = \"10.0.0.4\"\n");
    let run = zones(&["--for", &broken]);
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""));
    assert!(run.err.contains("broken.toml:2:"), "{}", run.err);
    for path in [dir.path_of("missing.toml"), dir.write("empty.toml", "")] {
        assert_eq!(zones(&["--for", &path]).code, Some(1));
    }
}

#[test]
fn lists_are_checked_in_every_form() {
    let dir = Scratch::new();
    let bind = "zone \"privatelink.blob.core.windows.net\" { type forward; forwarders { 10.0.0.4; }; };\nzone \"vault.azure.net\" { type forward; };\nzone \"gone.azure.com\" { type forward; };\n";
    let files = [
        dir.write("named.conf", bind),
        dir.write("unbound.conf", "forward-zone:\n  name: \"privatelink.blob.core.windows.net.\"\n  forward-addr: 10.0.0.4\nforward-zone:\n  name: vault.azure.net\nforward-zone:\n  name: gone.azure.com\n"),
        dir.write("zones.json", r#"[{"ZoneName":"privatelink.blob.core.windows.net","ZoneType":"Forwarder"},{"ZoneName":"vault.azure.net","ZoneType":"Forwarder"},{"ZoneName":"gone.azure.com","ZoneType":"Forwarder"}]"#),
        dir.write("rules.tf", "domain_name = \"privatelink.blob.core.windows.net.\"\ndomain_name = \"vault.azure.net.\"\ndomain_name = \"gone.azure.com.\"\n"),
    ];
    for file in &files {
        let run = zones(&["--for", "config/records/workspace.toml", "--check", file]);
        assert_eq!(run.code, Some(1), "{file}");
        for part in [
            "missing: file.core.windows.net",
            "obsolete: gone.azure.com",
            "privatelink: privatelink.blob.core.windows.net must be the public zone: blob.core.windows.net",
        ] {
            assert!(run.out.contains(part), "{file}: {part}\n{}", run.out);
        }
        assert!(!run.out.contains("missing: vault.azure.net"), "{}", run.out);
        let run = zones(&["--for", "config/records/workspace.toml", "--check", file, "--json"]);
        let report: Value = serde_json::from_str(&run.out).unwrap();
        assert_eq!(
            (run.code, report["obsolete"][0].as_str(), report["privatelink"][0]["zone"].as_str()),
            (Some(1), Some("gone.azure.com"), Some("privatelink.blob.core.windows.net"))
        );
    }
    // What the command prints is a right list.
    for format in ["bind", "unbound", "dnsmasq", "coredns", "ruleset", "nrpt"] {
        let printed =
            zones(&["--for", "config/records/workspace.toml", "--server", "10.0.0.4", "--format", format]).out;
        let file = dir.write(format, &printed);
        let run = zones(&["--for", "config/records/workspace.toml", "--check", &file]);
        assert_eq!(run.code, Some(0), "{format}: {}", run.out);
    }
    let nothing = dir.write("nothing", "hello world\n");
    let run = zones(&["--check", &nothing]);
    assert!(run.code == Some(1) && run.err.contains("no forwarded zone was found"), "{}", run.err);
}
