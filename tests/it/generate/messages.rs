//! What is said when something is missing, wrong or hostile: always with the place and the next step.

use serde_json::{Value, json};

use super::{Run, set};
use crate::common::Scratch;

const NETWORK: &str = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Network";

/// An endpoint with a connection in this state to this resource, as the command line prints it.
pub(super) fn endpoint(name: &str, target: &str, status: &str, dns: Value) -> Value {
    json!({
        "id": format!("{NETWORK}/privateEndpoints/{name}"),
        "name": name,
        "provisioningState": "Succeeded",
        "customDnsConfigs": dns,
        "networkInterfaces": [{"id": format!("{NETWORK}/networkInterfaces/{name}.nic")}],
        "privateLinkServiceConnections": [{
            "groupIds": ["blob"],
            "privateLinkServiceId": target,
            "privateLinkServiceConnectionState": {"status": status},
        }],
    })
}

pub(super) fn storage(name: &str) -> String {
    format!("/subscriptions/s/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/{name}")
}

pub(super) fn row(name: &str, address: &str) -> Value {
    json!([{"FQDNs": [name], "IPAddress": address}])
}

#[test]
fn an_endpoint_with_a_zone_group_asks_for_its_interface() {
    let run = Run::on(&endpoint("pe1", &storage("acct"), "Approved", json!([])));
    run.fails_with(&[
        "private endpoint pe1 lists no name",
        "zone group",
        &format!("az network nic show --ids {NETWORK}/networkInterfaces/pe1.nic"),
        "az network private-endpoint dns-zone-group list --endpoint-name pe1 -g rg",
    ]);
}

#[test]
fn one_silent_endpoint_among_others_is_an_error_too() {
    let good = endpoint(
        "pe2",
        &storage("b"),
        "Approved",
        json!([{"fqdn": "b.blob.core.windows.net", "ipAddresses": ["10.0.0.5"]}]),
    );
    Run::on(&json!([good, endpoint("pe1", &storage("a"), "Approved", json!(null))])).fails_with(&["pe1 lists no name"]);
}

#[test]
fn a_query_joins_a_silent_endpoint_only_where_its_names_fit() {
    let silent = endpoint("pe1", &storage("acct"), "Approved", json!([]));
    Run::on_all(&[], &[silent.clone(), row("other.blob.core.windows.net", "10.0.0.4")])
        .fails_with(&["pe1 lists no name"]);
    let run = Run::on_all(&[], &[silent, row("acct.blob.core.windows.net", "10.0.0.4")]);
    assert_eq!(run.public(), set(&["acct.blob.core.windows.net 10.0.0.4"]));
    assert_eq!(run.err, "");
}

#[test]
fn states_are_told_apart() {
    Run::on(&endpoint("pe1", &storage("a"), "Rejected", json!([]))).fails_with(&[
        "carries no traffic",
        "Rejected",
        "az network private-endpoint show --ids",
    ]);
    let mut updating = endpoint("pe1", &storage("a"), "Approved", json!([]));
    updating["provisioningState"] = "Updating".into();
    Run::on(&updating).fails_with(&["is being updated", "az network private-endpoint show --ids"]);
    for target in [format!("{NETWORK}/applicationGateways/gw"), "pls.6f9a.eastus.azure.privatelinkservice".to_owned()] {
        Run::on(&endpoint("pe1", &target, "Approved", json!([]))).fails_with(&["a service without names of its own"]);
    }
}

#[test]
fn what_is_not_approved_is_left_out_whoever_lists_it() {
    let pending = endpoint(
        "pe1",
        &storage("a"),
        "Pending",
        json!([{"fqdn": "a.blob.core.windows.net", "ipAddresses": ["10.0.0.4"]}]),
    );
    let nic = json!({
        "type": "Microsoft.Network/networkInterfaces",
        "id": format!("{NETWORK}/networkinterfaces/PE1.nic"),
        "ipConfigurations": [{"privateIPAddress": "10.0.0.4", "privateLinkConnectionProperties": {"groupId": "blob", "fqdns": ["a.blob.core.windows.net"]}}],
    });
    let run = Run::on_all(&[], &[nic, pending, row("b.blob.core.windows.net", "10.0.0.5")]);
    assert_eq!(run.public(), set(&["b.blob.core.windows.net 10.0.0.5"]));
    assert!(run.err.contains("Pending") && run.err.contains(": warning: "), "{}", run.err);
}

