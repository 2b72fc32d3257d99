//! One verdict, one reason, one fix, from the steps of a query.

use std::net::IpAddr;

use super::explanation::{Ask, Cause, Hidden, Outcome, Reply, RuleStep, ShownUpstream, Step, TableStep, Try, Verdict};
use super::walk::{Question, Seen, Surroundings, Unapproved};
use super::{AzureNames, is_private, is_privatelink};
use crate::engine::{AnswerSource, Reason, Snapshot};
use crate::forward::{AZURE_DNS, Disposition, Failure};
use crate::wire::{Name, Rtype};

/// All that is known of a query.
pub(super) struct Case<'c> {
    pub(super) snapshot: &'c Snapshot,
    pub(super) azure: AzureNames,
    pub(super) question: &'c Question,
    pub(super) steps: &'c [Step],
    /// The name and the targets of its CNAMEs.
    pub(super) names: &'c [Name],
    pub(super) outcome: Outcome,
    pub(super) source: Option<AnswerSource>,
    pub(super) refusal: Option<Reason>,
    pub(super) reply: Option<&'c Reply>,
    pub(super) ask: Option<&'c Ask>,
    /// Why upstreams did not answer the last question, where they did not.
    pub(super) failure: Option<Failure>,
    /// What was tried for the last question.
    pub(super) tries: &'c [Try],
    pub(super) is_remembered: bool,
    pub(super) around: &'c Surroundings,
}

/// What is found.
pub(super) struct Finding {
    pub(super) verdict: Option<Verdict>,
    pub(super) cause: Cause,
    pub(super) reason: String,
    pub(super) fix: Option<String>,
}

/// Why, and what to do.
type Found = (Cause, String, Option<String>);

/// Judges a query.
pub(super) fn judge(case: &Case<'_>) -> Finding {
    let (verdict, (cause, reason, fix)) = match case.outcome {
        Outcome::Refused => (Some(Verdict::Refused), case.refused()),
        Outcome::Dropped => (Some(Verdict::Failed), case.dropped()),
        Outcome::Forwarded => (None, case.not_asked()),
        Outcome::Answered => {
            let verdict = case.content();
            (Some(verdict), case.not_seen(verdict).unwrap_or_else(|| case.answered(verdict)))
        }
    };
    Finding { verdict, cause, reason, fix }
}

