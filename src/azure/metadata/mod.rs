//! Metadata of private endpoints and workspaces, out of whatever `az`, ARM or PowerShell printed.
//!
//! A document is walked until objects are recognised by what they have, not by where they stand: one object, lists of
//! lists, the envelopes of ARM (`value`) and Resource Graph (`data`, objects or table), all end in the same shapes.
//! Members are found in any case of letters, lifted or below `properties`; unknown ones are ignored.
//!
//! Zone files are the one form that is no JSON.
//!
//! What is read is still text with its place; turning it into names and addresses is the user's next step. Members
//! that may hold secrets or people are never read, and nothing of a document but names, ids and addresses is kept.

mod dns;
mod learning;
mod network;
mod node;
mod zone_file;

pub use dns::RecordSet;
pub use learning::{Account, OnlineEndpoint, Workspace, WorkspaceKind};
pub use network::{Connection, Interface, InterfaceAddress, Listed, PrivateEndpoint, StaticAddress, ZoneGroup};
pub use node::Located;
pub use zone_file::{ZoneFile, is_zone_file, read_zone_file};

use node::Node;
use serde_json::Value;

/// One object that was recognised.
#[derive(Debug)]
pub enum Metadata {
    /// A private endpoint.
    Endpoint(PrivateEndpoint),
    /// The network interface of a private endpoint; interfaces of machines come out with no address.
    Interface(Interface),
    /// Rows of names and address: the documentation's query over an interface, or a query that was cut like it.
    Rows(Vec<Listed>),
    /// The private DNS zone group of an endpoint.
    ZoneGroup(ZoneGroup),
    /// A record set of a private DNS zone.
    RecordSet(RecordSet),
    /// A workspace, from ARM or from `az ml workspace show`.
    Workspace(Workspace),
    /// An online endpoint of a workspace.
    OnlineEndpoint(OnlineEndpoint),
    /// An account of the AI services.
    Account(Account),
    /// Something else, by its type or "" when it states none.
    Other(String),
}

/// What a document holds.
#[derive(Debug, Default)]
pub struct Reading {
    /// The objects, in their order, with their JSON path.
    pub found: Vec<Located<Metadata>>,
    /// What is wrong with the document.
    pub problems: Vec<Problem>,
}

/// Something that a document lacks or has in a form that cannot be used.
#[derive(Debug)]
pub struct Problem {
    /// Where, as a JSON path; not yet safe to print.
    pub path: String,
    /// Whether nothing may be derived from the whole input because of it.
    pub fatal: bool,
    /// What is wrong.
    pub text: String,
    /// What to do about it.
    pub hint: String,
}

/// Reads one JSON document.
pub fn read(document: &Value) -> Reading {
    let mut reading = Reading::default();
    reading.walk(&Node::root(document));
    reading
}

impl Reading {
    fn walk(&mut self, node: &Node<'_>) {
        if node.is_array() {
            self.walk_list(node);
        } else if node.value().is_object() {
            self.walk_object(node);
        } else if !node.value().is_null() {
            self.fatal(node.path(), "neither an object nor a list stands here", "give the JSON that az prints, whole");
        }
    }

    fn walk_list(&mut self, list: &Node<'_>) {
        let mut rows = Vec::new();
        let mut has_rows = false;
        for item in list.items() {
            if network::is_row(&item) {
                has_rows = true;
                rows.extend(network::row(&item, &mut self.problems));
            } else {
                self.walk(&item);
            }
        }
        if has_rows {
            self.push(list, Metadata::Rows(rows));
        }
    }

    fn walk_object(&mut self, node: &Node<'_>) {
        if let Some(found) = self.recognise(node) {
            self.push(node, found);
        } else if let Some(list) = node.get("value").filter(Node::is_array) {
            self.warn_of_more(node, &["nextLink"]);
            self.walk(&list);
        } else if let Some(data) = node.get("data") {
            self.warn_of_more(node, &["skip_token", "$skipToken"]);
            self.walk_graph(&data);
        } else if node.has("terraform_version") || node.has("format_version") {
            self.fatal(
                node.path(),
                "this is Terraform's state, which is not read yet",
                "give what `az network nic show` prints for the endpoint's interface",
            );
        } else {
            self.push(node, Metadata::Other(kind(node)));
        }
    }

    fn recognise(&mut self, node: &Node<'_>) -> Option<Metadata> {
        let kind = kind(node);
        let has = |key| node.lifted(key).is_some();
        if has("privateLinkServiceConnections") || has("manualPrivateLinkServiceConnections") {
            return Some(Metadata::Endpoint(network::endpoint(node, &mut self.problems)));
        }
        if kind == "microsoft.network/networkinterfaces"
            || node.list("ipConfigurations").iter().any(|it| it.lifted("privateLinkConnectionProperties").is_some())
        {
            return Some(Metadata::Interface(network::interface(node, &mut self.problems)));
        }
        if has("privateDnsZoneConfigs") {
            return Some(Metadata::ZoneGroup(network::zone_group(node)));
        }
        if let Some(record_type) = kind.strip_prefix("microsoft.network/privatednszones/") {
            return dns::record_set(node, record_type, &mut self.problems)
                .map(Metadata::RecordSet)
                .or(Some(Metadata::Other(kind)));
        }
        if kind == "microsoft.machinelearningservices/workspaces/onlineendpoints" {
            return Some(Metadata::OnlineEndpoint(learning::online_endpoint(node)));
        }
        if kind == "microsoft.machinelearningservices/workspaces" || has("workspaceId") && has("discoveryUrl") {
            return Some(Metadata::Workspace(learning::workspace(node)));
        }
        if node.get("discovery_url").is_some() || node.has("storage_account") && node.has("mlflow_tracking_uri") {
            return Some(Metadata::Workspace(learning::workspace(node)));
        }
        if kind == "microsoft.cognitiveservices/accounts" {
            return Some(Metadata::Account(learning::account(node)));
        }
        network::is_row(node).then(|| Metadata::Rows(network::row(node, &mut self.problems)))
    }

