//! How a name is answered, step by step, as JSON. The engine plays the query through; this writes down what it tells.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use super::guard::refuse;
use crate::engine::{
    AnswerState, AnswerView, Client, Explained, Observer, Responsible, Snapshot, StaleAnswer, Step, matched_owner,
};
use crate::forward::{Disposition, ForwardRule, Here, UpstreamState};
use crate::rdata::present;
use crate::records::{Lookup, Match, Rrset, Soa};
use crate::wire::header::{AA, TC};
use crate::wire::name::Presented;
use crate::wire::{Message, Name, OwnedRecord, Rtype, Section, Transport};

/// The client where none is named: this machine.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What is to be explained.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// In presentation form.
    name: String,
    /// A mnemonic or `TYPE123`; A where it is missing.
    #[serde(rename = "type")]
    rtype: Option<String>,
    /// Who asks.
    client: Option<String>,
}

/// What would be answered, and why. Nothing is asked upstream, and nothing changes.
pub(super) async fn explain(State(admin): State<Arc<Admin>>, asked: Result<Query<Asked>, QueryRejection>) -> Response {
    let asked = asked.map_err(|rejection| rejection.body_text()).and_then(|Query(asked)| asked.read());
    match asked {
        Ok((name, rtype, client)) => Json(explanation(&admin, &name, rtype, client)).into_response(),
        Err(problem) => refuse(StatusCode::BAD_REQUEST, &problem),
    }
}

impl Asked {
    fn read(&self) -> Result<(Name, Rtype, IpAddr), String> {
        let name = Name::parse(&self.name).map_err(|error| format!("name: {error}"))?;
        let rtype = match &self.rtype {
            None => Rtype::A,
            Some(text) => Rtype::parse(text).ok_or("type: neither a type's name nor TYPE and a number")?,
        };
        let client = match &self.client {
            None => CLIENT,
            Some(text) => text.parse::<IpAddr>().map_err(|error| format!("client: {error}"))?.to_canonical(),
        };
        Ok((name, rtype, client))
    }
}

fn explanation(admin: &Admin, name: &Name, rtype: Rtype, address: IpAddr) -> Value {
    let snapshot = admin.shared.snapshot.load_full();
    let upstreams = admin.shared.forwarding().upstream_states().collect();
    let client = Client { address, transport: Transport::Tcp };
    let now = Instant::now();
    let notes = Notes { snapshot: &snapshot, rtype, client: address, now, upstreams, steps: RefCell::default() };
    let end = admin.shared.engine.explain(&snapshot, (name, rtype), client, now, &notes);
    let mut explanation = json!({
        "name": name.to_string(),
        "type": rtype.to_string(),
        "client": address.to_string(),
        "generation": snapshot.generation,
        "outcome": "dropped",
        "source": null,
        "reason": null,
        "reply": null,
        "ask": null,
    });
    match end {
        Explained::Dropped(reason) => explanation["reason"] = reason.name().into(),
        Explained::Replied { source: Ok(source), reply } => {
            explanation["outcome"] = "answered".into();
            explanation["source"] = source.name().into();
            explanation["reply"] = shown_reply(&reply);
        }
        Explained::Replied { source: Err(reason), reply } => {
            explanation["outcome"] = "refused".into();
            explanation["reason"] = reason.name().into();
            explanation["reply"] = shown_reply(&reply);
        }
        Explained::Asked { name, rule } => {
            explanation["outcome"] = "forwarded".into();
            explanation["ask"] = json!({ "name": name.to_string(), "upstreams": notes.upstreams_of(&rule) });
        }
    }
    explanation["steps"] = notes.steps.into_inner().into();
    explanation
}

/// A message as people write it.
fn shown_reply(octets: &[u8]) -> Value {
    let Some(message) = Message::parse(octets) else { return Value::Null };
    let section = |section| -> Vec<Value> {
        let records = message.section(section).filter_map(|record| OwnedRecord::from_view(&message, record));
        records
            .map(|record| {
                json!({
                    "name": record.owner.to_string(),
                    "type": record.rtype.to_string(),
                    "ttl": record.ttl,
                    "data": present(record.rtype, &record.data),
                })
            })
            .collect()
    };
    json!({
        "rcode": message.header.rcode().to_string(),
        "authoritative": message.header.flags & AA != 0,
        "truncated": message.header.flags & TC != 0,
        "answer": section(Section::Answer),
        "authority": section(Section::Authority),
    })
}

/// Writes down the steps.
struct Notes<'s> {
    snapshot: &'s Snapshot,
    rtype: Rtype,
    client: IpAddr,
    now: Instant,
    upstreams: Vec<UpstreamState>,
    steps: RefCell<Vec<Value>>,
}

impl Observer for Notes<'_> {
    fn step(&self, step: Step<'_>) {
        let shown = match step {
            Step::Access { is_allowed } => json!({ "step": "access", "allowed": is_allowed }),
            Step::Table { name, found } => self.shown_lookup(name, found),
            Step::Rule { name, disposition, zone_len } => self.shown_rule(name, disposition, zone_len),
            Step::Cache { name, found, stale } => self.shown_cache(name, found, stale),
            Step::Alias { target, responsible } => self.shown_alias(target, responsible),
            Step::Open { target } => json!({ "step": "open", "target": Presented(target).to_string() }),
            Step::Cut { target } => json!({ "step": "cut", "target": Presented(target).to_string() }),
        };
        self.steps.borrow_mut().push(shown);
    }
}