#[test]
fn an_approval_by_hand_counts() {
    let mut endpoint = endpoint(
        "pe1",
        &storage("a"),
        "Approved",
        json!([{"fqdn": "a.blob.core.windows.net", "ipAddresses": ["10.0.0.4"]}]),
    );
    let connections = endpoint["privateLinkServiceConnections"].take();
    endpoint["manualPrivateLinkServiceConnections"] = connections;
    assert_eq!(Run::on(&endpoint).public(), set(&["a.blob.core.windows.net 10.0.0.4"]));
}

#[test]
fn the_old_query_on_a_new_command_is_recognised() {
    Run::on(&json!([{"FQDNs": ["a.blob.core.windows.net"], "IPAddress": null}])).fails_with(&[
        "$[0]",
        "the address is missing",
        "query with privateIPAddress",
    ]);
}

#[test]
fn two_sources_that_disagree_are_both_named() {
    let dir = Scratch::new();
    let old = dir.write("old.json", &row("a.blob.core.windows.net", "10.0.0.4").to_string());
    let new = dir.write("new.json", &row("A.blob.core.windows.net", "10.0.0.9").to_string());
    let run = Run::new(&[&old, &new], b"");
    run.fails_with(&["a.blob.core.windows.net A is 10.0.0.9", "but 10.0.0.4", "old.json", "new.json", "created again"]);
    // The same disagreement between what follows from an endpoint and what its zone still has.
    let set = json!({
        "type": "Microsoft.Network/privateDnsZones/A",
        "id": format!("{NETWORK}/privateDnsZones/privatelink.blob.core.windows.net/A/a"),
        "fqdn": "a.privatelink.blob.core.windows.net.",
        "aRecords": [{"ipv4Address": "10.0.0.9"}],
    });
    Run::on_all(&[], &[row("a.blob.core.windows.net", "10.0.0.4"), set])
        .fails_with(&["a.privatelink.blob.core.windows.net A", "a record set"]);
}

#[test]
fn several_addresses_and_both_families_are_merged() {
    let rows = json!([
        {"FQDNs": ["a.blob.core.windows.net"], "IPAddress": ["10.0.0.5", "10.0.0.4"]},
        {"FQDNs": ["A.BLOB.core.windows.net."], "IPAddress": "FD00::1"},
    ]);
    let expected = set(&["a.blob.core.windows.net 10.0.0.4 10.0.0.5", "a.blob.core.windows.net fd00::1"]);
    assert_eq!(Run::on(&rows).public(), expected);
}

#[test]
fn names_outside_azure_need_to_be_let_in() {
    for name in ["login.microsoftonline.com", "www.example.com", "portal.azure.com", "*.blob.core.windows.net", "*.com"]
    {
        Run::on(&row(name, "10.0.0.4")).fails_with(&["is not a name of an Azure service", "--allow"]);
    }
    let run = Run::on_all(&["--allow", "example.com"], &[row("db.Example.com", "10.0.0.4")]);
    assert_eq!(run.public(), set(&["db.example.com 10.0.0.4"]));
    Run::on_all(&["--allow", "example.com"], &[row("db.notexample.com", "10.0.0.4")])
        .fails_with(&["db.notexample.com"]);
}

#[test]
fn the_cloud_can_be_asserted() {
    let china = row("a.blob.core.chinacloudapi.cn", "10.0.0.4");
    assert_eq!(Run::on_all(&["--cloud", "china"], std::slice::from_ref(&china)).records().len(), 2);
    Run::on_all(&["--cloud", "public"], &[china]).fails_with(&["a name of the cloud \"china\", not of \"public\""]);
}

