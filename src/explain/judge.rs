//! One verdict, one reason, one fix, from the steps of a query.

use std::net::IpAddr;

use super::case::{Case, Found, Seen, at, one_of, upstreams_of};
use super::explanation::{Cause, Outcome, Step, Verdict};
use super::is_private;
use crate::engine::{AnswerSource, Reason};
use crate::wire::Rtype;

/// What is found.
pub(super) struct Finding {
    pub(super) verdict: Option<Verdict>,
    pub(super) cause: Cause,
    pub(super) reason: String,
    pub(super) fix: Option<String>,
}

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
        if self.refusal == Some(Reason::BudgetTimeout) {
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
            _ if self.attempts.last().is_some_and(|tried| tried.cause == Some(Cause::UpstreamWithoutEdns)) => {
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

    fn private_upstream(&self) -> Found {
        let by = self.last_rule().map_or_else(|| "An upstream".to_owned(), upstreams_of);
        let reason = if self.source == Some(AnswerSource::Cache) {
            format!("A cached answer of {by} has the private address.")
        } else {
            format!("{by} answers with a private address.")
        };
        (Cause::PrivateUpstream, reason, None)
    }

    fn no_data(&self) -> Found {
        let by = self.last_rule().map_or_else(|| "The upstream".to_owned(), upstreams_of);
        (Cause::NoData, format!("{by} has no {} records for {}.", self.question.rtype, self.last_name()), None)
    }
}
