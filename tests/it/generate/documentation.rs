//! The documentation's three examples, in the documentation's form, and the example workspace of this project.

use serde_json::{Value, json};

use super::{Run, lines, text_of};
use crate::common::Scratch;

const PUBLIC: &str = "fb7e20a0-8891-458b-b969-55ddb3382f51";
const SOVEREIGN: &str = "52882c08-ead2-44aa-af65-08a75cf094bd";

/// What the documentation's query over the interface prints.
fn query(api: &str, cert: &str, notebook: &str, inference: &str) -> Value {
    json!([
        {"FQDNs": [api, cert], "IPAddress": "10.1.0.5"},
        {"FQDNs": [notebook], "IPAddress": "10.1.0.6"},
        {"FQDNs": [inference], "IPAddress": "10.1.0.7"},
    ])
}

#[track_caller]
fn has(run: &Run, expected: &[String]) {
    let lines = lines(&run.records());
    for line in expected {
        assert!(lines.contains(line), "{line} is not in {lines:#?}");
    }
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
}

#[test]
fn public_cloud_in_eastus() {
    let id = PUBLIC;
    let run = Run::on_all(
        &["--compute-instance", "ci1"],
        &[query(
            &format!("{id}.workspace.eastus.api.azureml.ms"),
            &format!("{id}.workspace.eastus.cert.api.azureml.ms"),
            &format!("ml-myworkspace-eastus-{id}.eastus.notebooks.azure.net"),
            "*.eastus.inference.ml.azure.com",
        )],
    );
    has(
        &run,
        &[
            format!("{id}.workspace.eastus.api.azureml.ms 10.1.0.5"),
            format!("{id}.workspace.eastus.cert.api.azureml.ms 10.1.0.5"),
            format!("ml-myworkspace-eastus-{id}.eastus.notebooks.azure.net 10.1.0.6"),
            "*.eastus.inference.ml.azure.com 10.1.0.7".to_owned(),
            format!("{id}.workspace.eastus.privatelink.api.azureml.ms 10.1.0.5"),
            format!("{id}.workspace.eastus.cert.privatelink.api.azureml.ms 10.1.0.5"),
            format!("ml-myworkspace-eastus-{id}.eastus.privatelink.notebooks.azure.net 10.1.0.6"),
            format!("*-eastus-{id}.eastus.notebooks.azure.net 10.1.0.6"),
            format!("*-eastus-{id}.eastus.privatelink.notebooks.azure.net 10.1.0.6"),
            format!("*.{id}.inference.eastus.privatelink.api.azureml.ms 10.1.0.7"),
            "ci1.eastus.instances.ml.azure.ms 10.1.0.5".to_owned(),
            "ci1-22.eastus.instances.ml.azure.ms 10.1.0.5".to_owned(),
            "ci1-*.eastus.instances.ml.azure.ms 10.1.0.5".to_owned(),
            "ci1.eastus.instances.azureml.ms 10.1.0.5".to_owned(),
            "ci1-22.eastus.instances.azureml.ms 10.1.0.5".to_owned(),
            "ci1-*.eastus.instances.azureml.ms 10.1.0.5".to_owned(),
        ],
    );
    assert_eq!(run.err, "");
}

#[test]
fn china_in_chinaeast2() {
    let id = SOVEREIGN;
    let run = Run::on_all(
        &["--compute-instance", "ci1", "--cloud", "china"],
        &[query(
            &format!("{id}.workspace.chinaeast2.api.ml.azure.cn"),
            &format!("{id}.workspace.chinaeast2.cert.api.ml.azure.cn"),
            &format!("ml-mype-pltest-chinaeast2-{id}.chinaeast2.notebooks.chinacloudapi.cn"),
            "*.chinaeast2.inference.ml.azure.cn",
        )],
    );
    has(
        &run,
        &[
            format!("{id}.workspace.chinaeast2.api.ml.azure.cn 10.1.0.5"),
            format!("{id}.workspace.chinaeast2.cert.api.ml.azure.cn 10.1.0.5"),
            format!("ml-mype-pltest-chinaeast2-{id}.chinaeast2.notebooks.chinacloudapi.cn 10.1.0.6"),
            "*.chinaeast2.inference.ml.azure.cn 10.1.0.7".to_owned(),
            format!("{id}.workspace.chinaeast2.privatelink.api.ml.azure.cn 10.1.0.5"),
            format!("{id}.workspace.chinaeast2.cert.privatelink.api.ml.azure.cn 10.1.0.5"),
            format!("ml-mype-pltest-chinaeast2-{id}.chinaeast2.privatelink.notebooks.chinacloudapi.cn 10.1.0.6"),
            format!("*-chinaeast2-{id}.chinaeast2.notebooks.chinacloudapi.cn 10.1.0.6"),
            format!("*-chinaeast2-{id}.chinaeast2.privatelink.notebooks.chinacloudapi.cn 10.1.0.6"),
            format!("*.{id}.inference.chinaeast2.privatelink.api.ml.azure.cn 10.1.0.7"),
            "ci1.chinaeast2.instances.azureml.cn 10.1.0.5".to_owned(),
            "ci1-22.chinaeast2.instances.azureml.cn 10.1.0.5".to_owned(),
            "ci1-*.chinaeast2.instances.azureml.cn 10.1.0.5".to_owned(),
            "ci1.chinaeast2.instances.ml.azure.ms 10.1.0.5".to_owned(),
            "ci1-22.chinaeast2.instances.ml.azure.ms 10.1.0.5".to_owned(),
            "ci1-*.chinaeast2.instances.ml.azure.ms 10.1.0.5".to_owned(),
        ],
    );
}

