//! Objects out of all inputs, joined: an endpoint with its interfaces and zone groups, wherever each of them stood.

use std::collections::{BTreeMap, BTreeSet};

use super::csv;
use super::input::{Content, Document};
use super::message::{Messages, Place, printable};
use crate::azure::metadata::{
    self, Account, Compute, Connection, Interface, Located, Metadata, OnlineEndpoint, PrivateEndpoint, Problem,
    RecordSet, Row, Workspace, ZoneGroup,
};
use crate::azure::workspace::WorkspaceName;
use crate::azure::{HostName, ResourceId};

/// Everything that was recognised.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) units: BTreeMap<String, Unit>,
    pub(super) record_sets: Vec<(Place, RecordSet)>,
    pub(super) workspaces: Vec<(Place, Workspace)>,
    pub(super) online_endpoints: Vec<(Place, OnlineEndpoint)>,
    pub(super) computes: Vec<(Place, Compute)>,
    pub(super) accounts: Vec<(Place, Account)>,
    /// Endpoints whose connection is not approved by the word of the resource behind it: the state and who says so.
    pub(super) not_approved: BTreeMap<String, (Place, String)>,
    /// Types that nothing follows from, "" for objects that state none.
    pub(super) others: BTreeSet<String>,
    /// What was read: the objects of each input.
    pub(super) sources: BTreeMap<String, BTreeSet<String>>,
}

/// A private endpoint and all that says something about it; or one lone source that names no endpoint.
#[derive(Debug, Default)]
pub(super) struct Unit {
    pub(super) endpoints: Vec<(Place, PrivateEndpoint)>,
    pub(super) interfaces: Vec<(Place, Interface)>,
    pub(super) zone_groups: Vec<(Place, ZoneGroup)>,
    /// Rows that were printed as one list, in its order, each with its place.
    pub(super) rows: Vec<Vec<(Place, Row)>>,
}

impl Unit {
    /// Whether any of its sources lists a name.
    pub(super) fn has_names(&self) -> bool {
        self.names().next().is_some() || self.endpoints.iter().any(|(_, endpoint)| !endpoint.custom_dns.is_empty())
    }

    /// Every name that its sources list, as found.
    fn names(&self) -> impl Iterator<Item = &str> {
        let nics = self.interfaces.iter().flat_map(|(_, nic)| &nic.addresses);
        let rows = self.rows.iter().flatten().flat_map(|(_, row)| &row.names);
        let groups = self.zone_groups.iter().flat_map(|(_, group)| &group.records).map(|listed| &listed.name);
        let names = nics.flat_map(|address| &address.names).chain(rows).chain(groups);
        names.map(|name| name.value.as_str())
    }
}

/// Whether a name may be one of this endpoint: a workspace's, or one that begins with the resource's own.
fn fits(endpoint: &PrivateEndpoint, name: &str) -> bool {
    let Ok(name) = HostName::parse(name) else {
        return false;
    };
    let mut targets = endpoint.connections.iter().filter_map(|it| ResourceId::parse(&it.target));
    targets.any(|target| {
        if target.resource_type() == "microsoft.machinelearningservices/workspaces" {
            WorkspaceName::recognise(&name).is_some()
        } else {
            name.labels().next().is_some_and(|label| label.eq_ignore_ascii_case(target.name()))
        }
    })
}

/// Reads the documents and joins what they hold.
pub(super) fn gather(documents: Vec<Document>, messages: &mut Messages) -> Gathered {
    let mut gathered = Gathered::default();
    let mut found = Vec::new();
    for document in documents {
        let Document { place, content } = document;
        let (objects, problems) = objects(content);
        report(&place, problems, messages);
        for object in objects {
            found.push((Place { order: found.len() << 20, ..place.at(&object.path) }, object.value));
        }
    }
    // Endpoints first: they name their interfaces, while not every interface names its endpoint.
    found.sort_by_key(|(_, metadata)| !matches!(metadata, Metadata::Endpoint(_)));
    let mut endpoint_of_nic = BTreeMap::new();
    for (place, metadata) in found {
        gathered.add(place, metadata, &mut endpoint_of_nic, messages);
    }
    gathered.join_lone();
    gathered
}

