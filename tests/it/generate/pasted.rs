//! What people paste in a hurry: right records, or a message that says what it is; never a name that is lost in silence.

use serde_json::{Value, json};

use super::messages::{endpoint, storage};
use super::{Run, lines, set};

const EXPECTED: &[&str] = &["a.blob.core.windows.net 10.0.0.4"];

#[track_caller]
fn gives(text: &str) {
    let run = Run::new(&[], text.as_bytes());
    assert_eq!(run.public(), set(EXPECTED), "{text}\n{}", run.err);
}

#[test]
fn tables_of_excel_are_read() {
    gives("FQDN\tIP\r\na.blob.core.windows.net\t10.0.0.4\r\n");
    gives("sep=;\r\nFQDN;IP\r\na.blob.core.windows.net;10.0.0.4\r\n");
    gives("FQDN;IP;\r\na.blob.core.windows.net;10.0.0.4;\r\n;;\r\n");
}

#[test]
fn no_cell_of_a_table_is_lost_in_silence() {
    let good = "FQDN,IP,Owner\na.blob.core.windows.net,10.0.0.4,me\n";
    for (more, said) in [
        ("b.blob.core.windows.net\n", "the address is missing"),
        ("b.blob.core.windows.net,10.0.0.5,me,10.0.0.6\n", "more cells than the header"),
    ] {
        let text = format!("{good}{more}");
        Run::new(&[], text.as_bytes()).fails_with(&["standard input:3:1: error", said, "2 are not concerned"]);
        let run = Run::new(&["--lenient"], text.as_bytes());
        assert_eq!(run.public(), set(EXPECTED), "{}", run.err);
    }
    let foreign = format!("{good}b.example.com,10.0.0.5,me\n");
    Run::new(&[], foreign.as_bytes()).fails_with(&["standard input:3:1: error: b.example.com"]);
    let other = "Host,Target\na.blob.core.windows.net,10.0.0.4\nb.blob.core.windows.net,none\n";
    Run::new(&[], other.as_bytes()).fails_with(&["standard input:3:1: error", "was not understood"]);
    Run::new(&[], b"FQDN,IP,IP\na.blob.core.windows.net,10.0.0.4,10.0.0.5\n").fails_with(&["the same name"]);
}

#[test]
fn colours_of_a_terminal_are_passed_over() {
    gives(
        "\u{1b}[39;49;00m[{\u{1b}[39;49;00m\n  \u{1b}[94m\"fqdn\"\u{1b}[39;49;00m: \u{1b}[33m\"a.blob.core.windows.net\"\u{1b}[39;49;00m, \"ip\": \"10.0.0.4\"}]\n",
    );
}

#[test]
fn a_list_printed_as_tsv_is_no_message_of_a_command() {
    Run::new(&[], b"['a.blob.core.windows.net']\t10.0.0.4\n").fails_with(&["tab-separated values"]);
    gives("[INFO] start\n[2026-03-01 10:00:00] x\n[[\"a.blob.core.windows.net\", \"10.0.0.4\"]]\n");
}

#[test]
fn hosts_files_have_the_machines_own_addresses_too() {
    gives("fe80::1%lo0 localhost\n127.0.0.1 localhost\n10.0.0.4 a.blob.core.windows.net\n");
}

