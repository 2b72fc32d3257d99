//! `pldns generate` as a user runs it, and what it writes resolved through the running server: the documentation's
//! three published examples in each of the forms that the documentation leads to.

use crate::common::command::{Ran, run, run_with_input};
use crate::common::{FakeAzureDns, Pldns, Query, Scratch, Setup, dns};
use serde_json::{Value, json};
use std::fs;

/// One workspace of the documentation: what its interface lists, and the names behind that.
struct Example {
    guid: &'static str,
    region: &'static str,
    notebook_label: &'static str,
    api: &'static str,
    notebooks: &'static str,
    inference: &'static str,
    instances: &'static [&'static str],
}

const EXAMPLES: [Example; 3] = [
    Example {
        guid: "fb7e20a0-8891-458b-b969-55ddb3382f51",
        region: "eastus",
        notebook_label: "ml-myworkspace-eastus",
        api: "api.azureml.ms",
        notebooks: "notebooks.azure.net",
        inference: "inference.ml.azure.com",
        instances: &["instances.ml.azure.ms", "instances.azureml.ms"],
    },
    Example {
        guid: "52882c08-ead2-44aa-af65-08a75cf094bd",
        region: "chinaeast2",
        notebook_label: "ml-mype-pltest-chinaeast2",
        api: "api.ml.azure.cn",
        notebooks: "notebooks.chinacloudapi.cn",
        inference: "inference.ml.azure.cn",
        instances: &["instances.azureml.cn", "instances.ml.azure.ms"],
    },
    Example {
        guid: "52882c08-ead2-44aa-af65-08a75cf094bd",
        region: "usgovvirginia",
        notebook_label: "ml-mype-plt-usgovvirginia",
        api: "api.ml.azure.us",
        notebooks: "notebooks.usgovcloudapi.net",
        inference: "inference.ml.azure.us",
        instances: &["instances.ml.azure.us", "instances.azureml.us"],
    },
];

impl Example {
    fn name(&self, front: &str, privatelink: &str) -> String {
        format!("{}.workspace.{}.{front}{privatelink}{}", self.guid, self.region, self.api)
    }

    fn notebook(&self) -> String {
        format!("{}-{}.{}.{}", self.notebook_label, self.guid, self.region, self.notebooks)
    }