/// The objects of a document with their paths, and what is wrong with it.
fn objects(content: Content) -> (Vec<Located<Metadata>>, Vec<Problem>) {
    match content {
        Content::Json(value) => {
            let reading = metadata::read(value);
            (reading.found, reading.problems)
        }
        Content::ZoneFile(text) => {
            let file = metadata::read_zone_file(&text);
            let one = |set| Located { value: Metadata::RecordSet(set), path: String::new() };
            (file.sets.into_iter().map(one).collect(), file.problems)
        }
        Content::Lines(rows) => (vec![Located { value: Metadata::Rows(rows), path: String::new() }], Vec::new()),
        Content::Csv(lines) => {
            let (mut rows, mut problems, mut found) = (Vec::new(), Vec::new(), Vec::new());
            for (at, line) in lines {
                let line = match line {
                    Ok(line) => line,
                    Err(text) => {
                        let hint = "put a cell that holds the separator into quotation marks".to_owned();
                        problems.push(Problem { path: at, fatal: true, text: text.to_owned(), hint });
                        continue;
                    }
                };
                let holds_name = csv::holds_name(&line);
                let mut reading = metadata::read(line);
                reading.problems.iter_mut().for_each(|problem| problem.path = at.clone());
                problems.append(&mut reading.problems);
                for object in reading.found {
                    match object.value {
                        Metadata::Rows(read) => rows.extend(read.into_iter().map(|mut row| {
                            row.path.clone_from(&at);
                            let texts = row.names.iter_mut().chain(&mut row.addresses);
                            texts.for_each(|text| text.path.clone_from(&at));
                            row
                        })),
                        // A line has nothing but what a row has: a name without its address would be lost.
                        Metadata::Unknown { members, .. } => {
                            let value = Metadata::Unknown { members, holds_names: holds_name };
                            found.push(Located { value, path: at.clone() });
                        }
                        value => found.push(Located { value, path: at.clone() }),
                    }
                }
            }
            if !rows.is_empty() {
                found.insert(0, Located { value: Metadata::Rows(rows), path: String::new() });
            }
            (found, problems)
        }
    }
}

fn report(place: &Place, problems: Vec<Problem>, messages: &mut Messages) {
    for problem in problems {
        let place = place.at(&problem.path);
        if problem.fatal {
            messages.error(Some(&place), problem.text, problem.hint);
        } else {
            messages.warning(Some(&place), problem.text, problem.hint);
        }
    }
}

