//! Sources in the shapes of the tools that print them, mixed and one after the other.

use serde_json::{Value, json};

use super::messages::{endpoint, storage};
use super::{Run, lines, set};

const EXPECTED: &[&str] = &["fabrikammlst.blob.core.windows.net 10.20.4.9"];

#[track_caller]
fn gives(document: &Value, expected: &[&str]) {
    let run = Run::on(document);
    assert_eq!(run.public(), set(expected), "{document}\n{}", run.err);
}

/// An endpoint of Terraform: with a zone group that lists its records, as the provider prints it.
fn terraform_endpoint() -> Value {
    json!({
        "name": "pe-fabrikam-blob", "location": "westeurope", "custom_dns_configs": [],
        "id": "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Network/privateEndpoints/pe-fabrikam-blob",
        "private_service_connection": [{"name": "blob", "is_manual_connection": false, "subresource_names": ["blob"], "private_ip_address": "10.20.4.9",
            "private_connection_resource_id": storage("fabrikammlst")}],
        "private_dns_zone_configs": [{"name": "privatelink-blob", "private_dns_zone_id": "/x/privateDnsZones/privatelink.blob.core.windows.net",
            "record_sets": [{"name": "fabrikammlst", "type": "A", "fqdn": "fabrikammlst.privatelink.blob.core.windows.net", "ttl": 10, "ip_addresses": ["10.20.4.9"]}]}],
    })
}

#[test]
fn terraform_in_all_its_forms() {
    let resource = json!({"address": "azurerm_private_endpoint.blob", "mode": "managed", "type": "azurerm_private_endpoint", "name": "blob", "values": terraform_endpoint()});
    let secret = json!({"address": "azurerm_storage_account.x", "mode": "managed", "type": "azurerm_storage_account", "name": "x",
        "values": {"primary_blob_host": "other.blob.core.windows.net", "primary_access_key": "SECRET", "private_ip": "10.0.0.1"}});
    let module = |resources: Value| json!({"format_version": "1.0", "terraform_version": "1.9.8", "values": {"outputs": {}, "root_module": {"resources": [], "child_modules": [{"address": "module.x", "resources": resources}]}}});
    gives(&module(json!([resource, secret])), EXPECTED);
    let state = json!({"version": 4, "terraform_version": "1.9.8", "outputs": {"key": {"value": "SECRET", "type": "string", "sensitive": true}}, "resources": [
        {"mode": "managed", "type": "azurerm_private_endpoint", "name": "blob", "instances": [{"attributes": terraform_endpoint()}]}]});
    let run = Run::on(&state);
    assert_eq!(run.public(), set(EXPECTED));
    assert!(!run.out.contains("SECRET") && !run.err.contains("SECRET"));
    // Without any name: from the one address, where the type has one alone, and never for a registry.
    let mut bare = terraform_endpoint();
    bare["private_dns_zone_configs"] = json!([]);
    let run =
        Run::on(&json!({"resources": [{"type": "azurerm_private_endpoint", "instances": [{"attributes": bare}]}]}));
    assert_eq!(run.public(), set(EXPECTED), "{}", run.err);
    assert!(run.err.contains("derived from its fixed addresses"), "{}", run.err);
    bare["private_service_connection"][0]["private_connection_resource_id"] =
        "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ContainerRegistry/registries/acr".into();
    bare["private_service_connection"][0]["subresource_names"] = json!(["registry"]);
    Run::on(&json!({"resources": [{"type": "azurerm_private_endpoint", "instances": [{"attributes": bare}]}]}))
        .fails_with(&["lists no name"]);
    // Records and workspaces.
    let record = json!({"type": "azurerm_private_dns_a_record", "name": "r", "values": {"name": "fabrikammlst", "zone_name": "privatelink.blob.core.windows.net", "ttl": 10, "records": ["10.20.4.9"], "fqdn": "fabrikammlst.privatelink.blob.core.windows.net."}});
    assert_eq!(
        lines(&Run::on(&module(json!([record]))).records()),
        set(&["fabrikammlst.privatelink.blob.core.windows.net 10.20.4.9"])
    );
    let azapi = json!({"type": "azapi_resource", "name": "x", "values": {"output": json!({"properties": {"customDnsConfigs": [{"fqdn": "fabrikammlst.blob.core.windows.net", "ipAddresses": ["10.20.4.9"]}], "privateLinkServiceConnections": []}}).to_string()}});
    gives(&module(json!([azapi])), EXPECTED);
}