#[test]
fn ordinary_objects_are_passed_over() {
    let machine = json!({"type": "Microsoft.Network/networkInterfaces", "ipConfigurations": [{"privateIPAddress": "10.0.0.9", "privateLinkConnectionProperties": null}]});
    let service = json!({"type": "Microsoft.Network/networkInterfaces", "ipConfigurations": [
        {"privateIPAddress": "10.0.0.8", "privateLinkConnectionProperties": {"groupId": "", "requiredMemberName": "", "fqdns": []}}]});
    Run::on(&machine).fails_with(&["network interface of no private endpoint"]);
    let run = Run::on_all(&[], &[json!([machine, service]), row("a.blob.core.windows.net", "10.0.0.4")]);
    assert_eq!(run.public(), set(&["a.blob.core.windows.net 10.0.0.4"]));
    assert_eq!(run.err, "");
}

#[test]
fn an_interface_without_names_is_told_of() {
    let nic = json!({"type": "Microsoft.Network/networkInterfaces", "ipConfigurations": [
        {"privateIPAddress": "10.0.0.8", "privateLinkConnectionProperties": {"groupId": "iotHub", "fqdns": []}}]});
    Run::on(&nic).fails_with(&["no name leads to this address of group iotHub", "az network private-endpoint show"]);
}

#[test]
fn an_interface_without_names_beside_its_endpoint_is_told_of() {
    let nic = json!({
        "type": "Microsoft.Network/networkInterfaces",
        "name": "pe1.nic",
        "id": format!("{NETWORK}/networkInterfaces/pe1.nic"),
        "ipConfigurations": [{"privateIPAddress": "10.0.0.8", "privateLinkConnectionProperties": {"groupId": "blob", "fqdns": []}}],
    });
    Run::on_all(&[], &[endpoint("pe1", &storage("a"), "Approved", json!([])), nic])
        .fails_with(&["pe1 lists no name, and neither does its network interface pe1.nic"]);
}

#[test]
fn a_name_without_an_address_is_told_of() {
    let bare =
        endpoint("pe1", &storage("a"), "Approved", json!([{"fqdn": "a.blob.core.windows.net", "ipAddresses": []}]));
    Run::on(&bare).fails_with(&["a.blob.core.windows.net is listed without an address"]);
}

#[test]
fn wrong_zone_files_are_told_with_line_and_column() {
    let run = Run::new(&["--allow", "x"], b"$ORIGIN x.\na A 10.0.0.1\nb A\n$INCLUDE y\n");
    run.fails_with(&["standard input:3:3", "standard input:4:1"]);
}

#[test]
fn what_powershell_cut_is_told_of() {
    let cut = json!({"Name": "pe", "CustomDnsConfigs": ["Microsoft.Azure.Commands.Network.Models.PSCustomDnsConfig"],
        "PrivateLinkServiceConnections": ["Microsoft.Azure.Commands.Network.Models.PSPrivateLinkServiceConnection"]});
    Run::on(&cut).fails_with(&["shortened to a string", "ConvertTo-Json -Depth"]);
}

#[test]
fn endpoints_with_fixed_addresses_alone_are_put_together_with_a_warning() {
    let mut fixed = endpoint("pe1", &storage("acct"), "Approved", json!([]));
    fixed["ipConfigurations"] = json!([
        {"name": "one", "groupId": "blob", "memberName": "blob", "privateIPAddress": "10.0.0.4"},
        {"name": "two", "privateIPAddress": "10.0.0.6"},
    ]);
    let run = Run::on(&fixed);
    assert_eq!(run.public(), set(&["acct.blob.core.windows.net 10.0.0.4"]));
    assert!(run.err.contains("derived from its fixed addresses"), "{}", run.err);
    fixed["ipConfigurations"] =
        json!([{"groupId": "dfs_secondary", "memberName": "dfs_secondary", "privateIPAddress": "10.0.0.4"}]);
    let run = Run::on_all(&["--cloud", "usgov"], &[fixed]);
    assert_eq!(run.public(), set(&["acct-secondary.dfs.core.usgovcloudapi.net 10.0.0.4"]));
    // A registry's first address is its data endpoint: never paired by order.
    let target = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ContainerRegistry/registries/acr";
    let mut registry = endpoint("pe1", target, "Approved", json!([]));
    registry["ipConfigurations"] = json!([
        {"groupId": "registry", "memberName": "registry_data_eastus", "privateIPAddress": "10.0.0.4"},
        {"groupId": "registry", "memberName": "registry", "privateIPAddress": "10.0.0.5"},
    ]);
    assert_eq!(Run::on(&registry).public(), set(&["acr.azurecr.io 10.0.0.5", "acr.eastus.data.azurecr.io 10.0.0.4"]));
}