impl Gathered {
    fn add(
        &mut self,
        place: Place,
        metadata: Metadata,
        endpoint_of_nic: &mut BTreeMap<String, String>,
        messages: &mut Messages,
    ) {
        match metadata {
            Metadata::Endpoint(mut endpoint) => {
                let place = Place { changed: endpoint.changed, ..place };
                let key = endpoint.id.as_ref().map_or_else(|| own_key(&place), |id| id.key());
                endpoint_of_nic.extend(endpoint.interface_ids.iter().map(|nic| (nic.key(), key.clone())));
                self.note(&place, &endpoint_label(&endpoint));
                let whole = std::mem::take(&mut endpoint.interfaces);
                let unit = self.units.entry(key).or_default();
                unit.interfaces.extend(whole.into_iter().map(|nic| (place.clone(), nic)));
                unit.endpoints.push((place, endpoint));
            }
            Metadata::Interface(nic) => {
                let by_nic = nic.id.as_ref().and_then(|id| endpoint_of_nic.get(&id.key()).cloned());
                let key =
                    by_nic.or_else(|| nic.endpoint.as_ref().map(|id| id.key())).unwrap_or_else(|| own_key(&place));
                if nic.addresses.is_empty() {
                    self.others.insert("network interface of no private endpoint".to_owned());
                    return;
                }
                self.note(&place, &interface_label(&nic));
                self.units.entry(key).or_default().interfaces.push((place, nic));
            }
            Metadata::ZoneGroup(group) => {
                let key = group.endpoint.as_ref().map_or_else(|| own_key(&place), |id| id.key());
                self.note(&place, &zone_group_label(&group));
                self.units.entry(key).or_default().zone_groups.push((place, group));
            }
            Metadata::Rows(rows) => {
                self.note(&place, "names and addresses of a network interface");
                let key = own_key(&place);
                let numbered =
                    |(at, row): (usize, Row)| (Place { order: place.order + at, ..place.at(&row.path) }, row);
                let rows = rows.into_iter().enumerate().map(numbered).collect();
                self.units.entry(key).or_default().rows.push(rows);
            }
            Metadata::RecordSet(set) => {
                let zone = set.zone.as_deref().map_or_else(
                    || "record sets".to_owned(),
                    |zone| format!("record sets of private DNS zone {}", printable(zone)),
                );
                self.note(&place, &zone);
                self.record_sets.push((place, set));
            }
            Metadata::Workspace(workspace) => {
                self.note(&place, &format!("workspace {}", printable(&workspace.name)));
                self.workspaces.push((place, workspace));
            }
            Metadata::Compute(compute) => {
                self.note(&place, &format!("compute instance {}", printable(&compute.name.value)));
                self.computes.push((place, compute));
            }
            Metadata::OnlineEndpoint(endpoint) => {
                self.note(&place, "online endpoints");
                self.online_endpoints.push((place, endpoint));
            }
            Metadata::Account(account) => {
                let name = account.id.as_ref().map(|id| printable(id.name())).unwrap_or_default();
                self.note(&place, &format!("AI services account {name}"));
                self.accounts.push((place, account));
            }
            Metadata::EndpointState { endpoint, status } => {
                if !status.eq_ignore_ascii_case("approved") {
                    self.not_approved.insert(endpoint.key(), (place, status));
                }
            }
            Metadata::Other(kind) => {
                self.others.insert(kind);
            }
            Metadata::Empty => {
                let hint =
                    "is it the right subscription? `az account show` says which one; `az account list` lists all";
                messages.warning(Some(&place), "the list is empty: the command found nothing", hint);
            }
            Metadata::Failure { code, message } => {
                let (code, message) = (printable(&code), printable(message.lines().next().unwrap_or_default()));
                let text = format!("this is an error message of Azure, not metadata: {code}: {message}");
                messages.error(Some(&place), text, failure_hint(&code));
            }
            Metadata::Unknown { members, holds_names } => {
                let members = members.iter().map(|member| printable(member)).collect::<Vec<_>>().join(", ");
                let text = format!("this object was not understood; its members are {members}");
                if holds_names {
                    messages.error(Some(&place), text, UNDERSTOOD);
                } else {
                    messages.warning(Some(&place), text, UNDERSTOOD);
                }
            }
        }
    }

    /// A query over an interface does not say whose it is. Beside one endpoint that lists nothing itself, the one such
    /// source is taken to be that endpoint's, if its names fit.
    fn join_lone(&mut self) {
        let is_lone = |unit: &Unit| unit.endpoints.is_empty();
        let is_silent = |unit: &Unit| {
            let mut endpoints = unit.endpoints.iter();
            let lists_nothing = unit.interfaces.is_empty() && unit.zone_groups.is_empty();
            lists_nothing
                && !unit.endpoints.is_empty()
                && endpoints.all(|(_, it)| it.custom_dns.is_empty() && is_approved(it))
        };
        let lone = |key: &String| key.starts_with(OWN);
        let mut lone = self.units.iter().filter(|(key, unit)| lone(key) && is_lone(unit));
        let mut silent = self.units.iter().filter(|(_, unit)| is_silent(unit));
        let (Some((from, source)), None, Some((to, endpoint)), None) =
            (lone.next(), lone.next(), silent.next(), silent.next())
        else {
            return;
        };
        if !endpoint.endpoints.iter().any(|(_, it)| source.names().any(|name| fits(it, name))) {
            return;
        }
        let (from, to) = (from.clone(), to.clone());
        let Some(source) = self.units.remove(&from) else {
            return;
        };
        let unit = self.units.entry(to).or_default();
        unit.interfaces.extend(source.interfaces);
        unit.zone_groups.extend(source.zone_groups);
        unit.rows.extend(source.rows);
    }