    /// Resource Graph: objects, or a table whose rows are arrays under named columns.
    fn walk_graph(&mut self, data: &Node<'_>) {
        let (Some(columns), Some(rows)) = (data.get("columns"), data.get("rows")) else {
            return self.walk(data);
        };
        let names: Vec<String> =
            columns.items().iter().map(|column| column.text_of("name").unwrap_or_default().to_owned()).collect();
        for row in rows.items() {
            let cells = row.items();
            let members = names.iter().cloned().zip(cells.iter().map(|cell| cell.value().clone()));
            let object = Value::Object(members.collect());
            let mut inner = read(&object);
            let place = |path: &str| format!("{}{}", row.path(), path.strip_prefix('$').unwrap_or(path));
            inner.found.iter_mut().for_each(|found| found.path = place(&found.path));
            inner.problems.iter_mut().for_each(|problem| problem.path = place(&problem.path));
            self.found.append(&mut inner.found);
            self.problems.append(&mut inner.problems);
        }
    }

    fn warn_of_more(&mut self, node: &Node<'_>, keys: &[&str]) {
        let truncated =
            node.get("resultTruncated").and_then(|it| it.text()).is_some_and(|text| text.eq_ignore_ascii_case("true"));
        if truncated || keys.iter().any(|key| node.get(key).and_then(|it| it.text()).is_some()) {
            self.problems.push(Problem {
                path: node.path().to_owned(),
                fatal: false,
                text: "this is one page of a longer list".to_owned(),
                hint: "give the other pages too: what stands on them is missing from the records".to_owned(),
            });
        }
    }

    fn push(&mut self, node: &Node<'_>, found: Metadata) {
        self.found.push(Located { value: found, path: node.path().to_owned() });
    }

    fn fatal(&mut self, path: &str, text: &str, hint: &str) {
        self.problems.push(Problem {
            path: path.to_owned(),
            fatal: true,
            text: text.to_owned(),
            hint: hint.to_owned(),
        });
    }
}

/// The object's resource type in lower case, or "".
fn kind(node: &Node<'_>) -> String {
    let kind = node.get("type").or_else(|| node.get("resourceType")).and_then(|it| it.text());
    kind.unwrap_or_default().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kinds(document: Value) -> Vec<&'static str> {
        let name = |found: &Located<Metadata>| match found.value {
            Metadata::Endpoint(_) => "endpoint",
            Metadata::Interface(_) => "interface",
            Metadata::Rows(_) => "rows",
            Metadata::ZoneGroup(_) => "zone group",
            Metadata::RecordSet(_) => "record set",
            Metadata::Workspace(_) => "workspace",
            Metadata::OnlineEndpoint(_) => "online endpoint",
            Metadata::Account(_) => "account",
            Metadata::Other(_) => "other",
        };
        read(&document).found.iter().map(name).collect()
    }

    #[test]
    fn objects_are_recognised_in_every_wrapping() {
        let endpoint = json!({"PRIVATELINKSERVICECONNECTIONS": []});
        assert_eq!(kinds(endpoint.clone()), ["endpoint"]);
        assert_eq!(kinds(json!([[endpoint.clone()], endpoint.clone()])), ["endpoint", "endpoint"]);
        assert_eq!(kinds(json!({"value": [endpoint.clone()], "nextLink": null})), ["endpoint"]);
        assert_eq!(kinds(json!({"data": [{"properties": endpoint}]})), ["endpoint"]);
        let table = json!({"data": {"columns": [{"name": "type"}, {"name": "properties"}], "rows": [["microsoft.network/networkinterfaces", {"ipConfigurations": []}]]}});
        assert_eq!(kinds(table), ["interface"]);
        assert_eq!(
            kinds(json!([{"FQDNs": ["a.b"], "IPAddress": "10.0.0.1"}, {"fqdns": [], "ipaddress": null}])),
            ["rows"]
        );
        assert_eq!(kinds(json!({"discovery_url": "x", "storage_account": "y"})), ["workspace"]);
        assert_eq!(kinds(json!({"type": "Microsoft.Network/privateDnsZones/virtualNetworkLinks"})), ["other"]);
    }

    #[test]
    fn paths_lead_through_tables() {
        let document =
            json!({"data": {"columns": [{"name": "fqdns"}, {"name": "ip"}], "rows": [[["a.b"], "10.0.0.1"]]}});
        let reading = read(&document);
        let Metadata::Rows(rows) = &reading.found[0].value else { panic!("{reading:?}") };
        assert_eq!(rows[0].name.value, "a.b");
        assert_eq!(reading.found[0].path, "$.data.rows[0]");
    }

    #[test]
    fn more_pages_are_told_of() {
        assert_eq!(read(&json!({"value": [], "nextLink": "https://x"})).problems.len(), 1);
        assert_eq!(read(&json!({"data": [], "resultTruncated": "true"})).problems.len(), 1);
        assert!(read(&json!({"data": [], "skip_token": null, "resultTruncated": "false"})).problems.is_empty());
    }
}
