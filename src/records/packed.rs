//! Records on their way from the files to the table, packed: a run of bytes for thousands of them.
//!
//! ```text
//! place in the file u32 │ TTL u32 │ clients u32 │ bytes of data u32 │ type u16 │ bytes of name u8 │ name, case kept
//!   │ per piece of data: length u16 │ data
//! ```
//!
//! Numbers are in the machine's own order: nothing of this leaves the process.

use std::collections::HashSet;

use ipnet::IpNet;

use super::remark::{is_generated, remarks};
use super::spec::RecordSpec;
use crate::rdata;
use crate::wire::Rtype;
use crate::wire::name::{misplaced_star, push_parsed};

/// Bytes in front of the name.
const HEAD_LEN: usize = 19;
/// So many pieces of data are compared each with each.
const FEW: usize = 8;
/// In the place of a TTL: none is stated. TTLs end at 2^31 (RFC 2181 §8).
const NO_TTL: u32 = u32::MAX;

/// Records of one file, in their order.
pub struct Packed {
    file: u32,
    bytes: Vec<u8>,
    /// Who sees what, for the records that say so; most say the same as the one before.
    clients: Vec<Vec<IpNet>>,
    len: usize,
    /// The file says that `pldns generate` wrote it.
    is_generated: bool,
}

/// What a record says, in the texts of the file. The lists are not empty.
pub(super) struct Texts<'t> {
    pub(super) name: &'t str,
    pub(super) rtype: Rtype,
    pub(super) data: &'t [&'t str],
}

/// What a record says besides its texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest<'c> {
    pub(super) ttl: Option<u32>,
    pub(super) clients: &'c [IpNet],
    pub(super) at: u32,
}

/// One record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'p> {
    pub(super) name: &'p [u8],
    pub(super) rtype: Rtype,
    pub(super) ttl: Option<u32>,
    pub(super) clients: &'p [IpNet],
    /// The number of its file.
    pub(super) file: u32,
    /// Its place there.
    pub(super) at: u32,
    data: &'p [u8],
}

impl Packed {
    /// None yet, with room for the records of a file, or of a part of it.
    pub(super) fn new(file: u32, text: &str) -> Self {
        let bytes = Vec::with_capacity(text.len() / 8 * 5);
        Self { file, bytes, clients: Vec::new(), len: 0, is_generated: is_generated(text) }
    }

    /// Says that the records are a part of this file.
    pub(super) fn set_generated(&mut self, file: &str) {
        self.is_generated = is_generated(file);
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Owner, as it was written, and type of each record.
    pub fn owners(&self) -> impl Iterator<Item = (&[u8], Rtype)> {
        self.iter().map(|(_, record)| (record.name, record.rtype))
    }

    /// Bytes of memory that the records take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a record; nothing where it is not one, or larger than can be said here.
    pub(super) fn push(&mut self, spec: &RecordSpec) -> Option<()> {
        let (name, clients) = (spec.name.as_wire(), &*spec.clients);
        self.add(spec.rtype, Rest { ttl: spec.ttl, clients, at: spec.at }, |bytes| {
            bytes.extend_from_slice(name);
            let name_end = bytes.len();
            for data in &spec.data {
                bytes.extend_from_slice(&u16::try_from(data.len()).ok()?.to_ne_bytes());
                bytes.extend_from_slice(data);
            }
            Some(name_end)
        })
    }

    /// Adds a record; nothing where its texts are not what they should be, or there is something to say of them.
    pub(super) fn push_texts(&mut self, texts: &Texts<'_>, rest: Rest<'_>) -> Option<()> {
        let is_generated = self.is_generated;
        self.add(texts.rtype, rest, |bytes| {
            let start = bytes.len();
            push_parsed(bytes, texts.name).ok()?;
            let name_end = bytes.len();
            texts.data.iter().try_for_each(|text| push_data(bytes, texts.rtype, text))?;
            let (name, data) = bytes.get(start..)?.split_at_checked(name_end - start)?;
            let remarks = remarks(name, texts.rtype, pieces(data), is_generated).next();
            (remarks.is_none() && misplaced_star(name).is_none()).then_some(name_end)
        })
    }

    /// Adds a record of which `write` writes name and data and says where the name ends.
    fn add(&mut self, rtype: Rtype, rest: Rest<'_>, write: impl FnOnce(&mut Vec<u8>) -> Option<usize>) -> Option<()> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEAD_LEN]);
        let written = write(&mut self.bytes).and_then(|name_end| {
            drop_repeated(&mut self.bytes, name_end);
            self.put_head(start, name_end, rtype, rest)
        });
        match written {
            Some(()) => self.len += 1,
            None => self.bytes.truncate(start),
        }
        written
    }

    fn put_head(&mut self, start: usize, name_end: usize, rtype: Rtype, rest: Rest<'_>) -> Option<()> {
        let data_len = u32::try_from(self.bytes.len() - name_end).ok()?;
        let name_len = u8::try_from(name_end - start - HEAD_LEN).ok()?;
        let clients = self.number_of(rest.clients)?;
        let head = self.bytes.get_mut(start..)?.first_chunk_mut::<HEAD_LEN>()?;
        let [a0, a1, a2, a3] = rest.at.to_ne_bytes();
        let [x0, x1, x2, x3] = rest.ttl.unwrap_or(NO_TTL).to_ne_bytes();
        let [c0, c1, c2, c3] = clients.to_ne_bytes();
        let [d0, d1, d2, d3] = data_len.to_ne_bytes();
        let [t0, t1] = rtype.0.to_ne_bytes();
        *head = [a0, a1, a2, a3, x0, x1, x2, x3, c0, c1, c2, c3, d0, d1, d2, d3, t0, t1, name_len];
        Some(())
    }

    fn number_of(&mut self, clients: &[IpNet]) -> Option<u32> {
        if clients.is_empty() {
            return Some(0);
        }
        if self.clients.last().is_none_or(|last| last != clients) {
            self.clients.push(clients.to_vec());
        }
        u32::try_from(self.clients.len()).ok()
    }

    /// The record that begins at byte `at`, and where the next one begins.
    pub(super) fn read(&self, at: usize) -> Option<(Record<'_>, usize)> {
        let (head, rest) = self.bytes.get(at..)?.split_first_chunk::<HEAD_LEN>()?;
        let &[a0, a1, a2, a3, x0, x1, x2, x3, c0, c1, c2, c3, d0, d1, d2, d3, t0, t1, name_len] = head;
        let (name, rest) = rest.split_at_checked(name_len as usize)?;
        let data = rest.get(..u32::from_ne_bytes([d0, d1, d2, d3]) as usize)?;
        let ttl = u32::from_ne_bytes([x0, x1, x2, x3]);
        let clients = (u32::from_ne_bytes([c0, c1, c2, c3]) as usize).checked_sub(1);
        let record = Record {
            name,
            rtype: Rtype(u16::from_ne_bytes([t0, t1])),
            ttl: (ttl != NO_TTL).then_some(ttl),
            clients: clients.and_then(|number| self.clients.get(number)).map_or(&[], |clients| &**clients),
            file: self.file,
            at: u32::from_ne_bytes([a0, a1, a2, a3]),
            data,
        };
        Some((record, at + HEAD_LEN + name.len() + data.len()))
    }

    /// All records, each with the byte at which it begins.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, Record<'_>)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let (record, next) = self.read(at)?;
            Some((std::mem::replace(&mut at, next), record))
        })
    }
}

