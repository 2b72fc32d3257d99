//! The table's memory, written from what the compiler found.

use std::collections::HashMap;

use super::compile::Builder;
use super::entry::{APEX, EntryParts, push_head, push_rrset};
use super::packed::{Packed, Record};
use super::place::Places;
use super::reverse::Reverse;
use super::slot::EMPTY;
use super::table::{MARK_EVERY, Table, TableStats, ZoneEntry};
use super::view::EVERYBODY;
use super::zone::{Zone, numbered};
use crate::document::{Diagnostic, Problems, Severity};
use crate::wire::Rtype;
use crate::wire::name::{is_wildcard, partial_wildcard};

/// More than the entry of a name with one record takes besides what the packed record holds.
const ENTRY_BYTES: usize = 16;

/// TTL and data of the SOA records at the apexes of zones, by the zones' numbers.
type Soas = HashMap<u16, (u32, Box<[u8]>)>;

impl Builder<'_> {
    /// Writes the table.
    pub(super) fn finish(mut self, zones: &[Zone], problems: &mut Problems) -> Table {
        let bytes: usize = self.packs.iter().map(Packed::bytes).sum();
        let mut arena = Vec::with_capacity(bytes + self.nodes.len() * ENTRY_BYTES);
        let mut entries = Vec::with_capacity(self.nodes.len());
        let mut reverse = Reverse::with_room(self.rrsets.len());
        let mut stats = TableStats::default();
        let mut soas = Soas::new();
        let mut places = Places::new(std::mem::take(&mut self.files), self.rrsets.len());
        let mut marks = Vec::new();
        for node in 0..self.nodes.len() {
            let Ok(entry) = u32::try_from(arena.len()) else {
                let hint = "leave some out";
                problems.push(Diagnostic::of_file(Severity::Error, "records", "the table is larger than 4 GiB", hint));
                break;
            };
            entries.push(entry);
            if stats.sets >= marks.len() * MARK_EVERY {
                marks.push((stats.sets, entry));
            }
            self.write_entry(node, entry, &mut arena, &mut reverse, &mut stats, &mut soas, &mut places);
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.entry != EMPTY) {
            slot.entry = entries.get(slot.entry as usize).copied().unwrap_or(0);
        }
        reverse.finish();
        stats.addresses = reverse.addresses();
        let zones = numbered(zones).map(|(number, zone)| ZoneEntry {
            apex: zone.apex.to_lowercase(),
            missing: zone.missing,
            soa: soas.remove(&number),
        });
        Table {
            hasher: self.hasher,
            slots: self.slots.into_boxed_slice(),
            arena: arena.into_boxed_slice(),
            zones: zones.collect(),
            views: self.views,
            reverse,
            negative_ttl: self.settings.ttl,
            stats,
            places,
            marks: marks.into_boxed_slice(),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of the table that an entry adds to")]
    fn write_entry(
        &self,
        number: usize,
        entry: u32,
        arena: &mut Vec<u8>,
        reverse: &mut Reverse,
        stats: &mut TableStats,
        soas: &mut Soas,
        places: &mut Places,
    ) {
        let Some(node) = self.nodes.get(number) else {
            return;
        };
        let mut rrsets = Vec::new();
        let mut at = node.last_rrset;
        while let Some(rrset) = self.rrsets.get(at as usize) {
            rrsets.push((rrset, at));
            at = rrset.previous;
        }
        stats.names += usize::from(!rrsets.is_empty());
        push_head(
            arena,
            &EntryParts {
                name: node.name,
                flags: node.flags,
                zone: node.zone,
                fixed_parts: self.fixed_parts.get(&(number as u32)).map_or(&[], |parts| &**parts),
                views: self.limited.get(&(number as u32)).map_or(&[], |views| &**views),
                rrset_count: node.rrset_count,
            },
        );
        let is_pattern = is_wildcard(node.name) || partial_wildcard(node.name).is_some();
        for (rrset, number) in rrsets.iter().rev() {
            let Some(record) = self.record(rrset.place) else {
                continue;
            };
            places.push(entry, self.lines.get(*number as usize).copied());
            stats.sets += 1;
            stats.records += push_rrset(arena, record.rtype, rrset.view, rrset.ttl, record.data());
            if !is_pattern {
                note_addresses(reverse, &record, entry);
            }
            if let (Rtype::SOA, Some(zone), Some(data), true) =
                (record.rtype, node.zone, record.data().next(), node.flags & APEX != 0 && rrset.view == EVERYBODY)
            {
                soas.insert(zone, (rrset.ttl, data.into()));
            }
        }
    }
}

fn note_addresses(reverse: &mut Reverse, record: &Record<'_>, entry: u32) {
    for data in record.data() {
        match record.rtype {
            Rtype::A => data.try_into().into_iter().for_each(|bytes| reverse.push_v4(bytes, entry)),
            Rtype::AAAA => data.try_into().into_iter().for_each(|bytes| reverse.push_v6(bytes, entry)),
            _ => {}
        }
    }
}
