//! The compiled table: what a query looks a name up in.
//!
//! An open-addressing index of hashes leads to entries that lie one behind the other in one run of memory (`entry.rs`).
//! Every ancestor of an owner name is an entry too, so that the closest encloser (RFC 4592 §3.3.1) is the first name
//! found on the way up. The order of a lookup:
//!
//! 1. the exact name; where it is an empty non-terminal, no wildcard stands for it;
//! 2. the reverse name of an address in the table;
//! 3. at the closest encloser: partial wildcards, if it is the parent; then the wildcard;
//! 4. what the zone says of missing names.

use std::net::IpAddr;

use super::entry::{APEX, Entry, HEAD_LEN, LIMITED, Rrset, WILDCARD_BELOW};
use super::place::{Places, RecordPlace};
use super::reverse::{REVERSE_NAMES_MAX, Reverse, address_of_reverse_name};
use super::slot::{EMPTY, NameHash, Slot, first_place, hash_name, tag_of};
use super::soa::Soa;
use super::view::{ViewId, Views};
use super::zone::Missing;
use crate::wire::name::{self, LABEL_MAX, NAME_MAX, PartialWildcard};
use crate::wire::{Name, Rtype};

/// The records table, ready to be asked. Immutable.
pub struct Table {
    pub(super) hasher: foldhash::fast::RandomState,
    /// Half of them at least are empty; a lookup walks on from its place until it finds the name or an empty one.
    pub(super) slots: Box<[Slot]>,
    pub(super) arena: Box<[u8]>,
    pub(super) zones: Box<[ZoneEntry]>,
    pub(super) views: Views,
    pub(super) reverse: Reverse,
    /// TTL of negative answers outside a zone with an SOA of its own, seconds.
    pub(super) negative_ttl: u32,
    pub(super) stats: TableStats,
    pub(super) places: Places,
    /// Every so many RRsets, how many stand before an entry, and where it begins: pages begin anywhere at no cost.
    pub(super) marks: Box<[(usize, u32)]>,
}

/// RRsets from one mark to the next, about.
pub(super) const MARK_EVERY: usize = 256;

/// Labels that a name may have.
const LABELS_MAX: usize = NAME_MAX.div_ceil(2);
/// Bytes of a line of the processor's cache.
const LINE: usize = 64;

/// How much is in a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableStats {
    /// Records, counting each piece of data.
    pub records: usize,
    /// Names that have records.
    pub names: usize,
    /// Addresses that have reverse names.
    pub addresses: usize,
    /// RRsets.
    pub sets: usize,
}

/// A zone of the settings with the SOA of its negative answers.
pub(super) struct ZoneEntry {
    pub(super) apex: Name,
    pub(super) missing: Missing,
    /// TTL and data of the SOA record that the table has at the apex.
    pub(super) soa: Option<(u32, Box<[u8]>)>,
}

/// By which record a name was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Match {
    /// The name itself.
    Record,
    /// A wildcard (RFC 4592).
    Wildcard,
    /// A partial wildcard: the first label's ending or beginning.
    PartialWildcard,
    /// An address of the table, asked by its reverse name.
    Reverse,
}

