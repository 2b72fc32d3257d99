//! How a name lies in the table's memory: one run of bytes, so that an exact hit touches two or three cache lines.
//!
//! ```text
//! name length u8 │ flags u8 │ zone u16 │ RRsets u16 │ name, lower case wire form
//!   │ where PARTIAL_WILDCARDS: count u8, fixed parts u8 each, longest first
//!   │ where LIMITED: count u16, views u16 each
//!   │ per RRset: type u16 │ view u16 │ records u16 │ bytes u32 │ records ready to be copied behind a question
//! ```
//!
//! A record lies as it is sent: its owner name is a pointer to the question's name (`c0 0c`), which is right for every
//! spelling of the name and for every name that a wildcard stands for.

use std::cmp::Reverse;

use super::view::ViewId;
use crate::wire::Rtype;
use crate::wire::name::PartialWildcard;

/// A wildcard is right below this name.
pub(super) const WILDCARD_BELOW: u8 = 1;
/// Partial wildcards are right below this name.
pub(super) const PARTIAL_WILDCARDS: u8 = 2;
/// Only some views see this name.
pub(super) const LIMITED: u8 = 4;
/// This name is the apex of a zone.
pub(super) const APEX: u8 = 8;

/// Bytes in front of the name.
pub(super) const HEAD_LEN: usize = 6;
/// Bytes in front of an RRset's records.
const RRSET_HEAD_LEN: usize = 10;

/// A name with all that the table knows of it.
#[derive(Clone, Copy)]
pub(super) struct Entry<'t> {
    flags: u8,
    zone: u16,
    rrset_count: u16,
    name: &'t [u8],
    /// What follows the name.
    rest: &'t [u8],
}

/// The records of one name and type.
#[derive(Debug, Clone, Copy)]
pub struct Rrset<'t> {
    /// Their type.
    pub rtype: Rtype,
    /// Who sees them.
    pub view: ViewId,
    /// How many there are.
    pub count: u16,
    /// The records, each with a pointer to the question's name as its owner.
    pub records: &'t [u8],
}

impl<'t> Entry<'t> {
    /// Reads the entry that begins at the start of `bytes`.
    #[inline]
    pub(super) fn read(bytes: &'t [u8]) -> Option<Self> {
        let (&[name_len, flags, z0, z1, r0, r1], rest) = bytes.split_first_chunk::<HEAD_LEN>()?;
        let (name, rest) = rest.split_at_checked(name_len as usize)?;
        Some(Self { flags, zone: u16::from_be_bytes([z0, z1]), rrset_count: u16::from_be_bytes([r0, r1]), name, rest })
    }

    #[inline]
    pub(super) fn name(&self) -> &'t [u8] {
        self.name
    }

    #[inline]
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The number of the longest zone that holds the name.
    #[inline]
    pub(super) fn zone(&self) -> Option<usize> {
        (self.zone as usize).checked_sub(1)
    }

    #[inline]
    pub(super) fn is_empty_non_terminal(&self) -> bool {
        self.rrset_count == 0
    }

    /// The fixed parts of the partial wildcards below this name, longest first.
    pub(super) fn fixed_parts(&self) -> impl Iterator<Item = FixedPart> + use<'t> {
        let parts = self.rest.split_first().and_then(|(&count, parts)| parts.get(..count as usize));
        let has_some = self.has(PARTIAL_WILDCARDS);
        parts.filter(|_| has_some).unwrap_or_default().iter().map(|&part| FixedPart(part))
    }

    /// The views that see this name, where it is limited.
    pub(super) fn views(&self) -> impl Iterator<Item = ViewId> + use<'t> {
        let views = self
            .behind_fixed_parts()
            .split_first_chunk::<2>()
            .and_then(|(&count, views)| views.get(..u16::from_be_bytes(count) as usize * 2));
        let limited = self.has(LIMITED);
        let views = views.filter(|_| limited).unwrap_or_default();
        views.as_chunks::<2>().0.iter().map(|&view| u16::from_be_bytes(view))
    }

    /// All RRsets.
    #[inline]
    pub(super) fn rrsets(&self) -> Rrsets<'t> {
        Rrsets { left: self.rrset_count, bytes: self.behind_views() }
    }

    /// What follows the entry.
    pub(super) fn behind(&self) -> &'t [u8] {
        let mut rrsets = self.rrsets();
        rrsets.by_ref().for_each(drop);
        rrsets.bytes
    }

    #[inline]
    fn behind_fixed_parts(&self) -> &'t [u8] {
        if !self.has(PARTIAL_WILDCARDS) {
            return self.rest;
        }
        self.rest.split_first().and_then(|(&count, rest)| rest.get(count as usize..)).unwrap_or_default()
    }

    #[inline]
    fn behind_views(&self) -> &'t [u8] {
        let rest = self.behind_fixed_parts();
        if !self.has(LIMITED) {
            return rest;
        }
        rest.split_first_chunk::<2>()
            .and_then(|(&count, rest)| rest.get(u16::from_be_bytes(count) as usize * 2..))
            .unwrap_or_default()
    }
}

/// The RRsets of an entry, one after the other.
pub(super) struct Rrsets<'t> {
    left: u16,
    bytes: &'t [u8],
}

impl<'t> Iterator for Rrsets<'t> {
    type Item = Rrset<'t>;

