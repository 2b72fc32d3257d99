//! Messages from upstream: walked record by record, every offset checked.
//!
//! Names are read in `compression.rs`; data end within their message (RFC 9267 §4). Whether a message is sound as a whole is
//! decided in `soundness.rs`.

use std::ops::Range;

use smallvec::SmallVec;

use super::compression::{read_name, skip_name, walk_name};
use super::header::{HEADER_LEN, Header};
use super::{Name, Rtype};

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

#[cfg(test)]
mod tests {
    use super::*;

    fn header(qdcount: u16, ancount: u16) -> Vec<u8> {
        Header { id: 1, flags: 0x8180, qdcount, ancount, nscount: 0, arcount: 0 }.to_bytes().to_vec()
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
        }
    }
}
