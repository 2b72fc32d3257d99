//! Workspaces beyond the documentation's example: several of them, parts of them, projects, endpoints of models.

use serde_json::{Value, json};

use super::{Run, lines, set};

const ONE: &str = "fb7e20a0-8891-458b-b969-55ddb3382f51";
const TWO: &str = "0c9d7a54-6e13-4b8f-92a0-d15e8b3c7f46";
const LEARNING: &str = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces";

/// The interface of a workspace's endpoint, with addresses that end in this byte and the next two.
fn interface(id: &str, region: &str, byte: u8) -> Value {
    let address = |at: u8| format!("10.1.0.{}", byte + at);
    json!([
        {"FQDNs": [format!("{id}.workspace.{region}.api.azureml.ms"), format!("{id}.workspace.{region}.cert.api.azureml.ms")], "IPAddress": address(0)},
        {"FQDNs": [format!("ml-w-{region}-{id}.{region}.notebooks.azure.net")], "IPAddress": address(1)},
        {"FQDNs": [format!("*.{region}.inference.ml.azure.com")], "IPAddress": address(2)},
    ])
}

fn arm_workspace(id: &str, name: &str, region: &str) -> Value {
    json!({
        "id": format!("{LEARNING}/{name}"), "name": name, "type": "Microsoft.MachineLearningServices/workspaces", "location": region,
        "properties": {"workspaceId": id, "discoveryUrl": format!("https://{region}.api.azureml.ms/discovery")},
    })
}

#[test]
fn two_workspaces_of_one_region_lose_the_region_wildcard() {
    let run = Run::on_all(&[], &[interface(ONE, "eastus", 5), interface(TWO, "eastus", 20)]);
    let lines = lines(&run.records());
    assert!(!lines.iter().any(|line| line.starts_with("*.eastus.inference")), "{lines:#?}");
    assert!(lines.contains(&format!("*.{ONE}.inference.eastus.privatelink.api.azureml.ms 10.1.0.7")));
    assert!(lines.contains(&format!("*.{TWO}.inference.eastus.privatelink.api.azureml.ms 10.1.0.22")));
    assert!(run.err.contains("warning: *.eastus.inference.ml.azure.com was left out"), "{}", run.err);
}

#[test]
fn workspaces_of_two_regions_keep_theirs() {
    let run = Run::on_all(&[], &[interface(ONE, "eastus", 5), interface(TWO, "westus2", 20)]);
    let lines = lines(&run.records());
    assert!(
        lines.contains("*.eastus.inference.ml.azure.com 10.1.0.7")
            && lines.contains("*.westus2.inference.ml.azure.com 10.1.0.22")
    );
    assert_eq!(run.err, "");
}

#[test]
fn a_workspace_without_an_address_counts_as_another_of_the_region() {
    let run = Run::on_all(&[], &[interface(ONE, "eastus", 5), arm_workspace(TWO, "other", "eastus")]);
    assert!(!run.out.contains("\"*.eastus.inference"), "{}", run.out);
    assert!(run.err.contains("no address of workspace other"), "{}", run.err);
    // The same workspace, described, is no other one.
    let run = Run::on_all(&[], &[interface(ONE, "eastus", 5), arm_workspace(ONE, "w", "eastus")]);
    assert!(run.out.contains("\"*.eastus.inference"), "{}", run.err);
}

#[test]
fn a_workspace_without_an_inference_address_does_too() {
    let mut older = interface(TWO, "eastus", 20);
    older.as_array_mut().unwrap().pop();
    let run = Run::on_all(&[], &[interface(ONE, "eastus", 5), older]);
    assert!(!run.out.contains("\"*.eastus.inference"), "{}", run.out);
    assert!(run.err.contains("*.eastus.inference.ml.azure.com was left out"), "{}", run.err);
}

#[test]
fn compute_instances_go_to_the_workspace_that_is_meant() {
    let inputs = [interface(ONE, "eastus", 5), interface(TWO, "westus2", 20), arm_workspace(TWO, "second", "westus2")];
    Run::on_all(&["--compute-instance", "ci1"], &inputs).fails_with(&["2 workspaces", "--compute-instance"]);
    for option in [format!("{TWO}/ci1"), "Second/ci1".to_owned()] {
        let run = Run::on_all(&["--compute-instance", &option], &inputs);
        let lines = lines(&run.records());
        let instances: Vec<_> = lines.iter().filter(|line| line.contains("instances")).collect();
        assert_eq!(instances.len(), 6);
        assert!(
            instances.iter().all(|line| line.contains(".westus2.") && line.ends_with(" 10.1.0.20")),
            "{instances:?}"
        );
    }
    Run::on_all(
        &["--compute-instance", "ci1"],
        &[json!([{"FQDNs": ["a.blob.core.windows.net"], "IPAddress": "10.0.0.4"}])],
    )
    .fails_with(&["no workspace for the compute instance ci1"]);
}

