//! What to say of an endpoint that lists no name.
//!
//! An endpoint with a private DNS zone group, the usual case, lists none itself: they stand on its interface. So an
//! endpoint without names is never passed over in silence; its state, its target and its other sources tell why it has
//! none and which command gives what is missing.

use super::gather::{Unit, endpoint_label, interface_label};
use super::message::{Messages, Place, printable, shell_word};
use crate::azure::ResourceId;
use crate::azure::metadata::PrivateEndpoint;

/// Why an endpoint that is approved lists no name.
enum Silence<'a> {
    /// It was made a moment ago.
    Updating,
    /// It leads to a service that has no names.
    Nameless(&'a str),
    /// Its interface is at hand and lists none either.
    Interface(String),
    /// Its names cannot be used.
    Refused,
    /// Its names stand elsewhere.
    Elsewhere,
}

/// Says it. Nothing for a source without its endpoint.
pub(super) fn report(unit: &Unit, messages: &mut Messages) {
    let Some((place, endpoint)) = unit.endpoints.first() else {
        return;
    };
    let place = Some(place);
    let label = endpoint_label(endpoint);
    match silence(unit, endpoint) {
        Silence::Updating => messages.error(
            place,
            format!("{label} is being updated and lists no name yet"),
            format!("wait a minute and print it again: {}", show(endpoint)),
        ),
        Silence::Nameless(target) => messages.warning(
            place,
            format!("{label} leads to a service without names of its own: {}", printable(target)),
            "nothing to do: clients reach it by address, or by a name of yours",
        ),
        Silence::Interface(nic) => messages.error(
            place,
            format!("{label} lists no name, and neither does its {nic}"),
            format!("print both again; if the names stay away, see the state of its connection: {}", show(endpoint)),
        ),
        Silence::Refused => {}
        Silence::Elsewhere => messages.error(
            place,
            format!(
                "{label} lists no name: customDnsConfigs is empty, as on every endpoint with a private DNS zone group"
            ),
            format!(
                "give its network interface too: {}\n        or its zone group: {}",
                nic_show(endpoint),
                group_list(endpoint)
            ),
        ),
    }
}

fn silence<'a>(unit: &Unit, endpoint: &'a PrivateEndpoint) -> Silence<'a> {
    if endpoint.provisioning_state.eq_ignore_ascii_case("updating") {
        return Silence::Updating;
    }
    let mut targets = endpoint.connections.iter().map(|connection| connection.target.as_str());
    if let Some(target) = targets.find(|target| is_nameless(target)) {
        return Silence::Nameless(target);
    }
    match unit.interfaces.first() {
        Some((_, nic)) => Silence::Interface(interface_label(nic)),
        // It lists some, and what is wrong with them was said.
        None if unit.has_names() => Silence::Refused,
        None => Silence::Elsewhere,
    }
}

/// Whether the target is one whose approved endpoints have no names. What is no resource id is the alias of a private
/// link service.
fn is_nameless(target: &str) -> bool {
    let kind = ResourceId::parse(target).map(|id| id.resource_type());
    !target.is_empty() && kind.is_none_or(|kind| NAMELESS.contains(&kind.as_str()))
}

/// Reports that the names of an endpoint are left out because its connection is not approved.
pub(super) fn warn_not_approved(place: &Place, endpoint: &PrivateEndpoint, messages: &mut Messages) {
    let Some(connection) = endpoint.connections.first() else {
        return;
    };
    let label = endpoint_label(endpoint);
    let status = printable(&connection.status);
    let text = format!("{label} carries no traffic: its connection is {status}; its names are left out");
    let target = shell_word(Some(&connection.target), "RESOURCE_ID");
    let id = shell_word(endpoint.id.as_ref().map(ResourceId::as_str), "ENDPOINT_ID");
    messages.warning(Some(place), text, state_hint(&connection.status, &id, &target));
}

/// The same by the word of the resource behind the endpoint, which is not among the inputs itself.
pub(super) fn warn_not_approved_by_resource(place: &Place, id: &str, status: &str, messages: &mut Messages) {
    let name = ResourceId::parse(id).map(|id| printable(id.name())).unwrap_or_default();
    let text = format!(
        "private endpoint {name} carries no traffic: its connection is {}; its names are left out",
        printable(status)
    );
    messages.warning(Some(place), text, state_hint(status, &shell_word(Some(id), "ENDPOINT_ID"), "RESOURCE_ID"));
}

/// What to do about a connection in a state that is not approved.
fn state_hint(status: &str, endpoint: &str, target: &str) -> String {
    let delete = format!("`az network private-endpoint delete --ids {endpoint}`");
    let show = format!("`az network private-endpoint show --ids {endpoint}`");
    match status.to_ascii_lowercase().as_str() {
        "disconnected" => format!(
            "the resource's side removed the connection, and no approval brings it back: delete the endpoint ({delete}) \
            and create it again if it is still wanted"
        ),
        "rejected" => format!(
            "the owner of its target rejected it: ask whether that was meant, then delete the endpoint ({delete}) or let the \
            owner approve it: `az network private-endpoint-connection approve --id ID`; its state: {show}"
        ),
        _ => format!(
            "let the owner of its target approve it: `az network private-endpoint-connection list --id {target}` shows the id, \
            `az network private-endpoint-connection approve --id ID` approves; then print it again: {show}"
        ),
    }
}

/// Says that an interface whose endpoint is not at hand has an address that no name leads to.
pub(super) fn warn_nameless_interface(
    place: &Place,
    path: &str,
    group: &str,
    endpoint: Option<&ResourceId>,
    messages: &mut Messages,
) {
    let text =
        format!("no name leads to this address of group {}: the connection is probably not approved", printable(group));
    let endpoint = shell_word(endpoint.map(ResourceId::as_str), "ENDPOINT_ID");
    messages.warning(
        Some(&place.at(path)),
        text,
        format!("see its state: `az network private-endpoint show --ids {endpoint}`"),
    );
}

fn show(endpoint: &PrivateEndpoint) -> String {
    let id = shell_word(endpoint.id.as_ref().map(ResourceId::as_str), "ENDPOINT_ID");
    format!("`az network private-endpoint show --ids {id}`")
}

fn nic_show(endpoint: &PrivateEndpoint) -> String {
    let nic = endpoint.interface_ids.first().map(ResourceId::as_str);
    format!("`az network nic show --ids {}`", shell_word(nic, "INTERFACE_ID"))
}

fn group_list(endpoint: &PrivateEndpoint) -> String {
    let group = endpoint.id.as_ref().and_then(ResourceId::resource_group);
    let name = shell_word(Some(&endpoint.name), "ENDPOINT");
    let group = shell_word(group, "GROUP");
    format!("`az network private-endpoint dns-zone-group list --endpoint-name {name} -g {group}`")
}

/// Types of such targets.
const NAMELESS: [&str; 2] = ["microsoft.network/applicationgateways", "microsoft.network/privatelinkservices"];