    /// The interface's three addresses, each with its names.
    fn listed(&self) -> [(&'static str, Vec<String>); 3] {
        [
            ("10.1.0.5", vec![self.name("", ""), self.name("cert.", "")]),
            ("10.1.0.6", vec![self.notebook()]),
            ("10.1.0.7", vec![format!("*.{}.{}", self.region, self.inference)]),
        ]
    }

    /// `az network nic show`.
    fn interface(&self) -> Value {
        let configurations: Vec<Value> = self
            .listed()
            .iter()
            .enumerate()
            .map(|(n, (address, names))| {
                json!({
                    "name": format!("privateEndpointIpConfig.{n}"),
                    "primary": n == 0,
                    "privateIPAddress": address,
                    "privateIPAddressVersion": "IPv4",
                    "privateLinkConnectionProperties": {
                        "fqdns": names, "groupId": "amlworkspace", "requiredMemberName": "default"
                    }
                })
            })
            .collect();
        json!({
            "id": format!("{}/networkInterfaces/pe.nic.1", resource_group()),
            "ipConfigurations": configurations,
            "location": self.region,
            "privateEndpoint": {"id": format!("{}/privateEndpoints/pe", resource_group())},
            "type": "Microsoft.Network/networkInterfaces"
        })
    }

    /// The documentation's query over it, with the key of the year.
    fn query(&self, address_key: &str) -> Value {
        let rows = self.listed();
        rows.iter().map(|(address, names)| json!({"FQDNs": names, address_key: address})).collect()
    }

    /// `az network private-endpoint show`; with a zone group it lists no names.
    fn endpoint(&self, with_zone_group: bool) -> Value {
        let configs: Vec<Value> = self
            .listed()
            .iter()
            .flat_map(|(address, names)| names.iter().map(move |name| json!({"fqdn": name, "ipAddresses": [address]})))
            .filter(|_| !with_zone_group)
            .collect();
        json!({
            "customDnsConfigs": configs,
            "id": format!("{}/privateEndpoints/pe", resource_group()),
            "location": self.region,
            "name": "pe",
            "networkInterfaces": [{"id": format!("{}/networkInterfaces/pe.nic.1", resource_group())}],
            "manualPrivateLinkServiceConnections": [],
            "privateLinkServiceConnections": [{
                "groupIds": ["amlworkspace"],
                "name": "pe",
                "privateLinkServiceConnectionState": {"status": "Approved", "description": "", "actionsRequired": ""},
                "privateLinkServiceId": format!("{}/workspaces/myworkspace", learning()),
                "provisioningState": "Succeeded"
            }],
            "provisioningState": "Succeeded",
            "resourceGroup": "rg",
            "type": "Microsoft.Network/privateEndpoints"
        })
    }

    /// `az ml workspace show`.
    fn workspace(&self) -> Value {
        json!({
            "name": "myworkspace",
            "id": format!("{}/workspaces/myworkspace", learning()),
            "location": self.region,
            "resource_group": "rg",
            "discovery_url": format!("https://{}/discovery", self.name("", "")),
            "storage_account": "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/st",
            "public_network_access": "Disabled"
        })
    }

    /// Every name that must resolve, with its address, whatever form was read.
    fn names(&self) -> Vec<(String, &'static str)> {
        let private = format!("privatelink.{}", self.notebooks);
        vec![
            (self.name("", ""), "10.1.0.5"),
            (self.name("cert.", ""), "10.1.0.5"),
            (self.name("", "privatelink."), "10.1.0.5"),
            (self.name("cert.", "privatelink."), "10.1.0.5"),
            (self.notebook(), "10.1.0.6"),
            (self.notebook().replace(self.notebooks, &private), "10.1.0.6"),
            // Another cut of the workspace's name: the partial wildcard does not mind.
            (format!("ml-x-{}-{}.{}.{}", self.region, self.guid, self.region, self.notebooks), "10.1.0.6"),
            (format!("ep1.{}.{}", self.region, self.inference), "10.1.0.7"),
            (format!("ep1.{}.inference.{}.privatelink.{}", self.guid, self.region, self.api), "10.1.0.7"),
        ]
    }
}

fn resource_group() -> &'static str {
    "/subscriptions/8c1f40b2-6d0e-4b7a-9f53-2ad7c5e91f36/resourceGroups/rg/providers/Microsoft.Network"
}

fn learning() -> &'static str {
    "/subscriptions/8c1f40b2-6d0e-4b7a-9f53-2ad7c5e91f36/resourceGroups/rg/providers/Microsoft.MachineLearningServices"
}

/// Runs `generate` over inputs in files of a scratch directory.
fn generate(inputs: &[Value], more: &[&str]) -> Ran {
    let dir = Scratch::new();
    let files: Vec<String> = (0..inputs.len()).map(|n| format!("input{n}.json")).collect();
    for (file, input) in files.iter().zip(inputs) {
        dir.write(file, &serde_json::to_string_pretty(input).unwrap());
    }
    let mut arguments = vec!["generate"];
    arguments.extend(files.iter().map(String::as_str));
    arguments.extend(more);
    run(dir.path(), &arguments)
}

#[track_caller]
fn resolves(server: &Pldns, name: &str, address: &str) {
    let got = Query::new(&format!("{name} A")).ask_at(server.address());
    got.rcode("NOERROR").aa();
    let last = got.message.answers.last().unwrap_or_else(|| panic!("{name}: {}", got.message));
    assert_eq!(last.rdata, dns::rdata(1, address), "{name}: {}", got.message);
}

/// What was written serves every name of the example.
#[track_caller]
fn serves(example: &Example, ran: &Ran) {
    ran.code(0);
    let fake = FakeAzureDns::start();
    let server = Setup::new(&fake.rule("."), &ran.out).start();
    for (name, address) in example.names() {
        resolves(&server, &name, address);
    }
    // Its neighbours are not claimed.
    for name in [format!("{}.{}", example.region, example.api), format!("other.{}", example.notebooks)] {
        server.ask(&format!("{name} A")).rcode("NXDOMAIN").no_aa();
    }
}

#[test]
fn the_interface_of_each_documented_workspace_becomes_records_that_resolve() {
    for example in &EXAMPLES {
        serves(example, &generate(&[example.interface()], &[]));
    }
}

