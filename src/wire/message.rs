//! Messages from upstream: walked record by record, every offset checked.
//!
//! Compression pointers only lead backwards, at most [`POINTERS_MAX`] of them in one name; names end within 255 bytes and
//! data within its message (RFC 9267 lists what happens to implementations that trust them). Whether a message is sound
//! as a whole is decided in `soundness.rs`.

use std::ops::Range;

use smallvec::SmallVec;

use super::header::{HEADER_LEN, Header};
use super::name::{LABEL_MAX, NAME_MAX};
use super::{Name, Rtype};

/// Pointers followed in one name: a name of 255 bytes has at most 127 labels, so no honest one needs more.
pub const POINTERS_MAX: u8 = 127;

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

/// Type, class, TTL and length of data: what is between a record's owner and its data.
pub(super) const FIELDS_LEN: usize = 10;

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
    pub records: RecordViews,
}

/// A message that was read to its end, by what was found where.
#[derive(Debug, Clone, Copy)]
pub struct MessageView<'m> {
    /// The bytes.
    pub bytes: &'m [u8],
    /// The header.
    pub header: Header,
    /// Where the question section ends.
    pub question_end: usize,
    /// All records in order.
    pub records: &'m [RecordView],
}

impl<'m> MessageView<'m> {
    /// The records of one section.
    pub fn section(self, section: Section) -> impl Iterator<Item = &'m RecordView> {
        self.records.iter().filter(move |record| record.section == section)
    }
}

/// The records of a message, in its order.
pub type RecordViews = SmallVec<[RecordView; 8]>;

impl<'a> Message<'a> {
    /// Reads a message with at most one question; `None` when a record is truncated, malformed, or missing.
    ///
    /// Bytes after the last record are ignored: the records themselves are whole. Names are not followed:
    /// [`super::SoundMessage::parse`] does that.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = RecordReader::new(bytes)?;
        let mut records = SmallVec::new();
        while let Some((start, section)) = reader.next_start() {
            let record = reader.take(start, skip_name(bytes, start)?, section)?;
            records.push(record);
        }
        Some(Self { bytes, header: reader.header, question_end: reader.question_end, records })
    }

    /// The same, borrowed.
    pub fn view(&self) -> MessageView<'_> {
        let Self { bytes, header, question_end, records } = self;
        MessageView { bytes, header: *header, question_end: *question_end, records }
    }

    /// The records of one section.
    pub fn section(&self, section: Section) -> impl Iterator<Item = &RecordView> {
        self.view().section(section)
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
        let mut out = Vec::with_capacity(record.data().len());
        push_expanded_data(self.bytes, record, &mut out)?;
        Some(out)
    }
}

/// Appends the data of a record to `out`, with every name in it uncompressed; `None` where one cannot be read.
pub(super) fn push_expanded_data(bytes: &[u8], record: &RecordView, out: &mut Vec<u8>) -> Option<()> {
    let Range { start, end } = record.data();
    let Some((before, names)) = names_in(record.rtype) else {
        out.extend_from_slice(bytes.get(start..end)?);
        return Some(());
    };
    let mut at = start + before;
    out.extend_from_slice(bytes.get(start..at.min(end))?);
    for _ in 0..names {
        at = walk_name(bytes, at, |labels| out.extend_from_slice(labels))?;
    }
    out.extend_from_slice(bytes.get(at..end)?);
    Some(())
}

/// The records of a message, each read when it is asked for.
pub struct Records<'a>(RecordReader<'a>);

impl<'a> Records<'a> {
    /// The records of a message with at most one question; `None` where its counts promise too many.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        RecordReader::new(bytes).map(Self)
    }
}

impl Iterator for Records<'_> {
    type Item = RecordView;

    fn next(&mut self) -> Option<RecordView> {
        let Self(reader) = self;
        let (start, section) = reader.next_start()?;
        let fields = skip_name(reader.bytes, start)?;
        reader.take(start, fields, section)
    }
}

/// Reads a message record by record: where the next one begins, then the record itself.
pub(super) struct RecordReader<'a> {
    bytes: &'a [u8],
    pub(super) header: Header,
    /// Where the question section ends.
    pub(super) question_end: usize,
    pub(super) at: usize,
    /// Records left in each section.
    left: [(Section, u16); 3],
}

impl<'a> RecordReader<'a> {
    /// Reads the header and skips the question; `None` where there is more than one, or it is not whole, or the counts
    /// promise more records than there is room for.
    // On every query's way: a release inlines less than the compiler would by itself (deploy/release.sh).
    #[inline(always)]
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let header = Header::read(bytes)?;
        let question_end = match header.qdcount {
            0 => HEADER_LEN,
            1 => skip_name(bytes, HEADER_LEN)? + 4,
            _ => return None,
        };
        if question_end > bytes.len() {
            return None;
        }
        let left = [
            (Section::Answer, header.ancount),
            (Section::Authority, header.nscount),
            (Section::Additional, header.arcount),
        ];
        // A record has eleven bytes at least: counts that promise more than that are not believed.
        let total: usize = left.iter().map(|&(_, count)| usize::from(count)).sum();
        (total <= bytes.len() / 11).then_some(Self { bytes, header, question_end, at: question_end, left })
    }

    /// Where the next record begins, and its section; `None` after the last one.
    #[inline]
    pub(super) fn next_start(&mut self) -> Option<(usize, Section)> {
        let (section, count) = self.left.iter_mut().find(|(_, count)| *count > 0)?;
        *count -= 1;
        Some((self.at, *section))
    }

    /// The record that begins at `start` and whose owner name ends at `fields`; the next one begins where its data end.
    #[inline]
    pub(super) fn take(&mut self, start: usize, fields: usize, section: Section) -> Option<RecordView> {
        let record = read_record(self.bytes, start, fields, section)?;
        self.at = record.data().end;
        Some(record)
    }
}

