//! Whether a message of an upstream is sound: every name in it can be read, and every record is as long as what is in it.
//!
//! The cost is linear in the message: of each name that was read, the length is remembered at every place where a label of
//! it begins, so a pointer costs one look-up however many pointers follow it. A pointer may lead nowhere else (RFC 1035
//! §4.1.4: to "a prior occurrence of the same name"), in particular not into a TTL, which a cache changes, nor into data
//! that is not a name.

use smallvec::SmallVec;

use super::compression::{POINTERS_MAX, pointer};
use super::message::{Message, MessageView, RecordReader, RecordView, RecordViews, Section, names_in};
use super::name::{LABEL_MAX, NAME_MAX};
use super::{Edns, Header, Rcode, Rtype};

/// Pointers have 14 bits: no place after this one can be pointed at.
const POINTABLE_MAX: usize = 0x3fff;

/// A sound message.
#[derive(Debug)]
pub struct SoundMessage<'a> {
    /// The message without its OPT record.
    pub message: Message<'a>,
    /// The response code, with the upper bits of the OPT record.
    pub rcode: Rcode,
    /// The OPT record, if there is one.
    pub opt: Option<Opt>,
    /// Bytes follow the last record that its header counts.
    pub has_rest: bool,
}

/// The OPT record of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opt {
    /// How many records precede it.
    pub place: usize,
    /// The record.
    pub record: RecordView,
}

impl<'a> SoundMessage<'a> {
    /// Reads a message with at most one question; `None` where it is not sound (RFC 9267 §2 to §5): a record is truncated,
    /// malformed, or missing, a name cannot be read, the data of a record are not as long as what is in them, or there is
    /// an OPT record that is not the only one, not the root's, or not in the additional section (RFC 6891 §6.1.1).
    ///
    /// Looked at are owner names, names in data of the types that [`Message::expanded_data`] expands, and addresses.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut parts = Parts::default();
        parts.read(bytes)?;
        let Parts { header, question_end, records, rcode, opt, has_rest } = parts;
        Some(Self { message: Message { bytes, header, question_end, records }, rcode, opt, has_rest })
    }
}

/// What is found in a sound message, without its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parts {
    header: Header,
    question_end: usize,
    records: RecordViews,
    pub(super) rcode: Rcode,
    pub(super) opt: Option<Opt>,
    pub(super) has_rest: bool,
}

impl Parts {
    /// Those of `bytes`, which they were read from.
    pub(super) fn view<'m>(&'m self, bytes: &'m [u8]) -> MessageView<'m> {
        MessageView { bytes, header: self.header, question_end: self.question_end, records: &self.records }
    }

    /// Reads a message where another one was, as [`SoundMessage::parse`]: where it is not sound, there are no parts.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<()> {
        let Self { records, opt, .. } = self;
        records.clear();
        *opt = None;
        let mut names = Names::default();
        let mut reader = RecordReader::new(bytes)?;
        if reader.header.qdcount == 1 {
            names.read(bytes, super::header::HEADER_LEN)?;
        }
        while let Some((start, section)) = reader.next_start() {
            let fields = names.read(bytes, start)?;
            let record = reader.take(start, fields, section)?;
            if record.rtype == Rtype::OPT {
                let is_root = bytes.get(start) == Some(&0);
                if opt.is_some() || section != Section::Additional || !is_root {
                    return None;
                }
                *opt = Some(Opt { place: records.len(), record });
                continue;
            }
            names.read_data(bytes, &record)?;
            records.push(record);
        }
        let mut header = reader.header;
        header.arcount -= u16::from(opt.is_some());
        let high = opt.as_ref().map_or(0, |opt| Edns::from_fields(opt.record.class, opt.record.ttl).rcode_high);
        self.rcode = Rcode(header.rcode().0 | u16::from(high) << 4);
        (self.header, self.question_end, self.has_rest) = (header, reader.question_end, reader.at < bytes.len());
        Some(())
    }
}

/// The names of a message that were read so far.
#[derive(Default)]
struct Names {
    /// Where a label of one begins, in the order of the message.
    labels: SmallVec<[Label; 32]>,
    names: SmallVec<[Whole; 16]>,
}

/// A place where a name begins, perhaps the rest of a longer one.
#[derive(Clone, Copy)]
struct Label {
    at: u16,
    /// The number of the name that it is a part of.
    name: u16,
}

/// A name that was read.
#[derive(Clone, Copy)]
struct Whole {
    at: u16,
    /// Bytes when it is uncompressed.
    len: u8,
    /// Pointers that are followed.
    pointers: u8,
}

