//! The engine's steps, written down as they are reported.

use std::cell::RefCell;
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;

use super::explanation::{CacheStep, Hidden, RuleStep, ShownUpstream, Step, TableStep};
use crate::engine::{
    AnswerState, AnswerView, Observer, Responsible, Snapshot, StaleAnswer, Step as EngineStep, matched_owner,
};
use crate::forward::{BuiltIn, Disposition, ForwardRule, UpstreamState};
use crate::records::{Lookup, Match, RecordPlace, Rrset, Soa};
use crate::wire::name::Presented;
use crate::wire::{Name, Rtype, Section};

/// Networks of views that are tried to find what a client does not see.
const NETWORKS_MAX: usize = 4096;

/// Takes the steps of one query.
pub(super) struct Notes<'s> {
    pub(super) snapshot: &'s Snapshot,
    pub(super) rtype: Rtype,
    pub(super) client: IpAddr,
    pub(super) now: Instant,
    pub(super) upstreams: Vec<UpstreamState>,
    pub(super) steps: RefCell<Vec<Step>>,
}

impl Observer for Notes<'_> {
    fn step(&self, step: EngineStep<'_>) {
        let shown = match step {
            EngineStep::Access { is_allowed } => Step::Access { allowed: is_allowed },
            EngineStep::Table { name, found } => Step::Table(self.shown_lookup(name, found)),
            EngineStep::Rule { name, disposition, zone_len } => {
                Step::Rule(self.shown_rule(name, disposition, zone_len))
            }
            EngineStep::Cache { name, found, stale } => Step::Cache(self.shown_cache(name, found, stale)),
            EngineStep::Alias { target, responsible } => self.shown_alias(target, responsible),
            EngineStep::Guard { name, action } => {
                Step::Guard { name: Presented(name).to_string(), action: action.name().to_owned() }
            }
            EngineStep::Open { target } => Step::Open { target: Presented(target).to_string() },
            EngineStep::Cut { target } => Step::Cut { target: Presented(target).to_string() },
        };
        self.push(shown);
    }
}

