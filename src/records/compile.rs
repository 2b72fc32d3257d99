//! Records and zones into a [`Table`]: checked against each other, then laid out for lookups (`layout.rs`).
//!
//! Names become nodes, parents before children; each node then becomes an entry of the arena. Conflicts are reported
//! with both places. Nodes and RRsets refer to the packed records: nothing is copied before the table is written.

use std::collections::{HashMap, HashSet};
use std::hint::black_box;

use super::entry::{APEX, FixedPart, RECORD_HEAD_LEN, WILDCARD_BELOW};
use super::file::name_span;
use super::packed::{Packed, Record};
use super::place::FileLines;
use super::slot::{EMPTY, Slot, first_place, hash_name, tag_of};
use super::table::Table;
use super::view::{EVERYBODY, ViewId, Views};
use super::zone::{Zone, numbered};
use crate::document::{Diagnostic, Problems, Severity, SourceText};
use crate::wire::Rtype;
use crate::wire::name::{NAME_MAX, Presented, is_wildcard, parent, partial_wildcard};

/// Bytes that the records of one name and type may take: what a message can carry besides header, question and OPT.
const RRSET_BYTES_MAX: usize = 65_000;
/// Sets of records that a name may have, views counted each: as many as the entry can count.
const RRSETS_MAX: u16 = u16::MAX;
/// From so many sets of records on, those of a name are found by type and view.
const CROWD: usize = 16;
/// How many records are looked up side by side.
const GROUP: usize = 32;
/// No node: the root's parent, the end of a list.
pub(super) const NO_NODE: u32 = u32::MAX;

/// What a table is made of besides its records.
#[derive(Debug, Clone, Copy)]
pub struct TableSettings {
    /// TTL of records that state none, and of negative answers, seconds.
    pub ttl: u32,
}

/// Compiles a table. `sources` are the files that the records' file numbers mean; they are let go as soon as no problem
/// can name a place in them, before the table takes memory. Errors go to `problems`; the table is then built from what
/// is left.
pub fn compile(
    packs: &[Packed],
    zones: &[Zone],
    settings: TableSettings,
    sources: Vec<SourceText>,
    problems: &mut Problems,
) -> Table {
    let mut builder = Builder::new(packs, settings);
    let root: &[u8] = &[0];
    builder.intern(root);
    let mut ordered: Vec<(u16, &Zone)> = numbered(zones).collect();
    ordered.sort_by_key(|(_, zone)| zone.apex.as_wire().len());
    for (number, zone) in ordered {
        let node = builder.intern(zone.apex.as_wire());
        if let Some(node) = builder.nodes.get_mut(node as usize) {
            node.zone = Some(number);
            node.flags |= APEX;
        }
    }
    for pack in 0..packs.len() {
        builder.add_all(pack, &sources, problems);
    }
    builder.note_lines(&sources);
    drop(sources);
    builder.limit_to_views();
    builder.finish(zones, problems)
}

pub(super) struct Builder<'a> {
    pub(super) packs: &'a [Packed],
    pub(super) settings: TableSettings,
    pub(super) hasher: foldhash::fast::RandomState,
    /// The index of the table to be, with the numbers of nodes in it; at most half full.
    pub(super) slots: Vec<Slot>,
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) rrsets: Vec<RrsetNode>,
    pub(super) views: Views,
    /// Of nodes with partial wildcards right below them: their fixed parts, in the order of a lookup.
    pub(super) fixed_parts: HashMap<u32, Vec<FixedPart>>,
    /// Of nodes that only some views see: which.
    pub(super) limited: HashMap<u32, Vec<ViewId>>,
    /// Where each of `rrsets` is written.
    pub(super) lines: Vec<u32>,
    pub(super) files: FileLines,
    /// Of nodes with very many RRsets: which.
    crowds: HashMap<u32, Crowd>,
}

/// A name on its way into the table.
pub(super) struct Node<'a> {
    pub(super) name: &'a [u8],
    parent: u32,
    /// The last RRset added, the others behind it.
    pub(super) last_rrset: u32,
    pub(super) zone: Option<u16>,
    pub(super) rrset_count: u16,
    pub(super) flags: u8,
}

pub(super) struct RrsetNode {
    pub(super) place: RecordPlace,
    pub(super) ttl: u32,
    pub(super) previous: u32,
    pub(super) view: ViewId,
}

