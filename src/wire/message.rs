//! Messages from upstream: walked record by record, every offset checked.
//!
//! Compression pointers only lead backwards, names end within 255 octets and data within its message (RFC 9267 lists
//! what happens to those who trust them).

use std::ops::Range;

use smallvec::SmallVec;

use super::header::{HEADER_LEN, Header};
use super::name::{LABEL_MAX, NAME_MAX};
use super::{Edns, Name, Rcode, Rtype};

/// One record of a message, by its places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordView {
    /// The section it stands in.
    pub section: Section,
    /// Its type.
    pub rtype: Rtype,
    /// Its class, or the payload size of an OPT record.
    pub class: u16,
    /// Its TTL, seconds, as it stands (RFC 2181 §8: the top bit set means 0).
    pub ttl: u32,
    start: u16,
    data_start: u16,
    data_len: u16,
}

impl RecordView {
    /// Where its owner name begins.
    pub fn start(&self) -> usize {
        self.start.into()
    }

    /// Where the TTL stands.
    pub fn ttl_at(&self) -> usize {
        usize::from(self.data_start) - 6 // TTL and length of the data
    }

    /// Where its data stand.
    pub fn data(&self) -> Range<usize> {
        let start = self.data_start.into();
        start..start + usize::from(self.data_len)
    }
}

/// The sections behind the question (RFC 1035 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Records that answer the question.
    Answer,
    /// Records that point to an authority.
    Authority,
    /// Records that help.
    Additional,
}

/// A message that was read to its end: one question, all records in their places.
#[derive(Debug)]
pub struct Message<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// The header.
    pub header: Header,
    /// Where the question section ends.
    pub question_end: usize,
    /// All records in order.
    pub records: SmallVec<[RecordView; 8]>,
}

impl<'a> Message<'a> {
    /// Reads a message with at most one question; nothing when a record is cut, malformed, or missing.
    ///
    /// Octets behind the last record are ignored: the records themselves are whole.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut records = SmallVec::new();
        let (header, question_end) = walk(bytes, skip_name, |record| {
            records.push(record);
            true
        })?;
        Some(Self { bytes, header, question_end, records })
    }

    /// The records of one section.
    pub fn section(&self, section: Section) -> impl Iterator<Item = &RecordView> {
        self.records.iter().filter(move |record| record.section == section)
    }

    /// The owner name of a record, uncompressed.
    pub fn owner(&self, record: &RecordView) -> Option<Name> {
        read_name(self.bytes, record.start()).map(|(name, _)| name)
    }

    /// The name that the data of a CNAME (or another record of one name) holds, uncompressed.
    pub fn target(&self, record: &RecordView) -> Option<Name> {
        let data = record.data();
        let (name, end) = read_name(self.bytes, data.start)?;
        (end == data.end).then_some(name)
    }

    /// The data of a record with every name in it uncompressed, fit for another message.
    ///
    /// Names are expanded for the types whose data may hold compressed names: those of RFC 1035 and the ones that
    /// RFC 3597 §4 lists for receivers.
    pub fn expanded_data(&self, record: &RecordView) -> Option<Vec<u8>> {
        let Range { start, end } = record.data();
        let data = self.bytes.get(start..end)?;
        let Some((before, names)) = names_in(record.rtype) else {
            return Some(data.to_vec());
        };
        let mut out = data.get(..before)?.to_vec();
        let mut at = start + before;
        for _ in 0..names {
            let (name, behind) = read_name(self.bytes, at)?;
            out.extend_from_slice(name.as_wire());
            at = behind;
        }
        out.extend_from_slice(self.bytes.get(at..end)?);
        Some(out)
    }
}

/// The response code of a message, with the upper bits of its OPT record; nothing where [`Message::parse`] has nothing, or
/// where the message is not sound: a name in it cannot be read, or the data of a record are not as long as what is in them
/// (RFC 9267 §2 to §5). Looked at are owner names, names in data of the types that [`Message::expanded_data`] expands, and
/// addresses.
pub fn sound_rcode(bytes: &[u8]) -> Option<Rcode> {
    let mut high = None;
    let (header, _) = walk(bytes, check_name, |record| {
        if record.rtype == Rtype::OPT && high.is_none() {
            high = Some(Edns::from_fields(record.class, record.ttl).rcode_high);
        }
        data_is_sound(bytes, &record)
    })?;
    Some(Rcode(header.rcode().0 | u16::from(high.unwrap_or_default()) << 4))
}