/// Where names stand in the data of a type that may hold compressed ones: bytes before the first, how many follow.
pub(super) fn names_in(rtype: Rtype) -> Option<(usize, usize)> {
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
    let (&[t0, t1, c0, c1, x0, x1, x2, x3, l0, l1], _) = bytes.get(fields..)?.split_first_chunk::<FIELDS_LEN>()?;
    let (data_start, data_len) = (fields + FIELDS_LEN, u16::from_be_bytes([l0, l1]));
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

/// The name at `at`, uncompressed, and the place behind it.
///
/// A pointer must lead before the place where the labels that it continues began, so that reading ends.
pub fn read_name(bytes: &[u8], at: usize) -> Option<(Name, usize)> {
    let mut wire = Vec::with_capacity(64);
    let end = walk_name(bytes, at, |labels| wire.extend_from_slice(labels))?;
    Some((Name::from_wire(&wire)?, end))
}

/// How much comparing the names of one message may cost: a pointer is one step, a label one, and one
/// more for every 16 bytes. Honest messages need a few
/// thousand at most; one that needs more is built to be expensive.
#[derive(Debug)]
pub(super) struct Steps(u32);

impl Steps {
    /// Steps for one message, of whatever size.
    pub(super) fn for_message() -> Self {
        Self(1 << 16)
    }

    #[inline]
    pub(super) fn take(&mut self) -> Option<()> {
        self.take_many(1)
    }

    #[inline]
    fn take_many(&mut self, steps: u32) -> Option<()> {
        self.0 = self.0.checked_sub(steps)?;
        Some(())
    }
}

/// Whether the names at two places of a sound message are one, whatever their case; `None` where one of them cannot be
/// read, or the steps are spent. That one is a pointer to the other, as most CNAME targets are written, is seen without
/// a look at labels.
pub(super) fn is_same_name(bytes: &[u8], mut one: usize, mut other: usize, steps: &mut Steps) -> Option<bool> {
    loop {
        steps.take()?;
        let (len, other_len) = (settle(bytes, &mut one, steps)?, settle(bytes, &mut other, steps)?);
        if one == other {
            return Some(true);
        }
        if len != other_len {
            return Some(false);
        }
        if len == 0 {
            return Some(true);
        }
        steps.take_many(u32::try_from(len).ok()? / 16)?;
        let (label, other_label) = (bytes.get(one..=one + len)?, bytes.get(other..=other + len)?);
        if !label.eq_ignore_ascii_case(other_label) {
            return Some(false);
        }
        (one, other) = (one + 1 + len, other + 1 + len);
    }
}

/// Follows pointers from `at` to the next label; gives its length, 0 for the root's.
#[inline]
fn settle(bytes: &[u8], at: &mut usize, steps: &mut Steps) -> Option<usize> {
    loop {
        let len = usize::from(*bytes.get(*at)?);
        match len {
            0..=LABEL_MAX => return Some(len),
            0xc0.. => {
                *at = pointer(bytes, *at, len)?;
                steps.take()?;
            }
            _ => return None,
        }
    }
}

/// Where the pointer at `at`, whose first byte is `first`, leads.
#[inline]
pub(super) fn pointer(bytes: &[u8], at: usize, first: usize) -> Option<usize> {
    Some((first & 0x3f) << 8 | usize::from(*bytes.get(at + 1)?))
}

/// Appends the name at `at` to `out`, uncompressed and in lower case; gives the place behind it, or nothing and `out` as
/// it was.
pub fn push_lower_name<A: smallvec::Array<Item = u8>>(bytes: &[u8], at: usize, out: &mut SmallVec<A>) -> Option<usize> {
    let start = out.len();
    let end = walk_name(bytes, at, |labels| out.extend_from_slice(labels));
    match end {
        // Length bytes are below every letter.
        Some(_) => out.get_mut(start..)?.make_ascii_lowercase(),
        None => out.truncate(start),
    }
    end
}

/// Calls `take` with the labels of the name at `at`, their length bytes in front, that of the root at last: once for
/// each run of them that follow one another. Gives the place after the name.
pub(super) fn walk_name(bytes: &[u8], at: usize, mut take: impl FnMut(&[u8])) -> Option<usize> {
    let (mut here, mut run_start, mut end, mut length, mut pointers) = (at, at, None, 0, POINTERS_MAX);
    loop {
        let len = *bytes.get(here)? as usize;
        match len {
            0 => {
                take(bytes.get(run_start..=here)?);
                return Some(end.unwrap_or(here + 1));
            }
            1..=LABEL_MAX => {
                length += 1 + len;
                if length >= NAME_MAX {
                    return None;
                }
                here += 1 + len;
            }
            0xc0.. => {
                let target = pointer(bytes, here, len)?;
                pointers = pointers.checked_sub(1)?;
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
    fn a_name_of_256_bytes_through_pointers_is_none() {
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
                let _ = read_name(&bytes, at);
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
                    let is_same = is_same_name(&bytes, one, other, &mut Steps(600));
                    // One that cannot be read is at most the same as itself, or as a part of itself.
                    if let (Some((name, _)), Some((other_name, _))) = (&expected, read(other)) {
                        proptest::prop_assert_eq!(is_same, Some(*name == other_name));
                    }
                }
            }
        }
    }
}
