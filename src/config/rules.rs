//! `[[zone]]`, `[[forward]]` and `[[upstream]]`: tables that stand once for each zone or address.

use std::collections::HashSet;
use std::ops::Range;

use super::file::{Facts, read_seconds};
use super::settings::{ForwardSpec, Settings};
use super::upstream::read_upstream;
use crate::document::{Document, Placed, TableReader};
use crate::forward::{AZURE_DNS, Limits, Ports, Target};
use crate::records::{Missing, Zone};
use crate::wire::Name;

pub(super) fn read_zones(
    document: &Document<'_>,
    reader: &TableReader<'_>,
    facts: &Facts<'_>,
    settings: &mut Settings,
) {
    let mut seen = HashSet::new();
    for table in reader.tables("zone") {
        let section = document.reader(table.value, "[[zone]]");
        section.missing(&table.span, "name", "name = \"privatelink.api.azureml.ms\"");
        let name = section.text("name");
        let missing = section.text("missing").and_then(|text| match text.value {
            "forward" => Some(Missing::Forward),
            "nxdomain" => Some(Missing::NxDomain),
            _ => {
                document.error(text.span, "`missing` is neither \"forward\" nor \"nxdomain\"", "missing = \"forward\"");
                None
            }
        });
        section.finish();
        let Some(text) = name else { continue };
        let Some(apex) = read_name(document, "name", &text) else {
            continue;
        };
        let missing = missing.unwrap_or_default();
        if missing == Missing::NxDomain {
            warn_of_public_zone(document, &apex, text.span.clone(), facts);
        }
        if is_new(document, &mut seen, &apex, text.span) {
            settings.zones.push(Zone { apex, missing });
        }
    }
}

fn warn_of_public_zone(document: &Document<'_>, apex: &Name, span: Range<usize>, facts: &Facts<'_>) {
    let mut zones = facts.public_zones.iter().filter_map(|zone| Name::parse(zone).ok());
    if let Some(zone) = zones.find(|zone| zone.is_within(apex)) {
        let message =
            format!("{apex} claims a whole public zone: every other name in {zone} stops to exist for your clients");
        document.warning(span, message, "missing = \"forward\", or name the privatelink zone instead");
    }
}

pub(super) fn read_forwards(
    document: &Document<'_>,
    reader: &TableReader<'_>,
    facts: &Facts<'_>,
    settings: &mut Settings,
) {
    let mut seen = HashSet::new();
    for table in reader.tables("forward") {
        let section = document.reader(table.value, "[[forward]]");
        section.missing(&table.span, "zone", "zone = \".\"");
        section.missing(&table.span, "upstreams", "upstreams = [\"168.63.129.16\"]");
        let zone = section.text("zone");
        let upstreams = section.texts("upstreams");
        let max_ttl = read_seconds(document, &section, "max_ttl");
        let max_negative_ttl = read_seconds(document, &section, "max_negative_ttl");
        let upstreams_span = section.key_span("upstreams").unwrap_or_else(|| table.span.clone());
        section.finish();
        let (Some(zone_text), Some(upstreams)) = (zone, upstreams) else {
            continue;
        };
        let Some(zone) = read_name(document, "zone", &zone_text) else {
            continue;
        };
        if upstreams.is_empty() {
            document.error(
                upstreams_span,
                format!("the rule for {zone} has no upstreams"),
                "upstreams = [\"168.63.129.16\"]",
            );
        }
        let mut targets = Vec::new();
        for text in &upstreams {
            let Some(target) = read_upstream(document, text) else {
                continue;
            };
            warn_of_self(document, &target, text.span.clone(), facts, settings);
            targets.push(target);
        }
        if is_new(document, &mut seen, &zone, zone_text.span) && !targets.is_empty() {
            settings.forwards.retain(|known| known.zone != zone);
            settings.forwards.push(ForwardSpec { zone, upstreams: targets, max_ttl, max_negative_ttl });
        }
    }
}

fn warn_of_self(document: &Document<'_>, target: &Target, span: Range<usize>, facts: &Facts<'_>, settings: &Settings) {
    let upstream = target.address;
    let is_self = settings.listen.dns.iter().any(|listen| {
        let same_address = listen.ip() == upstream.ip()
            || (listen.ip().is_unspecified()
                && listen.is_ipv4() == upstream.is_ipv4()
                && (facts.is_local)(upstream.ip()));
        listen.port() == upstream.port() && same_address
    });
    if is_self {
        let message = format!("the upstream {target} is this server itself: what it forwards comes back to it");
        document.warning(span, message, "name the resolver behind it, such as \"168.63.129.16\"");
    }
}

fn read_ports(document: &Document<'_>, ports: Placed<&str>, target: Option<&Target>) -> Ports {
    match ports.value {
        "fresh" => Ports::Fresh,
        "pool" => {
            if target.is_some_and(Target::is_azure_dns) {
                let message =
                    "Azure DNS is asked at most 1,000 times a second, for which fresh ports cost next to nothing";
                document.warning(ports.span, message, "leave `ports` out: fresh ports are harder to guess");
            }
            Ports::Pool
        }
        _ => {
            document.error(ports.span, "`ports` is neither \"fresh\" nor \"pool\"", "ports = \"fresh\"");
            Ports::Fresh
        }
    }
}

pub(super) fn read_upstreams(document: &Document<'_>, reader: &TableReader<'_>, settings: &mut Settings) {
    for table in reader.tables("upstream") {
        let section = document.reader(table.value, "[[upstream]]");
        section.missing(&table.span, "address", "address = \"168.63.129.16\"");
        let target = section.text("address").and_then(|text| read_upstream(document, &text));
        let default = match &target {
            Some(target) if target.address == AZURE_DNS => Limits::AZURE,
            _ => Limits::default(),
        };
        let figure =
            |key, default: u32| section.number(key, 0..=1_000_000).map_or(default, |number| number.value as u32);
        let ports = section.text("ports").map_or(Ports::Fresh, |ports| read_ports(document, ports, target.as_ref()));
        let limits = Limits {
            ports,
            queries_per_second: figure("queries_per_second", default.queries_per_second),
            pending: figure("pending", default.pending),
        };
        section.finish();
        if let Some(target) = target {
            settings.upstream_limits.retain(|(address, _)| *address != target.address);
            settings.upstream_limits.push((target.address, limits));
        }
    }
}

pub(super) fn read_name(document: &Document<'_>, key: &str, text: &Placed<&str>) -> Option<Name> {
    match Name::parse(text.value) {
        Ok(name) if name.labels().any(|label| label.contains(&b'*')) => {
            document.error(
                text.span.clone(),
                format!("`{key}` is a zone: it takes no `*`"),
                "a zone holds all names below it",
            );
            None
        }
        Ok(name) => Some(name),
        Err(error) => {
            document.error(
                text.span.clone(),
                format!("`{key}` is no domain name: {error}"),
                "a zone such as \"privatelink.api.azureml.ms\"",
            );
            None
        }
    }
}

/// Notes a zone that stands twice; whether it is new.
fn is_new(document: &Document<'_>, seen: &mut HashSet<Name>, zone: &Name, span: Range<usize>) -> bool {
    let new = seen.insert(zone.clone());
    if !new {
        document.error(
            span,
            format!("the zone {zone} stands here a second time"),
            "put what belongs to it into one table",
        );
    }
    new
}