#[test]
fn us_government_in_usgovvirginia() {
    let id = SOVEREIGN;
    let run = Run::on_all(
        &["--compute-instance", "ci1"],
        &[query(
            &format!("{id}.workspace.usgovvirginia.api.ml.azure.us"),
            &format!("{id}.workspace.usgovvirginia.cert.api.ml.azure.us"),
            &format!("ml-mype-plt-usgovvirginia-{id}.usgovvirginia.notebooks.usgovcloudapi.net"),
            "*.usgovvirginia.inference.ml.azure.us",
        )],
    );
    has(
        &run,
        &[
            format!("{id}.workspace.usgovvirginia.api.ml.azure.us 10.1.0.5"),
            format!("{id}.workspace.usgovvirginia.cert.api.ml.azure.us 10.1.0.5"),
            format!("ml-mype-plt-usgovvirginia-{id}.usgovvirginia.notebooks.usgovcloudapi.net 10.1.0.6"),
            "*.usgovvirginia.inference.ml.azure.us 10.1.0.7".to_owned(),
            format!("{id}.workspace.usgovvirginia.privatelink.api.ml.azure.us 10.1.0.5"),
            format!("{id}.workspace.usgovvirginia.cert.privatelink.api.ml.azure.us 10.1.0.5"),
            format!("ml-mype-plt-usgovvirginia-{id}.usgovvirginia.privatelink.notebooks.usgovcloudapi.net 10.1.0.6"),
            format!("*-usgovvirginia-{id}.usgovvirginia.notebooks.usgovcloudapi.net 10.1.0.6"),
            format!("*-usgovvirginia-{id}.usgovvirginia.privatelink.notebooks.usgovcloudapi.net 10.1.0.6"),
            format!("*.{id}.inference.usgovvirginia.privatelink.api.ml.azure.us 10.1.0.7"),
            "ci1.usgovvirginia.instances.ml.azure.us 10.1.0.5".to_owned(),
            "ci1-22.usgovvirginia.instances.ml.azure.us 10.1.0.5".to_owned(),
            "ci1-*.usgovvirginia.instances.ml.azure.us 10.1.0.5".to_owned(),
            "ci1.usgovvirginia.instances.azureml.us 10.1.0.5".to_owned(),
            "ci1-22.usgovvirginia.instances.azureml.us 10.1.0.5".to_owned(),
            "ci1-*.usgovvirginia.instances.azureml.us 10.1.0.5".to_owned(),
        ],
    );
}

#[test]
fn whole_interface_endpoint_and_query_say_the_same() {
    let whole: Value = serde_json::from_str(include_str!("../../../config/metadata/workspace.json")).unwrap();
    let configurations = whole["ipConfigurations"].as_array().unwrap();
    let row = |it: &Value| json!({"FQDNs": it["privateLinkConnectionProperties"]["fqdns"], "IPAddress": it["privateIPAddress"]});
    let query: Value = configurations.iter().map(row).collect();
    let names = |it: &Value| it["privateLinkConnectionProperties"]["fqdns"].as_array().unwrap().clone();
    let dns = configurations.iter().flat_map(|it| {
        names(it).into_iter().map(|name| json!({"fqdn": name, "ipAddresses": [it["privateIPAddress"]]}))
    });
    let endpoint =
        json!({"customDnsConfigs": dns.collect::<Value>(), "privateLinkServiceConnections": [], "name": "pe"});
    let expected = Run::on(&whole).records();
    assert_eq!(expected.len(), 10);
    for other in [json!({"id": "", "properties": whole}), query, endpoint.clone(), json!({"properties": endpoint})] {
        assert_eq!(Run::on(&other).records(), expected, "{other}");
    }
    // Keys in any case: PowerShell's, and the spelling of the older command.
    let shouted = shout(&whole);
    assert_eq!(Run::on(&shouted).records(), expected);
}

/// The same with all keys in capitals.
fn shout(value: &Value) -> Value {
    match value {
        Value::Object(members) => members.iter().map(|(key, value)| (key.to_uppercase(), shout(value))).collect(),
        Value::Array(items) => items.iter().map(shout).collect(),
        other => other.clone(),
    }
}

#[test]
fn the_example_records_are_what_the_example_metadata_gives() {
    let out = Scratch::new();
    let file = out.path_of("workspace.toml");
    let inputs = ["workspace", "storage-blob", "storage-file", "key-vault", "registry"]
        .map(|name| format!("config/metadata/{name}.json"));
    let mut arguments: Vec<&str> = inputs.iter().map(String::as_str).collect();
    arguments.extend(["--compute-instance", "myinstance", "-o", &file]);
    let run = Run::new(&arguments, b"");
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""));
    let expected = include_str!("../../../config/records/workspace.toml");
    assert_eq!(text_of(&file), expected, "generate it again, as its head says");
}
