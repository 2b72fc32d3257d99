//! Discovered records beside those of the files: what a file says wins.

use std::collections::{BTreeSet, HashMap};

use crate::azure::{HostName, cloud_of};
use crate::discover::{Discovered, DiscoveredRecord, Drift, DriftKind, Status};
use crate::document::{Problems, SourceText};
use crate::rdata::present;
use crate::records::{Packed, Table, read_records};
use crate::wire::{Name, Rtype};

/// The name of the text that discovery gives, where a file's path would be.
pub(super) const SOURCE_NAME: &str = "(discovered)";
/// Records without an endpoint that are listed.
const LISTED: usize = 1000;

/// Adds the discovered records that no file has. Gives those that files have instead.
pub(super) fn add(
    status: &Status,
    sources: &mut Vec<SourceText>,
    packs: &mut Vec<Packed>,
    problems: &mut Problems,
) -> Vec<DiscoveredRecord> {
    let discovered = status.discovered();
    if discovered.records.is_empty() {
        return Vec::new();
    }
    let mut by_name: HashMap<Name, Vec<usize>> = HashMap::new();
    for (at, record) in discovered.records.iter().enumerate() {
        if let Ok(name) = Name::parse(&record.name) {
            by_name.entry(name.to_lowercase()).or_default().push(at);
        }
    }
    let mut overridden = BTreeSet::new();
    for (owner, rtype) in packs.iter().flat_map(Packed::owners) {
        let Some(places) = Name::from_wire(owner).and_then(|name| by_name.get(&name.to_lowercase())) else { continue };
        // Beside an alias there can be nothing else (RFC 1034 §3.6.2).
        let is_same = |at: &&usize| rtype == Rtype::CNAME || discovered.records[**at].record_type == rtype.to_string();
        overridden.extend(places.iter().filter(is_same).copied());
    }
    let (used, dropped): (Vec<_>, Vec<_>) =
        discovered.records.iter().cloned().enumerate().partition(|(at, _)| !overridden.contains(at));
    let records = used.into_iter().map(|(_, record)| record).collect();
    let text = Discovered { records, ..Discovered::default() }.to_text();
    let source = SourceText::new(SOURCE_NAME, text);
    packs.append(&mut read_records(&source, u32::try_from(sources.len()).unwrap_or(u32::MAX), problems));
    sources.push(source);
    dropped.into_iter().map(|(_, record)| record).collect()
}

/// Compares the table with what was discovered, for /readyz and /drift.
pub(super) fn note(status: &Status, table: &Table, overridden: &[DiscoveredRecord]) {
    let (mut sides, mut drift) = (Vec::new(), Vec::new());
    let discovered = status.discovered();
    let known: BTreeSet<&str> = discovered.records.iter().flat_map(|it| &it.data).map(String::as_str).collect();
    let overridden: HashMap<(&str, &str), &DiscoveredRecord> =
        overridden.iter().rev().map(|it| ((it.name.as_str(), it.record_type.as_str()), it)).collect();
    let is_read = status.is_read();
    for (owner, set) in table.iter().filter(|(_, set)| matches!(set.rtype, Rtype::A | Rtype::AAAA)) {
        let Some(name) = Name::from_wire(owner).map(|name| name.to_string()) else { continue };
        let data: Vec<String> = set.iter().map(|(_, data)| present(set.rtype, data)).collect();
        let key = (name.trim_end_matches('.'), &*set.rtype.to_string());
        if let Some(record) = overridden.get(&key) {
            let side = format!(
                "{name} {}: a file has {}, {} has {}",
                set.rtype,
                data.join(" "),
                record.endpoint,
                record.data.join(" ")
            );
            if record.data != data {
                drift.push(Drift::new(DriftKind::DifferentRecord, &name, &side));
            }
            sides.push(side);
        }
        let is_azure = || HostName::parse(name.trim_end_matches('.')).is_ok_and(|host| cloud_of(&host).is_some());
        let is_known = data.iter().all(|address| known.contains(address.as_str()));
        if drift.len() < LISTED && is_read && !is_known && is_azure() {
            let reason = format!("no endpoint has {}", data.join(" "));
            drift.push(Drift::new(DriftKind::RecordWithoutEndpoint, &format!("{name} {}", set.rtype), &reason));
        }
    }
    status.note_loaded(sides, drift);
}