fn data_is_sound(bytes: &[u8], record: &RecordView) -> bool {
    let data = record.data();
    match record.rtype {
        Rtype::A => return data.len() == 4 || record.class != 1,
        Rtype::AAAA => return data.len() == 16 || record.class != 1,
        _ => {}
    }
    let Some((before, names)) = names_in(record.rtype) else {
        return true;
    };
    let mut at = data.start + before;
    for _ in 0..names {
        match check_name(bytes, at) {
            Some(end) if end <= data.end => at = end,
            _ => return false,
        }
    }
    let left = data.end.saturating_sub(at);
    match record.rtype.0 {
        6 => left == 20,      // SOA: five numbers
        24 | 46 | 30 => true, // signatures, type bitmaps
        _ => left == 0 && at == data.end,
    }
}

/// Reads a message record by record: `name_end` finds where an owner name ends, `take` says whether to go on. Gives the
/// header and where the question section ends.
fn walk(
    bytes: &[u8],
    name_end: impl Fn(&[u8], usize) -> Option<usize>,
    mut take: impl FnMut(RecordView) -> bool,
) -> Option<(Header, usize)> {
    let header = Header::read(bytes)?;
    let question_end = match header.qdcount {
        0 => HEADER_LEN,
        1 => skip_name(bytes, HEADER_LEN)? + 4,
        _ => return None,
    };
    if question_end > bytes.len() {
        return None;
    }
    let counts = [
        (Section::Answer, header.ancount),
        (Section::Authority, header.nscount),
        (Section::Additional, header.arcount),
    ];
    // A record has eleven octets at least: counts that promise more than that are not believed.
    let total: usize = counts.iter().map(|&(_, count)| count as usize).sum();
    if total > bytes.len() / 11 {
        return None;
    }
    let mut at = question_end;
    for (section, count) in counts {
        for _ in 0..count {
            let record = read_record(bytes, at, name_end(bytes, at)?, section)?;
            at = record.data().end;
            if !take(record) {
                return None;
            }
        }
    }
    Some((header, question_end))
}

/// Where names stand in the data of a type that may hold compressed ones: octets before the first, how many follow.
fn names_in(rtype: Rtype) -> Option<(usize, usize)> {
    Some(match rtype.0 {
        // NS MD MF CNAME MB MG MR PTR NSAP-PTR DNAME
        2 | 3 | 4 | 5 | 7 | 8 | 9 | 12 | 23 | 39 => (0, 1),
        // SOA MINFO RP
        6 | 14 | 17 => (0, 2),
        // MX AFSDB RT KX
        15 | 18 | 21 | 36 => (2, 1),
        // PX
        26 => (2, 2),
        // SRV
        33 => (6, 1),
        // SIG RRSIG NXT: the signer's name behind the fixed fields; NXT begins with it
        24 | 46 => (18, 1),
        30 => (0, 1),
        _ => return None,
    })
}

/// The record whose owner name is from `start` to `fields`.
#[inline]
fn read_record(bytes: &[u8], start: usize, fields: usize, section: Section) -> Option<RecordView> {
    let (&[t0, t1, c0, c1, x0, x1, x2, x3, l0, l1], _) = bytes.get(fields..)?.split_first_chunk::<10>()?;
    let (data_start, data_len) = (fields + 10, u16::from_be_bytes([l0, l1]));
    if data_start + usize::from(data_len) > bytes.len() {
        return None;
    }
    Some(RecordView {
        section,
        rtype: Rtype(u16::from_be_bytes([t0, t1])),
        class: u16::from_be_bytes([c0, c1]),
        ttl: u32::from_be_bytes([x0, x1, x2, x3]),
        start: u16::try_from(start).ok()?,
        data_start: u16::try_from(data_start).ok()?,
        data_len,
    })
}

/// The place behind the name at `at`, which may end in a pointer that is not followed.
pub fn skip_name(bytes: &[u8], at: usize) -> Option<usize> {
    let mut here = at;
    loop {
        let len = *bytes.get(here)? as usize;
        match len {
            0 => return Some(here + 1),
            1..=LABEL_MAX => here += 1 + len,
            0xc0.. => {
                bytes.get(here + 1)?;
                return Some(here + 2);
            }
            _ => return None,
        }
        if here - at > NAME_MAX {
            return None;
        }
    }
}