/// What the table says of a name and type.
pub enum Lookup<'t> {
    /// Records of the type asked.
    Answer(Rrset<'t>, Match),
    /// An alias, and another type was asked.
    Alias(Rrset<'t>, Match),
    /// Names of an address.
    Pointers(Pointers<'t>),
    /// The name exists and every type of it was asked (RFC 8482).
    Any(Match),
    /// The SOA of a zone without one of its own was asked at its apex. A name outside all zones is the apex of its own.
    ApexSoa(Soa<'t>),
    /// The name exists, without records of this type.
    NoData(Soa<'t>, Match),
    /// The name does not exist, says its zone.
    NxDomain(Soa<'t>),
    /// The table does not have it: it is asked upstream.
    Missing,
}

impl Table {
    /// What the table says to `client` of `qname` (lower case wire form) and `qtype`.
    // On every query's way: a release inlines less than the compiler would by itself (deploy/release.sh).
    #[inline(always)]
    pub fn lookup(&self, qname: &[u8], qtype: Rtype, client: IpAddr) -> Lookup<'_> {
        self.lookup_hashed(qname, self.hash(qname), qtype, client)
    }

    /// The hash of a name in lower case wire form.
    #[inline]
    pub fn hash(&self, lower_name: &[u8]) -> NameHash {
        NameHash(hash_name(&self.hasher, lower_name))
    }

    /// Gives `prefetch` the address of the place of a name, so that the processor brings it nearer while something else is done.
    #[inline]
    pub fn prefetch_place(&self, NameHash(hash): NameHash, prefetch: impl Fn(*const u8)) {
        if let Some(slot) = self.slots.get(first_place(hash, self.slots.len())) {
            prefetch((&raw const *slot).cast());
        }
    }

    /// The same for what the table has of a name, some time after [`Self::prefetch_place`].
    #[inline]
    pub fn prefetch_entry(&self, NameHash(hash): NameHash, prefetch: impl Fn(*const u8)) {
        if let Some(slot) = self.slots.get(first_place(hash, self.slots.len()))
            && slot.tag == tag_of(hash)
            && let Some(bytes) = self.arena.get(slot.entry as usize..)
        {
            prefetch(bytes.as_ptr());
            prefetch(bytes.as_ptr().wrapping_add(LINE));
        }
    }

    /// [`Self::lookup`] of a name whose hash is known.
    // On every query's way: a release inlines less than the compiler would by itself (deploy/release.sh).
    #[inline(always)]
    pub fn lookup_hashed(&self, qname: &[u8], hash: NameHash, qtype: Rtype, client: IpAddr) -> Lookup<'_> {
        if let Some(entry) = self.find_visible_hashed(qname, hash, client) {
            if !entry.is_empty_non_terminal()
                && let Some(found) = self.at_entry(&entry, qtype, client, Match::Record, qname.len())
            {
                return found;
            }
            return self.at_empty_name(&entry, qname, qtype, client);
        }
        if let Some(pointers) = self.reverse_names(qname, client) {
            let zone = self.zone_above(qname);
            let soa = self.soa_of(zone, qname.len());
            return match qtype {
                Rtype::PTR => Lookup::Pointers(pointers),
                Rtype::ANY => Lookup::Any(Match::Reverse),
                Rtype::SOA if zone.is_none() => Lookup::ApexSoa(soa),
                _ => Lookup::NoData(soa, Match::Reverse),
            };
        }
        self.below_encloser(qname, qtype, client)
    }

    /// TTL of records that state none and of negative answers, seconds.
    pub fn ttl(&self) -> u32 {
        self.negative_ttl
    }

    /// Who sees what.
    pub fn views(&self) -> &Views {
        &self.views
    }

    /// How much is in it.
    pub fn stats(&self) -> TableStats {
        self.stats
    }

    /// Bytes of memory that it takes.
    pub fn memory(&self) -> usize {
        let slots = size_of_val(&*self.slots) + size_of_val(&*self.marks);
        slots + self.arena.len() + self.reverse.memory() + self.places.memory()
    }

    /// Every owner name with its RRsets, in the order of the files.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Rrset<'_>)> {
        self.iter_from(0)
    }

    /// The same without the first RRsets; to pass over many costs no more than to pass over few.
    pub fn iter_from(&self, offset: usize) -> impl Iterator<Item = (&[u8], Rrset<'_>)> {
        let behind = self.marks.partition_point(|&(sets, _)| sets <= offset);
        let mark = behind.checked_sub(1).and_then(|mark| self.marks.get(mark));
        let (before, start) = mark.copied().unwrap_or_default();
        let mut rest = self.arena.get(start as usize..).unwrap_or_default();
        let entries = std::iter::from_fn(move || {
            let entry = Entry::read(rest)?;
            rest = entry.behind();
            Some(entry)
        });
        entries
            .flat_map(|entry| entry.rrsets().map(move |rrset| (entry.name(), rrset)))
            .skip(offset.saturating_sub(before))
    }

    /// Where the records of an owner (lower case wire form) of this type and view are written; `None` where there are
    /// none, or where they do not come from a file.
    pub fn place(&self, owner: &[u8], rtype: Rtype, view: ViewId) -> Option<RecordPlace<'_>> {
        let entry = self.find(owner)?;
        let is_asked = |rrset: Rrset<'_>| rrset.rtype == rtype && rrset.view == view;
        let number = entry.rrsets().position(is_asked)?;
        let offset = entry.name().as_ptr() as usize - self.arena.as_ptr() as usize - HEAD_LEN;
        self.places.find(u32::try_from(offset).ok()?, number)
    }

    /// Every RRset of an owner (lower case wire form), in all views.
    pub fn rrsets(&self, owner: &[u8]) -> impl Iterator<Item = Rrset<'_>> {
        self.find(owner).into_iter().flat_map(|entry| entry.rrsets())
    }

    #[inline]
    fn find(&self, lower_name: &[u8]) -> Option<Entry<'_>> {
        self.find_hashed(lower_name, self.hash(lower_name))
    }

    // On every query's way: a release inlines less than the compiler would by itself (deploy/release.sh).
    #[inline(always)]
    fn find_hashed(&self, lower_name: &[u8], NameHash(hash): NameHash) -> Option<Entry<'_>> {
        let mut place = first_place(hash, self.slots.len());
        loop {
            let slot = self.slots.get(place)?;
            if slot.entry == EMPTY {
                return None;
            }
            if slot.tag == tag_of(hash)
                && let Some(entry) = self.entry_at(slot.entry)
                && entry.name() == lower_name
            {
                return Some(entry);
            }
            place = if place + 1 == self.slots.len() { 0 } else { place + 1 };
        }
    }

    #[inline]
    pub(super) fn entry_at(&self, offset: u32) -> Option<Entry<'_>> {
        Entry::read(self.arena.get(offset as usize..)?)
    }

    #[inline]
    fn find_visible(&self, lower_name: &[u8], client: IpAddr) -> Option<Entry<'_>> {
        self.find_visible_hashed(lower_name, self.hash(lower_name), client)
    }

    // On every query's way: a release inlines less than the compiler would by itself (deploy/release.sh).
    #[inline(always)]
    fn find_visible_hashed(&self, lower_name: &[u8], hash: NameHash, client: IpAddr) -> Option<Entry<'_>> {
        self.find_hashed(lower_name, hash).filter(|entry| self.is_visible(entry, client))
    }

    // On every query's way: a release inlines less than the compiler would by itself (deploy/release.sh).
    #[inline(always)]
    fn is_visible(&self, entry: &Entry<'_>, client: IpAddr) -> bool {
        !entry.has(LIMITED) || entry.views().any(|view| self.views.fit(view, client).is_some())
    }

    /// The longest name above `qname` that the table has for this client.
    #[inline]
    fn closest_encloser<'n>(&self, qname: &'n [u8], client: IpAddr) -> Option<(Entry<'_>, &'n [u8])> {
        let parent = name::parent(qname)?;
        if let Some(entry) = self.find_visible(parent, client) {
            return Some((entry, parent));
        }
        // Ancestors of an entry are entries, so that halving finds where they begin. Names that are forwarded have
        // nothing of theirs in the table but one or two last labels.
        let mut starts = [0; LABELS_MAX];
        let (mut labels, mut at) = (0, 0);
        while let Some(&len) = parent.get(at)
            && len != 0
        {
            at += 1 + usize::from(len);
            *starts.get_mut(labels)? = at as u8; // a name has 255 bytes at most
            labels += 1;
        }
        let ancestor = |number: usize| parent.get(usize::from(*starts.get(number)?)..);
        let (mut first, mut end, mut found) = (0, labels, None);
        while first < end {
            let middle = first + (end - first) / 2;
            match ancestor(middle).and_then(|name| Some((self.find(name)?, name))) {
                Some(entry) => (end, found) = (middle, Some(entry)),
                None => first = middle + 1,
            }
        }
        let (entry, name) = found?;
        if self.is_visible(&entry, client) {
            return Some((entry, name));
        }
        // What the client does not see is none for it.
        (first + 1..labels).filter_map(ancestor).find_map(|name| Some((self.find_visible(name, client)?, name)))
    }

    /// What the records at `entry` say; nothing when the client sees none of them. `owner_len` is the length of the SOA
    /// owner's name outside zones.
    // On every query's way: a release inlines less than the compiler would by itself (deploy/release.sh).
    #[inline(always)]
    fn at_entry<'t>(
        &'t self,
        entry: &Entry<'t>,
        qtype: Rtype,
        client: IpAddr,
        how: Match,
        owner_len: usize,
    ) -> Option<Lookup<'t>> {
        let mut best: Option<(u16, Rrset<'_>)> = None;
        let mut seen = false;
        for rrset in entry.rrsets() {
            let Some(fit) = self.views.fit(rrset.view, client) else {
                continue;
            };
            seen = true;
            let wanted = rrset.rtype == qtype || rrset.rtype == Rtype::CNAME || qtype == Rtype::ANY;
            if wanted && best.is_none_or(|(best_fit, _)| fit > best_fit) {
                best = Some((fit, rrset));
            }
        }
        if !seen {
            return None;
        }
        Some(match best {
            Some((_, rrset)) if rrset.rtype == qtype => Lookup::Answer(rrset, how),
            // The alias is all that the name has, and no other type is asked: it is not followed (RFC 8482 §4.2).
            Some((_, rrset)) if qtype == Rtype::ANY && rrset.rtype == Rtype::CNAME => Lookup::Answer(rrset, how),
            Some(_) if qtype == Rtype::ANY => Lookup::Any(how),
            Some((_, rrset)) => Lookup::Alias(rrset, how),
            None if qtype == Rtype::SOA && how == Match::Record && (entry.has(APEX) || entry.zone().is_none()) => {
                Lookup::ApexSoa(self.soa_of(entry.zone(), owner_len))
            }
            None => Lookup::NoData(self.soa_of(entry.zone(), owner_len), how),
        })
    }

    /// An empty non-terminal, or an apex without records.
    fn at_empty_name(&self, entry: &Entry<'_>, qname: &[u8], qtype: Rtype, client: IpAddr) -> Lookup<'_> {
        if let Some(pointers) = self.reverse_names(qname, client)
            && qtype == Rtype::PTR
        {
            return Lookup::Pointers(pointers);
        }
        match self.missing_in(entry) {
            Missing::Forward => Lookup::Missing,
            Missing::NxDomain if qtype == Rtype::SOA && entry.has(APEX) => {
                Lookup::ApexSoa(self.soa_of(entry.zone(), qname.len()))
            }
            Missing::NxDomain => Lookup::NoData(self.soa_of(entry.zone(), qname.len()), Match::Record),
        }
    }

    /// Partial wildcard, wildcard, or nothing at the closest encloser of a name that does not exist.
    #[inline]
    fn below_encloser(&self, qname: &[u8], qtype: Rtype, client: IpAddr) -> Lookup<'_> {
        let Some((encloser, encloser_name)) = self.closest_encloser(qname, client) else {
            return Lookup::Missing;
        };
        let mut key = [0u8; NAME_MAX];
        if name::parent(qname) == Some(encloser_name)
            && let Some(label) = name::labels(qname).next()
        {
            for part in encloser.fixed_parts() {
                let owner = part.in_label(label).and_then(|pattern| partial_owner(&mut key, pattern, encloser_name));
                if let Some(entry) = owner.and_then(|name| self.find(name))
                    && let Some(found) =
                        self.at_entry(&entry, qtype, client, Match::PartialWildcard, encloser_name.len())
                {
                    return found;
                }
            }
        }
        if encloser.has(WILDCARD_BELOW)
            && let Some(entry) =
                child_name(&mut key, [b"*", b""], encloser_name).and_then(|name| self.find_visible(name, client))
        {
            if let Some(found) = self.at_entry(&entry, qtype, client, Match::Wildcard, encloser_name.len()) {
                return found;
            }
            // An empty non-terminal: what it stands for exists, without data (RFC 4592 §4.9).
            return match self.missing_in(&entry) {
                Missing::Forward => Lookup::Missing,
                Missing::NxDomain => Lookup::NoData(self.soa_of(entry.zone(), encloser_name.len()), Match::Wildcard),
            };
        }
        match self.missing_in(&encloser) {
            Missing::Forward => Lookup::Missing,
            Missing::NxDomain => Lookup::NxDomain(self.soa_of(encloser.zone(), encloser_name.len())),
        }
    }

    /// The longest zone above a name that is no entry itself.
    fn zone_above(&self, qname: &[u8]) -> Option<usize> {
        let mut above = name::parent(qname);
        while let Some(name) = above {
            if let Some(entry) = self.find(name) {
                return entry.zone();
            }
            above = name::parent(name);
        }
        None
    }

    fn missing_in(&self, entry: &Entry<'_>) -> Missing {
        entry.zone().and_then(|zone| self.zones.get(zone)).map_or(Missing::Forward, |zone| zone.missing)
    }

    fn soa_of(&self, zone: Option<usize>, owner_len: usize) -> Soa<'_> {
        let zone = zone.and_then(|zone| self.zones.get(zone));
        Soa {
            owner_len: zone.map_or(owner_len, |zone| zone.apex.as_wire().len()),
            own: zone.and_then(|zone| zone.soa.as_ref()).map(|(ttl, data)| (*ttl, &**data)),
            negative_ttl: self.negative_ttl,
        }
    }

    fn reverse_names(&self, qname: &[u8], client: IpAddr) -> Option<Pointers<'_>> {
        if self.reverse.is_empty() {
            return None;
        }
        let address = address_of_reverse_name(qname)?;
        let pointers = Pointers { table: self, address, client };
        (!pointers.is_empty()).then_some(pointers)
    }
}

