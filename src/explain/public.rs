//! Why an answer is not the private one: no record, none that this client sees, none that the CNAMEs lead to.

use super::case::{Case, Found, Unapproved, at, one_of, upstreams_of};
use super::explanation::{Cause, Hidden, Step};
use super::{is_private, is_privatelink};
use crate::forward::{AZURE_DNS, Disposition};
use crate::wire::Name;

impl Case<'_> {
    pub(super) fn public(&self) -> Found {
        let is_service = self.is_service();
        let passed = self.names.iter().find(|name| is_privatelink(name));
        if !is_service && passed.is_none() {
            let reason = format!("No service of Azure with private endpoints has names like {}.", self.question.name);
            return (Cause::PublicName, reason, None);
        }
        if let Some(found) = self.unapproved().or_else(|| self.outside_resolver()) {
            return found;
        }
        if let Some(found) = self.rule_not_reached(passed) {
            return found;
        }
        if let Some(found) = self.reload_rejected() {
            return found;
        }
        let public = &self.question.name;
        match passed {
            Some(private) => {
                let zone = privatelink_zone(private);
                (
                    Cause::NoRecord,
                    format!(
                        "{private} has no record, neither here nor in a private DNS zone of Azure, though a private \
                         endpoint exists."
                    ),
                    Some(format!(
                        "Add a record for {} with the endpoint's private address (`pldns generate`), or link a zone \
                         {zone} that has it.",
                        if is_privatelink(public) { private } else { public }
                    )),
                )
            }
            None => self.no_endpoint(),
        }
    }

    pub(super) fn no_such_name(&self) -> Found {
        let by = self.last_rule().map_or_else(|| "The upstream".to_owned(), upstreams_of);
        let soa = self.reply.into_iter().flat_map(|reply| &reply.authority).find(|record| record.rtype == "SOA");
        let soa = soa.and_then(|record| Name::parse(&record.name).ok());
        let name = self.last_name();
        if let Some(zone) = soa.as_ref().filter(|zone| is_privatelink(zone) && name.is_within(zone)) {
            return (
                Cause::Shadowed,
                format!("The private DNS zone {zone} is linked to the network and has no record for {name}."),
                Some(format!(
                    "Add a record for {} here or in the zone, unlink the zone, or set its link to fall back to the \
                     internet (NxDomainRedirect).",
                    self.question.name
                )),
            );
        }
        if let Some(found) = self.unapproved() {
            return found;
        }
        if (self.is_service() || is_privatelink(name))
            && let Some(found) = self.reload_rejected()
        {
            return found;
        }
        (
            Cause::NoSuchName,
            format!("{by} says that {name} does not exist."),
            Some("Check the spelling, and whether the resource still exists.".to_owned()),
        )
    }

    /// The name, or one of its chain, has a record that this client does not see.
    pub(super) fn hidden(&self) -> Option<Found> {
        let hidden: &Hidden = self.steps.iter().find_map(|step| match step {
            Step::Table(table) => table.hidden.first(),
            _ => None,
        })?;
        let (client, networks) = (self.question.client, one_of(hidden.networks.iter().map(String::as_str)));
        let place = at(&hidden.file, hidden.line);
        Some((
            Cause::HiddenByView,
            format!("The record {}{place} is only for clients in {networks}, and {client} is not.", hidden.owner),
            Some(format!(
                "Ask as a client of {networks}, or add the network of {client} to `clients` of the record{place}."
            )),
        ))
    }

    /// There is a private endpoint for the name, and its connection is not approved.
    fn unapproved(&self) -> Option<Found> {
        let is_for = |unapproved: &&Unapproved| {
            let publics = self.names.iter().flat_map(|name| (self.azure.public_names)(name));
            let mut all = self.names.iter().cloned().chain(publics);
            all.any(|name| unapproved.names.contains(&name))
        };
        let Unapproved { endpoint, state, .. } = self.around.unapproved.iter().find(is_for)?;
        Some((
            Cause::PendingApproval,
            format!("The private endpoint {endpoint} is for {}, but {state}.", self.question.name),
            Some(
                "Approve its connection at the resource (`az network private-endpoint-connection approve`); the record \
                 follows by itself."
                    .to_owned(),
            ),
        ))
    }

    fn no_endpoint(&self) -> Found {
        let name = self.last_name();
        let table = &self.snapshot.table;
        let privates = self.names.iter().flat_map(|name| (self.azure.private_names)(name));
        let recorded = privates.into_iter().find(|name| table.rrsets(name.to_lowercase().as_wire()).next().is_some());
        if let Some(private) = recorded {
            return (
                Cause::NoEndpoint,
                format!(
                    "There is a record for {private}, but Azure has no CNAME from {name} to it: the endpoint is gone or \
                     not approved."
                ),
                Some(format!("Approve the endpoint's connection, or add a record for {} too.", self.question.name)),
            );
        }
        (
            Cause::NoEndpoint,
            format!("{name} has no CNAME into a privatelink zone: the resource has no approved private endpoint."),
            Some(
                "Check the name; then create a private endpoint or approve its connection, in the resource's own tenant \
                 if that is another one."
                    .to_owned(),
            ),
        )
    }

    /// The rule that answered leads to resolvers that cannot know private DNS zones.
    fn outside_resolver(&self) -> Option<Found> {
        let rule = self.last_rule()?;
        let outside = rule.upstreams.iter().find(|upstream| is_outside(&upstream.upstream))?;
        let zone = rule.zone.as_deref().unwrap_or(".");
        Some((
            Cause::OutsideResolver,
            format!(
                "The rule for {zone} leads to {}, a resolver outside of the network that knows no private DNS zone.",
                outside.upstream
            ),
            Some(format!("Let the rule for {zone} lead to {}, or add a record here.", AZURE_DNS.ip())),
        ))
    }

    /// There is a rule for the privatelink zone, and it had no part in the answer.
    fn rule_not_reached(&self, passed: Option<&Name>) -> Option<Found> {
        let privates = self.names.iter().flat_map(|name| (self.azure.private_names)(name));
        let candidates: Vec<Name> = passed.cloned().into_iter().chain(privates).collect();
        for private in candidates {
            let lower = private.to_lowercase();
            let (disposition, zone_len) = self.snapshot.rules.find(lower.as_wire());
            let start = lower.as_wire().len().checked_sub(zone_len)?;
            let Some(zone) = lower.as_wire().get(start..).and_then(Name::from_wire) else { continue };
            let Disposition::Forward(rule) = disposition else { continue };
            let upstreams: Vec<String> = rule.upstreams.iter().map(ToString::to_string).collect();
            let was_used = self.steps.iter().any(|step| match step {
                // A rule with the same upstreams says the same of the name, and they were asked.
                Step::Rule(used) => {
                    used.zone.as_deref().is_some_and(|used| used == zone.to_string())
                        || used.upstreams.iter().map(|used| &used.upstream).eq(&upstreams)
                }
                _ => false,
            });
            if !is_privatelink(&zone) || was_used {
                continue;
            }
            let public = (self.azure.public_names)(&private).first().map_or_else(
                || self.question.name.to_string(),
                |name| name.parent().map_or_else(|| name.to_string(), |parent| parent.to_string()),
            );
            return Some((
                Cause::RuleNotReached,
                format!(
                    "The rule for {zone} is never reached: the answer for {} does not lead there.",
                    self.question.name
                ),
                Some(format!("Make the rule one for the public zone, {public}.")),
            ));
        }
        None
    }

    fn reload_rejected(&self) -> Option<Found> {
        let reload = self.around.reload.as_ref()?;
        Some((
            Cause::ReloadRejected,
            format!(
                "The last reload was rejected ({} problems), so records that were added since are not served.",
                reload.problem_count
            ),
            Some(format!("Fix {} and reload.", reload.problem.lines().next().unwrap_or("what /readyz shows"))),
        ))
    }
}

/// The zone of a privatelink name: from the label `privatelink` on.
fn privatelink_zone(name: &Name) -> Name {
    let mut zone = name.clone();
    while let Some(up) = zone.parent().filter(is_privatelink) {
        zone = up;
    }
    zone
}

/// Whether an upstream is a resolver on the internet, which no private DNS zone is linked to.
fn is_outside(upstream: &str) -> bool {
    let rest = upstream.split_once("://").map_or(upstream, |(_, rest)| rest);
    let end = rest.find(['/', '#']).unwrap_or(rest.len());
    let address = rest.get(..end).and_then(|text| text.parse::<std::net::SocketAddr>().ok());
    address.is_some_and(|address| !is_private(address.ip()) && address.ip() != AZURE_DNS.ip())
}
