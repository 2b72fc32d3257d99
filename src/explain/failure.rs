//! What upstreams did wrong: no answer, a stale one instead, budgets that are used up.

use super::case::{Case, Found, one_of, upstreams_of};
use super::explanation::{Cause, ShownUpstream, Step};
use crate::engine::AnswerSource;

impl Case<'_> {
    pub(super) fn stale(&self) -> Found {
        let (_, why, fix) = self.upstream_fault();
        let age = self.steps.iter().rev().find_map(|step| match step {
            Step::Cache(cache) => cache.age_seconds,
            _ => None,
        });
        let age = age.map(|age| format!(", {age} s old,")).unwrap_or_default();
        (Cause::Stale, format!("An expired answer{age} is served: {}", lower_first(&why)), fix)
    }

    pub(super) fn failed(&self) -> Found {
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
    pub(super) fn upstream_fault(&self) -> Found {
        let rcode = self.reply.map_or("no answer", |reply| reply.rcode.as_str());
        let Some(tried) = self.attempts.last() else {
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
    pub(super) fn waiting(&self, upstreams: &[ShownUpstream]) -> Option<Found> {
        let all_wait = !upstreams.is_empty() && upstreams.iter().all(|one| one.waiting > 0 && one.state != "down");
        all_wait.then(|| self.over_budget(upstreams))
    }

    pub(super) fn over_budget(&self, upstreams: &[ShownUpstream]) -> Found {
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
}

fn lower_first(text: &str) -> String {
    // An address or a name is not changed by this.
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