/// The names of an address that a client sees.
pub struct Pointers<'t> {
    table: &'t Table,
    address: IpAddr,
    client: IpAddr,
}

impl<'t> Pointers<'t> {
    /// TTL in seconds and name (lower case wire form) of each PTR record; at most 64.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &'t [u8])> {
        self.visible().take(REVERSE_NAMES_MAX)
    }

    /// Whether the client sees no name.
    pub(super) fn is_empty(&self) -> bool {
        self.visible().next().is_none()
    }

    fn visible(&self) -> impl Iterator<Item = (u32, &'t [u8])> {
        let table = self.table;
        let entries = table.reverse.entries(self.address).filter_map(|entry| table.entry_at(entry));
        entries.filter_map(|entry| Some((self.ttl_at(&entry)?, entry.name())))
    }

    /// The TTL of the address at an entry; nothing when the client does not see it there.
    fn ttl_at(&self, entry: &Entry<'_>) -> Option<u32> {
        let rrsets = entry.rrsets().filter(|rrset| self.table.views.fit(rrset.view, self.client).is_some());
        let (mut v4, mut v6) = (None, None);
        let (rtype, bytes): (_, &[u8]) = match self.address {
            IpAddr::V4(address) => (Rtype::A, v4.insert(address.octets())),
            IpAddr::V6(address) => (Rtype::AAAA, v6.insert(address.octets())),
        };
        rrsets
            .filter(|rrset| rrset.rtype == rtype)
            .find_map(|rrset| rrset.iter().find(|(_, data)| *data == bytes).map(|(ttl, _)| ttl))
    }
}

