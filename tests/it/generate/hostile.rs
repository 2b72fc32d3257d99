//! Texts that somebody wrote on purpose: nothing of them reaches the records, a terminal or a command line.

use serde_json::json;

use super::messages::{endpoint, row, storage};
use super::{Run, set};

#[test]
fn hostile_texts_are_refused_and_tamed() {
    let long = "x".repeat(300);
    for name in [
        "a\".blob.core.windows.net",
        "a\n[[record]]\nname = \"login.microsoftonline.com\"",
        "$(reboot).blob.core.windows.net",
        "a'b.blob.core.windows.net",
        "a\u{1b}[2J.blob.core.windows.net",
        "a\u{0}.blob.core.windows.net",
        "a\\.blob.core.windows.net",
        "a\\010.blob.core.windows.net",
        "a。blob.core.windows.net",
        "a b.blob.core.windows.net",
        "..",
        &long,
        &format!("{}blob.core.windows.net", "a.".repeat(150)),
    ] {
        let run = Run::on(&row(name, "10.0.0.4"));
        run.fails_with(&["is not a valid host name"]);
        assert!(run.err.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", run.err);
        assert!(run.err.len() < 1500, "{}", run.err);
    }
    for address in ["", "10.0.0.4/24", "10.0.0.4\n", "0.0.0.0", "224.0.0.1", "::", "$(id)", "10.0.0.256"] {
        let run = Run::on(&row("a.blob.core.windows.net", address));
        assert_eq!((run.code, run.out.as_str()), (Some(1), ""), "{address:?}: {}", run.err);
    }
}

#[test]
fn hostile_ids_and_object_names_stay_in_their_comments_and_out_of_commands() {
    let mut hostile = endpoint(
        "pe1",
        &storage("a"),
        "Approved",
        json!([{"fqdn": "a.blob.core.windows.net", "ipAddresses": ["10.0.0.4"]}]),
    );
    hostile["name"] =
        "x\n[[record]]\nname = \"login.microsoftonline.com\"\ntype = \"A\"\ndata = [\"6.6.6.6\"]\n#\r\u{1b}[31m".into();
    assert_eq!(Run::on(&hostile).public(), set(&["a.blob.core.windows.net 10.0.0.4"]));
    let mut silent = endpoint("pe1", &storage("a"), "Approved", json!([]));
    silent["networkInterfaces"] = json!([{"id": "/x'; reboot; '$(reboot)`reboot`"}]);
    silent["id"] =
        "/subscriptions/$(reboot)/resourceGroups/$(reboot)/providers/Microsoft.Network/privateEndpoints/x".into();
    let run = Run::on(&silent);
    run.fails_with(&["az network nic show --ids INTERFACE_ID", "-g GROUP"]);
    assert!(!run.err.contains("reboot"), "{}", run.err);
}

#[test]
fn shapes_that_make_no_sense_are_no_panic() {
    for text in [
        "null",
        "1",
        "\"x\"",
        "[]",
        "{}",
        "[[[]]]",
        "{\"value\": 1}",
        "{\"data\": {\"columns\": 1, \"rows\": {}}}",
        "{\"data\": {\"columns\": [1], \"rows\": [1, []]}}",
        "{\"privateLinkServiceConnections\": 5}",
        "{\"privateLinkServiceConnections\": {}}",
        "{\"type\": 5}",
        "{\"privateDnsZoneConfigs\": [null, 1, \"x\"]}",
        "{\"ipConfigurations\": [[]], \"type\": \"Microsoft.Network/networkInterfaces\"}",
        "{\"type\": \"Microsoft.Network/privateDnsZones/A\", \"aRecords\": [{}, 1]}",
        "{\"type\": \"Microsoft.MachineLearningServices/workspaces\"}",
        "{\"discovery_url\": \"://\"}",
        "[{\"fqdn\": 1, \"ip\": []}]",
    ] {
        let run = Run::new(&[], text.as_bytes());
        assert_eq!(run.code, Some(1), "{text}: {}", run.err);
        assert!(run.err.contains("error: ") && !run.err.contains("panicked"), "{text}: {}", run.err);
    }
}
