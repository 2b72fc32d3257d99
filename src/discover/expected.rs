//! The names that an endpoint will have once its connection is approved. Until then Azure lists none.

use super::object::Workspace;
use crate::azure::workspace::WorkspaceId;
use crate::azure::{Cloud, HostName, ResourceId, known_zones};

/// The public names of a service for an endpoint with these group ids (all groups, where it names none): the resource's name
/// below the suffixes of its type; for a workspace those of its id.
pub(super) fn expected_names(
    (service, groups): (&str, &[String]),
    region: &str,
    workspaces: &[&Workspace],
    cloud: Cloud,
) -> Vec<String> {
    let Some(id) = ResourceId::parse(service) else { return Vec::new() };
    if let Some(names) = workspace_names(&id, workspaces, cloud) {
        return names;
    }
    let (resource_type, name) = (id.resource_type(), id.name());
    let rows = known_zones().filter(|row| {
        let is_group = groups.is_empty() || groups.iter().any(|group| group.eq_ignore_ascii_case(row.group));
        row.cloud == cloud && row.resource_type.eq_ignore_ascii_case(&resource_type) && is_group
    });
    let mut names: Vec<String> = rows
        .flat_map(|row| row.public)
        .map(|suffix| suffix.replace("{regionName}", region))
        .filter(|suffix| !suffix.contains('{'))
        .filter_map(|suffix| Some(HostName::parse(&format!("{name}.{suffix}")).ok()?.to_string()))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The API names of a workspace that was listed.
fn workspace_names(id: &ResourceId, workspaces: &[&Workspace], cloud: Cloud) -> Option<Vec<String>> {
    let workspace =
        workspaces.iter().find(|workspace| ResourceId::parse(&workspace.path).is_some_and(|it| it == *id))?;
    let ids = WorkspaceId::new(cloud, &workspace.region, workspace.guid.as_deref()?)?;
    Some([ids.api(), ids.cert()].into_iter().flatten().map(|name| name.to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const RG: &str = "/subscriptions/s/resourceGroups/rg/providers";

    fn names(service: &str, groups: &[&str], workspaces: &[&Workspace]) -> Vec<String> {
        let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
        expected_names((&format!("{RG}/{service}"), &groups), "westeurope", workspaces, Cloud::Public)
    }

    #[test]
    fn names_follow_from_the_resource_and_its_groups() {
        let account = "microsoft.storage/storageaccounts/acct";
        assert_eq!(names(account, &["blob"], &[]), ["acct.blob.core.windows.net"]);
        assert!(names(account, &[], &[]).contains(&"acct.queue.core.windows.net".to_owned()), "all groups");
        assert_eq!(names("microsoft.keyvault/vaults/kv", &["vault"], &[])[0], "kv.vault.azure.net");
        assert_eq!(names("microsoft.unknown/things/x", &["thing"], &[]), [""; 0]);
        assert_eq!(
            expected_names(("x.guid.westeurope.azure.privatelinkservice", &[]), "", &[], Cloud::Public),
            [""; 0]
        );
    }

    #[test]
    fn the_names_of_a_workspace_follow_from_its_id() {
        let guid = "fb7e20a0-8891-458b-b969-55ddb3382f51";
        let id = "Microsoft.MachineLearningServices/workspaces/Ws";
        let workspace = json!({
            "id": format!("{RG}/{id}"), "location": "eastus", "properties": { "workspaceId": guid },
        });
        let workspace = Workspace::new(&workspace, String::new()).unwrap();
        let found = names(&id.to_ascii_lowercase(), &["amlworkspace"], &[&workspace]);
        assert_eq!(found[0], format!("{guid}.workspace.eastus.api.azureml.ms"));
    }
}
