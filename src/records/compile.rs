//! Records and zones into a [`Table`]: checked against each other, laid out for lookups.
//!
//! Names become nodes, parents before children; each node then becomes an entry of the arena. Conflicts are reported
//! with both places.

use std::collections::{HashMap, HashSet};

use super::entry::{APEX, EntryParts, RECORD_HEAD_LEN, WILDCARD_BELOW, push_head, push_rrset};
use super::file::RecordSpec;
use super::reverse::{ReverseEntry, address_number};
use super::table::{EMPTY, Slot, Table, TableStats, ZoneEntry, hash_name};
use super::view::{EVERYBODY, ViewId, Views};
use super::zone::Zone;
use crate::document::{Diagnostic, Problems, Severity, SourceText};
use crate::wire::name::{NAME_MAX, parent};
use crate::wire::{Name, Rtype};

/// Octets that the records of one name and type may take: what a message can carry besides header, question and OPT.
const RRSET_OCTETS_MAX: usize = 65_000;
/// No node: an empty place of the index, the root's parent, the end of a list.
const NO_NODE: u32 = u32::MAX;

/// What a table is made of besides its records.
#[derive(Debug, Clone, Copy)]
pub struct TableSettings {
    /// TTL of records that state none, and of negative answers, seconds.
    pub ttl: u32,
}

/// Compiles a table. `sources` are the files that the records' `file` numbers mean. Errors go to `problems`; the table
/// is then built from what is left.
pub fn compile(
    specs: &[RecordSpec],
    zones: &[Zone],
    settings: TableSettings,
    sources: &[SourceText],
    problems: &mut Problems,
) -> Table {
    let mut builder = Builder::new(specs.len(), settings);
    let root: &[u8] = &[0];
    builder.intern(root);
    let mut ordered: Vec<(usize, &Zone)> = zones.iter().enumerate().collect();
    ordered.sort_by_key(|(_, zone)| zone.apex.as_wire().len());
    for (number, zone) in ordered {
        let node = builder.intern(zone.apex.as_wire());
        if let Some(node) = builder.nodes.get_mut(node as usize) {
            node.zone = Some(number as u16);
            node.flags |= APEX;
        }
    }
    for (number, spec) in specs.iter().enumerate() {
        builder.add(number as u32, spec, specs, sources, problems);
    }
    builder.limit_to_views();
    builder.finish(specs, zones)
}

struct Builder<'a> {
    settings: TableSettings,
    hasher: foldhash::fast::RandomState,
    /// Node numbers by hash of the name; [`NO_NODE`] where empty. Power of two many, at most half full.
    index: Vec<u32>,
    nodes: Vec<Node<'a>>,
    rrsets: Vec<RrsetNode>,
    views: Views,
}

/// A name on its way into the table.
struct Node<'a> {
    name: &'a [u8],
    hash: u64,
    parent: u32,
    flags: u8,
    zone: Option<u16>,
    /// The last RRset added, the others behind it.
    last_rrset: u32,
    label_ends: Vec<u8>,
    views: Vec<ViewId>,
}

struct RrsetNode {
    spec: u32,
    view: ViewId,
    ttl: u32,
    previous: u32,
}

impl<'a> Builder<'a> {
    fn new(records: usize, settings: TableSettings) -> Self {
        let slots = ((records + 64) * 2).next_power_of_two();
        Self {
            settings,
            hasher: foldhash::fast::RandomState::default(),
            index: vec![NO_NODE; slots],
            nodes: Vec::with_capacity(records + 64),
            rrsets: Vec::with_capacity(records),
            views: Views::default(),
        }
    }

    /// The node of a name; where it is new, its ancestors are made first.
    fn intern(&mut self, name: &'a [u8]) -> u32 {
        if let Some(node) = self.find(name) {
            return node;
        }
        let up = match parent(name) {
            Some(up) => self.intern(up),
            None => NO_NODE,
        };
        let zone = self.nodes.get(up as usize).and_then(|up| up.zone);
        let node = self.nodes.len() as u32;
        let hash = self.hash(name);
        self.nodes.push(Node {
            name,
            hash,
            parent: up,
            flags: 0,
            zone,
            last_rrset: NO_NODE,
            label_ends: Vec::new(),
            views: Vec::new(),
        });
        if self.nodes.len() * 2 > self.index.len() {
            self.grow();
        } else {
            place_in(&mut self.index, hash, node);
        }
        node
    }

    fn find(&self, name: &[u8]) -> Option<u32> {
        let hash = self.hash(name);
        let mask = self.index.len() - 1;
        let mut place = hash as usize & mask;
        loop {
            let node = *self.index.get(place)?;
            let known = self.nodes.get(node as usize)?;
            if known.hash == hash && known.name.eq_ignore_ascii_case(name) {
                return Some(node);
            }
            place = (place + 1) & mask;
        }
    }

