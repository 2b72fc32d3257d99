//! `[[zone]]`, `[[forward]]` and `[[upstream]]`: array-of-table sections.

use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::Range;

use super::environment::Environment;
use super::reverse::zones_of;
use super::settings::{ForwardSpec, Settings};
use super::upstream::read_upstream;
use super::values::{read_name, read_seconds};
use crate::document::{Document, Placed, TableReader};
use crate::forward::{AZURE_DNS, Limits, Ports, Target};
use crate::records::file::read_prefix;
use crate::records::{Missing, ZONES_MAX, Zone};
use crate::wire::Name;

pub(super) fn read_zones(
    document: &Document<'_>,
    reader: &TableReader<'_>,
    environment: &Environment<'_>,
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
                document.error(text.span, "`missing` must be one of forward, nxdomain", "missing = \"forward\"");
                None
            }
        });
        section.finish();
        let Some(text) = name else { continue };
        let missing = missing.unwrap_or_default();
        for apex in read_zone(document, "name", &text) {
            if missing == Missing::NxDomain {
                warn_of_claimed_zone(document, &apex, text.span.clone(), environment);
            }
            if settings.zones.len() == ZONES_MAX {
                let message = format!("there are more than {ZONES_MAX} zones");
                document.error(text.span, message, "take zones out from here on");
                return;
            }
            if is_new(document, &mut seen, &apex, text.span.clone()) {
                settings.zones.push(Zone { apex, missing });
            }
        }
    }
}

fn warn_of_claimed_zone(document: &Document<'_>, apex: &Name, span: Range<usize>, environment: &Environment<'_>) {
    let mut zones = environment.public_zones.iter().filter_map(|zone| Name::parse(zone).ok());
    let message = if let Some(zone) = zones.find(|zone| zone.is_within(apex)) {
        format!(
            "{apex} would make this server authoritative for a public zone: all other names in {zone} will cease to exist for your clients"
        )
    } else if apex.labels().next().is_some_and(|label| label.to_ascii_lowercase().starts_with(b"privatelink")) {
        format!(
            "{apex} holds the private endpoints of others as well: those without a record here will cease to exist for your clients"
        )
    } else {
        return;
    };
    document.warning(span, message, "missing = \"forward\"");
}

pub(super) fn read_forwards(
    document: &Document<'_>,
    reader: &TableReader<'_>,
    environment: &Environment<'_>,
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
        let zones = read_zone(document, "zone", &zone_text);
        if upstreams.is_empty() {
            document.error(
                upstreams_span.clone(),
                format!("the rule for {} has no upstreams", zone_text.value.escape_debug()),
                "upstreams = [\"168.63.129.16\"]",
            );
        }
        let mut targets = Vec::new();
        for text in &upstreams {
            let Some(target) = read_upstream(document, text) else {
                continue;
            };
            warn_of_self(document, &target, text.span.clone(), environment, settings);
            if targets.contains(&target) {
                document.warning(text.span.clone(), format!("{target} is in this rule twice"), "remove one of the two");
            } else {
                targets.push(target);
            }
        }
        warn_of_mixture(document, &targets, upstreams_span);
        for zone in zones {
            if is_new(document, &mut seen, &zone, zone_text.span.clone()) && !targets.is_empty() {
                settings.forwards.retain(|known| known.zone != zone);
                settings.forwards.push(ForwardSpec { zone, upstreams: targets.clone(), max_ttl, max_negative_ttl });
            }
        }
    }
}

/// The upstreams of a rule serve in order of health and speed, so they have to know the same names.
fn warn_of_mixture(document: &Document<'_>, targets: &[Target], span: Range<usize>) {
    let other = targets.iter().find(|target| !target.is_azure_dns());
    if let Some(other) = other.filter(|_| targets.iter().any(Target::is_azure_dns)) {
        document.warning(
            span,
            format!(
                "Azure DNS and {other} in one rule: they know different names, and whichever responds faster decides"
            ),
            "a rule of its own for the zones that each of them serves",
        );
    }
}

fn warn_of_self(
    document: &Document<'_>,
    target: &Target,
    span: Range<usize>,
    environment: &Environment<'_>,
    settings: &Settings,
) {
    let upstream = target.address;
    let is_self = settings.listen.dns.iter().any(|listen| {
        let same_address = listen.ip() == upstream.ip()
            || (listen.ip().is_unspecified()
                && listen.is_ipv4() == upstream.is_ipv4()
                && (environment.is_local)(upstream.ip()));
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
            document.error(ports.span, "`ports` must be one of fresh, pool", "ports = \"fresh\"");
            Ports::Fresh
        }
    }
}

pub(super) fn read_upstreams(document: &Document<'_>, reader: &TableReader<'_>, settings: &mut Settings) {
    let mut seen = HashSet::new();
    for table in reader.tables("upstream") {
        let section = document.reader(table.value, "[[upstream]]");
        section.missing(&table.span, "address", "address = \"168.63.129.16\"");
        let target = section.text("address").and_then(|text| read_upstream(document, &text));
        let default = match &target {
            Some(target) if target.address == AZURE_DNS => Limits::AZURE,
            _ => Limits::default(),
        };
        let figure = |key, default: u32| {
            section.number(key, 0..=1_000_000, default.into()).map_or(default, |number| number.value as u32)
        };
        let ports = section.text("ports").map_or(Ports::Fresh, |ports| read_ports(document, ports, target.as_ref()));
        let limits = Limits {
            ports,
            queries_per_second: figure("queries_per_second", default.queries_per_second),
            pending: figure("pending", default.pending),
        };
        let span = section.key_span("address").unwrap_or_else(|| table.span.clone());
        section.finish();
        if let Some(target) = target {
            if !seen.insert(target.address) {
                let message = format!("the upstream {} is defined twice: the last definition counts", target.address);
                document.warning(span.clone(), message, "put both into one [[upstream]]");
            }
            let rules = settings.forwards.iter().flat_map(|rule| &rule.upstreams);
            let mut used = rules.chain(&settings.azure.public_fallback);
            if !used.any(|used| used.address == target.address) {
                let message = format!("no rule names the upstream {}: these limits have no effect", target.address);
                document.warning(span, message, "write the address as in the rule, port included");
            }
            settings.upstream_limits.retain(|(address, _)| *address != target.address);
            settings.upstream_limits.push((target.address, limits));
        }
    }
}

/// A zone, or the reverse zones of a prefix; none where it is neither.
fn read_zone(document: &Document<'_>, key: &str, text: &Placed<&str>) -> Vec<Name> {
    if let Ok(address) = text.value.parse::<IpAddr>() {
        let message = format!("`{key}` is an address, not a zone");
        document.error(
            text.span.clone(),
            message,
            format!("\"{address}/{}\" for its reverse zone", if address.is_ipv4() { 32 } else { 128 }),
        );
        return Vec::new();
    }
    if text.value.contains('/') {
        return read_prefix(document, key, text).map(zones_of).unwrap_or_default();
    }
    read_name(document, key, text).into_iter().collect()
}

/// Notes a zone that is defined twice; whether it is new.
fn is_new(document: &Document<'_>, seen: &mut HashSet<Name>, zone: &Name, span: Range<usize>) -> bool {
    let new = seen.insert(zone.clone());
    if !new {
        document.error(span, format!("zone {zone} is defined twice"), "put both into one table");
    }
    new
}