/// The place behind the name at `at`, where the whole name can be read as [`read_name`] would.
fn check_name(bytes: &[u8], at: usize) -> Option<usize> {
    let (mut here, mut run_start, mut end, mut octets) = (at, at, None, 0);
    loop {
        let len = *bytes.get(here)? as usize;
        match len {
            0 => break,
            1..=LABEL_MAX => {
                octets += 1 + len;
                here += 1 + len;
            }
            0xc0.. => {
                let target = (len & 0x3f) << 8 | *bytes.get(here + 1)? as usize;
                if target >= run_start || target < HEADER_LEN {
                    return None;
                }
                end.get_or_insert(here + 2);
                (here, run_start) = (target, target);
            }
            _ => return None,
        }
        if octets >= NAME_MAX {
            return None;
        }
    }
    Some(end.unwrap_or(here + 1))
}

/// The name at `at`, uncompressed, and the place behind it.
///
/// A pointer must lead before the place where the labels that it continues began, so that reading ends.
pub fn read_name(bytes: &[u8], at: usize) -> Option<(Name, usize)> {
    let mut wire = Vec::with_capacity(64);
    let end = walk_name(bytes, at, |labels| wire.extend_from_slice(labels))?;
    Some((Name::from_wire(&wire)?, end))
}

/// Whether the names at two places of a message are one, whatever their case; not where they cannot be read. That one is
/// a pointer to the other, as most aliases are written, is seen without a look at labels.
pub fn is_same_name(bytes: &[u8], one: usize, other: usize) -> bool {
    let (mut one, mut other) = (Cursor::new(one), Cursor::new(other));
    let mut octets = 0;
    loop {
        let (Some(len), Some(other_len)) = (one.settle(bytes), other.settle(bytes)) else {
            return false;
        };
        if one.at == other.at {
            return true;
        }
        if len != other_len {
            return false;
        }
        if len == 0 {
            return true;
        }
        octets += 1 + len;
        let (label, other_label) = (bytes.get(one.at..=one.at + len), bytes.get(other.at..=other.at + len));
        match (label, other_label) {
            (Some(label), Some(other_label)) if label.eq_ignore_ascii_case(other_label) && octets < NAME_MAX => {}
            _ => return false,
        }
        (one.at, other.at) = (one.at + 1 + len, other.at + 1 + len);
    }
}

/// A place in a name.
struct Cursor {
    at: usize,
    /// Where the run of labels began: pointers lead before it.
    run_start: usize,
}

impl Cursor {
    fn new(at: usize) -> Self {
        Self { at, run_start: at }
    }

    /// Follows pointers to the next label; gives its length, 0 for the root's.
    fn settle(&mut self, bytes: &[u8]) -> Option<usize> {
        loop {
            let len = *bytes.get(self.at)? as usize;
            match len {
                0..=LABEL_MAX => return Some(len),
                0xc0.. => {
                    let target = (len & 0x3f) << 8 | *bytes.get(self.at + 1)? as usize;
                    if target >= self.run_start {
                        return None;
                    }
                    *self = Self::new(target);
                }
                _ => return None,
            }
        }
    }
}

/// Appends the name at `at` to `out`, uncompressed and in lower case; gives the place behind it, or nothing and `out` as
/// it was.
pub fn push_lower_name<A: smallvec::Array<Item = u8>>(bytes: &[u8], at: usize, out: &mut SmallVec<A>) -> Option<usize> {
    let start = out.len();
    let end = walk_name(bytes, at, |labels| out.extend_from_slice(labels));
    match end {
        // Length octets are below every letter.
        Some(_) => out.get_mut(start..)?.make_ascii_lowercase(),
        None => out.truncate(start),
    }
    end
}

