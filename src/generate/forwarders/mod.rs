//! Conditional forwarders: the zones that a server on premises sends to pldns, printed for that server, and compared with
//! what it has.
//!
//! Forwarded are public zones. A client asks for `account.blob.core.windows.net`; a server that has a rule for the
//! `privatelink` zone alone gets the whole public chain elsewhere and never asks pldns.

mod list;
mod print;

use std::collections::BTreeSet;

pub use list::{ListedZone, read_list};
pub use print::{Printed, Server, ServerFormat, print};

use crate::azure::workspace::WorkspaceName;
use crate::azure::{
    Cloud, HostName, PrivateDnsZone, is_privatelink_label, known_zones, matches_suffix, public_names, public_zone,
    zones,
};

/// The zones to forward, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Forwarders {
    /// Zones of Azure's services, or names when names were asked for.
    pub zones: BTreeSet<String>,
    /// Names that no service of Azure has: each is forwarded by itself.
    pub own: BTreeSet<String>,
}

/// The zones that lead to these names of the records table: the closest public zone of each. With `by_name`, each name by
/// itself instead, so that the names of others in its zone go where they went.
pub fn needed(names: &[HostName], by_name: bool) -> Forwarders {
    let mut forwarders = Forwarders::default();
    for name in names {
        for public in asked(name) {
            match public_zone(&public) {
                None => {
                    let own = if public.is_wildcard() || public.is_partial_wildcard() {
                        public.parent()
                    } else {
                        Some(public)
                    };
                    forwarders.own.extend(own.map(|own| own.to_string()));
                }
                Some(_) if by_name => {
                    if !is_covered(&public, names) {
                        let is_pattern = public.is_wildcard() || public.is_partial_wildcard();
                        let zone = if is_pattern { public.parent() } else { Some(public) };
                        forwarders.zones.extend(zone.map(|zone| zone.to_string()));
                    }
                }
                Some(zone) => _ = forwarders.zones.insert(zone),
            }
        }
        // Some servers look the target of an alias up again: its zone must lead to pldns as well.
        if !by_name && let Some(zone) = public_zone(name) {
            forwarders.zones.insert(zone);
        }
    }
    forwarders
}

/// The names that clients ask for to get the records of this one.
fn asked(name: &HostName) -> Vec<HostName> {
    if let Some(WorkspaceName::WorkspaceInference { workspace }) = WorkspaceName::recognise(name) {
        return workspace.region_inference().into_iter().collect();
    }
    let public = public_names(name);
    if public.is_empty() { vec![name.clone()] } else { public }
}

/// Whether a name of the table is one that this pattern by its end stands for: then the pattern needs no zone of its own.
fn is_covered(pattern: &HostName, names: &[HostName]) -> bool {
    let end = pattern.labels().next().and_then(|label| label.strip_prefix('*')).filter(|end| !end.is_empty());
    let Some(end) = end else { return false };
    let is_one = |name: &HostName| {
        name.parent() == pattern.parent()
            && name.labels().next().is_some_and(|label| !label.contains('*') && label.ends_with(end))
    };
    names.iter().any(is_one)
}

/// All public zones of a cloud, or of all; a zone with a placeholder is there by what follows it.
pub fn all(cloud: Option<Cloud>) -> BTreeSet<String> {
    let rows = known_zones().filter(|row| cloud.is_none_or(|cloud| row.cloud == cloud));
    rows.flat_map(|row| row.public).map(|zone| without_placeholders(zone)).filter(|zone| zone != "azure.com").collect()
}

fn without_placeholders(zone: &str) -> String {
    let labels: Vec<&str> = zone.split('.').collect();
    let from = labels.iter().rposition(|label| label.contains('{')).map_or(0, |at| at + 1);
    labels.get(from..).unwrap_or_default().join(".")
}

/// The rows of the table that these zones are of, each with the zones of it that are among them.
pub fn rows_of(forwarders: &Forwarders, cloud: Option<Cloud>) -> Vec<(&'static PrivateDnsZone, Vec<String>)> {
    let of_row = |row: &'static PrivateDnsZone| {
        let mut public = Vec::new();
        for suffix in row.public {
            let found = forwarders.zones.iter().filter(|zone| matches_suffix(zone, suffix));
            public.extend(found.filter(|zone| zone.as_str() != "azure.com").cloned());
        }
        (!public.is_empty()).then_some((row, public))
    };
    known_zones().filter(|row| cloud.is_none_or(|cloud| row.cloud == cloud)).filter_map(of_row).collect()
}