impl Names {
    /// Reads the name at `at`, which is after all names read before; gives the place after it.
    fn read(&mut self, bytes: &[u8], at: usize) -> Option<usize> {
        let number = u16::try_from(self.names.len()).ok()?;
        let first = self.labels.len();
        let mut here = at;
        let (end, rest_len, pointers) = loop {
            let len = usize::from(*bytes.get(here)?);
            match len {
                0 => {
                    self.note(here, number);
                    break (here + 1, 1, 0);
                }
                1..=LABEL_MAX => {
                    // 255 bytes in all: the root label is one of them.
                    if here - at + 1 + len >= NAME_MAX {
                        return None;
                    }
                    self.note(here, number);
                    here += 1 + len;
                }
                0xc0.. => {
                    let target = pointer(bytes, here, len)?;
                    let rest = self.known(first, target)?;
                    if rest.pointers >= POINTERS_MAX {
                        return None;
                    }
                    self.note(here, number);
                    break (here + 2, rest.len, rest.pointers + 1);
                }
                _ => return None,
            }
        };
        let len = u8::try_from(here - at + usize::from(rest_len)).ok()?;
        self.names.push(Whole { at: u16::try_from(at).ok()?, len, pointers });
        Some(end)
    }

    /// The name that begins at `target`, by the first `count` labels.
    #[inline]
    fn known(&self, count: usize, target: usize) -> Option<Whole> {
        let labels = self.labels.get(..count)?;
        // As a rule it is the name of the question.
        let place = match labels.first() {
            Some(label) if usize::from(label.at) == target => 0,
            _ => labels.binary_search_by_key(&target, |label| usize::from(label.at)).ok()?,
        };
        let label = labels.get(place)?;
        let whole = self.names.get(usize::from(label.name))?;
        let len = whole.len - u8::try_from(label.at - whole.at).ok()?;
        Some(Whole { at: label.at, len, pointers: whole.pointers })
    }

    /// Notes that a name begins at `at`, which is the one with this number or its rest.
    #[inline]
    fn note(&mut self, at: usize, name: u16) {
        if at <= POINTABLE_MAX
            && let Ok(at) = u16::try_from(at)
        {
            self.labels.push(Label { at, name });
        }
    }

    /// Reads the data of a record; `None` where they are not as long as what is in them.
    fn read_data(&mut self, bytes: &[u8], record: &RecordView) -> Option<()> {
        let data = record.data();
        match record.rtype {
            Rtype::A => return (data.len() == 4 || record.class != 1).then_some(()),
            Rtype::AAAA => return (data.len() == 16 || record.class != 1).then_some(()),
            _ => {}
        }
        let Some((before, names)) = names_in(record.rtype) else {
            self.learn_plain(bytes, record);
            return Some(());
        };
        let mut at = data.start + before;
        for _ in 0..names {
            at = self.read(bytes, at).filter(|&end| end <= data.end)?;
        }
        let left = data.end - at;
        let is_whole = match record.rtype.0 {
            6 => left == 20,      // SOA: five numbers
            24 | 46 | 30 => true, // signatures, type bitmaps
            _ => left == 0,
        };
        is_whole.then_some(())
    }