/// Writes the owner name of a partial wildcard below `parent` into `key`.
fn partial_owner<'k>(key: &'k mut [u8; NAME_MAX], pattern: PartialWildcard<'_>, parent: &[u8]) -> Option<&'k [u8]> {
    match pattern {
        PartialWildcard::Ending(end) => child_name(key, [b"*", end], parent),
        PartialWildcard::Beginning(start) => child_name(key, [start, b"*"], parent),
    }
}

/// Writes the name into `key` that has a label of two parts in front of `parent`.
fn child_name<'k>(key: &'k mut [u8; NAME_MAX], [front, back]: [&[u8]; 2], parent: &[u8]) -> Option<&'k [u8]> {
    let label_len = front.len() + back.len();
    if label_len > LABEL_MAX {
        return None;
    }
    let place = key.get_mut(..1 + label_len + parent.len())?;
    let (len_place, rest) = place.split_first_mut()?;
    *len_place = label_len as u8;
    let (front_place, rest) = rest.split_at_mut_checked(front.len())?;
    let (back_place, parent_place) = rest.split_at_mut_checked(back.len())?;
    front_place.copy_from_slice(front);
    back_place.copy_from_slice(back);
    parent_place.copy_from_slice(parent);
    Some(place)
}

#[cfg(test)]
mod tests;