#[test]
fn the_documentations_query_does_as_well_with_either_spelling() {
    for example in &EXAMPLES {
        serves(example, &generate(&[example.query("IPAddress")], &[]));
        serves(example, &generate(&[example.query("ipAddress")], &[]));
    }
}

#[test]
fn the_endpoints_own_list_does_as_well() {
    for example in &EXAMPLES {
        serves(example, &generate(&[example.endpoint(false)], &[]));
    }
}

#[test]
fn the_workspace_together_with_its_interface_does_as_well() {
    for example in &EXAMPLES {
        serves(example, &generate(&[example.workspace(), example.interface()], &[]));
    }
}

#[test]
fn standard_input_is_read_like_a_file() {
    let dir = Scratch::new();
    let example = &EXAMPLES[0];
    let ran = run_with_input(dir.path(), &["generate"], example.interface().to_string());
    serves(example, &ran);
}

#[test]
fn an_endpoint_with_a_zone_group_ends_in_advice_never_in_an_empty_file() {
    let dir = Scratch::new();
    dir.write("endpoint.json", &EXAMPLES[0].endpoint(true).to_string());
    let ran = run(dir.path(), &["generate", "endpoint.json", "-o", "records.toml"]);
    ran.code(1).err_has("az network nic show");
    assert!(!dir.path().join("records.toml").exists(), "an empty file was written");
}

#[test]
fn an_interface_beside_the_endpoint_with_a_zone_group_is_enough() {
    let example = &EXAMPLES[0];
    serves(example, &generate(&[example.endpoint(true), example.interface()], &[]));
}

#[test]
fn a_workspace_alone_has_no_addresses() {
    let ran = generate(&[EXAMPLES[0].workspace()], &[]);
    ran.code(1);
    assert!(!ran.out.contains("[[record]]"), "records without addresses: {}", ran.out);
}

