//! From the texts of metadata to names and addresses, or messages: nothing passes that the user did not let in.

use std::net::IpAddr;

use super::Options;
use super::message::{Messages, Place, printable};
use crate::azure::metadata::{Listed, Located};
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
            let hint = "print the object again: its endpoint may just be made";
            messages.warning(Some(&place.at(&listed.name.path)), text, hint);
            return None;
        }
        let addresses = listed.addresses.iter();
        let addresses = addresses.filter_map(|it| address(it, place, messages)).collect();
        Some(Known { name, addresses, ttl: listed.ttl })
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
            messages.error(
                Some(&place),
                format!("\"{}\" is no host name: {}", printable(&text.value), printable(&error.to_string())),
                "take it out of the input",
            );
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

/// Refuses a name that no service of Azure has; a whole zone of such names at once.
fn refuse_foreign(name: &HostName, zone: Option<&str>, place: &Place, messages: &mut Messages) {
    let zone = zone
        .and_then(|zone| HostName::parse(zone).ok())
        .map(|zone| zone.to_string())
        .filter(|zone| name.in_front_of(zone).is_some());
    let (text, suffix) = match zone {
        Some(zone) => (format!("{zone} is no private DNS zone of an Azure service"), zone),
        None => (format!("{name} is no name of an Azure service that has private endpoints"), name.to_string()),
    };
    let suffix = suffix.trim_start_matches("*.");
    let hint = format!("if these names are yours to answer, say so: --allow '{suffix}'");
    messages.error_once(place, text, hint);
}

/// Checks an address: that it is one that a host can have.
pub(super) fn address(text: &Located<String>, place: &Place, messages: &mut Messages) -> Option<IpAddr> {
    let usable =
        |address: &IpAddr| !address.is_unspecified() && !address.is_multicast() && *address != IpAddr::from([255; 4]);
    let address = text.value.parse().ok().filter(usable);
    if address.is_none() {
        let text_of = printable(&text.value);
        messages.error(
            Some(&place.at(&text.path)),
            format!("\"{text_of}\" is no address of a host"),
            "print the object again; addresses stand alone, without a prefix length",
        );
    }
    address
}