#[test]
fn notebooks_may_be_another_regions() {
    let rows = json!([
        {"FQDNs": [format!("{ONE}.workspace.westus3.api.azureml.ms")], "IPAddress": "10.1.0.5"},
        {"FQDNs": [format!("ml-w-westus3-{ONE}.westus2.notebooks.azure.net")], "IPAddress": "10.1.0.6"},
    ]);
    let run = Run::on(&rows);
    let lines = lines(&run.records());
    for name in [
        format!("*-westus3-{ONE}.westus2.notebooks.azure.net"),
        format!("*-westus3-{ONE}.westus2.privatelink.notebooks.azure.net"),
    ] {
        assert!(lines.contains(&format!("{name} 10.1.0.6")), "{lines:#?}");
    }
    assert!(!lines.iter().any(|line| line.contains(".westus3.notebooks") || line.contains("inference")), "{lines:#?}");
    assert_eq!(run.err, "");
}

/// An endpoint that lists no name and has three fixed addresses.
fn fixed_endpoint(workspace: &str) -> Value {
    let fixed = |member: &str, address: &str| json!({"groupId": "amlworkspace", "memberName": member, "privateIPAddress": address});
    json!({
        "name": "pe", "customDnsConfigs": [], "provisioningState": "Succeeded",
        "ipConfigurations": [fixed("default", "10.1.0.5"), fixed("notebook", "10.1.0.6"), fixed("inference", "10.1.0.7")],
        "privateLinkServiceConnections": [{"groupIds": ["amlworkspace"], "privateLinkServiceId": format!("{LEARNING}/{workspace}"),
            "privateLinkServiceConnectionState": {"status": "Approved"}}],
    })
}

#[test]
fn an_endpoint_with_fixed_addresses_and_its_workspace() {
    let workspace = json!({
        "id": format!("{LEARNING}/fabrikam-ml"), "name": "fabrikam-ml", "location": "swedencentral", "display_name": "x",
        "discovery_url": format!("https://{ONE}.workspace.swedencentral.api.azureml.ms/discovery"),
        "storage_account": "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/acct",
    });
    let run = Run::on_all(&[], &[fixed_endpoint("FABRIKAM-ML"), workspace]);
    let expected = [
        format!("{ONE}.workspace.swedencentral.api.azureml.ms 10.1.0.5"),
        format!("{ONE}.workspace.swedencentral.cert.api.azureml.ms 10.1.0.5"),
        // Every reading of the cut: with the hyphen that it falls on, and without.
        format!("ml-fabrikam--swedencentral-{ONE}.swedencentral.notebooks.azure.net 10.1.0.6"),
        format!("ml-fabrikam-swedencentral-{ONE}.swedencentral.notebooks.azure.net 10.1.0.6"),
        format!("*-swedencentral-{ONE}.swedencentral.notebooks.azure.net 10.1.0.6"),
        "*.swedencentral.inference.ml.azure.com 10.1.0.7".to_owned(),
    ];
    assert_eq!(run.public(), expected.into_iter().collect());
    for part in [
        "derived from its fixed addresses",
        "in every reading of how its label is truncated",
        "uses acct, and the input has no endpoint of it",
    ] {
        assert!(run.err.contains(part), "{part}: {}", run.err);
    }
}

/// What the documentation leads to: the endpoint, which lists nothing, the query over its interface, the workspace.
#[test]
fn endpoint_query_and_workspace_of_the_command_line_join() {
    let mut endpoint = fixed_endpoint("w");
    endpoint["ipConfigurations"] = json!([]);
    let rows = interface(ONE, "eastus", 5);
    let workspace = json!({
        "id": format!("{LEARNING}/w"), "name": "w", "location": "eastus",
        "discovery_url": "https://eastus.api.azureml.ms/discovery", "storage_account": "",
    });
    let expected = Run::on(&rows).records();
    let run = Run::on_all(&[], &[endpoint.clone(), rows.clone(), workspace.clone()]);
    assert_eq!(run.records(), expected);
    assert_eq!(run.err, "");
    // Without the endpoint the workspace is known by its notebook label, for its URL does not tell.
    let run = Run::on_all(&[], &[workspace.clone(), rows]);
    assert_eq!(run.records(), expected);
    assert_eq!(run.err, "");
    // Two endpoints that list nothing, and no way to tell whose the names are.
    let mut other = endpoint.clone();
    other["name"] = "other".into();
    Run::on_all(&[], &[endpoint, other, interface(ONE, "eastus", 5)])
        .fails_with(&["private endpoint pe lists no name", "private endpoint other lists no name"]);
}

#[test]
fn a_workspace_alone_says_what_to_give() {
    let mut workspace = arm_workspace(ONE, "w", "eastus");
    workspace["properties"]["privateEndpointConnections"] = json!([{"properties": {"privateEndpoint": {"id": "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Network/privateEndpoints/pe"}}}]);
    Run::on(&workspace).fails_with(&["no address of workspace w", "az network private-endpoint show --ids /subscriptions/s/resourceGroups/rg/providers/Microsoft.Network/privateEndpoints/pe"]);
}

