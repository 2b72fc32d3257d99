//! Metadata of private endpoints and workspaces, from whatever `az`, ARM, Terraform, PowerShell and others print.
//!
//! A document is walked until objects are recognised by their members, not by their position: one object, lists of
//! lists, the envelopes of ARM (`value`), Resource Graph (`data`, objects or table), deployments, templates and states
//! all end in the same shapes. Members are found whatever the style of their names, lifted or below `properties`; unknown
//! ones are ignored.
//!
//! Zone files are the one form here that is not JSON; lines and CSV become rows in [`generate`](crate::generate).
//!
//! What is read is still text with its place; turning it into names and addresses is the caller's next step. Members
//! that may hold secrets or people are never read, and nothing of a document but names, ids and addresses is kept.

mod dns;
mod learning;
mod network;
mod node;
mod prepare;
mod row;
mod terraform;
mod zone_file;

pub use dns::RecordSet;
pub use learning::{Account, Compute, OnlineEndpoint, Workspace, WorkspaceKind};
pub use network::{
    Connection, DEPTH_HINT, Interface, InterfaceAddress, Listed, PrivateEndpoint, StaticAddress, ZoneGroup,
};
pub use node::Located;
pub use row::Row;
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
    /// Rows of names and address that were printed as one list, in its order: the documentation's query over an
    /// interface, or a query of the user's own.
    Rows(Vec<Row>),
    /// The private DNS zone group of an endpoint.
    ZoneGroup(ZoneGroup),
    /// A record set of a private DNS zone.
    RecordSet(RecordSet),
    /// A workspace, from ARM, Terraform or `az ml workspace show`.
    Workspace(Workspace),
    /// A compute instance of a workspace.
    Compute(Compute),
    /// An online endpoint of a workspace.
    OnlineEndpoint(OnlineEndpoint),
    /// An account of the AI services.
    Account(Account),
    /// The state of a private endpoint's connection, as the resource behind it lists it.
    EndpointState {
        /// The endpoint.
        endpoint: crate::azure::ResourceId,
        /// `Approved`, `Pending`, `Rejected` or `Disconnected`; not yet safe to print.
        status: String,
    },
    /// An object that nothing follows from, by its type.
    Other(String),
    /// An object that was not understood: what it has, and whether it holds names of Azure and addresses all the same.
    Unknown {
        /// The names of its members, the first few; not yet safe to print.
        members: Vec<String>,
        /// Whether names and addresses would be lost with it.
        holds_names: bool,
    },
    /// A list or an object with nothing in it.
    Empty,
    /// What Azure answers instead of a result.
    Failure {
        /// The error's code, as in `AuthorizationFailed`.
        code: String,
        /// Its message; not yet safe to print.
        message: String,
    },
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
    /// Whether records may be missing because of it.
    pub fatal: bool,
    /// What is wrong.
    pub text: String,
    /// What to do about it.
    pub hint: String,
}

/// Reads one JSON document.
pub fn read(mut document: Value) -> Reading {
    prepare::prepare(&mut document);
    read_prepared(&document)
}

fn read_prepared(document: &Value) -> Reading {
    let mut reading = Reading::default();
    let root = Node::root(document);
    if is_empty(&root) {
        reading.push(&root, Metadata::Empty);
    } else {
        reading.walk(&root, 0);
    }
    reading
}

fn is_empty(node: &Node<'_>) -> bool {
    match node.value() {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => {
            let has_more = members.get("nextLink").is_some_and(Value::is_string);
            members.is_empty()
                || !has_more
                    && ["value", "data"].iter().any(|key| {
                        let list = members.get(*key).and_then(Value::as_array);
                        list.is_some_and(Vec::is_empty) && !members.contains_key("type")
                    })
        }
        _ => false,
    }
}

impl Reading {
    /// Reads a value; `inner` levels below what would be reported when it is not understood.
    fn walk(&mut self, node: &Node<'_>, inner: usize) {
        if inner > DEPTH_MAX {
            return;
        }
        if node.is_array() {
            self.walk_list(node, inner);
        } else if node.is_object() {
            self.walk_object(node, inner);
        } else if inner == 0 && !node.value().is_null() {
            self.scalar(node);
        }
    }