    fn hash(&self, name: &[u8]) -> u64 {
        let mut lower = [0; NAME_MAX];
        match lower.get_mut(..name.len()) {
            Some(place) => {
                place.copy_from_slice(name);
                place.make_ascii_lowercase();
                hash_name(&self.hasher, place)
            }
            None => 0,
        }
    }

    fn grow(&mut self) {
        self.index = vec![NO_NODE; self.index.len() * 2];
        for (number, node) in self.nodes.iter().enumerate() {
            place_in(&mut self.index, node.hash, number as u32);
        }
    }

    /// Adds a record to its node, unless it is there already or contradicts one that is.
    fn add(
        &mut self,
        number: u32,
        spec: &'a RecordSpec,
        specs: &[RecordSpec],
        sources: &[SourceText],
        problems: &mut Problems,
    ) {
        let fail = |problems: &mut Problems, message: String, hint: &str| {
            if let Some(source) = sources.get(spec.file as usize) {
                let at = spec.at as usize;
                let span = at..source.text().get(at..).and_then(|text| text.find('\n')).map_or(at, |len| at + len);
                problems.push(Diagnostic::at(Severity::Error, source, span, message, hint));
            }
        };
        let Some(view) = self.views.number(&spec.clients) else {
            return fail(
                problems,
                "there are more than 65,535 different `clients`".to_owned(),
                "use fewer, wider prefixes",
            );
        };
        let (name, rtype) = (&spec.name, spec.rtype);
        let octets: usize = spec.data.iter().map(|data| RECORD_HEAD_LEN + data.len()).sum();
        if octets > RRSET_OCTETS_MAX {
            return fail(
                problems,
                format!("{name} {rtype} does not fit into a message"),
                "split the data over several names",
            );
        }
        if rtype == Rtype::CNAME && spec.data.len() > 1 {
            return fail(
                problems,
                format!("{name} has {} CNAME records", spec.data.len()),
                "an alias has one target (RFC 2181 §10.1)",
            );
        }
        let node = self.intern(name.as_wire());
        let mut at = self.nodes.get(node as usize).map_or(NO_NODE, |node| node.last_rrset);
        while let Some(known) = self.rrsets.get_mut(at as usize) {
            at = known.previous;
            let Some(other) = specs.get(known.spec as usize) else {
                continue;
            };
            if known.view != view {
                continue;
            }
            let place =
                || sources.get(other.file as usize).map(|source| source.place(other.at as usize)).unwrap_or_default();
            if other.rtype == rtype {
                if !same_data(&other.data, &spec.data) {
                    let message = format!("{name} {rtype} has other data at {}", place());
                    fail(problems, message, "keep one of the two, or put all data into one [[record]]");
                } else if let Some(ttl) = spec.ttl {
                    known.ttl = known.ttl.min(ttl);
                }
                return;
            }
            if rtype == Rtype::CNAME || other.rtype == Rtype::CNAME {
                let message = format!("{name} has a CNAME and other records: {} at {}", other.rtype, place());
                return fail(problems, message, "an alias has no other records (RFC 1034 §3.6.2)");
            }
        }
        let rrset = self.rrsets.len() as u32;
        let Some(entry) = self.nodes.get_mut(node as usize) else {
            return;
        };
        self.rrsets.push(RrsetNode {
            spec: number,
            view,
            ttl: spec.ttl.unwrap_or(self.settings.ttl),
            previous: entry.last_rrset,
        });
        entry.last_rrset = rrset;
        let up = entry.parent;
        self.note_pattern(up, name);
    }

    /// Tells the parent of a wildcard or label end that it is there.
    fn note_pattern(&mut self, up: u32, name: &Name) {
        let Some(up) = self.nodes.get_mut(up as usize) else {
            return;
        };
        if name.is_wildcard() {
            up.flags |= WILDCARD_BELOW;
        }
        if let Some(end) = name.label_end()
            && !up.label_ends.contains(&(end.len() as u8))
        {
            up.label_ends.push(end.len() as u8);
            up.label_ends.sort_unstable_by(|a, b| b.cmp(a));
        }
    }

    /// Where there are views: a name exists for those who see a record at it or below it.
    fn limit_to_views(&mut self) {
        if self.views.is_empty() {
            return;
        }
        let mut seen: HashSet<(u32, ViewId)> = HashSet::new();
        let mut seen_by_all: HashSet<u32> = HashSet::new();
        for number in 0..self.nodes.len() as u32 {
            let mut at = self.nodes.get(number as usize).map_or(NO_NODE, |node| node.last_rrset);
            while let Some(rrset) = self.rrsets.get(at as usize) {
                at = rrset.previous;
                let mut up = number;
                while let Some(node) = self.nodes.get(up as usize) {
                    let is_new =
                        if rrset.view == EVERYBODY { seen_by_all.insert(up) } else { seen.insert((up, rrset.view)) };
                    if !is_new {
                        break;
                    }
                    up = node.parent;
                }
            }
        }
        for (node, view) in seen {
            if let Some(known) = self.nodes.get_mut(node as usize)
                && !seen_by_all.contains(&node)
                && known.parent != NO_NODE
                && known.flags & APEX == 0
            {
                known.views.push(view);
            }
        }
        self.nodes.iter_mut().for_each(|node| node.views.sort_unstable());
    }