/// How a list of forwarded zones differs from what is needed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Needed, and neither listed nor below a listed zone.
    pub missing: Vec<String>,
    /// Listed, of Azure by its domain, and no zone of any service with private endpoints.
    pub obsolete: Vec<ListedZone>,
    /// Listed with `privatelink`, and the public zone is not: with the public zones to list instead.
    pub privatelink: Vec<(ListedZone, Vec<String>)>,
    /// Listed, and not needed.
    pub unneeded: Vec<ListedZone>,
}

impl Comparison {
    /// Whether the list is right.
    pub fn is_right(&self) -> bool {
        self.missing.is_empty() && self.obsolete.is_empty() && self.privatelink.is_empty()
    }
}

/// Compares a list with what is needed.
pub fn compare(listed: &[ListedZone], needed: &BTreeSet<String>) -> Comparison {
    let covers = |listed: &str, zone: &str| zone == listed || zone.ends_with(&format!(".{listed}"));
    let is_covered = |zone: &str| listed.iter().any(|it| covers(&it.zone, zone));
    let mut comparison = Comparison {
        missing: needed.iter().filter(|zone| !is_covered(zone)).cloned().collect(),
        ..Comparison::default()
    };
    for it in listed {
        if let Some(public) = public_of_privatelink(&it.zone) {
            if !public.iter().any(|zone| is_covered(zone)) {
                comparison.privatelink.push((it.clone(), public));
            }
            continue;
        }
        if is_obsolete(&it.zone) {
            comparison.obsolete.push(it.clone());
        } else if is_of_azure(&it.zone) && !needed.iter().any(|zone| covers(&it.zone, zone) || covers(zone, &it.zone)) {
            comparison.unneeded.push(it.clone());
        }
    }
    comparison
}

/// The public zones that belong in the place of a privatelink zone; `None` where the zone is right as it is: no privatelink
/// zone, or that of private Kubernetes clusters, whose own names lie in it.
fn public_of_privatelink(zone: &str) -> Option<Vec<String>> {
    if !zone.split('.').any(is_privatelink_label) || zone.ends_with("azmk8s.io") {
        return None;
    }
    let plain: Vec<&str> = zone.split('.').filter(|label| !is_privatelink_label(label)).collect();
    let rows: Vec<_> = known_zones().filter(|row| matches_suffix(zone, row.zone)).collect();
    // Services whose names lie elsewhere share the zone of one that it is named after.
    let namesake = |row: &&&PrivateDnsZone| row.public.iter().any(|suffix| matches_suffix(&plain.join("."), suffix));
    let has_namesake = rows.iter().any(|row| namesake(&row));
    let rows = rows.iter().filter(|row| !has_namesake || namesake(row));
    let mut public: Vec<String> = Vec::new();
    for suffix in rows.flat_map(|row| row.public).filter(|suffix| **suffix != "azure.com") {
        // Placeholders are what they are in the listed zone, where the two are alike.
        let filled =
            if matches_suffix(&plain.join("."), suffix) { plain.join(".") } else { without_placeholders(suffix) };
        if !public.contains(&filled) {
            public.push(filled);
        }
    }
    if public.is_empty() {
        public.push(plain.join("."));
    }
    Some(public)
}

/// Whether a zone is of Azure by its domain and leads to no service with private endpoints.
fn is_obsolete(zone: &str) -> bool {
    if !is_of_azure(zone) {
        return false;
    }
    let below = |zone: &str, suffix: &str| zone == suffix || zone.ends_with(&format!(".{suffix}"));
    let is_known = known_zones().flat_map(|row| row.public).any(|suffix| {
        let plain = without_placeholders(suffix);
        matches_suffix(zone, suffix) || plain != "azure.com" && (below(zone, &plain) || below(&plain, zone))
    });
    !is_known
}