impl Notes<'_> {
    fn shown_lookup(&self, name: &[u8], found: &Lookup<'_>) -> Value {
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
        json!({
            "step": "table",
            "name": Presented(name).to_string(),
            "found": what,
            "by": how.map(word),
            "owner": owner.map(|owner| owner.to_string()),
            "view": set.and_then(|set| self.view(set)),
            "target": set.filter(|set| set.rtype == Rtype::CNAME).and_then(target),
            "zone": soa.and_then(|soa| owner_of(soa, name)),
        })
    }

    /// The network of the client that records are kept for, where they are not for everybody.
    fn view(&self, set: &Rrset<'_>) -> Option<String> {
        let prefix_len = self.snapshot.table.views().fit(set.view, self.client)?.checked_sub(1)?;
        let network = IpNet::new(self.client, u8::try_from(prefix_len).ok()?).ok()?;
        Some(network.trunc().to_string())
    }

    /// An alias of an upstream's answer, and what is responsible for the name that it leads to.
    fn shown_alias(&self, target: &[u8], responsible: Responsible<'_>) -> Value {
        let (word, zone, upstreams) = match responsible {
            Responsible::SameUpstreams => ("same_upstreams", None, Vec::new()),
            Responsible::Table => ("table", None, Vec::new()),
            Responsible::Rule { disposition: Disposition::Forward(rule), zone_len } => {
                ("rule", zone_of(target, zone_len), self.upstreams_of(rule))
            }
            Responsible::Rule { disposition: Disposition::Here(_), zone_len } => {
                ("built_in", zone_of(target, zone_len), Vec::new())
            }
        };
        json!({
            "step": "alias",
            "target": Presented(target).to_string(),
            "responsible": word,
            "zone": zone,
            "upstreams": upstreams,
        })
    }

    fn shown_rule(&self, name: &[u8], disposition: &Disposition, zone_len: usize) -> Value {
        let (rule, upstreams) = match disposition {
            Disposition::Forward(rule) => ("forward", self.upstreams_of(rule)),
            Disposition::Here(Here::Localhost) => ("localhost", Vec::new()),
            Disposition::Here(Here::NxDomain) => ("nx_domain", Vec::new()),
            Disposition::Here(Here::NoData) => ("no_data", Vec::new()),
        };
        json!({
            "step": "rule",
            "name": Presented(name).to_string(),
            "rule": rule,
            "zone": zone_of(name, zone_len),
            "upstreams": upstreams,
        })
    }

    /// A rule's upstreams with their health; one that was never asked has none yet.
    fn upstreams_of(&self, rule: &ForwardRule) -> Vec<Value> {
        let shown = rule.upstreams.iter().map(|target| {
            let state = self.upstreams.iter().find(|state| state.target == *target);
            json!({
                "upstream": target.to_string(),
                "state": match state.map(|state| state.is_down) {
                    None => "unknown",
                    Some(true) => "down",
                    Some(false) => "up",
                },
                "rtt_seconds": state.and_then(|state| state.rtt).map(|rtt| rtt.as_secs_f64()),
                "pending": state.map_or(0, |state| state.pending),
                "waiting": state.map_or(0, |state| state.waiting),
            })
        });
        shown.collect()
    }

    fn shown_cache(
        &self,
        name: &[u8],
        found: Option<(AnswerView<'_>, AnswerState)>,
        stale: Option<&StaleAnswer>,
    ) -> Value {
        let (state, age) = match found {
            None => ("absent", None),
            Some((_, AnswerState::Fresh { age, .. })) => ("fresh", Some(u64::from(age))),
            Some((answer, AnswerState::Expired { at })) => {
                let since = self.now.saturating_duration_since(at).as_secs();
                ("expired", Some(u64::from(answer.ttl()) + since))
            }
        };
        let left = |until: Instant| until.saturating_duration_since(self.now).as_secs();
        json!({
            "step": "cache",
            "name": Presented(name).to_string(),
            "state": state,
            "age_seconds": age,
            "ttl_seconds": found.map(|(answer, _)| answer.ttl()),
            "rcode": found.map(|(answer, _)| answer.rcode().to_string()),
            // While its upstream answers others, and while it answers nobody.
            "stale_seconds_left": stale.map(|stale| left(stale.limits.until)),
            "stale_seconds_left_while_down": stale.map(|stale| left(stale.limits.until_down)),
        })
    }
}

/// The zone that is so many bytes of a name's end.
fn zone_of(name: &[u8], zone_len: usize) -> Option<String> {
    let zone = name.len().checked_sub(zone_len).and_then(|start| name.get(start..))?;
    Some(Presented(zone).to_string())
}

fn word(how: Match) -> &'static str {
    match how {
        Match::Record => "record",
        Match::Wildcard => "wildcard",
        Match::PartialWildcard => "partial_wildcard",
        Match::Reverse => "reverse",
    }
}

fn target(set: &Rrset<'_>) -> Option<String> {
    set.iter().next().map(|(_, data)| Presented(data).to_string())
}

fn owner_of(soa: &Soa<'_>, name: &[u8]) -> Option<String> {
    let record = soa.to_record(&Name::from_wire(name)?, Section::Authority)?;
    Some(record.owner.to_string())
}
