//! Records, and the claims that become records: merged when they agree, refused when they do not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::group::Group;
use super::message::{Messages, Place};
use super::{Options, Prefer};
use crate::azure::{HostName, is_privatelink_label};
use crate::wire::Name;

/// Records in groups, ready to be printed in any format.
#[derive(Debug)]
pub struct Records {
    /// What they were derived from, one line each: printable, no line break in any.
    pub header: Vec<String>,
    /// The groups, in their order.
    pub groups: Vec<RecordGroup>,
    /// Suffixes that the user allowed, in lower case: zones of their own where a format has zones.
    pub zones: Vec<String>,
}

/// Records that belong together.
#[derive(Debug)]
pub struct RecordGroup {
    /// What they are: printable, one line.
    pub title: String,
    /// The records, in their order.
    pub records: Vec<Record>,
}

/// All data of one owner name and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The owner name, in lower case.
    pub name: Name,
    /// The type, as in `AAAA`.
    pub record_type: &'static str,
    /// The data, sorted; never empty.
    pub data: Vec<Data>,
    /// The time to live in seconds, where a source states another than the default.
    pub ttl: Option<u32>,
    /// The networks whose clients alone see it; empty for everybody.
    pub clients: Vec<IpNet>,
    /// What its reader should know: printable, one line.
    pub note: Option<&'static str>,
}

/// Data of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Data {
    /// Of A and AAAA.
    Address(IpAddr),
    /// Of any other type, in presentation form with names absolute; checked to be just that.
    Presentation(String),
}

impl std::fmt::Display for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Presentation(text) => f.write_str(text),
        }
    }
}

/// What a source's word weighs: the first beats the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// The endpoint's network interface, or the documentation's query over it.
    Interface,
    /// `customDnsConfigs` of the endpoint.
    CustomDns,
    /// The endpoint's zone group, or record sets of a zone.
    Zone,
    /// Put together here.
    Derived,
}

/// That a name has certain data, says some source.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) name: HostName,
    pub(super) record_type: &'static str,
    pub(super) data: Data,
    pub(super) ttl: Option<u32>,
    pub(super) origin: Origin,
    pub(super) group: Group,
    /// The object that says so: all of its claims for one name and type are one word.
    pub(super) source: Place,
    /// What that object is, for messages.
    pub(super) what: String,
    /// What the reader of the record should know.
    pub(super) note: Option<&'static str>,
}