impl Notes<'_> {
    pub(super) fn push(&self, step: Step) {
        self.steps.borrow_mut().push(step);
    }

    fn shown_lookup(&self, name: &[u8], found: &Lookup<'_>) -> TableStep {
        let (what, how) = match found {
            Lookup::Answer(_, how) => ("records", Some(*how)),
            Lookup::Alias(_, how) => ("alias", Some(*how)),
            Lookup::Pointers(_) => ("records", Some(Match::Reverse)),
            Lookup::Any(how) => ("any", Some(*how)),
            Lookup::ApexSoa(_) => ("soa", None),
            Lookup::NoData(_, how) => ("no_data", Some(*how)),
            Lookup::NxDomain(_) => ("nx_domain", None),
            Lookup::Missing => ("nothing", None),
        };
        let (set, soa) = match found {
            Lookup::Answer(set, _) | Lookup::Alias(set, _) => (Some(set), None),
            Lookup::ApexSoa(soa) | Lookup::NoData(soa, _) | Lookup::NxDomain(soa) => (None, Some(soa)),
            _ => (None, None),
        };
        let table = &self.snapshot.table;
        let owner = how.and_then(|how| matched_owner(table, name, self.rtype, self.client, how));
        let place = owner.as_ref().and_then(|owner| self.place(owner, set));
        let hidden = match found {
            Lookup::Missing | Lookup::NxDomain(_) | Lookup::NoData(..) => self.hidden(name),
            _ => Vec::new(),
        };
        let what = if what == "nothing" && !hidden.is_empty() { "other_views" } else { what };
        TableStep {
            name: Presented(name).to_string(),
            found: what.to_owned(),
            by: how.map(|how| word(how).to_owned()),
            owner: owner.map(|owner| owner.to_string()),
            file: place.map(|place| place.file.to_owned()),
            line: place.map(|place| place.line),
            view: set.and_then(|set| self.view(set)),
            target: set.filter(|set| set.rtype == Rtype::CNAME).and_then(|set| target(set)),
            zone: soa.and_then(|soa| owner_of(soa, name)),
            hidden,
        }
    }

    /// Where the records that matched are written; for a name without data of the type, where its first visible record is.
    fn place(&self, owner: &Name, set: Option<&Rrset<'_>>) -> Option<RecordPlace<'_>> {
        let (table, lower) = (&self.snapshot.table, owner.to_lowercase());
        let is_visible = |set: &Rrset<'_>| table.views().fit(set.view, self.client).is_some();
        let set = set.copied().or_else(|| table.rrsets(lower.as_wire()).find(is_visible))?;
        table.place(lower.as_wire(), set.rtype, set.view)
    }

    /// The records of a name that only clients of other networks see.
    pub(super) fn hidden(&self, name: &[u8]) -> Vec<Hidden> {
        let table = &self.snapshot.table;
        let mut found: Vec<(Name, u16)> = Vec::new();
        let mut hidden = Vec::new();
        for network in table.views().all_networks().take(NETWORKS_MAX) {
            let client = network.network();
            let (Lookup::Answer(set, how) | Lookup::Alias(set, how)) = table.lookup(name, self.rtype, client) else {
                continue;
            };
            let Some(owner) = matched_owner(table, name, self.rtype, client, how) else {
                continue;
            };
            let key = (owner, set.view);
            if table.views().fit(set.view, self.client).is_some() || found.contains(&key) {
                continue;
            }
            let place = self.place(&key.0, Some(&set));
            hidden.push(Hidden {
                owner: key.0.to_string(),
                rtype: set.rtype.to_string(),
                networks: table.views().clients(set.view).iter().map(ToString::to_string).collect(),
                file: place.map(|place| place.file.to_owned()),
                line: place.map(|place| place.line),
            });
            found.push(key);
        }
        hidden
    }

    /// The network of the client that records are for, where they are not for all clients.
    fn view(&self, set: &Rrset<'_>) -> Option<String> {
        let prefix_len = self.snapshot.table.views().fit(set.view, self.client)?.checked_sub(1)?;
        let network = IpNet::new(self.client, u8::try_from(prefix_len).ok()?).ok()?;
        Some(network.trunc().to_string())
    }

    /// A CNAME of an upstream's answer, and what is responsible for its target.
    fn shown_alias(&self, target: &[u8], responsible: Responsible<'_>) -> Step {
        let (word, zone, upstreams) = match responsible {
            Responsible::SameUpstreams => ("same_upstreams", None, Vec::new()),
            Responsible::Table => ("table", None, Vec::new()),
            Responsible::Rule { disposition: Disposition::Forward(rule), zone_len } => {
                ("rule", zone_of(target, zone_len), self.upstreams_of(rule))
            }
            Responsible::Rule { disposition: Disposition::BuiltIn(_), zone_len } => {
                ("built_in", zone_of(target, zone_len), Vec::new())
            }
        };
        let responsible = word.to_owned();
        Step::Alias { target: Presented(target).to_string(), responsible, zone, upstreams }
    }

    fn shown_rule(&self, name: &[u8], disposition: &Disposition, zone_len: usize) -> RuleStep {
        let (rule, upstreams) = match disposition {
            Disposition::Forward(rule) => ("forward", self.upstreams_of(rule)),
            Disposition::BuiltIn(BuiltIn::Localhost) => ("localhost", Vec::new()),
            Disposition::BuiltIn(BuiltIn::NoData) => ("no_data", Vec::new()),
            Disposition::BuiltIn(BuiltIn::Designated) => ("designated", Vec::new()),
            Disposition::BuiltIn(BuiltIn::NxDomain) => ("nx_domain", Vec::new()),
        };
        RuleStep { name: Presented(name).to_string(), rule: rule.to_owned(), zone: zone_of(name, zone_len), upstreams }
    }

    /// A rule's upstreams with their health; one that was never asked has none yet.
    pub(super) fn upstreams_of(&self, rule: &ForwardRule) -> Vec<ShownUpstream> {
        let shown = rule.upstreams.iter().map(|target| {
            let state = self.upstreams.iter().find(|state| state.target == *target);
            let word = match state.map(|state| state.is_down) {
                None => "unknown",
                Some(true) => "down",
                Some(false) => "up",
            };
            ShownUpstream {
                upstream: target.to_string(),
                state: word.to_owned(),
                rtt_seconds: state.and_then(|state| state.rtt).map(|rtt| rtt.as_secs_f64()),
                pending: state.map_or(0, |state| state.pending.into()),
                waiting: state.map_or(0, |state| state.waiting as u64),
                last_error: state.and_then(|state| state.last_error.as_ref()).map(|(error, at)| {
                    let age = self.now.saturating_duration_since(*at).as_secs();
                    format!("{error}, {age} s ago")
                }),
            }
        });
        shown.collect()
    }

    fn shown_cache(
        &self,
        name: &[u8],
        found: Option<(AnswerView<'_>, AnswerState)>,
        stale: Option<&StaleAnswer>,
    ) -> CacheStep {
        let (state, age) = match found {
            None => ("absent", None),
            Some((_, AnswerState::Fresh { age, .. })) => ("fresh", Some(u64::from(age))),
            Some((answer, AnswerState::Expired { at })) => {
                let since = self.now.saturating_duration_since(at).as_secs();
                ("expired", Some(u64::from(answer.ttl()) + since))
            }
        };
        let left = |until: Instant| until.saturating_duration_since(self.now).as_secs();
        CacheStep {
            name: Presented(name).to_string(),
            state: state.to_owned(),
            age_seconds: age,
            ttl_seconds: found.map(|(answer, _)| answer.ttl().into()),
            rcode: found.map(|(answer, _)| answer.rcode().to_string()),
            stale_seconds_left: stale.map(|stale| left(stale.limits.until)),
            stale_seconds_left_while_down: stale.map(|stale| left(stale.limits.until_down)),
        }
    }
}

/// The zone that is so many bytes of a name's end.
fn zone_of(name: &[u8], zone_len: usize) -> Option<String> {
    let zone = name.len().checked_sub(zone_len).and_then(|start| name.get(start..))?;
    Some(Presented(zone).to_string())
}

fn word(how: Match) -> &'static str {
    crate::engine::AnswerSource::from(how).name()
}

fn target(set: &Rrset<'_>) -> Option<String> {
    set.iter().next().map(|(_, data)| Presented(data).to_string())
}

fn owner_of(soa: &Soa<'_>, name: &[u8]) -> Option<String> {
    let record = soa.to_record(&Name::from_wire(name)?, Section::Authority)?;
    Some(record.owner.to_string())
}