    /// A lone string or number in place of an object.
    fn scalar(&mut self, node: &Node<'_>) {
        let text = node.text().unwrap_or_default();
        let (what, hint) = if text.contains("/networkInterfaces/") {
            (
                "this is the id of a network interface, not the interface",
                "print the interface: `az network nic show --ids ID`",
            )
        } else if text.contains("/privateEndpoints/") {
            (
                "this is the id of a private endpoint, not the endpoint",
                "print the endpoint: `az network private-endpoint show --ids ID`",
            )
        } else if text.starts_with("Microsoft.Azure.Commands") || text.starts_with("@{") || text.starts_with("System.")
        {
            ("an object was shortened to a string here", DEPTH_HINT)
        } else {
            ("this is neither an object nor a list", "give the JSON that the command prints, whole")
        };
        self.fatal(node.path(), what, hint);
    }

    fn walk_list(&mut self, list: &Node<'_>, inner: usize) {
        let mut rows = Vec::new();
        let before = self.found.len();
        // A row by itself, as `--query '[fqdn, ip]'` prints it.
        if list.items().iter().all(|item| item.value().is_string())
            && let Some(row) = row::of_array(list)
        {
            return self.push(list, Metadata::Rows(vec![row]));
        }
        for item in list.items() {
            if !has_shape(&item) && row::is_row(&item) {
                rows.extend(row::rows(&item, &mut self.problems));
            } else if let Some(row) = row::of_array(&item) {
                rows.push(row);
            } else if row::is_nameless(&item) {
                // An ordinary machine's interface, in a query over those of all.
                self.push(&item, Metadata::Other("rows without names".to_owned()));
                self.problems.extend(row::no_name(&item));
            } else {
                self.walk(&item, inner);
            }
        }
        if !rows.is_empty() {
            // The position of the list among what was found in it does not matter; its own order does.
            self.found.insert(before, Located { value: Metadata::Rows(rows), path: list.path().to_owned() });
        }
    }

    fn walk_object(&mut self, node: &Node<'_>, inner: usize) {
        for (endpoint, status) in network::endpoint_states(node) {
            self.push(node, Metadata::EndpointState { endpoint, status });
        }
        if let Some(found) = self.recognise(node) {
            self.push(node, found);
            self.walk_children(node);
        } else if let Some(failure) = failure(node) {
            self.push(node, failure);
        } else if terraform::is_resource(node) {
            self.walk_terraform(node);
        } else if let Some(outputs) = node.get("outputs").filter(|_| node.has("urn")) {
            // Pulumi: inputs say the same a second time.
            self.walk(&outputs, inner + 1);
        } else if let Some(list) = node.get("value").filter(Node::is_array) {
            self.warn_of_more(node, &["nextLink"]);
            self.walk(&list, inner);
        } else if let Some(data) = node.get("data").filter(|data| data.is_array() || data.has("rows")) {
            self.warn_of_more(node, &["skip_token", "$skipToken"]);
            self.walk_graph(&data, inner);
        } else if is_typed(node) && kind(node) != "microsoft.resources/deployments" {
            self.push(node, Metadata::Other(kind(node)));
            self.walk_children(node);
        } else {
            self.walk_unknown(node, inner);
        }
    }

    /// Resources below a resource, as templates nest them.
    fn walk_children(&mut self, node: &Node<'_>) {
        if let Some(children) = node.get("resources").filter(Node::is_array) {
            self.walk(&children, 1);
        }
    }

    /// An object of no known shape: what is inside may have one.
    fn walk_unknown(&mut self, node: &Node<'_>, inner: usize) {
        if let Some(unwrapped) = unwrapped_outputs(node) {
            let root = Node::root(&unwrapped);
            if row::is_row(&root) {
                let rows = row::rows(&root, &mut self.problems);
                self.push(node, Metadata::Rows(rows));
                return;
            }
        }
        if node.has("planned_values") {
            self.problems.push(Problem {
                path: node.path().to_owned(),
                fatal: false,
                text: "this is a plan of Terraform: addresses that are known only after apply are missing".to_owned(),
                hint: "apply it, then give `terraform show -json`".to_owned(),
            });
        }
        let before = (self.found.len(), self.problems.len());
        for (name, member) in node.members() {
            if !SKIPPED.iter().any(|skipped| node::same_key(name, skipped)) {
                self.walk(&member, inner + 1);
            }
        }
        if inner == 0 && (self.found.len(), self.problems.len()) == before {
            let members = node.members().iter().take(MEMBERS_SHOWN).map(|(name, _)| (*name).to_owned()).collect();
            self.push(node, Metadata::Unknown { members, holds_names: row::holds_names(node) });
        }
    }