impl<'p> Record<'p> {
    /// The data of each record, wire form, names uncompressed.
    pub(super) fn data(&self) -> impl Iterator<Item = &'p [u8]> + Clone + use<'p> {
        pieces(self.data)
    }

    /// Whether another record has the same data, whatever the order of either.
    pub(super) fn has_data_of(&self, other: &Record<'_>) -> bool {
        self.data == other.data || self.data.len() == other.data.len() && sorted(self.data) == sorted(other.data)
    }
}

fn sorted(data: &[u8]) -> Vec<&[u8]> {
    let mut sorted: Vec<&[u8]> = pieces(data).collect();
    sorted.sort_unstable();
    sorted
}

/// The pieces of data that are one behind the other, each with its length in front.
fn pieces(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    std::iter::from_fn(move || {
        let (&len, after) = rest.split_first_chunk::<2>()?;
        let (data, after) = after.split_at_checked(u16::from_ne_bytes(len) as usize)?;
        rest = after;
        Some(data)
    })
}

/// Leaves out pieces of data behind `start` that are there already: the records of a set differ (RFC 2181 §5).
fn drop_repeated(bytes: &mut Vec<u8>, start: usize) {
    let data = bytes.get(start..).unwrap_or_default();
    let count = pieces(data).count();
    let is_repeated = match count {
        0 | 1 => false,
        2..=FEW => {
            pieces(data).enumerate().any(|(number, piece)| pieces(data).take(number).any(|other| other == piece))
        }
        _ => pieces(data).collect::<HashSet<_>>().len() < count,
    };
    if is_repeated {
        let mut seen = HashSet::new();
        let mut kept = Vec::with_capacity(data.len());
        for piece in pieces(data).filter(|piece| seen.insert(*piece)) {
            kept.extend_from_slice(&(piece.len() as u16).to_ne_bytes());
            kept.extend_from_slice(piece);
        }
        bytes.truncate(start);
        bytes.extend_from_slice(&kept);
    }
}

/// Appends length and data of a record from presentation form. Addresses are what nearly all records hold.
fn push_data(bytes: &mut Vec<u8>, rtype: Rtype, text: &str) -> Option<()> {
    let mut push = |data: &[u8]| {
        bytes.extend_from_slice(&u16::try_from(data.len()).ok()?.to_ne_bytes());
        bytes.extend_from_slice(data);
        Some(())
    };
    if rtype == Rtype::A
        && let Ok(address) = text.parse::<std::net::Ipv4Addr>()
    {
        return push(&address.octets());
    }
    push(&rdata::parse(rtype, text).ok()?)
}