#[test]
fn a_zone_group_gives_all_names_of_its_workspace() {
    let set =
        |fqdn: String, address: &str| json!({"recordType": "A", "fqdn": fqdn, "ttl": 10, "ipAddresses": [address]});
    let group = json!({"properties": {"privateDnsZoneConfigs": [
        {"properties": {"recordSets": [
            set(format!("{ONE}.workspace.eastus.privatelink.api.azureml.ms"), "10.1.0.5"),
            set(format!("*.{ONE}.inference.eastus.privatelink.api.azureml.ms"), "10.1.0.7"),
        ]}},
        {"properties": {"recordSets": [set(format!("ml-w-eastus-{ONE}.eastus.privatelink.notebooks.azure.net"), "10.1.0.6")]}},
    ]}});
    let run = Run::on_all(&["--compute-instance", "ci1"], &[group]);
    let of_interface = Run::on_all(&["--compute-instance", "ci1"], &[interface(ONE, "eastus", 5)]);
    assert_eq!(run.records(), of_interface.records());
    assert_eq!(run.err, "");
}

#[test]
fn a_zone_group_without_the_notebooks_zone_is_told_of() {
    let group = json!({"privateDnsZoneConfigs": [{"recordSets": [
        {"recordType": "A", "fqdn": format!("{ONE}.workspace.eastus.privatelink.api.azureml.ms"), "ipAddresses": ["10.1.0.5"]}]}]});
    let run = Run::on(&group);
    assert!(run.err.contains("no source lists one"), "{}", run.err);
    assert!(!lines(&run.records()).iter().any(|line| line.contains("notebooks")));
}

#[test]
fn projects_get_their_hubs_addresses() {
    let mut hub = arm_workspace(ONE, "hub", "eastus");
    hub["kind"] = "Hub".into();
    let mut project = arm_workspace(TWO, "project", "eastus");
    project["kind"] = "project".into();
    project["properties"]["hubResourceId"] = format!("{LEARNING}/HUB").into();
    project["properties"]["notebookInfo"] =
        json!({"fqdn": format!("ml-project-eastus-{TWO}.eastus.notebooks.azure.net")});
    let run = Run::on_all(&[], &[project, interface(ONE, "eastus", 5), hub]);
    let lines = lines(&run.records());
    for line in [
        format!("{TWO}.workspace.eastus.api.azureml.ms 10.1.0.5"),
        format!("ml-project-eastus-{TWO}.eastus.notebooks.azure.net 10.1.0.6"),
        format!("*.{TWO}.inference.eastus.privatelink.api.azureml.ms 10.1.0.7"),
        // One address serves both: the region's wildcard misleads nobody.
        "*.eastus.inference.ml.azure.com 10.1.0.7".to_owned(),
    ] {
        assert!(lines.contains(&line), "{line}: {lines:#?}\n{}", run.err);
    }
}

#[test]
fn online_endpoints_join_their_workspace() {
    let online: Value = serde_json::from_str(include_str!("samples/online-endpoints.json")).unwrap();
    let workspace = online["value"][0]["id"].as_str().unwrap().split("/onlineEndpoints").next().unwrap().to_owned();
    let mut described = arm_workspace(ONE, "cctest-mlws", "eastus");
    described["id"] = workspace.to_ascii_uppercase().into();
    let mut unmanaged = online.clone();
    unmanaged["value"][0]["kind"] = "Kubernetes".into();
    unmanaged["value"][0]["properties"]["scoringUri"] = "https://10.0.0.9/score".into();
    let run =
        Run::on_all(&[], &[online, unmanaged, described, interface(ONE, "eastus", 5), interface(TWO, "eastus", 20)]);
    let inference: Vec<_> = run.public().into_iter().filter(|line| line.contains("inference")).collect();
    assert_eq!(inference, ["cctest-online-endpoint.eastus.inference.ml.azure.com 10.1.0.7"], "{}", run.err);
}

#[test]
fn record_sets_of_the_private_zones_do_as_well() {
    let set = |zone: &str, name: String, address: &str| {
        json!({"type": "Microsoft.Network/privateDnsZones/A", "fqdn": format!("{name}.{zone}."), "ttl": 10, "aRecords": [{"ipv4Address": address}],
            "id": format!("/subscriptions/s/resourceGroups/rg/providers/Microsoft.Network/privateDnsZones/{zone}/A/{name}")})
    };
    let api = "privatelink.api.azureml.ms";
    let sets = json!([
        set(api, format!("{ONE}.workspace.eastus"), "10.1.0.5"),
        set(api, format!("*.{ONE}.inference.eastus"), "10.1.0.7"),
        set("privatelink.notebooks.azure.net", format!("ml-w-eastus-{ONE}.eastus"), "10.1.0.6"),
    ]);
    let run = Run::on_all(&["--compute-instance", "ci1"], &[sets]);
    assert_eq!(run.records(), Run::on_all(&["--compute-instance", "ci1"], &[interface(ONE, "eastus", 5)]).records());
}

#[test]
fn an_inference_wildcard_of_nobody_is_kept_alone() {
    let run = Run::on(&json!([{"FQDNs": ["*.eastus.inference.ml.azure.com"], "IPAddress": "10.1.0.7"}]));
    assert_eq!(run.public(), set(&["*.eastus.inference.ml.azure.com 10.1.0.7"]));
}
