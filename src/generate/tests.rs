//! The generator as a whole, on generated inputs.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::*;

/// Documents to start from: of every kind that is read.
const TEMPLATES: &[&str] = &[
    include_str!("../../config/metadata/workspace.json"),
    include_str!("../../config/metadata/registry.json"),
    include_str!("../../config/metadata/storage-blob.json"),
    include_str!("../../tests/it/generate/samples/endpoint-static-addresses.json"),
    include_str!("../../tests/it/generate/samples/endpoint-pending-ml-registry.json"),
    include_str!("../../tests/it/generate/samples/zone-group-storage-blob-2025.json"),
    include_str!("../../tests/it/generate/samples/record-sets-all-types.json"),
    include_str!("../../tests/it/generate/samples/workspaces.json"),
    include_str!("../../tests/it/generate/samples/online-endpoints.json"),
    include_str!("../../tests/it/generate/samples/resource-graph-table.json"),
    include_str!("../../tests/it/generate/samples/powershell-export-redis.json"),
    include_str!("../../tests/it/generate/samples/accounts-ai-services.json"),
];

/// What takes the place of something in a template.
fn replacement() -> impl Strategy<Value = Value> {
    let known = [
        "a.blob.core.windows.net",
        "*.eastus.inference.ml.azure.com",
        "fb7e20a0-8891-458b-b969-55ddb3382f51",
        "fb7e20a0-8891-458b-b969-55ddb3382f51.workspace.eastus.api.azureml.ms",
        "login.microsoftonline.com",
        "10.0.0.9",
        "fd00::1",
        "Approved",
        "amlworkspace",
        "Project",
        "",
    ];
    prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        any::<u32>().prop_map(Value::from),
        prop::sample::select(known.to_vec()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ]
}

/// A template with a few of its values replaced.
fn document() -> impl Strategy<Value = Value> {
    let template = prop::sample::select(TEMPLATES.to_vec());
    let changes = prop::collection::vec((any::<Index>(), replacement()), 0..4);
    (template, changes).prop_map(|(template, changes)| {
        let mut document: Value = serde_json::from_str(template).unwrap();
        for (at, value) in changes {
            let mut left = at.index(count(&document));
            replace(&mut document, &mut left, value);
        }
        document
    })
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

/// Replaces the value that is `left` steps ahead in a walk; gives the replacement back when it is not reached.
fn replace(value: &mut Value, left: &mut usize, by: Value) -> Option<Value> {
    if *left == 0 {
        *value = by;
        return None;
    }
    *left -= 1;
    let parts: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(members) => members.values_mut().collect(),
        _ => Vec::new(),
    };
    parts.into_iter().try_fold(by, |by, part| replace(part, left, by))
}

fn run(documents: &[Value]) -> Option<String> {
    let bytes = documents.iter().map(Value::to_string).collect::<String>().into_bytes();
    let options = Options { compute_instances: vec!["ci1".to_owned()], ..Options::default() };
    let (records, messages) = generate(&[Input { name: "in.json".to_owned(), bytes, written: None }], &options);
    assert_eq!(records.is_none(), messages.has_error());
    records.map(|records| print(&records, Format::Toml).text)
}

/// All owner names of a records file, which must be one.
fn owners(text: &str) -> Vec<HostName> {
    let table: toml::Table = text.parse().unwrap();
    let records = table["record"].as_array().unwrap();
    records
        .iter()
        .map(|record| record["name"].as_str().unwrap())
        .filter(|name| !name.split('.').next().unwrap().contains('-') || !name.split('.').next().unwrap().contains('*'))
        .map(|name| HostName::parse(name).unwrap())
        .collect()
}

proptest! {
    #[test]
    fn random_documents_neither_panic_nor_claim_foreign_names(documents in prop::collection::vec(document(), 1..4)) {
        if let Some(text) = run(&documents) {
            for owner in owners(&text) {
                prop_assert!(crate::azure::cloud_of(&owner).is_some(), "{owner}");
            }
        }
    }

    #[test]
    fn no_text_of_an_endpoint_reaches_the_records(name in any::<String>(), id in any::<String>(), group in any::<String>(), fqdn in any::<String>()) {
        let endpoint = |fqdn: &str| json!({
            "name": name, "id": id, "privateLinkServiceConnections": [{"groupIds": [group], "privateLinkServiceId": id}],
            "customDnsConfigs": [{"fqdn": fqdn, "ipAddresses": ["10.0.0.4"]}],
        });
        let options = Options::default();
        let bytes = endpoint("a.blob.core.windows.net").to_string().into_bytes();
        let (records, _) = generate(&[Input { name: name.clone(), bytes, written: None }], &options);
        let text = print(&records.unwrap(), Format::Toml).text;
        let names: Vec<String> = owners(&text).iter().map(HostName::to_string).collect();
        prop_assert_eq!(names, ["a.blob.core.windows.net", "a.privatelink.blob.core.windows.net"]);
        prop_assert_eq!(run(&[endpoint(&fqdn)]), None);
    }

    #[test]
    fn random_texts_neither_panic_nor_claim_foreign_names(
        lines in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", "{}", "[]", "\"x\"", "WARNING: x", "ERROR: x", "- a:", "a: b", "---- ---", "a\tb", "a,b", "\"a\",\"b\"",
            "10.0.0.4 a.blob.core.windows.net", "a.blob.core.windows.net 10.0.0.4", "fqdn,ip", "b.blob.core.windows.net,10.0.0.5",
            "[{\"FQDNs\": [\"c.blob.core.windows.net\"], \"IPAddress\": \"10.0.0.6\"}]", "\u{feff}", "\u{e9}\u{1b}", "$ORIGIN x.", "; y",
        ]), 0..8),
        tail in any::<String>(),
    ) {
        let bytes = format!("{}\n{tail}", lines.join("\n")).into_bytes();
        let options = Options { lenient: true, ..Options::default() };
        let (records, messages) = generate(&[Input { name: "text".to_owned(), bytes, written: None }], &options);
        prop_assert_eq!(records.is_none(), messages.has_error());
        if let Some(records) = records {
            for owner in owners(&print(&records, Format::Toml).text) {
                prop_assert!(crate::azure::cloud_of(&owner).is_some(), "{owner}");
            }
        }
    }

    #[test]
    fn random_lists_of_zones_do_not_panic(text in "(zone|server=/|name:|forward-zone:|domain_name =|[{\\[\"a./ \u{e9};\n}]){0,40}", other in any::<String>()) {
        forwarders::read_list(&text);
        forwarders::read_list(&other);
    }

    #[test]
    fn random_zone_files_neither_panic_nor_print_what_is_no_name(text in "\\$ORIGIN [a-z.]{0,9}\n([a@*. ]{0,6} (A|TXT|MX|CNAME|5|IN)?[ ()\"\\\\;a-z0-9.\n\u{e9}]{0,20}\n){0,6}") {
        let options = Options { allow: vec!["a".to_owned(), "x".to_owned()], ..Options::default() };
        let (records, messages) = generate(&[Input { name: "zone".to_owned(), bytes: text.into_bytes(), written: None }], &options);
        prop_assert_eq!(records.is_none(), messages.has_error());
        if let Some(records) = records {
            owners(&print(&records, Format::Toml).text);
        }
    }
}