/// Where a packed record is.
#[derive(Clone, Copy)]
pub(super) struct RecordPlace {
    pack: u32,
    at: u32,
}

/// Why a record cannot be in the table.
enum Conflict<'a> {
    TooManyViews,
    TooManySets,
    TooLarge,
    Aliases(usize),
    /// Another record of the name and type has other data.
    OtherData(Record<'a>),
    /// The other record of the name; one of the two is an alias.
    BesideAlias(Record<'a>),
}

impl Conflict<'_> {
    fn report(&self, record: &Record<'_>, sources: &[SourceText], problems: &mut Problems) {
        let Some(source) = sources.get(record.file as usize) else {
            return;
        };
        problems.push_with(Severity::Error, || {
            let span = name_span(source, record.at as usize);
            Diagnostic::at(Severity::Error, source, span, self.message(record, sources), self.hint(record))
        });
    }

    fn message(&self, record: &Record<'_>, sources: &[SourceText]) -> String {
        let (name, rtype) = (Presented(record.name), record.rtype);
        let place = |other: &Record<'_>| {
            let source = sources.get(other.file as usize);
            source.map(|source| source.place(name_span(source, other.at as usize).start)).unwrap_or_default()
        };
        match self {
            Self::TooManyViews => "there are more than 65,535 different `clients`".to_owned(),
            Self::TooManySets => format!("{name} has more than {RRSETS_MAX} sets of records"),
            Self::TooLarge => format!("{name} {rtype} does not fit into a message"),
            Self::Aliases(count) => format!("{name} has {count} CNAME records"),
            Self::OtherData(other) => format!("{name} {rtype} has other data at {}", place(other)),
            Self::BesideAlias(other) => {
                format!("{name} has a CNAME and other records: {} at {}", other.rtype, place(other))
            }
        }
    }

    fn hint(&self, record: &Record<'_>) -> &'static str {
        match self {
            Self::TooManyViews => "use fewer, wider prefixes",
            Self::TooManySets | Self::TooLarge => "split the data over several names",
            Self::Aliases(_) => "an alias has one target (RFC 2181 §10.1)",
            // Data of two sources under one wildcard would send each one's clients to the other.
            Self::OtherData(other) if is_wildcard(record.name) && other.file != record.file => {
                "leave it out of both files: it stands for names of both; do not put the data together"
            }
            Self::OtherData(_) => "keep one of the two, or put all data into one [[record]]",
            Self::BesideAlias(_) => "an alias has no other records (RFC 1034 §3.6.2)",
        }
    }
}

/// The RRsets of a name that has very many of them.
struct Crowd {
    by_type: HashMap<(Rtype, ViewId), u32>,
    /// One of each view.
    by_view: HashMap<ViewId, u32>,
}

impl<'a> Builder<'a> {
    fn new(packs: &'a [Packed], settings: TableSettings) -> Self {
        let records: usize = packs.iter().map(Packed::len).sum();
        Self {
            packs,
            settings,
            hasher: foldhash::fast::RandomState::default(),
            slots: vec![Slot { tag: 0, entry: EMPTY }; (records + 64) * 2],
            nodes: Vec::with_capacity(records + 64),
            rrsets: Vec::with_capacity(records),
            views: Views::default(),
            fixed_parts: HashMap::new(),
            limited: HashMap::new(),
            lines: Vec::new(),
            files: FileLines::default(),
            crowds: HashMap::new(),
        }
    }

