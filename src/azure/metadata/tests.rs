//! What is recognised in metadata, and what is not.

use super::*;
use serde_json::json;

fn kinds(document: Value) -> Vec<&'static str> {
    let name = |found: &Located<Metadata>| match found.value {
        Metadata::Endpoint(_) => "endpoint",
        Metadata::Interface(_) => "interface",
        Metadata::Rows(_) => "rows",
        Metadata::ZoneGroup(_) => "zone group",
        Metadata::RecordSet(_) => "record set",
        Metadata::Workspace(_) => "workspace",
        Metadata::Compute(_) => "compute",
        Metadata::OnlineEndpoint(_) => "online endpoint",
        Metadata::Account(_) => "account",
        Metadata::EndpointState { .. } => "state",
        Metadata::Other(_) => "other",
        Metadata::Unknown { holds_names: true, .. } => "unknown names",
        Metadata::Unknown { .. } => "unknown",
        Metadata::Empty => "empty",
        Metadata::Failure { .. } => "failure",
    };
    read(document).found.iter().map(name).collect()
}

#[test]
fn objects_are_recognised_in_every_wrapping() {
    let endpoint = json!({"PRIVATELINKSERVICECONNECTIONS": []});
    assert_eq!(kinds(endpoint.clone()), ["endpoint"]);
    assert_eq!(kinds(json!([[endpoint.clone()], endpoint.clone()])), ["endpoint", "endpoint"]);
    assert_eq!(kinds(json!({"value": [endpoint.clone()], "nextLink": null})), ["endpoint"]);
    assert_eq!(kinds(json!({"data": [{"properties": endpoint}]})), ["endpoint"]);
    assert_eq!(kinds(json!({"ansible": {"results": [{"private_link_service_connections": []}]}})), ["endpoint"]);
    let table = json!({"data": {"columns": [{"name": "type"}, {"name": "properties"}], "rows": [["microsoft.network/networkinterfaces", {"ipConfigurations": []}]]}});
    assert_eq!(kinds(table), ["interface"]);
    assert_eq!(
        kinds(json!([{"FQDNs": ["a.b"], "IPAddress": "10.0.0.1"}, {"fqdns": ["a.b"], "ipaddress": "10.0.0.2"}])),
        ["rows"]
    );
    assert_eq!(kinds(json!({"discovery_url": "x", "storage_account": "y"})), ["workspace"]);
    assert_eq!(kinds(json!({"type": "Microsoft.Network/privateDnsZones/virtualNetworkLinks"})), ["other"]);
    assert_eq!(kinds(json!({"error": {"code": "AuthorizationFailed", "message": "x"}})), ["failure"]);
}

#[test]
fn rows_may_be_arrays_without_names_of_columns() {
    let reading =
        read(json!([["pe", ["a.blob.core.windows.net"], "10.0.0.1"], ["x", "b.blob.core.windows.net", "10.0.0.2"]]));
    let Metadata::Rows(rows) = &reading.found[0].value else { panic!("{reading:?}") };
    assert!(rows.len() == 2 && rows[1].names[0].value == "b.blob.core.windows.net" && rows[1].path == "$[1]");
    // Two addresses could be read in two ways, one name alone in none.
    assert!(!read(json!([["a.blob.core.windows.net", "10.0.0.1", "10.0.0.2"]])).problems.is_empty());
    assert!(!read(json!([["a.blob.core.windows.net"]])).problems.is_empty());
}

#[test]
fn what_is_empty_or_unknown_is_told_apart() {
    for empty in [json!([]), json!({}), json!({"value": []}), json!({"count": 0, "data": []}), Value::Null] {
        assert_eq!(kinds(empty.clone()), ["empty"], "{empty}");
    }
    assert_eq!(kinds(json!([{"a": 1}, {"PrivateLinkServiceConnections": []}])), ["unknown", "endpoint"]);
    assert_eq!(
        kinds(json!({"x": {"deep": ["acct.blob.core.windows.net"]}, "y": {"z": "10.0.0.4"}})),
        ["unknown names"]
    );
}

#[test]
fn paths_lead_through_tables() {
    let document = json!({"data": {"columns": [{"name": "fqdns"}, {"name": "ip"}], "rows": [[["a.b"], "10.0.0.1"]]}});
    let reading = read(document);
    let Metadata::Rows(rows) = &reading.found[0].value else { panic!("{reading:?}") };
    assert_eq!(rows[0].names[0].value, "a.b");
    assert_eq!((reading.found[0].path.as_str(), rows[0].path.as_str()), ("$.data.rows", "$.data.rows[0]"));
}

#[test]
fn more_pages_are_reported() {
    assert_eq!(read(json!({"value": [1], "nextLink": "https://x"})).problems.len(), 2);
    assert_eq!(read(json!({"data": [{"a": 1}], "resultTruncated": "true"})).problems.len(), 1);
    assert!(read(json!({"data": [{"a": 1}], "skip_token": null, "resultTruncated": "false"})).problems.is_empty());
}