    /// Learns the name in data of a type that holds it uncompressed: servers let owner names point there.
    fn learn_plain(&mut self, bytes: &[u8], record: &RecordView) {
        let data = record.data();
        let name = match record.rtype.0 {
            // NSEC
            47 => Some(data.start),
            // SVCB HTTPS LP
            64 | 65 | 107 => Some(data.start + 2),
            // NAPTR: two numbers and three strings precede it.
            35 => (0..3).try_fold(data.start + 4, |at, _| Some(at + 1 + usize::from(*bytes.get(at)?))),
            _ => None,
        };
        let Some(at) = name.filter(|at| data.contains(at)) else { return };
        let first = self.labels.len();
        if bytes.get(at..data.end).and_then(super::name::wire_len).is_none() || self.read(bytes, at).is_none() {
            self.labels.truncate(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Header;
    use crate::wire::compression::read_name;

    /// A response to `\x01a\0`, type A: its question ends at 19.
    fn response(counts: [u16; 3], rest: &[u8]) -> Vec<u8> {
        let [ancount, nscount, arcount] = counts;
        let header = Header { id: 1, flags: 0x8180, qdcount: 1, ancount, nscount, arcount };
        [&header.to_bytes()[..], b"\x01a\0\0\x01\0\x01", rest].concat()
    }

    fn record(owner: &[u8], rtype: u8, data: &[u8]) -> Vec<u8> {
        let len = u16::try_from(data.len()).unwrap().to_be_bytes();
        [owner, &[0, rtype, 0, 1, 0, 0, 0x0c, 0x0c], &len, data].concat()
    }

    fn is_sound(counts: [u16; 3], rest: &[u8]) -> bool {
        SoundMessage::parse(&response(counts, rest)).is_some()
    }

    #[test]
    fn pointers_lead_to_names_and_nowhere_else() {
        assert!(is_sound([1, 0, 0], &record(b"\xc0\x0c", 1, &[10, 0, 0, 1])));
        // To the second label of a name in data.
        let alias = record(b"\xc0\x0c", 5, b"\x01b\x01c\0");
        assert!(is_sound([2, 0, 0], &[&alias[..], &record(b"\xc0\x21", 1, &[10, 0, 0, 1])].concat()));
        for (what, pointer) in [
            ("the header", 0_u8),
            ("inside a label", 13),
            ("type and class of the question", 15),
            ("a TTL that reads as a pointer", 19 + 2 + 4),
            ("itself", 19 + 16 + 12),
        ] {
            let second = record(&[0xc0, pointer], 1, &[10, 0, 0, 1]);
            let rest = [record(b"\xc0\x0c", 1, &[10, 0, 0, 1]), second].concat();
            assert!(!is_sound([2, 0, 0], &rest), "{what}");
        }
        // Data that only look like a name.
        let text = record(b"\xc0\x0c", 16, b"\x01b\0");
        assert!(!is_sound([2, 0, 0], &[&text[..], &record(&[0xc0, 31], 1, &[10, 0, 0, 1])].concat()));
        // HTTPS holds a name that is not compressed: it can be pointed at.
        let service = record(b"\xc0\x0c", 65, b"\0\x01\x01b\0");
        assert!(is_sound([1, 0, 1], &[&service[..], &record(&[0xc0, 33], 1, &[10, 0, 0, 1])].concat()));
    }

    /// `count` records of which each owner is a pointer to the owner of the one before.
    fn chain_of_pointers(count: u16) -> Vec<u8> {
        let mut message = response([count, 0, 0], &[]);
        let mut last = 12;
        for _ in 0..count {
            let at = message.len();
            message.extend_from_slice(&record(&u16::to_be_bytes(0xc000 | last), 16, b"\0"));
            last = u16::try_from(at).unwrap();
        }
        message
    }

    #[test]
    fn at_most_127_pointers_are_followed_for_a_name() {
        let longest = chain_of_pointers(127);
        assert!(SoundMessage::parse(&longest).is_some());
        let last = longest.len() - 13;
        assert_eq!(read_name(&longest, last).unwrap().0, crate::wire::Name::parse("a").unwrap());
        let longer = chain_of_pointers(128);
        assert!(SoundMessage::parse(&longer).is_none());
        assert!(read_name(&longer, longer.len() - 13).is_none());
    }

    #[test]
    fn an_opt_record_is_the_only_one_of_the_root_and_additional() {
        let opt = |owner: &[u8]| [owner, &[0, 41, 4, 208, 1, 0, 0, 0, 0, 0]].concat();
        let good = response([0, 0, 1], &opt(&[0]));
        let sound = SoundMessage::parse(&good).unwrap();
        assert_eq!((sound.rcode, sound.message.header.arcount, sound.message.records.len()), (Rcode(16), 0, 0));
        assert!(!is_sound([0, 0, 2], &opt(&[0]).repeat(2)), "two");
        assert!(!is_sound([1, 0, 0], &opt(&[0])), "in the answer section");
        assert!(!is_sound([0, 1, 0], &opt(&[0])), "in the authority section");
        assert!(!is_sound([0, 0, 1], &opt(b"\xc0\x0c")), "of another name");
    }

    proptest::proptest! {
        #[test]
        fn names_of_sound_messages_can_be_read(
            bytes in proptest::collection::vec(proptest::sample::select(b"\0\x01\x02aA\xc0\x0c\x0e\x13\x05".as_slice()), 0..120),
            answers in 0..4_u16,
        ) {
            let bytes = response([answers, 0, 0], &bytes);
            if let Some(SoundMessage { message, .. }) = SoundMessage::parse(&bytes) {
                for record in &message.records {
                    proptest::prop_assert!(message.owner(record).is_some());
                    proptest::prop_assert!(message.expanded_data(record).is_some());
                }
            }
        }
    }
}