#[test]
fn outputs_of_terraform_bicep_and_pulumi() {
    let dns = json!([{"fqdn": "fabrikammlst.blob.core.windows.net", "ip_addresses": ["10.20.4.9"]}]);
    gives(
        &json!({"dns": {"sensitive": false, "type": ["list"], "value": dns}, "other": {"sensitive": false, "type": "string", "value": "x"}}),
        EXPECTED,
    );
    gives(
        &json!({"host": {"type": "String", "value": "fabrikammlst.blob.core.windows.net"}, "address": {"type": "String", "value": "10.20.4.9"}}),
        EXPECTED,
    );
    gives(
        &json!({"map": {"sensitive": false, "type": ["map", "string"], "value": {"fabrikammlst.blob.core.windows.net": "10.20.4.9"}}}),
        EXPECTED,
    );
    gives(
        &json!({"dns": [{"fqdn": "fabrikammlst.blob.core.windows.net", "ipAddresses": ["10.20.4.9"]}], "count": 1}),
        EXPECTED,
    );
    let stack = json!({"version": 3, "deployment": {"manifest": {}, "resources": [{"urn": "urn:pulumi:x", "type": "azure-native:network:PrivateEndpoint",
        "inputs": {"customDnsConfigs": [{"fqdn": "wrong.blob.core.windows.net", "ipAddresses": ["10.0.0.1"]}], "privateLinkServiceConnections": []},
        "outputs": {"customDnsConfigs": [{"fqdn": "fabrikammlst.blob.core.windows.net", "ipAddresses": ["10.20.4.9"]}], "privateLinkServiceConnections": []}}]}});
    gives(&stack, EXPECTED);
    let ansible = json!({"changed": false, "privateendpoints": [{"custom_dns_configs": [{"fqdn": "fabrikammlst.blob.core.windows.net", "ip_addresses": ["10.20.4.9"]}],
        "private_link_service_connections": [{"private_link_service_id": storage("fabrikammlst"), "connection_state": {"status": "Approved"}}]}]});
    gives(&ansible, EXPECTED);
}

#[test]
fn exported_templates_with_expressions() {
    let template = json!({"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
    "parameters": {"zone": {"defaultValue": "privatelink.blob.core.windows.net", "type": "String"}, "account": {"defaultValue": storage("fabrikammlst"), "type": "String"}},
    "resources": [
        {"type": "Microsoft.Network/privateDnsZones/A", "name": "[concat(parameters('zone'), '/fabrikammlst')]", "properties": {"ttl": 10, "aRecords": [{"ipv4Address": "10.20.4.9"}]}},
        {"type": "Microsoft.Network/privateDnsZones/SOA", "name": "[concat(parameters('zone'), '/@')]", "properties": {"ttl": 3600, "soaRecord": {"host": "x"}}},
        {"type": "Microsoft.Network/privateEndpoints", "name": "pe", "properties": {"customDnsConfigs": [], "privateLinkServiceConnections": [
            {"name": "pe", "properties": {"privateLinkServiceId": "[parameters('account')]", "groupIds": ["blob"]}}]}},
    ]});
    gives(&template, EXPECTED);
    let nested = json!({"contentVersion": "1.0.0.0", "resources": [{"type": "Microsoft.Network/privateDnsZones", "name": "privatelink.blob.core.windows.net",
        "resources": [{"type": "A", "name": "x", "properties": {"aRecords": [{"ipv4Address": "10.20.4.9"}]}}]}]});
    assert_eq!(lines(&Run::on(&nested).records()), set(&["x.privatelink.blob.core.windows.net 10.20.4.9"]));
    let mut open = template;
    open["parameters"]["zone"] = json!({"type": "String"});
    Run::on(&open).fails_with(&["expression of a template"]);
}