    /// What was read, a line each: input and object, of each input's objects the first few.
    pub(super) fn source_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (input, objects) in &self.sources {
            let shown = objects.iter().take(OBJECTS_SHOWN);
            lines.extend(shown.map(|object| format!("{input}: {object}")));
            if let Some(more) = objects.len().checked_sub(OBJECTS_SHOWN).filter(|more| *more > 0) {
                lines.push(format!("{input}: {more} more"));
            }
        }
        lines
    }

    fn note(&mut self, place: &Place, what: &str) {
        let objects = self.sources.entry(printable(&place.input)).or_default();
        objects.insert(what.to_owned());
    }
}

/// Whether a connection of the endpoint carries traffic. A connection that states nothing is taken to.
pub(super) fn is_approved(endpoint: &PrivateEndpoint) -> bool {
    let carries =
        |connection: &Connection| connection.status.is_empty() || connection.status.eq_ignore_ascii_case("approved");
    endpoint.connections.is_empty() || endpoint.connections.iter().any(carries)
}

pub(super) fn endpoint_label(endpoint: &PrivateEndpoint) -> String {
    label("private endpoint", &endpoint.name)
}

pub(super) fn interface_label(nic: &Interface) -> String {
    let own = label("network interface", &nic.name);
    match &nic.endpoint {
        Some(endpoint) => format!("{own} of {}", label("private endpoint", endpoint.name())),
        None => own,
    }
}

pub(super) fn zone_group_label(group: &ZoneGroup) -> String {
    match &group.endpoint {
        Some(endpoint) => format!("private DNS zone group of {}", label("private endpoint", endpoint.name())),
        None => "private DNS zone group".to_owned(),
    }
}

fn label(what: &str, name: &str) -> String {
    if name.is_empty() { format!("a {what}") } else { format!("{what} {}", printable(name)) }
}

/// What to do when Azure answered with an error of this code.
fn failure_hint(code: &str) -> &'static str {
    match code.to_ascii_lowercase().as_str() {
        "authorizationfailed" | "forbidden" | "linkedauthorizationfailed" => {
            "the role Reader on the resource group is enough; see the subscription: `az account show`"
        }
        "expiredauthenticationtoken"
        | "invalidauthenticationtoken"
        | "authenticationfailed"
        | "invalid_grant"
        | "unauthorized" => "sign in again: `az login`",
        "resourcenotfound" | "resourcegroupnotfound" | "notfound" | "subscriptionnotfound" => {
            "see the name, the resource group and the subscription: `az account show`"
        }
        "toomanyrequests" | "subscriptionrequeststhrottled" => "wait a minute and run the command again",
        _ => "run the command again once it succeeds, and give its output",
    }
}

/// What would have been understood in place of an unknown object.
const UNDERSTOOD: &str = "understood are private endpoints, network interfaces, zone groups, record sets, workspaces, and rows with \
    columns such as FQDNs and IPAddress, or fqdn and privateIp";

/// The key of a unit that names no endpoint. No resource id begins like it.
fn own_key(place: &Place) -> String {
    format!("{OWN}{}\u{0}{}\u{0}{}", place.input, place.document, place.at)
}

/// How the key of a unit begins that names no endpoint.
const OWN: char = '~';
/// Objects of one input that are named; a list of thousands is not repeated.
const OBJECTS_SHOWN: usize = 20;
