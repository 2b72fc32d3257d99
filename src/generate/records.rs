//! Records, and the claims that become records: merged when they agree, refused when they do not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::group::Group;
use super::message::{Messages, Place};
use crate::azure::HostName;
use crate::wire::Name;

/// Records in groups, ready to be printed in any format.
#[derive(Debug)]
pub struct Records {
    /// What they were derived from, one line each: printable, no line break in any.
    pub header: Vec<String>,
    /// The groups, in their order.
    pub groups: Vec<RecordGroup>,
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
}

/// All claims of a run.
#[derive(Debug, Default)]
pub(super) struct Claims(BTreeMap<(HostName, &'static str), Vec<Claim>>);

impl Claims {
    pub(super) fn add(&mut self, claim: Claim) {
        self.0.entry((claim.name.clone(), claim.record_type)).or_default().push(claim);
    }

    pub(super) fn has(&self, name: &HostName) -> bool {
        self.0.range((name.clone(), "")..).next().is_some_and(|((found, _), _)| found == name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &HostName> {
        self.0.keys().map(|(name, _)| name)
    }

    /// The records, grouped and sorted. Sources that disagree become errors.
    pub(super) fn into_groups(self, messages: &mut Messages) -> Vec<RecordGroup> {
        let mut groups: BTreeMap<Group, BTreeMap<SortKey, Record>> = BTreeMap::new();
        refuse_aliases_with_data(&self.0, messages);
        for ((name, record_type), claims) in self.0 {
            let Some((group, record)) = merge(&name, record_type, &claims, messages) else {
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

/// Public name first, its privatelink name behind it, label ends last.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SortKey(bool, HostName, bool, HostName, &'static str);

impl SortKey {
    fn new(name: &HostName, record_type: &'static str) -> Self {
        let stem = HostName::from_labels(name.labels().filter(|label| !label.starts_with("privatelink")));
        let label_end = name.labels().next().is_some_and(|label| label.starts_with('*') && label != "*");
        Self(label_end, stem.unwrap_or_else(|| name.clone()), name.is_privatelink(), name.clone(), record_type)
    }
}

fn merge(
    name: &HostName,
    record_type: &'static str,
    claims: &[Claim],
    messages: &mut Messages,
) -> Option<(Group, Record)> {
    let mut words: BTreeMap<&Place, (BTreeSet<&Data>, &Claim)> = BTreeMap::new();
    for claim in claims {
        words.entry(&claim.source).or_insert_with(|| (BTreeSet::new(), claim)).0.insert(&claim.data);
    }
    let best = claims.iter().min_by_key(|claim| (claim.origin, &claim.source))?;
    let (data, _) = words.get(&best.source)?;
    if let Some((other_data, other)) = words.values().find(|(other, _)| other != data) {
        let text = format!(
            "{name} {record_type} is {} by {} ({}), but {} by {} ({})",
            listed(data),
            best.what,
            best.source,
            listed(other_data),
            other.what,
            other.source,
        );
        let hint = "one of them is older: print it again; an endpoint that was made anew gets new addresses, and records of the old one stay behind. \
            Endpoints of one service in several networks: generate the records of each network apart";
        messages.error(None, text, hint);
        return None;
    }
    let ttl = claims.iter().filter_map(|claim| claim.ttl).min().filter(|ttl| *ttl != TTL_DEFAULT);
    let data = data.iter().map(|data| (*data).clone()).collect();
    Some((best.group.clone(), Record { name: name.to_name(), record_type, data, ttl }))
}

fn refuse_aliases_with_data(claims: &BTreeMap<(HostName, &'static str), Vec<Claim>>, messages: &mut Messages) {
    for ((name, record_type), aliases) in claims.iter().filter(|((_, record_type), _)| *record_type == "CNAME") {
        let other = claims
            .range((name.clone(), "")..)
            .take_while(|((found, _), _)| found == name)
            .find(|((_, other), _)| other != record_type);
        if let (Some((_, others)), Some(alias)) = (other, aliases.first()) {
            let also = others.first().map(|claim| claim.source.to_string()).unwrap_or_default();
            messages.error(
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