/// Calls `take` with the labels of the name at `at`, their length octets in front, that of the root at last: once for
/// each run of them that stand one behind the other. Gives the place behind the name.
fn walk_name(bytes: &[u8], at: usize, mut take: impl FnMut(&[u8])) -> Option<usize> {
    let (mut here, mut run_start, mut end, mut octets) = (at, at, None, 0);
    loop {
        let len = *bytes.get(here)? as usize;
        match len {
            0 => {
                take(bytes.get(run_start..=here)?);
                return Some(end.unwrap_or(here + 1));
            }
            1..=LABEL_MAX => {
                octets += 1 + len;
                if octets >= NAME_MAX {
                    return None;
                }
                here += 1 + len;
            }
            0xc0.. => {
                let target = (len & 0x3f) << 8 | *bytes.get(here + 1)? as usize;
                if target >= run_start {
                    return None;
                }
                take(bytes.get(run_start..here)?);
                end.get_or_insert(here + 2);
                (here, run_start) = (target, target);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(qdcount: u16, ancount: u16) -> Vec<u8> {
        Header { id: 1, flags: 0x8180, qdcount, ancount, nscount: 0, arcount: 0 }.to_bytes().to_vec()
    }

    #[test]
    fn pointers_lead_backwards_only() {
        let mut bytes = header(0, 0);
        bytes.extend_from_slice(b"\x01a\xc0\x0c"); // points at itself through a label
        assert_eq!(read_name(&bytes, 12), None);
        let mut bytes = header(0, 0);
        bytes.extend_from_slice(b"\xc0\x0e\xc0\x0c"); // two pointers at each other
        assert_eq!(read_name(&bytes, 12), None);
        assert_eq!(read_name(&bytes, 14), None);
    }

    #[test]
    fn names_are_read_across_pointers() {
        let mut bytes = header(0, 0);
        bytes.extend_from_slice(b"\x02ms\0\x03api\xc0\x0c\x01w\xc0\x10");
        let (name, end) = read_name(&bytes, 22).unwrap();
        assert_eq!(name, Name::parse("w.api.ms").unwrap());
        assert_eq!(end, 26);
    }

    #[test]
    fn a_name_of_256_octets_through_pointers_is_none() {
        let mut bytes = header(0, 0);
        let label = [&[63u8][..], &[b'a'; 63]].concat();
        let start = bytes.len();
        bytes.extend_from_slice(&label);
        bytes.push(0);
        for _ in 0..3 {
            let at = bytes.len();
            let previous = if at == start + 65 { start } else { at - 66 };
            bytes.extend_from_slice(&label);
            bytes.extend_from_slice(&(0xc000 | previous as u16).to_be_bytes());
        }
        assert!(read_name(&bytes, bytes.len() - 66 - 66).is_some());
        assert_eq!(read_name(&bytes, bytes.len() - 66), None);
    }

    #[test]
    fn counts_are_not_believed() {
        let mut bytes = header(0, 60_000);
        bytes.extend_from_slice(&[0; 11]);
        assert!(Message::parse(&bytes).is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            if let Some(message) = Message::parse(&bytes) {
                for record in &message.records {
                    let _ = (message.owner(record), message.target(record), message.expanded_data(record));
                }
            }
            for at in 0..bytes.len() {
                let read = read_name(&bytes, at).map(|(_, end)| end);
                // Names do not lie in the header: that is all that the check refuses beyond reading.
                proptest::prop_assert!(check_name(&bytes, at).is_none() || check_name(&bytes, at) == read);
                let _ = skip_name(&bytes, at);
            }
        }

        #[test]
        fn names_are_the_same_where_they_read_the_same(
            bytes in proptest::collection::vec(proptest::sample::select(b"\0\x01\x02\x03aAbB\xc0\x02\x01\0".as_slice()), 2..24)
        ) {
            let read = |at| read_name(&bytes, at).map(|(name, end)| (name.to_lowercase(), end));
            for one in 0..bytes.len() {
                let mut pushed = SmallVec::<[u8; 8]>::from_slice(b"x");
                let end = push_lower_name(&bytes, one, &mut pushed);
                let expected = read(one);
                proptest::prop_assert_eq!(end, expected.as_ref().map(|(_, end)| *end));
                proptest::prop_assert_eq!(&pushed[1..], expected.as_ref().map_or(&[][..], |(name, _)| name.as_wire()));
                for other in 0..bytes.len() {
                    if let (Some((name, _)), Some((other_name, _))) = (&expected, read(other)) {
                        proptest::prop_assert_eq!(is_same_name(&bytes, one, other), *name == other_name);
                    } else {
                        // One that cannot be read is at most the same as itself, or as a part of itself.
                        let _ = is_same_name(&bytes, one, other);
                    }
                }
            }
        }
    }
}