impl Case<'_> {
    fn refused(&self) -> Found {
        let client = self.question.client;
        match self.refusal {
            Some(Reason::Access) => (
                Cause::Access,
                format!("{client} is in none of the networks of [access] allow."),
                Some(format!("Add the network of {client} to [access] allow, if its clients may use this server.")),
            ),
            Some(Reason::Loop) => (
                Cause::Loop,
                "The query came back to this server: an upstream is this server itself, or forwards to it.".to_owned(),
                Some("Name an upstream in [[forward]] that does not forward to this server.".to_owned()),
            ),
            reason => {
                let word = reason.map_or("unknown", Reason::name);
                (Cause::Refused, format!("Queries of this kind are refused ({word})."), None)
            }
        }
    }

    fn dropped(&self) -> Found {
        let word = self.refusal.map_or("unknown", Reason::name);
        if self.refusal == Some(Reason::NoTurn) {
            return self.over_budget(&[]);
        }
        (Cause::Refused, format!("The query gets no reply ({word})."), None)
    }

    fn not_asked(&self) -> Found {
        let upstreams = self.ask.map_or(&[][..], |ask| &ask.upstreams);
        let name = self.ask.map_or_else(|| self.question.name.to_string(), |ask| ask.name.clone());
        if let Some(found) = self.waiting(upstreams) {
            return found;
        }
        let reason = format!(
            "Neither the records nor the cache answer for {name}: {} would be asked.",
            one_of(upstreams.iter().map(|upstream| upstream.upstream.as_str()))
        );
        (Cause::NotAsked, reason, None)
    }

    /// What the reply says.
    fn content(&self) -> Verdict {
        let Some(reply) = self.reply else { return Verdict::Failed };
        match reply.rcode.as_str() {
            "NXDOMAIN" => return Verdict::Nxdomain,
            "NOERROR" => {}
            _ => return Verdict::Failed,
        }
        let rtype = self.question.rtype;
        let wanted = rtype.to_string();
        let is_data = |record: &&super::ShownRecord| rtype == Rtype::ANY || record.rtype == wanted;
        let data: Vec<_> = reply.answer.iter().filter(is_data).collect();
        if data.is_empty() {
            return Verdict::Nodata;
        }
        let addresses: Vec<IpAddr> = data.iter().filter_map(|record| record.data.parse().ok()).collect();
        match (addresses.iter().any(|&a| is_private(a)), addresses.iter().any(|&a| !is_private(a))) {
            (true, true) => Verdict::Mixed,
            (true, false) => Verdict::Private,
            (false, true) => Verdict::Public,
            (false, false) if self.is_from_table() => Verdict::Private,
            (false, false) => Verdict::Public,
        }
    }

    fn is_from_table(&self) -> bool {
        use AnswerSource::{BuiltIn, PartialWildcard, Record, Reverse, Wildcard, Zone};
        matches!(self.source, Some(BuiltIn | PartialWildcard | Record | Reverse | Wildcard | Zone))
    }

    /// All is as it should be here, but no query of this client ever came.
    fn not_seen(&self, verdict: Verdict) -> Option<Found> {
        let Some(Seen::Never { minutes }) = self.around.seen.filter(|_| verdict == Verdict::Private) else {
            return None;
        };
        let (client, name) = (self.question.client, &self.question.name);
        Some((
            Cause::ClientNotSeen,
            format!(
                "{name} is private here, but no query of {client} came since the server started {minutes} min ago: it asks \
                 another resolver, or a forwarder asks for it."
            ),
            Some(format!(
                "Set the DNS servers of the network of {client} to this server and renew its lease; behind a forwarder, \
                 explain for the forwarder's address and see its conditional forwarders (`pldns zones`)."
            )),
        ))
    }

    fn answered(&self, verdict: Verdict) -> Found {
        match self.source {
            Some(AnswerSource::Stale) => return self.stale(),
            Some(AnswerSource::BuiltIn) => {
                let name = self.last_name();
                return (Cause::BuiltIn, format!("{name} is always answered by the server itself."), None);
            }
            _ if verdict == Verdict::Failed => return self.failed(),
            _ if self.tries.last().is_some_and(|tried| tried.cause == Some(Cause::UpstreamWithoutEdns)) => {
                return self.upstream_fault();
            }
            _ => {}
        }
        if self.is_from_table() {
            return self.by_table(verdict);
        }
        let asked = self.steps.iter().any(|step| matches!(step, Step::Upstream(_)));
        if asked && let Some(found) = self.last_rule().and_then(|rule| self.waiting(&rule.upstreams)) {
            return found;
        }
        if verdict != Verdict::Private
            && let Some(found) = self.hidden()
        {
            return found;
        }
        match verdict {
            Verdict::Private => self.private_upstream(),
            Verdict::Public | Verdict::Mixed => self.public(),
            Verdict::Nxdomain => self.no_such_name(),
            _ => self.no_data(),
        }
    }

    fn by_table(&self, verdict: Verdict) -> Found {
        let Some(table) = self.last_table() else {
            return (Cause::Record, "The records table answers.".to_owned(), None);
        };
        let what = format!("{}{}", table.owner.as_deref().unwrap_or(&table.name), at(&table.file, table.line));
        if matches!(verdict, Verdict::Nodata | Verdict::Nxdomain)
            && let Some(found) = self.hidden()
        {
            return found;
        }
        match verdict {
            Verdict::Public | Verdict::Mixed => (
                Cause::PublicRecord,
                format!("The record {what} has a public address."),
                Some(format!("Put the private endpoint's address into the record{}.", at(&table.file, table.line))),
            ),
            Verdict::Nxdomain => {
                let zone = table.zone.as_deref().unwrap_or("its zone");
                (
                    Cause::Zone,
                    format!(
                        "The zone {zone} of the settings has missing = \"nxdomain\", and no record for {}.",
                        table.name
                    ),
                    Some(format!("Add a record for {}, or set missing = \"forward\" for {zone}.", table.name)),
                )
            }
            Verdict::Nodata => {
                (Cause::NoData, format!("{what} has records here, but none of type {}.", self.question.rtype), None)
            }
            _ if table.by.as_deref() == Some("reverse") => {
                (Cause::Record, format!("{} is the PTR name of an address in the records.", table.name), None)
            }
            _ => (Cause::Record, format!("The record {what} answers."), None),
        }
    }

    /// The name, or one of its chain, has a record that this client does not see.
    fn hidden(&self) -> Option<Found> {
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

    fn private_upstream(&self) -> Found {
        let by = self.last_rule().map_or_else(|| "An upstream".to_owned(), upstreams_of);
        let reason = if self.source == Some(AnswerSource::Cache) {
            format!("A cached answer of {by} has the private address.")
        } else {
            format!("{by} answers with a private address.")
        };
        (Cause::PrivateUpstream, reason, None)
    }

    fn public(&self) -> Found {
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

    fn no_such_name(&self) -> Found {
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

    fn no_data(&self) -> Found {
        let by = self.last_rule().map_or_else(|| "The upstream".to_owned(), upstreams_of);
        (Cause::NoData, format!("{by} has no {} records for {}.", self.question.rtype, self.last_name()), None)
    }

    fn stale(&self) -> Found {
        let (_, why, fix) = self.upstream_fault();
        let age = self.steps.iter().rev().find_map(|step| match step {
            Step::Cache(cache) => cache.age_seconds,
            _ => None,
        });
        let age = age.map(|age| format!(", {age} s old,")).unwrap_or_default();
        (Cause::Stale, format!("An expired answer{age} is served: {}", lower_first(&why)), fix)
    }

    fn failed(&self) -> Found {
        if self.is_remembered {
            let by = self.last_rule().map_or_else(|| "the upstreams".to_owned(), upstreams_of);
            return (
                Cause::RememberedFailure,
                format!("{by} failed for {} a moment ago, and is not asked again for up to 5 s.", self.last_name()),
                Some(format!("Ask again in some seconds; if it fails again, ask {by} itself (`--compare`).")),
            );
        }
        let guarded = self.steps.iter().find_map(|step| match step {
            Step::Guard { name, action } if action == "refuse" => Some(name),
            _ => None,
        });
        if let Some(guarded) = guarded {
            let (_, _, fix) = self.hidden().unwrap_or_else(|| self.public());
            return (
                Cause::PublicRefused,
                format!("The answer is public, {guarded} has a record here, and [azure] public_answers is \"refuse\"."),
                fix.or_else(|| Some("Name it in [azure] public_except if it may be public.".to_owned())),
            );
        }
        if self.failure.is_none() && self.source == Some(AnswerSource::Failure) {
            return (
                Cause::Loop,
                format!("The chain of CNAMEs from {} does not end, or is too long.", self.question.name),
                Some("Remove the CNAME that leads back into the chain.".to_owned()),
            );
        }
        self.upstream_fault()
    }

    /// What is wrong with the upstream that was asked last.
    fn upstream_fault(&self) -> Found {
        let rcode = self.reply.map_or("no answer", |reply| reply.rcode.as_str());
        let Some(tried) = self.tries.last() else {
            let by = self.last_rule().map_or_else(|| "The upstream".to_owned(), upstreams_of);
            let down = self.last_rule().is_some_and(|rule| rule.upstreams.iter().all(|one| one.state == "down"));
            if down {
                let fix = format!("See that {by} runs and can be reached from here on port 53, UDP and TCP.");
                return (Cause::UpstreamTimeout, format!("{by} does not respond."), Some(fix));
            }
            let fix = format!("Ask {by} itself (`--compare`), and read its log.");
            return (Cause::UpstreamFailed, format!("{by} answered {rcode}."), Some(fix));
        };
        let upstream = &tried.upstream;
        let error = tried.error.as_deref().map(|error| format!(" ({error})")).unwrap_or_default();
        let cause = tried.cause.unwrap_or(match tried.rcode.as_deref() {
            Some("REFUSED") => Cause::UpstreamRefused,
            _ => Cause::UpstreamFailed,
        });
        let (reason, fix) = match cause {
            Cause::UpstreamTimeout => (
                format!("{upstream} does not respond."),
                format!("See that {upstream} runs and that no firewall blocks the way there, UDP and TCP."),
            ),
            Cause::UpstreamUnreachable => (
                format!("{upstream} cannot be reached{error}."),
                format!("See that {upstream} runs and listens on this port, or name another in [[forward]]."),
            ),
            Cause::UpstreamCertificate => (
                format!("The certificate of {upstream} is not accepted{error}."),
                format!(
                    "Renew the certificate of {upstream}, or set the name after `#` in the rule or the authorities of [tls] \
                     upstream_ca."
                ),
            ),
            Cause::UpstreamRefused => (
                format!("{upstream} answers REFUSED."),
                format!("Allow this server's address at {upstream}, or name another in [[forward]]."),
            ),
            Cause::UpstreamTruncated => (
                format!("{upstream} truncates its answer over UDP and does not answer over TCP{error}."),
                format!("Open TCP to {upstream}: a firewall on the way lets only UDP through."),
            ),
            Cause::UpstreamWithoutEdns => (
                format!("{upstream} answers only queries without EDNS, so the server tries in vain first."),
                format!("Replace {upstream}, or the firewall on the way that drops EDNS (RFC 6891)."),
            ),
            _ => {
                let rcode = tried.rcode.as_deref().unwrap_or(rcode);
                (
                    format!("{upstream} answers {rcode}{error}."),
                    format!("Ask {upstream} itself (`--compare`), and read its log."),
                )
            }
        };
        (cause, reason, Some(fix))
    }

    /// Queries of clients wait for the budgets of all these upstreams.
    fn waiting(&self, upstreams: &[ShownUpstream]) -> Option<Found> {
        let all_wait = !upstreams.is_empty() && upstreams.iter().all(|one| one.waiting > 0 && one.state != "down");
        all_wait.then(|| self.over_budget(upstreams))
    }

    fn over_budget(&self, upstreams: &[ShownUpstream]) -> Found {
        let (waiting, pending) = upstreams.iter().fold((0, 0), |(w, p), one| (w + one.waiting, p + one.pending));
        let by = one_of(upstreams.iter().map(|upstream| upstream.upstream.as_str()));
        (
            Cause::Budget,
            format!("The budget of {by} is used up: {pending} queries are pending and {waiting} wait for a turn."),
            Some(
                "Find the client that asks most (log.queries), or run another replica: the limits of Azure DNS are for \
                 each machine."
                    .to_owned(),
            ),
        )
    }

    fn is_service(&self) -> bool {
        (self.azure.is_service_name)(&self.question.name)
    }

    fn last_name(&self) -> &Name {
        self.names.last().unwrap_or(&self.question.name)
    }

    fn last_rule(&self) -> Option<&RuleStep> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Rule(rule) if rule.rule == "forward" => Some(rule),
            _ => None,
        })
    }

    fn last_table(&self) -> Option<&TableStep> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Table(table) if table.found != "nothing" => Some(table),
            _ => None,
        })
    }
}

/// ` in FILE:LINE`, where it is known.
fn at(file: &Option<String>, line: Option<u32>) -> String {
    match (file, line) {
        (Some(file), Some(line)) => format!(" in {file}:{line}"),
        _ => String::new(),
    }
}

fn upstreams_of(rule: &RuleStep) -> String {
    one_of(rule.upstreams.iter().map(|upstream| upstream.upstream.as_str()))
}

/// `a`, `a or b`, `a, b or c`.
fn one_of<'t>(words: impl Iterator<Item = &'t str>) -> String {
    let words: Vec<_> = words.collect();
    match words.split_last() {
        None => "no upstream".to_owned(),
        Some((only, [])) => (*only).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

fn lower_first(text: &str) -> String {
    // An address or a name is not changed by this.
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
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