/// Whether the last two labels are those of a zone of the table.
fn is_of_azure(zone: &str) -> bool {
    let domain = |zone: &str| {
        let labels: Vec<&str> = zone.split('.').collect();
        labels.get(labels.len().saturating_sub(2)..).map(|labels| labels.join("."))
    };
    let own = domain(zone);
    zones().flat_map(|row| row.public).any(|public| domain(public) == own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Vec<HostName> {
        texts.iter().map(|text| HostName::from_labels(text.split('.')).unwrap()).collect()
    }

    const WORKSPACE: &[&str] = &[
        "fb7e20a0-8891-458b-b969-55ddb3382f51.workspace.eastus.api.azureml.ms",
        "ml-w-eastus-fb7e20a0-8891-458b-b969-55ddb3382f51.eastus.notebooks.azure.net",
        "*-eastus-fb7e20a0-8891-458b-b969-55ddb3382f51.eastus.notebooks.azure.net",
        "*.fb7e20a0-8891-458b-b969-55ddb3382f51.inference.eastus.privatelink.api.azureml.ms",
        "ci-*.eastus.instances.azureml.ms",
        "kv.privatelink.vaultcore.azure.net",
        "acr.eastus.data.azurecr.io",
        "db.corp.example",
    ];

    #[test]
    fn the_closest_public_zone_of_each_record() {
        let forwarders = needed(&names(WORKSPACE), false);
        let expected = [
            "api.azureml.ms",
            "eastus.data.azurecr.io",
            "inference.ml.azure.com",
            "instances.azureml.ms",
            "notebooks.azure.net",
            "vault.azure.net",
            "vaultcore.azure.net",
        ];
        assert_eq!(forwarders.zones.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        assert_eq!(forwarders.own.iter().map(String::as_str).collect::<Vec<_>>(), ["db.corp.example"]);
        assert!(rows_of(&forwarders, None).iter().any(|(row, public)| row.group == "vault" && public.len() == 2));
    }

    #[test]
    fn or_the_names_alone() {
        let forwarders = needed(&names(WORKSPACE), true);
        let expected = [
            "acr.eastus.data.azurecr.io",
            "eastus.inference.ml.azure.com",
            "eastus.instances.azureml.ms",
            "fb7e20a0-8891-458b-b969-55ddb3382f51.workspace.eastus.api.azureml.ms",
            "kv.vault.azure.net",
            "kv.vaultcore.azure.net",
            "ml-w-eastus-fb7e20a0-8891-458b-b969-55ddb3382f51.eastus.notebooks.azure.net",
        ];
        assert_eq!(forwarders.zones.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_list_is_compared_with_what_is_needed() {
        let listed = |zones: &[&str]| -> Vec<ListedZone> {
            zones.iter().map(|zone| ListedZone { zone: (*zone).to_owned(), line: 1 }).collect()
        };
        let needed: BTreeSet<String> =
            ["blob.core.windows.net", "vault.azure.net", "azurecr.io"].map(str::to_owned).into();
        let list = listed(&[
            "privatelink.blob.core.windows.net",
            "vault.azure.net",
            "oldservice.azure.com",
            "file.core.windows.net",
            "corp.example",
            "privatelink.westeurope.azmk8s.io",
        ]);
        let comparison = compare(&list, &needed);
        assert_eq!(comparison.missing, ["azurecr.io", "blob.core.windows.net"]);
        assert_eq!(comparison.obsolete, [list[2].clone()]);
        assert_eq!(comparison.privatelink, [(list[0].clone(), vec!["blob.core.windows.net".to_owned()])]);
        assert_eq!(comparison.unneeded, [list[3].clone(), list[5].clone()]);
        assert!(!comparison.is_right());
        // A parent covers, and a privatelink zone beside its public one does no harm.
        let list = listed(&["core.windows.net", "privatelink.blob.core.windows.net", "vault.azure.net", "azurecr.io"]);
        assert!(compare(&list, &needed).is_right());
    }

    #[test]
    fn every_zone_of_the_documentation_is_known() {
        for row in zones() {
            for public in row.public {
                let filled: String = public.replace("{partitionId}", "2");
                let filled: Vec<&str> =
                    filled.split('.').map(|label| if label.contains('{') { "abc" } else { label }).collect();
                assert!(!is_obsolete(&filled.join(".")), "{public}");
            }
        }
        assert!(!all(None).iter().any(|zone| zone.contains(['{', '}']) || !zone.contains('.')));
    }
}
