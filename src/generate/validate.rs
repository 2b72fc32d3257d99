//! From the strings of metadata to names and addresses, or messages: nothing passes that the user did not allow.

use std::net::IpAddr;

use super::Options;
use super::message::{Messages, Place, printable};
use crate::azure::metadata::{DEPTH_HINT, Listed, Located};
use crate::azure::{HostName, belongs_to, cloud_of};

/// A name with its addresses, checked.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) name: HostName,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) ttl: Option<u32>,
}

/// Checks what one object lists. `place` is the object's.
pub(super) fn known(listed: &[Listed], place: &Place, options: &Options, messages: &mut Messages) -> Vec<Known> {
    let one = |listed: &Listed, messages: &mut Messages| {
        let name = host_name(&listed.name, place, None, options, messages)?;
        if listed.addresses.is_empty() {
            let text = format!("{name} is listed without an address: it was left out");
            let hint = "print the object again: its endpoint may just have been created";
            messages.error(Some(&place.at(&listed.name.path)), text, hint);
            return None;
        }
        let addresses: Vec<IpAddr> = listed.addresses.iter().filter_map(|it| address(it, place, messages)).collect();
        (!addresses.is_empty()).then_some(Known { name, addresses, ttl: listed.ttl })
    };
    listed.iter().filter_map(|listed| one(listed, messages)).collect()
}

/// Checks a name: that it is one, and that a service of Azure may have it.
pub(super) fn host_name(
    text: &Located<String>,
    place: &Place,
    zone: Option<&str>,
    options: &Options,
    messages: &mut Messages,
) -> Option<HostName> {
    let place = place.at(&text.path);
    let name = match HostName::parse(&text.value) {
        Ok(name) => name,
        Err(error) => {
            let (reason, hint) = if text.value.contains("://") {
                ("this is a URL".to_owned(), "give the host name alone")
            } else if is_cut(&text.value) {
                ("an object was shortened to a string here".to_owned(), DEPTH_HINT)
            } else if text.value.starts_with('[') {
                (
                    "this is an expression of a template".to_owned(),
                    "give the deployed resource: `az network private-endpoint show`",
                )
            } else {
                (error.to_string(), "take it out of the input")
            };
            let text = format!("\"{}\" is not a valid host name: {}", printable(&text.value), printable(&reason));
            messages.error(Some(&place), text, hint);
            return None;
        }
    };
    if options.allow.iter().any(|suffix| name.in_front_of(suffix).is_some()) {
        return Some(name);
    }
    let Some(cloud) = cloud_of(&name) else {
        refuse_foreign(&name, zone, &place, messages);
        return None;
    };
    match options.cloud {
        Some(asked) if !belongs_to(&name, asked) => {
            let text = format!("{name} is a name of the cloud \"{cloud}\", not of \"{asked}\"");
            messages.error(Some(&place), text, format!("leave --cloud out, or give --cloud {cloud}"));
            None
        }
        _ => Some(name),
    }
}

/// Whether a string is what PowerShell prints of an object or a list that lies deeper than it was told to print.
fn is_cut(text: &str) -> bool {
    ["System.", "Microsoft.Azure.Commands", "@{"].iter().any(|start| text.starts_with(start))
}

/// Refuses a name that no service of Azure has; a whole zone of such names at once.
fn refuse_foreign(name: &HostName, zone: Option<&str>, place: &Place, messages: &mut Messages) {
    let zone = zone
        .and_then(|zone| HostName::parse(zone).ok())
        .map(|zone| zone.to_string())
        .filter(|zone| name.in_front_of(zone).is_some_and(|front| !front.is_empty() && front != ["*"]));
    let (text, suffix) = match zone {
        // A record right below a zone of Azure that would take the names of everybody's resources.
        Some(zone) if HostName::under(["x"], &zone).is_some_and(|name| cloud_of(&name).is_some()) => {
            (format!("{name} is not a name that one resource of an Azure service has"), name.to_string())
        }
        Some(zone) => (format!("{zone} is not a private DNS zone of an Azure service"), zone),
        None => (format!("{name} is not a name of an Azure service that has private endpoints"), name.to_string()),
    };
    let suffix = suffix.trim_start_matches("*.");
    let hint = format!("if these names are yours to answer, say so: --allow '{suffix}'");
    messages.error_once(place, text, hint);
}

/// Checks an address: that it is one that a host can have. A public one is reported.
pub(super) fn address(text: &Located<String>, place: &Place, messages: &mut Messages) -> Option<IpAddr> {
    let usable =
        |address: &IpAddr| !address.is_unspecified() && !address.is_multicast() && *address != IpAddr::from([255; 4]);
    let address: Option<IpAddr> = text.value.parse().ok().filter(usable);
    match address {
        None => {
            let text_of = format!("\"{}\" is not a valid host address", printable(&text.value));
            let hint = match is_cut(&text.value) {
                true => DEPTH_HINT,
                false => "give an IP address without a prefix length, such as 10.0.0.5",
            };
            messages.error(Some(&place.at(&text.path)), text_of, hint);
        }
        Some(address) if is_public(address) => {
            let text_of = format!("{address} is a public address");
            let hint = "private endpoints have addresses of their network: is this record meant to be here?";
            messages.warning(Some(&place.at(&text.path)), text_of, hint);
        }
        Some(_) => {}
    }
    address
}

fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let shared = matches!(v4.octets(), [100, second, ..] if second & 0xC0 == 64);
            !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_documentation() || shared)
        }
        IpAddr::V6(v6) => {
            let documentation = matches!(v6.segments(), [0x2001, 0xdb8, ..]);
            !(v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local() || documentation)
        }
    }
}