#[test]
fn one_row_of_a_query_is_a_row() {
    gives(r#"["a.blob.core.windows.net", "10.0.0.4"]"#);
    gives(r#"{"data": [{"fqdns": "[\"a.blob.core.windows.net\"]", "ip": "10.0.0.4"}]}"#);
    // Interfaces of ordinary machines in a query over all of them.
    let rows = json!([{"FQDNs": null, "IPAddress": "10.0.0.77"}, {"FQDNs": ["a.blob.core.windows.net"], "IPAddress": "10.0.0.4"}]);
    let run = Run::on(&rows);
    assert_eq!((run.public(), run.err.as_str()), (set(EXPECTED), ""));
    // That of an endpoint that waits for approval has a list, and nothing in it.
    let rows = json!([{"FQDNs": [], "IPAddress": "10.0.0.7"}, {"FQDNs": ["a.blob.core.windows.net"], "IPAddress": "10.0.0.4"}]);
    let run = Run::on(&rows);
    assert_eq!(run.public(), set(EXPECTED));
    assert!(run.err.contains("$[0]: warning: no name leads to this address"), "{}", run.err);
}

#[test]
fn a_part_of_a_graph_answer_is_named_as_one() {
    let part = json!({"count": 1, "total_records": 200, "skip_token": null, "data": [{"fqdn": "a.blob.core.windows.net", "ip": "10.0.0.4"}]});
    let run = Run::on(&part);
    assert_eq!(run.public(), set(EXPECTED));
    assert!(run.err.contains("one page of a longer list"), "{}", run.err);
}

/// Ansible's names of everything.
fn ansible(status: &str) -> Value {
    json!({"changed": false, "invocation": {"module_args": {"private_link_service_connections": [{"private_link_service_id": "x"}]}},
        "state": [{"name": "pe", "type": "Microsoft.Network/privateEndpoints",
            "custom_dns_configs": [{"fqdn": "a.blob.core.windows.net", "ip_addresses": ["10.0.0.4"]}],
            "private_link_service_connections": [{"private_link_service_id": storage("a"), "connection_state": {"status": status}}]}]})
}

#[test]
fn only_approved_connections_of_ansible_are_used() {
    let run = Run::on(&ansible("Approved"));
    assert_eq!((run.public(), run.err.as_str()), (set(EXPECTED), ""));
    for status in ["Pending", "Rejected", "Disconnected"] {
        Run::on(&ansible(status)).fails_with(&["pe carries no traffic", status]);
    }
}

#[test]
fn what_powershell_shortened_is_named_as_such() {
    let nic = json!({"Id": "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Network/networkInterfaces/n", "IpConfigurations": [{"PrivateIpAddress": "10.0.0.4",
        "PrivateLinkConnectionProperties": {"GroupId": "blob", "Fqdns": "System.Collections.Generic.List`1[System.String]"}}]});
    Run::on(&nic).fails_with(&["shortened to a string", "-Depth 10"]);
    let sets = json!([{"Name": "a", "ZoneName": "privatelink.blob.core.windows.net", "Ttl": 10, "RecordType": "A", "Records": ["10.0.0.4"]}]);
    assert_eq!(lines(&Run::on(&sets).records()), set(&["a.privatelink.blob.core.windows.net 10.0.0.4"]));
}

#[test]
fn names_relative_to_their_zone_are_put_together() {
    let group = json!({"privateDnsZoneConfigs": [{"privateDnsZoneId": "/x/privateDnsZones/privatelink.blob.core.windows.net",
        "recordSets": [{"recordType": "A", "recordSetName": "a", "fqdn": null, "ttl": 10, "ipAddresses": ["10.0.0.4"]}]}]});
    let run = Run::on(&group);
    assert_eq!(lines(&run.records()), set(&["a.privatelink.blob.core.windows.net 10.0.0.4"]), "{}", run.err);
}

#[test]
fn an_endpoint_whose_names_cannot_be_used_is_not_said_to_list_none() {
    let wrong = endpoint(
        "pe",
        &storage("a"),
        "Approved",
        json!([{"fqdn": "a.blob.core.windows.net", "ipAddresses": ["10.0.0.400"]}]),
    );
    let run = Run::on(&wrong);
    run.fails_with(&["10.0.0.400"]);
    assert!(!run.err.contains("lists no name"), "{}", run.err);
}

#[test]
fn directives_of_zone_files_are_named() {
    Run::new(&["--allow", "x.local"], b"$ORIGIN x.local.\n$INCLUDE /etc/passwd\na IN A 10.0.0.1\n")
        .fails_with(&["standard input:2:1", "$INCLUDE is not understood"]);
}

#[test]
fn what_belongs_to_a_workspace_is_joined_where_there_is_only_one() {
    let guid = "3f0c2a51-6a1e-4c0f-9b52-0d7a5e1b7c11";
    let rows = |guid: &str, network: &str| {
        json!([
            {"FQDNs": [format!("{guid}.workspace.westeurope.api.azureml.ms")], "IPAddress": format!("{network}.4")},
            {"FQDNs": ["*.westeurope.inference.ml.azure.com"], "IPAddress": format!("{network}.6")},
        ])
    };
    let compute = json!({"name": "ci-anna", "location": "westeurope", "properties": {"computeType": "ComputeInstance", "properties": {}}});
    let run = Run::on_all(&[], &[rows(guid, "10.0.0"), compute.clone()]);
    assert!(lines(&run.records()).contains("ci-anna.westeurope.instances.ml.azure.ms 10.0.0.4"), "{}", run.err);
    let other = rows("90ab4d7e-0c55-4c1d-8f0e-6b1f2d3a4e55", "10.0.1");
    let run = Run::on_all(&[], &[rows(guid, "10.0.0"), other, compute]);
    assert!(run.err.contains("it does not say which workspace it belongs to"), "{}", run.err);
    assert!(!lines(&run.records()).iter().any(|line| line.starts_with("ci-anna")));
    // Online endpoints as the command line lists them.
    let id = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/orchid";
    let workspace = json!({"id": id, "name": "orchid", "type": "Microsoft.MachineLearningServices/workspaces", "location": "westeurope", "properties": {"workspaceId": guid}});
    let online = json!([{"name": "ep1", "id": format!("{id}/onlineEndpoints/ep1"), "kind": "Managed", "scoring_uri": "https://ep1.westeurope.inference.ml.azure.com/score"}]);
    let run = Run::on_all(&[], &[rows(guid, "10.0.0"), workspace, online]);
    assert!(lines(&run.records()).contains("ep1.westeurope.inference.ml.azure.com 10.0.0.6"), "{}", run.err);
}