    pub(super) fn record(&self, place: RecordPlace) -> Option<Record<'a>> {
        self.packs.get(place.pack as usize)?.read(place.at as usize).map(|(record, _)| record)
    }

    /// Adds the records of a pack. The index is larger than the processor's caches: a group of records asks for its
    /// places there first, so that they come from memory at the same time.
    fn add_all(&mut self, pack: usize, sources: &[SourceText], problems: &mut Problems) {
        let mut records = self.packs.get(pack).into_iter().flat_map(Packed::iter);
        let mut group = Vec::with_capacity(GROUP);
        loop {
            group.clear();
            group.extend(records.by_ref().take(GROUP).map(|(at, record)| (at, record, self.hash(record.name))));
            if group.is_empty() {
                return;
            }
            let places = group.iter().map(|&(_, _, hash)| first_place(hash, self.slots.len()));
            black_box(places.filter_map(|place| self.slots.get(place)).fold(0, |sum, slot| sum ^ slot.tag));
            for (at, record, hash) in &group {
                let place = RecordPlace { pack: pack as u32, at: *at as u32 };
                if let Err(conflict) = self.add(place, record, *hash) {
                    conflict.report(record, sources, problems);
                }
            }
        }
    }

    fn intern(&mut self, name: &'a [u8]) -> u32 {
        self.intern_hashed(name, self.hash(name))
    }

    /// The node of a name; where it is new, its ancestors are made first.
    fn intern_hashed(&mut self, name: &'a [u8], hash: u64) -> u32 {
        if let Some(node) = self.find(name, hash) {
            return node;
        }
        let up = match parent(name) {
            Some(up) => self.intern(up),
            None => NO_NODE,
        };
        let above = self.nodes.get_mut(up as usize);
        let zone = above.as_ref().and_then(|above| above.zone);
        if let Some(above) = above
            && is_wildcard(name)
        {
            // Also where it has no records of its own: an empty non-terminal is a source of synthesis (RFC 4592 §4.9).
            above.flags |= WILDCARD_BELOW;
        }
        let node = self.nodes.len() as u32;
        self.nodes.push(Node { name, parent: up, last_rrset: NO_NODE, zone, rrset_count: 0, flags: 0 });
        if self.nodes.len() * 2 > self.slots.len() {
            self.grow();
        } else {
            place_in(&mut self.slots, hash, node);
        }
        node
    }

    fn find(&self, name: &[u8], hash: u64) -> Option<u32> {
        let mut place = first_place(hash, self.slots.len());
        loop {
            let slot = self.slots.get(place)?;
            if slot.tag == tag_of(hash) || slot.entry == EMPTY {
                let known = self.nodes.get(slot.entry as usize)?;
                if known.name.eq_ignore_ascii_case(name) {
                    return Some(slot.entry);
                }
            }
            place = if place + 1 == self.slots.len() { 0 } else { place + 1 };
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
        let mut slots = vec![Slot { tag: 0, entry: EMPTY }; self.slots.len() * 2];
        for (number, node) in self.nodes.iter().enumerate() {
            place_in(&mut slots, self.hash(node.name), number as u32);
        }
        self.slots = slots;
    }

    /// Adds a record to its node, unless it is there already or contradicts one that is.
    fn add(&mut self, place: RecordPlace, record: &Record<'a>, hash: u64) -> Result<(), Conflict<'a>> {
        let view = self.views.number(record.clients).ok_or(Conflict::TooManyViews)?;
        check_size(record)?;
        let node = self.intern_hashed(record.name, hash);
        if self.is_known(node, record, view)? {
            return Ok(());
        }
        let Some(entry) = self.nodes.get_mut(node as usize) else {
            return Ok(());
        };
        entry.rrset_count = entry.rrset_count.checked_add(1).ok_or(Conflict::TooManySets)?;
        let ttl = record.ttl.unwrap_or(self.settings.ttl);
        let rrset = self.rrsets.len() as u32;
        self.rrsets.push(RrsetNode { place, ttl, previous: entry.last_rrset, view });
        entry.last_rrset = rrset;
        let (up, count) = (entry.parent, usize::from(entry.rrset_count));
        if count >= CROWD {
            self.note_in_crowd(node, count, rrset);
        }
        self.note_partial_wildcard(up, record.name);
        Ok(())
    }

    /// Whether the node has these records already; the smaller TTL is theirs then.
    fn is_known(&mut self, node: u32, record: &Record<'a>, view: ViewId) -> Result<bool, Conflict<'a>> {
        let (same_type, other) = match self.crowds.get(&node) {
            Some(crowd) => {
                let same_type = crowd.by_type.get(&(record.rtype, view));
                let alias = crowd.by_type.get(&(Rtype::CNAME, view));
                let any = crowd.by_view.get(&view).filter(|_| record.rtype == Rtype::CNAME);
                (same_type.copied(), any.or(alias).copied())
            }
            None => self.few_known(node, record.rtype, view),
        };
        let record_of = |rrset: u32| self.record(self.rrsets.get(rrset as usize)?.place);
        if let Some((rrset, known)) = same_type.and_then(|rrset| Some((rrset, record_of(rrset)?))) {
            if !known.has_data_of(record) {
                return Err(Conflict::OtherData(known));
            }
            if let (Some(ttl), Some(known)) = (record.ttl, self.rrsets.get_mut(rrset as usize)) {
                known.ttl = known.ttl.min(ttl);
            }
            return Ok(true);
        }
        match other.and_then(record_of) {
            Some(other) => Err(Conflict::BesideAlias(other)),
            None => Ok(false),
        }
    }

    /// Of a node with few RRsets: the one of this type that the view has, and one that cannot be beside such a one.
    fn few_known(&self, node: u32, rtype: Rtype, view: ViewId) -> (Option<u32>, Option<u32>) {
        let mut other = None;
        let mut at = self.nodes.get(node as usize).map_or(NO_NODE, |node| node.last_rrset);
        while let Some(known) = self.rrsets.get(at as usize) {
            if known.view == view
                && let Some(record) = self.record(known.place)
            {
                if record.rtype == rtype {
                    return (Some(at), None);
                }
                if rtype == Rtype::CNAME || record.rtype == Rtype::CNAME {
                    other = Some(at);
                }
            }
            at = known.previous;
        }
        (None, other)
    }

    /// Notes the last RRset of a node that has so many that they are not looked through for each record.
    fn note_in_crowd(&mut self, node: u32, count: usize, last: u32) {
        let mut new = Vec::new();
        let mut at = last;
        // When it becomes a crowd, those before the last one are noted as well.
        for _ in 0..if count == CROWD { count } else { 1 } {
            let Some(rrset) = self.rrsets.get(at as usize) else {
                break;
            };
            new.extend(self.record(rrset.place).map(|record| (record.rtype, rrset.view, at)));
            at = rrset.previous;
        }
        let crowd =
            self.crowds.entry(node).or_insert_with(|| Crowd { by_type: HashMap::new(), by_view: HashMap::new() });
        for (rtype, view, rrset) in new {
            crowd.by_type.insert((rtype, view), rrset);
            crowd.by_view.insert(view, rrset);
        }
    }

    /// Tells the parent of a partial wildcard that it is there.
    fn note_partial_wildcard(&mut self, up: u32, name: &[u8]) {
        let Some(part) = partial_wildcard(name).map(FixedPart::of) else {
            return;
        };
        let parts = self.fixed_parts.entry(up).or_default();
        if !parts.contains(&part) {
            parts.push(part);
            parts.sort_unstable_by_key(|part| part.order());
        }
    }

    /// Finds the line of each RRset. They come in the order of the files, so every text is read once.
    fn note_lines(&mut self, sources: &[SourceText]) {
        self.files = FileLines::new(sources);
        let newlines = |text: Option<&[u8]>| text.unwrap_or_default().iter().filter(|&&byte| byte == b'\n').count();
        let (mut file, mut from, mut line) = (u32::MAX, 0, 0);
        self.lines = Vec::with_capacity(self.rrsets.len());
        for rrset in &self.rrsets {
            let Some(record) = self.record(rrset.place) else {
                self.lines.push(u32::MAX);
                continue;
            };
            let at = record.at as usize;
            if record.file != file || at < from {
                (file, from, line) = (record.file, 0, 0);
            }
            let text = sources.get(file as usize).map(|source| source.text().as_bytes());
            line += newlines(text.and_then(|text| text.get(from..at)));
            from = at;
            self.lines.push(self.files.number(file as usize, line));
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
            if let Some(known) = self.nodes.get(node as usize)
                && !seen_by_all.contains(&node)
                && known.parent != NO_NODE
                && known.flags & APEX == 0
            {
                self.limited.entry(node).or_default().push(view);
            }
        }
        self.limited.values_mut().for_each(|views| views.sort_unstable());
    }
}

/// Whether a record can be sent and means one thing.
fn check_size<'a>(record: &Record<'a>) -> Result<(), Conflict<'a>> {
    let bytes: usize = record.data().map(|data| RECORD_HEAD_LEN + data.len()).sum();
    if bytes > RRSET_BYTES_MAX {
        return Err(Conflict::TooLarge);
    }
    let count = if record.rtype == Rtype::CNAME { record.data().count() } else { 1 };
    if count > 1 { Err(Conflict::Aliases(count)) } else { Ok(()) }
}

fn place_in(slots: &mut [Slot], hash: u64, node: u32) {
    let mut place = first_place(hash, slots.len());
    while let Some(slot) = slots.get_mut(place) {
        if slot.entry == EMPTY {
            *slot = Slot { tag: tag_of(hash), entry: node };
            return;
        }
        place = if place + 1 == slots.len() { 0 } else { place + 1 };
    }
}