#[test]
fn a_zone_group_gives_the_public_names_of_its_endpoint() {
    let group = json!({
        "id": format!("{NETWORK}/privateEndpoints/PE1/privateDnsZoneGroups/default"),
        "privateDnsZoneConfigs": [{"recordSets": [{"recordType": "A", "fqdn": "kv.privatelink.vaultcore.azure.net", "ttl": 10, "ipAddresses": ["10.0.0.4"]}]}],
    });
    let target = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv";
    let run = Run::on_all(&[], &[group, endpoint("pe1", target, "Approved", json!([]))]);
    assert_eq!(run.public(), set(&["kv.vault.azure.net 10.0.0.4", "kv.vaultcore.azure.net 10.0.0.4"]));
}

#[test]
fn what_a_zone_group_lists_is_not_derived_beside_it() {
    // A service whose private name does not follow from the public one by the common rule.
    let set = |fqdn: &str| json!({"recordType": "A", "fqdn": fqdn, "ttl": 10, "ipAddresses": ["10.0.0.4"]});
    let group = json!({
        "id": format!("{NETWORK}/privateEndpoints/pe1/privateDnsZoneGroups/default"),
        "privateDnsZoneConfigs": [{"recordSets": [set("other.privatelink.monitor.azure.com")]}],
    });
    let dns = json!([{"fqdn": "api.monitor.azure.com", "ipAddresses": ["10.0.0.4"]}]);
    let run = Run::on_all(&[], &[endpoint("pe1", &storage("a"), "Approved", dns), group]);
    let names: Vec<String> = run.records().into_keys().map(|(name, _)| name).collect();
    assert_eq!(names, ["api.monitor.azure.com", "other.privatelink.monitor.azure.com"]);
}

#[test]
fn an_alias_stands_alone() {
    let set = |kind: &str, member: &str, value: Value| json!({"type": format!("Microsoft.Network/privateDnsZones/{kind}"), "fqdn": "a.privatelink.blob.core.windows.net.", member: value});
    let alias = set("CNAME", "cnameRecord", json!({"cname": "b.privatelink.blob.core.windows.net"}));
    assert_eq!(Run::on(&alias).records().len(), 1);
    let address = set("A", "aRecords", json!([{"ipv4Address": "10.0.0.4"}]));
    Run::on_all(&[], &[alias, address])
        .fails_with(&["a.privatelink.blob.core.windows.net is an alias here and has other records"]);
    Run::on(&set("CNAME", "cnameRecord", json!({"cname": "b\n.x"})))
        .fails_with(&["is not valid data of a CNAME record"]);
}

#[test]
fn an_interface_may_stand_in_its_endpoint() {
    let mut whole = endpoint("pe1", &storage("a"), "Approved", json!([]));
    whole["networkInterfaces"][0]["properties"] = json!({"ipConfigurations": [
        {"properties": {"privateIPAddress": "10.0.0.4", "privateLinkConnectionProperties": {"groupId": "blob", "fqdns": ["a.blob.core.windows.net"]}}}]});
    assert_eq!(Run::on(&whole).public(), set(&["a.blob.core.windows.net 10.0.0.4"]));
}

#[test]
fn public_names_that_do_not_follow_from_the_private_one_are_not_derived() {
    let set = json!({"recordType": "A", "fqdn": "md-x.z8.privatelink.blob.core.windows.net", "ttl": 10, "ipAddresses": ["10.0.0.4"]});
    let group = json!({
        "id": format!("{NETWORK}/privateEndpoints/pe1/privateDnsZoneGroups/default"),
        "privateDnsZoneConfigs": [{"recordSets": [set]}],
    });
    let disks = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/diskAccesses/d";
    let run = Run::on_all(&[], &[group, endpoint("pe1", disks, "Approved", json!([]))]);
    assert_eq!((run.records().len(), run.public().len()), (1, 0));
}
