//! Names from addresses that a user fixed or that Terraform states, when no source lists any: `ipConfigurations` of the
//! endpoint has group and member of each address, its connection the resource. A guess by rule, so it is reported.

use super::endpoints::{Endpoint, Fixed, claim_addresses};
use super::group::STORAGE_SERVICES;
use super::message::{Messages, printable};
use super::records::{Claims, Origin};
use super::{Options, group::Group};
use crate::azure::{Cloud, HostName, private_names, zones};

/// Claims what follows; whether it was anything.
pub(super) fn claim(endpoint: &Endpoint, options: &Options, claims: &mut Claims, messages: &mut Messages) -> bool {
    let Some(target) = &endpoint.target else {
        return false;
    };
    let cloud = options.cloud.unwrap_or(Cloud::Public);
    let mut names = Vec::new();
    for fixed in &endpoint.fixed {
        let Some(name) = public_name(cloud, &target.resource_type(), target.name(), fixed) else {
            continue;
        };
        for name in [name.clone()].into_iter().chain(private_names(&name, None)) {
            claim_addresses(
                claims,
                &name,
                &[fixed.address],
                None,
                Origin::Derived,
                Group::of(&name),
                &endpoint.place,
                &endpoint.what,
            );
        }
        names.push(name);
    }
    let Some(first) = names.first() else {
        return false;
    };
    let text = format!(
        "{} lists no name; names such as {first} were derived from its fixed addresses and {}",
        endpoint.what,
        printable(target.name())
    );
    let hint = if options.cloud.is_none() {
        "give its network interface to be sure, and --cloud if this is not the public cloud"
    } else {
        "give its network interface to be sure"
    };
    messages.warning(Some(&endpoint.place), text, hint);
    true
}

fn public_name(cloud: Cloud, resource_type: &str, resource: &str, fixed: &Fixed) -> Option<HostName> {
    match resource_type {
        "microsoft.storage/storageaccounts" => {
            let (service, account) = match fixed.group.strip_suffix("_secondary") {
                Some(service) => (service, format!("{resource}-secondary")),
                None => (fixed.group.as_str(), resource.to_owned()),
            };
            let known = STORAGE_SERVICES.contains(&service);
            known.then(|| HostName::under([account.as_str(), service], cloud.storage())).flatten()
        }
        "microsoft.keyvault/vaults" => HostName::under([resource], cloud.key_vault().0),
        "microsoft.containerregistry/registries" => match fixed.member.strip_prefix("registry_data_") {
            Some(region) => HostName::under([resource, region, "data"], cloud.registry()),
            None if fixed.member == "registry" => HostName::under([resource], cloud.registry()),
            None => None,
        },
        _ => of_single_address(cloud, resource_type, resource, fixed),
    }
}

/// The name of a resource of a type whose endpoints have one address and whose name is the resource's own: below the one
/// public zone that the table of zones has for it.
fn of_single_address(cloud: Cloud, resource_type: &str, resource: &str, fixed: &Fixed) -> Option<HostName> {
    if !SINGLE_ADDRESS.contains(&resource_type) {
        return None;
    }
    let mut rows = zones().filter(|row| {
        row.cloud == cloud
            && row.resource_type.eq_ignore_ascii_case(resource_type)
            && row.group.eq_ignore_ascii_case(&fixed.group)
            && !row.zone.starts_with("scm.")
    });
    let row = rows.next()?;
    match (row.public, rows.next()) {
        ([public], None) if !public.contains('{') => HostName::under([resource], public),
        _ => None,
    }
}

/// Types whose endpoints have one address, with the resource's own name as the first label.
const SINGLE_ADDRESS: [&str; 9] = [
    "microsoft.sql/servers",
    "microsoft.dbforpostgresql/servers",
    "microsoft.dbformysql/servers",
    "microsoft.search/searchservices",
    "microsoft.servicebus/namespaces",
    "microsoft.eventhub/namespaces",
    "microsoft.relay/namespaces",
    "microsoft.cache/redis",
    "microsoft.appconfiguration/configurationstores",
];