    fn walk_terraform(&mut self, node: &Node<'_>) {
        let kind = kind(node);
        let instances = node.get("instances").map(|list| list.items()).unwrap_or_default();
        let attributes = instances.iter().filter_map(|instance| instance.get("attributes"));
        for values in attributes.chain(node.get("values")) {
            match terraform::read(&kind, &values, &mut self.problems) {
                Some(found) => found.into_iter().for_each(|found| self.push(&values, found)),
                None if kind == "azapi_resource" => {
                    if let Some(output) = values.get("output") {
                        self.walk(&output, 1);
                    }
                }
                None => self.push(&values, Metadata::Other(kind.clone())),
            }
        }
    }

    fn recognise(&mut self, node: &Node<'_>) -> Option<Metadata> {
        let kind = kind(node);
        let has = |key| node.lifted(key).is_some();
        if has("privateLinkServiceConnections") || has("manualPrivateLinkServiceConnections") {
            return Some(Metadata::Endpoint(network::endpoint(node, &mut self.problems)));
        }
        if node.get("privateServiceConnection").is_some() || node.get("privateServiceConnections").is_some() {
            let endpoint = terraform::endpoint(node, &mut self.problems).into_iter().next();
            // The zone group of the same object follows as an object of its own.
            if let Some(group) = terraform::zone_group(node) {
                self.push(node, Metadata::ZoneGroup(group));
            }
            return endpoint;
        }
        if kind == "microsoft.network/networkinterfaces"
            || node.list("ipConfigurations").iter().any(|it| it.lifted("privateLinkConnectionProperties").is_some())
        {
            return Some(Metadata::Interface(network::interface(node, &mut self.problems)));
        }
        if has("privateDnsZoneConfigs") {
            return Some(Metadata::ZoneGroup(network::zone_group(node)));
        }
        if let Some(record_type) = dns::type_of(node, &kind) {
            return dns::record_set(node, &record_type, &mut self.problems)
                .map(Metadata::RecordSet)
                .or_else(|| Some(Metadata::Other("microsoft.network/privatednszones".to_owned())));
        }
        // The command line prints no type.
        let is_below = |list: &str| network::id_of(node).is_some_and(|id| id.resource_type().ends_with(list));
        if kind == "microsoft.machinelearningservices/workspaces/onlineendpoints"
            || has("scoringUri") && is_below("/workspaces/onlineendpoints")
        {
            return Some(Metadata::OnlineEndpoint(learning::online_endpoint(node)));
        }
        if let Some(compute) = learning::compute(node, &kind) {
            return Some(compute.map_or_else(|| Metadata::Other(kind), Metadata::Compute));
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
        let is_row = !is_typed(node) && !has_shape(node) && row::is_row(node);
        is_row.then(|| Metadata::Rows(row::rows(node, &mut self.problems)))
    }

    /// Resource Graph: objects, or a table whose rows are arrays under named columns.
    fn walk_graph(&mut self, data: &Node<'_>, inner: usize) {
        let (Some(columns), Some(rows)) = (data.get("columns"), data.get("rows")) else {
            return self.walk(data, inner);
        };
        let names: Vec<String> =
            columns.items().iter().map(|column| column.text_of("name").unwrap_or_default().to_owned()).collect();
        let objects = rows.items().into_iter().map(|row| {
            let cells = row.items();
            Value::Object(names.iter().cloned().zip(cells.iter().map(|cell| cell.value().clone())).collect())
        });
        // As one list, so that its rows keep their order.
        let mut list: Value = objects.collect();
        prepare::prepare(&mut list);
        let mut read = read_prepared(&list);
        let place = |path: &str| format!("{}{}", rows.path(), path.strip_prefix('$').unwrap_or(path));
        for found in &mut read.found {
            found.path = place(&found.path);
            if let Metadata::Rows(list) = &mut found.value {
                list.iter_mut().for_each(|row| row.path = place(&row.path));
            }
        }
        read.problems.iter_mut().for_each(|problem| problem.path = place(&problem.path));
        self.found.append(&mut read.found);
        self.problems.append(&mut read.problems);
    }

    fn warn_of_more(&mut self, node: &Node<'_>, keys: &[&str]) {
        let truncated =
            node.get("resultTruncated").and_then(|it| it.text()).is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let is_part = node.number("count").zip(node.number("totalRecords")).is_some_and(|(count, all)| count < all);
        if truncated || is_part || keys.iter().any(|key| node.get(key).and_then(|it| it.text()).is_some()) {
            self.problems.push(Problem {
                path: node.path().to_owned(),
                fatal: false,
                text: "this is one page of a longer list".to_owned(),
                hint: "give the other pages too: their names are missing from the records".to_owned(),
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

/// Whether an object has a shape of its own, so that it is not a row of a list.
fn has_shape(node: &Node<'_>) -> bool {
    let shapes = [
        "privateLinkServiceConnections",
        "manualPrivateLinkServiceConnections",
        "privateServiceConnection",
        "privateDnsZoneConfigs",
        "discovery_url",
    ];
    shapes.iter().any(|key| node.lifted(key).is_some())
        || is_typed(node)
        || terraform::is_resource(node)
        || node.get("ipConfigurations").is_some()
        || dns::type_of(node, &kind(node)).is_some()
}

/// What Azure prints when a request failed.
fn failure(node: &Node<'_>) -> Option<Metadata> {
    let of = |node: &Node<'_>| {
        let code = node.get("code").and_then(|code| code.text())?;
        let message = node.get("message").and_then(|message| message.text()).unwrap_or_default();
        Some(Metadata::Failure { code: code.to_owned(), message: message.to_owned() })
    };
    if let Some(error) = node.get("error") {
        return of(&error).or_else(|| {
            let message = node.get("error_description").and_then(|it| it.text()).unwrap_or_default();
            Some(Metadata::Failure { code: error.text()?.to_owned(), message: message.to_owned() })
        });
    }
    if node.has("message") { of(node) } else { None }
}

/// The values of outputs, without their wrapping: Terraform, Bicep and Pulumi print `{"name": {"value": ...}}`.
fn unwrapped_outputs(node: &Node<'_>) -> Option<Value> {
    let members = node.members();
    let wrapped = |(_, member): &(&str, Node<'_>)| {
        member.is_object() && member.has("value") && (member.has("type") || member.has("sensitive"))
    };
    if members.is_empty() || !members.iter().all(wrapped) {
        return None;
    }
    let values =
        members.iter().filter_map(|(name, member)| Some(((*name).to_owned(), member.get("value")?.value().clone())));
    Some(Value::Object(values.collect()))
}

/// The object's resource type in lower case, or "".
fn kind(node: &Node<'_>) -> String {
    let kind = node.get("type").or_else(|| node.get("resourceType")).and_then(|it| it.text());
    kind.unwrap_or_default().to_ascii_lowercase()
}

/// Whether an object states a type of Azure's resources, as in `Microsoft.Web/sites`.
fn is_typed(node: &Node<'_>) -> bool {
    let kind = kind(node);
    kind.starts_with("microsoft.") && kind.contains('/')
}

/// Members that say the same a second time, or that nothing may be read from.
const SKIPPED: [&str; 11] = [
    "systemData",
    "sensitive_values",
    "sensitive_attributes",
    "configuration",
    "resource_changes",
    "resource_drift",
    "prior_state",
    "inputs",
    "invocation",
    "secrets_providers",
    "identity",
];
/// Levels of nesting that are followed.
const DEPTH_MAX: usize = 100;
/// Members of an unknown object that a message names.
const MEMBERS_SHOWN: usize = 8;

#[cfg(test)]
mod tests;