#[test]
fn compute_instances_have_both_forms_in_all_domains_of_their_cloud() {
    for example in &EXAMPLES {
        let ran = generate(&[example.interface()], &["--compute-instance", "ci-anna"]);
        ran.code(0);
        let fake = FakeAzureDns::start();
        let server = Pldns::start(&fake.rule("."), &ran.out);
        for domain in example.instances {
            for label in ["ci-anna", "ci-anna-22"] {
                resolves(&server, &format!("{label}.{}.{domain}", example.region), "10.1.0.5");
            }
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_and_a_file_gets_what_the_screen_gets() {
    let example = &EXAMPLES[0];
    let one = generate(&[example.interface()], &[]);
    let two = generate(&[example.interface()], &[]);
    assert_eq!(one.out, two.out);
    assert!(one.out.starts_with('#'), "a header says what it was derived from: {}", one.out);
    let dir = Scratch::new();
    dir.write("input0.json", &serde_json::to_string_pretty(&example.interface()).unwrap());
    run(dir.path(), &["generate", "input0.json", "-o", "records.toml"]).code(0);
    assert_eq!(fs::read_to_string(dir.path().join("records.toml")).unwrap(), one.out);
}

#[test]
fn two_workspaces_of_one_region_do_not_share_the_regions_wildcard() {
    let first = &EXAMPLES[0];
    let second = Example { guid: "b7d94c10-2f6e-4a83-b1c5-90e3d6f7a218", ..EXAMPLES[0] };
    let mut other = second.interface();
    for (configuration, address) in
        other["ipConfigurations"].as_array_mut().unwrap().iter_mut().zip(["10.2.0.5", "10.2.0.6", "10.2.0.7"])
    {
        configuration["privateIPAddress"] = json!(address);
    }
    other["id"] = json!(format!("{}/networkInterfaces/pe2.nic.1", resource_group()));
    other["privateEndpoint"]["id"] = json!(format!("{}/privateEndpoints/pe2", resource_group()));
    let ran = generate(&[first.interface(), other], &[]);
    ran.code(0);
    assert!(ran.err.to_ascii_lowercase().contains("warning"), "a warning is due: {}", ran.err);
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), &ran.out);
    server.ask("ep1.eastus.inference.ml.azure.com A").rcode("NXDOMAIN").no_aa();
    let private = |guid: &str| format!("ep1.{guid}.inference.eastus.privatelink.api.azureml.ms");
    resolves(&server, &private(first.guid), "10.1.0.7");
    resolves(&server, &private(second.guid), "10.2.0.7");
    resolves(&server, &second.name("", ""), "10.2.0.5");
}

/// An interface of another service: group id, address, listed name.
fn service(group: &str, address: &str, name: &str) -> Value {
    json!({
        "ipConfigurations": [{
            "name": "privateEndpointIpConfig.1",
            "privateIPAddress": address,
            "privateLinkConnectionProperties": {"fqdns": [name], "groupId": group, "requiredMemberName": group}
        }],
        "location": "eastus",
        "type": "Microsoft.Network/networkInterfaces"
    })
}

#[test]
fn storage_vault_and_registry_have_their_public_and_privatelink_names() {
    let cases = [
        ("blob", "acct.blob.core.windows.net", "acct.privatelink.blob.core.windows.net"),
        ("file", "acct.file.core.windows.net", "acct.privatelink.file.core.windows.net"),
        ("queue", "acct.queue.core.windows.net", "acct.privatelink.queue.core.windows.net"),
        ("table", "acct.table.core.windows.net", "acct.privatelink.table.core.windows.net"),
        ("dfs", "acct.dfs.core.windows.net", "acct.privatelink.dfs.core.windows.net"),
        ("web", "acct.z13.web.core.windows.net", "acct.z13.privatelink.web.core.windows.net"),
        ("vault", "kv.vault.azure.net", "kv.privatelink.vaultcore.azure.net"),
        ("registry", "acr.azurecr.io", "acr.privatelink.azurecr.io"),
        ("blob", "cn.blob.core.chinacloudapi.cn", "cn.privatelink.blob.core.chinacloudapi.cn"),
        ("blob", "gov.blob.core.usgovcloudapi.net", "gov.privatelink.blob.core.usgovcloudapi.net"),
        ("vault", "kv.vault.usgovcloudapi.net", "kv.privatelink.vaultcore.usgovcloudapi.net"),
    ];
    let inputs: Vec<Value> = cases
        .iter()
        .enumerate()
        .map(|(n, (group, name, _))| service(group, &format!("10.3.0.{}", n + 4), name))
        .collect();
    let ran = generate(&inputs, &[]);
    ran.code(0);
    let fake = FakeAzureDns::start();
    let server = Pldns::start(&fake.rule("."), &ran.out);
    for (n, (_, public, private)) in cases.iter().enumerate() {
        resolves(&server, public, &format!("10.3.0.{}", n + 4));
        resolves(&server, private, &format!("10.3.0.{}", n + 4));
    }
    resolves(&server, "kv.vaultcore.azure.net", "10.3.0.10");
}

#[test]
fn names_that_azure_does_not_own_are_not_claimed_by_an_input() {
    for name in ["login.microsoftonline.com", "bank.example", "a\"]\n[[record]].blob.core.windows.net"] {
        let ran = generate(&[service("blob", "10.6.6.6", name)], &[]);
        assert!(!ran.out.contains("10.6.6.6"), "{name:?} was written: {}", ran.out);
    }
}

#[test]
fn nonsense_is_the_inputs_fault() {
    let dir = Scratch::new();
    for text in ["", "not json", "{}", "[]", "{\"ipConfigurations\": 7}", "[[[[[[[[[[\u{0}"] {
        let ran = run_with_input(dir.path(), &["generate"], text);
        assert_eq!(ran.code, Some(1), "{text:?}: {}{}", ran.out, ran.err);
        assert!(!ran.err.contains("panicked") && !ran.err.is_empty(), "{text:?}: {}", ran.err);
    }
    run(dir.path(), &["generate", "nowhere.json"]).code(1).err_has("nowhere.json");
}

/// `check` knows a file that `generate` wrote, and looks at its addresses more closely than at those of a hand-written one.
#[test]
fn a_public_address_in_a_generated_file_is_warned_of_by_check() {
    let dir = Scratch::new();
    let metadata = r#"[{"FQDNs": ["kv.vault.azure.net"], "IPAddress": "20.60.1.1"}]"#;
    run_with_input(dir.path(), &["generate", "-o", "records.toml"], metadata)
        .code(0)
        .err_has("20.60.1.1 is a public address");
    dir.write("pldns.toml", "[listen]\nadmin = \"\"\n[records]\nfiles = [\"records.toml\"]\n");
    run(dir.path(), &["check", "-c", "pldns.toml"])
        .code(0)
        .err_has("kv.vault.azure.net has the public address 20.60.1.1");
}