#[test]
fn powershell_at_any_depth() {
    let whole = json!({"Name": "pe", "Id": "/subscriptions/s/x/Microsoft.Network/privateEndpoints/pe", "CustomDnsConfigs": [{"Fqdn": "fabrikammlst.blob.core.windows.net", "IpAddresses": ["10.20.4.9"]}],
        "PrivateLinkServiceConnections": [{"GroupIds": ["blob"], "PrivateLinkServiceId": storage("fabrikammlst"), "PrivateLinkServiceConnectionState": {"Status": "Approved"}}]});
    gives(&whole, EXPECTED);
    let mut one = whole.clone();
    one["CustomDnsConfigs"] = whole["CustomDnsConfigs"][0].clone();
    one["CustomDnsConfigs"]["IpAddresses"] = "10.20.4.9".into();
    gives(&one, EXPECTED);
    let mut counted = whole.clone();
    counted["CustomDnsConfigs"] = json!({"value": whole["CustomDnsConfigs"], "Count": 1});
    gives(&counted, EXPECTED);
    let mut text = whole.clone();
    text["CustomDnsConfigs"] = "Microsoft.Azure.Commands.Network.Models.PSCustomDnsConfig".into();
    text["CustomDnsConfigsText"] = whole["CustomDnsConfigs"].to_string().into();
    gives(&text, EXPECTED);
    let mut cut = text;
    cut.as_object_mut().unwrap().remove("CustomDnsConfigsText");
    Run::on(&cut).fails_with(&["shortened to a string", "-Depth 10"]);
    let sets = json!([{"Name": "fabrikammlst", "ZoneName": "privatelink.blob.core.windows.net", "ResourceGroupName": "rg", "Ttl": 10, "RecordType": 0, "Records": [{"Ipv4Address": "10.20.4.9"}]}]);
    assert_eq!(lines(&Run::on(&sets).records()), set(&["fabrikammlst.privatelink.blob.core.windows.net 10.20.4.9"]));
}

#[test]
fn forms_are_mixed_and_concatenated_freely() {
    let good = |name: &str, address: &str| {
        endpoint(
            &format!("pe-{name}"),
            &storage(name),
            "Approved",
            json!([{"fqdn": format!("{name}.blob.core.windows.net"), "ipAddresses": [address]}]),
        )
    };
    let text = format!(
        "WARNING: a preview\n{}\n\u{FEFF}{}\n10.0.0.6 c.blob.core.windows.net\n[]\n",
        good("a", "10.0.0.4"),
        json!({"data": {"columns": [{"name": "fqdn"}, {"name": "privateIp"}], "rows": [["b.blob.core.windows.net", "10.0.0.5"]]}})
    );
    let run = Run::new(&[], text.as_bytes());
    assert_eq!(
        run.public(),
        set(&[
            "a.blob.core.windows.net 10.0.0.4",
            "b.blob.core.windows.net 10.0.0.5",
            "c.blob.core.windows.net 10.0.0.6"
        ])
    );
    assert!(run.err.contains("the list is empty"), "{}", run.err);
}

#[test]
fn resources_that_are_no_endpoints_are_never_taken_for_rows() {
    let site = json!({"type": "Microsoft.Web/sites", "name": "app", "defaultHostName": "app.azurewebsites.net", "inboundIpAddress": "20.1.2.3", "hostNames": ["app.azurewebsites.net"]});
    let machine = json!({"type": "Microsoft.Compute/virtualMachines", "name": "vm1", "privateIps": "10.0.0.9", "fqdns": "vm1.westeurope.cloudapp.azure.com"});
    Run::on(&json!([site, machine])).fails_with(&["microsoft.web/sites"]);
    let run = Run::on_all(&[], &[json!([site, machine]), super::messages::row("a.blob.core.windows.net", "10.0.0.4")]);
    assert_eq!(run.public(), set(&["a.blob.core.windows.net 10.0.0.4"]));
}

#[test]
fn what_is_not_understood_is_named_and_the_rest_is_used() {
    let unknown = json!({"favouriteColour": "blue"});
    let run = Run::on(&json!([unknown, {"FQDNs": ["a.blob.core.windows.net"], "IPAddress": "10.0.0.4"}]));
    assert_eq!(run.public(), set(&["a.blob.core.windows.net 10.0.0.4"]));
    assert!(run.err.contains("$[0]: warning") && run.err.contains("favouriteColour"), "{}", run.err);
}