    fn finish(self, specs: &[RecordSpec], zones: &[Zone]) -> Table {
        let mut arena = Vec::with_capacity(self.nodes.len() * 96);
        let mut slots = vec![Slot { tag: 0, entry: EMPTY }; (self.nodes.len() * 2).next_power_of_two()];
        let mut reverse = Vec::new();
        let mut stats = TableStats::default();
        let mut soas: HashMap<u16, (u32, Box<[u8]>)> = HashMap::new();
        let mut rrsets: Vec<&RrsetNode> = Vec::new();
        for node in &self.nodes {
            rrsets.clear();
            let mut at = node.last_rrset;
            while let Some(rrset) = self.rrsets.get(at as usize) {
                rrsets.push(rrset);
                at = rrset.previous;
            }
            rrsets.reverse();
            stats.names += usize::from(!rrsets.is_empty());
            let entry = arena.len() as u32;
            push_head(
                &mut arena,
                &EntryParts {
                    name: node.name,
                    flags: node.flags,
                    zone: node.zone,
                    label_ends: &node.label_ends,
                    views: &node.views,
                    rrset_count: rrsets.len() as u16,
                },
            );
            for rrset in &rrsets {
                let Some(spec) = specs.get(rrset.spec as usize) else {
                    continue;
                };
                push_rrset(&mut arena, spec.rtype, rrset.view, rrset.ttl, &spec.data);
                stats.records += spec.data.len();
                push_reverse(&mut reverse, spec, rrset, entry);
                if let (Rtype::SOA, Some(zone), Some(data), true) =
                    (spec.rtype, node.zone, spec.data.first(), node.flags & APEX != 0 && rrset.view == EVERYBODY)
                {
                    soas.insert(zone, (rrset.ttl, data.clone().into_boxed_slice()));
                }
            }
            place_slot(&mut slots, node.hash, entry);
        }
        reverse.sort_unstable();
        reverse.dedup_by_key(|entry| (entry.address, entry.entry, entry.view));
        stats.addresses = reverse.chunk_by(|a, b| a.address == b.address).count();
        let zones = zones.iter().enumerate().map(|(number, zone)| ZoneEntry {
            apex: zone.apex.to_lowercase(),
            missing: zone.missing,
            soa: soas.remove(&(number as u16)),
        });
        Table {
            hasher: self.hasher,
            slots: slots.into_boxed_slice(),
            arena: arena.into_boxed_slice(),
            zones: zones.collect(),
            views: self.views,
            reverse: reverse.into_boxed_slice(),
            negative_ttl: self.settings.ttl,
            stats,
        }
    }
}

fn push_reverse(reverse: &mut Vec<ReverseEntry>, spec: &RecordSpec, rrset: &RrsetNode, entry: u32) {
    let is_pattern = spec.name.is_wildcard() || spec.name.label_end().is_some();
    for data in &spec.data {
        let address = match (spec.rtype, <[u8; 4]>::try_from(&**data), <[u8; 16]>::try_from(&**data)) {
            (Rtype::A, Ok(octets), _) => address_number(octets.into()),
            (Rtype::AAAA, _, Ok(octets)) => address_number(octets.into()),
            _ => continue,
        };
        reverse.push(ReverseEntry { address, is_pattern, order: rrset.spec, entry, ttl: rrset.ttl, view: rrset.view });
    }
}

/// Whether two lists hold the same data, whatever the order.
fn same_data(a: &[Vec<u8>], b: &[Vec<u8>]) -> bool {
    a.iter().all(|data| b.contains(data)) && b.iter().all(|data| a.contains(data))
}

fn place_in(index: &mut [u32], hash: u64, node: u32) {
    let mask = index.len() - 1;
    let mut place = hash as usize & mask;
    while let Some(slot) = index.get_mut(place) {
        if *slot == NO_NODE {
            *slot = node;
            return;
        }
        place = (place + 1) & mask;
    }
}

fn place_slot(slots: &mut [Slot], hash: u64, entry: u32) {
    let mask = slots.len() - 1;
    let mut place = hash as usize & mask;
    while let Some(slot) = slots.get_mut(place) {
        if slot.entry == EMPTY {
            *slot = Slot { tag: (hash >> 32) as u32, entry };
            return;
        }
        place = (place + 1) & mask;
    }
}