    #[inline]
    fn next(&mut self) -> Option<Rrset<'t>> {
        self.left = self.left.checked_sub(1)?;
        let (&[t0, t1, v0, v1, n0, n1, l0, l1, l2, l3], rest) = self.bytes.split_first_chunk::<RRSET_HEAD_LEN>()?;
        let (records, rest) = rest.split_at_checked(u32::from_be_bytes([l0, l1, l2, l3]) as usize)?;
        self.bytes = rest;
        Some(Rrset {
            rtype: Rtype(u16::from_be_bytes([t0, t1])),
            view: u16::from_be_bytes([v0, v1]),
            count: u16::from_be_bytes([n0, n1]),
            records,
        })
    }
}

impl<'t> Rrset<'t> {
    /// The records one by one: TTL in seconds and data.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &'t [u8])> + use<'t> {
        let mut rest = self.records;
        std::iter::from_fn(move || {
            let (&[_, _, _, _, _, _, t0, t1, t2, t3, l0, l1], after) = rest.split_first_chunk::<RECORD_HEAD_LEN>()?;
            let (data, after) = after.split_at_checked(u16::from_be_bytes([l0, l1]) as usize)?;
            rest = after;
            Some((u32::from_be_bytes([t0, t1, t2, t3]), data))
        })
    }
}

/// What partial wildcards have fixed: at which end of the label, and how many bytes. At most 124 differ below one name,
/// however many partial wildcards there are, and a lookup tries one name for each of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FixedPart(u8);

impl FixedPart {
    /// The bit that tells a beginning from an ending; a length is 62 at most.
    const BEGINNING: u8 = 0x80;

    pub(super) fn of(pattern: PartialWildcard<'_>) -> Self {
        match pattern {
            PartialWildcard::Ending(end) => Self(end.len() as u8),
            PartialWildcard::Beginning(start) => Self(start.len() as u8 | Self::BEGINNING),
        }
    }

    fn len(self) -> usize {
        usize::from(self.0 & !Self::BEGINNING)
    }

    fn is_beginning(self) -> bool {
        self.0 & Self::BEGINNING != 0
    }

    /// The order in which a lookup tries them: the longest first; of two that are as long, the ending.
    pub(super) fn order(self) -> (Reverse<usize>, bool) {
        (Reverse(self.len()), self.is_beginning())
    }

    /// What a label has in its place; nothing where the label is shorter.
    #[inline]
    pub(super) fn in_label(self, label: &[u8]) -> Option<PartialWildcard<'_>> {
        if self.is_beginning() {
            return label.get(..self.len()).map(PartialWildcard::Beginning);
        }
        label.get(label.len().checked_sub(self.len())?..).map(PartialWildcard::Ending)
    }
}

/// Bytes of a record with a pointer as its owner, without its data.
pub(super) const RECORD_HEAD_LEN: usize = 12;

/// What the compiler knows of a name when it writes the entry.
pub(super) struct EntryParts<'a> {
    pub(super) name: &'a [u8],
    pub(super) flags: u8,
    pub(super) zone: Option<u16>,
    pub(super) fixed_parts: &'a [FixedPart],
    pub(super) views: &'a [ViewId],
    pub(super) rrset_count: u16,
}

/// Writes an entry up to its RRsets.
pub(super) fn push_head(out: &mut Vec<u8>, parts: &EntryParts<'_>) {
    let mut flags = parts.flags;
    if !parts.fixed_parts.is_empty() {
        flags |= PARTIAL_WILDCARDS;
    }
    if !parts.views.is_empty() {
        flags |= LIMITED;
    }
    out.extend_from_slice(&[parts.name.len() as u8, flags]);
    out.extend_from_slice(&parts.zone.map_or(0, |zone| zone + 1).to_be_bytes());
    out.extend_from_slice(&parts.rrset_count.to_be_bytes());
    out.extend(parts.name.iter().map(u8::to_ascii_lowercase));
    if flags & PARTIAL_WILDCARDS != 0 {
        out.push(parts.fixed_parts.len() as u8);
        out.extend(parts.fixed_parts.iter().map(|part| part.0));
    }
    if flags & LIMITED != 0 {
        out.extend_from_slice(&(parts.views.len() as u16).to_be_bytes());
        out.extend(parts.views.iter().flat_map(|view| view.to_be_bytes()));
    }
}

/// Writes an RRset: `data` holds each record's data in wire form. How many records there are.
pub(super) fn push_rrset<'a>(
    out: &mut Vec<u8>,
    rtype: Rtype,
    view: ViewId,
    ttl: u32,
    data: impl Iterator<Item = &'a [u8]> + Clone,
) -> usize {
    let count = data.clone().count();
    let bytes: usize = data.clone().map(|data| RECORD_HEAD_LEN + data.len()).sum();
    out.extend_from_slice(&rtype.0.to_be_bytes());
    out.extend_from_slice(&view.to_be_bytes());
    out.extend_from_slice(&(count as u16).to_be_bytes());
    out.extend_from_slice(&(bytes as u32).to_be_bytes());
    for data in data {
        push_record(out, rtype, ttl, data);
    }
    count
}

/// Writes one record whose owner is the question's name.
pub fn push_record(out: &mut Vec<u8>, rtype: Rtype, ttl: u32, data: &[u8]) {
    let [t0, t1] = rtype.0.to_be_bytes();
    let [x0, x1, x2, x3] = ttl.to_be_bytes();
    let [l0, l1] = (data.len() as u16).to_be_bytes();
    out.extend_from_slice(&[0xc0, 0x0c, t0, t1, 0, 1, x0, x1, x2, x3, l0, l1]);
    out.extend_from_slice(data);
}