/// All claims of a run.
#[derive(Debug, Default)]
pub(super) struct Claims(BTreeMap<(HostName, &'static str), Vec<Claim>>);

impl Claims {
    pub(super) fn add(&mut self, claim: Claim) {
        self.0.entry((claim.name.clone(), claim.record_type)).or_default().push(claim);
    }

    /// Notes what the reader of the records of a name should know.
    pub(super) fn note(&mut self, name: &HostName, note: &'static str) {
        for ((found, _), claims) in self.0.range_mut((name.clone(), "")..) {
            if found != name {
                break;
            }
            claims.iter_mut().for_each(|claim| claim.note = Some(note));
        }
    }

    pub(super) fn has(&self, name: &HostName) -> bool {
        self.0.range((name.clone(), "")..).next().is_some_and(|((found, _), _)| found == name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &HostName> {
        self.0.keys().map(|(name, _)| name)
    }

    /// The records, grouped and sorted. Sources that disagree become errors.
    pub(super) fn into_groups(self, options: &Options, messages: &mut Messages) -> Vec<RecordGroup> {
        let mut groups: BTreeMap<Group, BTreeMap<SortKey, Record>> = BTreeMap::new();
        refuse_aliases_with_data(&self.0, messages);
        for ((name, record_type), claims) in self.0 {
            let Some((group, record)) = merge(&name, record_type, &claims, options, messages) else {
                continue;
            };
            groups.entry(group).or_default().insert(SortKey::new(&name, record_type), record);
        }
        groups
            .into_iter()
            .map(|(group, records)| RecordGroup { title: group.title(), records: records.into_values().collect() })
            .collect()
    }
}

/// Public name first, its privatelink name after it, partial wildcards last.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SortKey(bool, HostName, bool, HostName, &'static str);

impl SortKey {
    fn new(name: &HostName, record_type: &'static str) -> Self {
        let stem = HostName::from_labels(name.labels().filter(|label| !is_privatelink_label(label)));
        let label_end = name.is_partial_wildcard();
        Self(label_end, stem.unwrap_or_else(|| name.clone()), name.is_privatelink(), name.clone(), record_type)
    }
}

/// One record from all claims for its name and type. Sources that disagree are resolved as the user asked, never else.
fn merge(
    name: &HostName,
    record_type: &'static str,
    claims: &[Claim],
    options: &Options,
    messages: &mut Messages,
) -> Option<(Group, Record)> {
    let mut words: BTreeMap<&Place, (BTreeSet<&Data>, &Claim)> = BTreeMap::new();
    for claim in claims {
        words.entry(&claim.source).or_insert_with(|| (BTreeSet::new(), claim)).0.insert(&claim.data);
    }
    let best = claims.iter().min_by_key(|claim| (claim.origin, &claim.source))?;
    let (mut data, _) = words.get(&best.source)?.clone();
    if let Some((other_data, other)) = words.values().find(|(other, _)| *other != data) {
        let text = format!(
            "{name} {record_type} is {} by {} ({}), but {} by {} ({})",
            listed(&data),
            best.what,
            best.source,
            listed(other_data),
            other.what,
            other.source,
        );
        let chosen = match options.prefer {
            Prefer::Fail => Err(CONFLICT_HINT),
            Prefer::All => Ok(words.values().flat_map(|(data, _)| data.iter().copied()).collect()),
            Prefer::First => {
                let first = words.values().min_by_key(|(_, claim)| claim.source.order);
                first.map(|(data, _)| data.clone()).ok_or(CONFLICT_HINT)
            }
            Prefer::Newest => newest(words.values()).ok_or(
                "nothing says which of them is newer: the objects state no time (systemData, createdTime), and their files \
                were written at the same time or came from one input; give them as files of their own, or --prefer first",
            ),
        };
        match chosen {
            Ok(chosen) => {
                let text = format!("{text}: {} was taken", listed(&chosen));
                messages.warning(None, text, format!("as --prefer {} asks", options.prefer.word()));
                data = chosen;
            }
            Err(hint) => {
                messages.fatal(None, text, hint);
                return None;
            }
        }
    }
    let ttl = claims.iter().filter_map(|claim| claim.ttl).min().filter(|ttl| *ttl != TTL_DEFAULT);
    let data = data.iter().map(|data| (*data).clone()).collect();
    let note = claims.iter().find_map(|claim| claim.note);
    let clients = options.clients.clone();
    Some((best.group.clone(), Record { name: name.to_name(), record_type, data, ttl, clients, note }))
}

/// The data of the source that is newer than all that say something else: by what both objects say of themselves, else
/// by when their inputs were written.
fn newest<'a, 'c: 'a>(
    words: impl Iterator<Item = &'a (BTreeSet<&'c Data>, &'c Claim)> + Clone,
) -> Option<BTreeSet<&'c Data>> {
    let is_newer = |one: &Place, other: &Place| match (one.changed, other.changed) {
        (Some(one), Some(other)) if one != other => one > other,
        _ => one.written.zip(other.written).is_some_and(|(one, other)| one > other),
    };
    let beats_all = |(data, claim): &&(BTreeSet<&Data>, &Claim)| {
        words.clone().all(|(other, rival)| other == data || is_newer(&claim.source, &rival.source))
    };
    words.clone().find(beats_all).map(|(data, _)| data.clone())
}

const CONFLICT_HINT: &str = "one of them is older: print it again; an endpoint that was created again gets new addresses, and \
    records of the old one stay behind. Endpoints of one service in several networks: generate the records of each network \
    apart, with --clients. --prefer newest, first or all resolves it as you say";

fn refuse_aliases_with_data(claims: &BTreeMap<(HostName, &'static str), Vec<Claim>>, messages: &mut Messages) {
    for ((name, record_type), aliases) in claims.iter().filter(|((_, record_type), _)| *record_type == "CNAME") {
        let other = claims
            .range((name.clone(), "")..)
            .take_while(|((found, _), _)| found == name)
            .find(|((_, other), _)| other != record_type);
        if let (Some((_, others)), Some(alias)) = (other, aliases.first()) {
            let also = others.first().map(|claim| claim.source.to_string()).unwrap_or_default();
            messages.fatal(
                Some(&alias.source),
                format!("{name} is an alias here and has other records at {also}"),
                "an alias stands alone (RFC 1034 §3.6.2)",
            );
        }
    }
}

fn listed(data: &BTreeSet<&Data>) -> String {
    data.iter().map(|data| super::message::printable(&data.to_string())).collect::<Vec<_>>().join(", ")
}

/// What a record has that states none, seconds.
const TTL_DEFAULT: u32 = 10;
