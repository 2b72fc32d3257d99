//! The SOA of negative answers (RFC 2308 §3): the table's own at a zone's apex, else a synthesised one.

use crate::wire::header::HEADER_LEN;
use crate::wire::name::NAME_MAX;
use crate::wire::{Name, OwnedRecord, Rtype, Section};

/// The SOA of a negative answer (RFC 2308 §3).
#[derive(Clone, Copy)]
pub struct Soa<'t> {
    /// Bytes of the owner's wire form, which is an end of the name asked.
    pub(super) owner_len: usize,
    /// TTL and data of the SOA that the table has at the zone's apex.
    pub(super) own: Option<(u32, &'t [u8])>,
    pub(super) negative_ttl: u32,
}

impl Soa<'static> {
    /// A synthesised one: its owner is the last `owner_len` bytes of the name asked.
    pub fn new(owner_len: usize, negative_ttl: u32) -> Self {
        Self { owner_len, own: None, negative_ttl }
    }
}

impl Soa<'_> {
    /// Its TTL, seconds: the smaller of TTL and minimum (RFC 2308 §5) in negative answers.
    fn negative_ttl(&self) -> u32 {
        let minimum = self.own.and_then(|(_, data)| data.last_chunk::<4>()).map(|minimum| u32::from_be_bytes(*minimum));
        match (self.own, minimum) {
            (Some((ttl, _)), Some(minimum)) => ttl.min(minimum),
            _ => self.negative_ttl,
        }
    }

    /// The first label of RNAME: none where the owner leaves no room for it; the name itself is a mailbox then.
    fn mailbox(&self) -> &'static [u8] {
        if self.owner_len + SOA_MAILBOX.len() > NAME_MAX { &[] } else { SOA_MAILBOX }
    }

    /// Appends the record to a reply whose question's name is `qname_len` bytes long.
    pub fn push(&self, out: &mut Vec<u8>, qname_len: usize) {
        let owner_at = 0xc000 | (HEADER_LEN + qname_len.saturating_sub(self.owner_len)) as u16;
        let [o0, o1] = owner_at.to_be_bytes();
        out.extend_from_slice(&[o0, o1, 0, 6, 0, 1]);
        out.extend_from_slice(&self.negative_ttl().to_be_bytes());
        match self.own {
            Some((_, data)) => {
                out.extend_from_slice(&(data.len() as u16).to_be_bytes());
                out.extend_from_slice(data);
            }
            None => {
                let mailbox = self.mailbox();
                let len = 2 + mailbox.len() + 2 + 20;
                out.extend_from_slice(&[0, len as u8, o0, o1]);
                out.extend_from_slice(mailbox);
                out.extend_from_slice(&[o0, o1]);
                out.extend_from_slice(&soa_tail(self.negative_ttl));
            }
        }
    }

    /// The record by itself, below the effective qname `qname`.
    pub fn to_record(&self, qname: &Name, section: Section) -> Option<OwnedRecord> {
        let wire = qname.as_wire();
        let owner = Name::from_wire(wire.get(wire.len().checked_sub(self.owner_len)?..)?)?;
        let data = match self.own {
            Some((_, data)) => data.to_vec(),
            None => [owner.as_wire(), self.mailbox(), owner.as_wire(), &soa_tail(self.negative_ttl)].concat(),
        };
        Some(OwnedRecord { section, owner, rtype: Rtype::SOA, class: 1, ttl: self.negative_ttl(), data })
    }
}

/// Refresh, retry, expire of a synthesised SOA, seconds: the ones that Azure's private zones have.
const SOA_TIMERS: [u32; 3] = [3600, 300, 2_419_200];

/// The data of a synthesised SOA behind its two names: serial, refresh, retry, expire, minimum. `negative_ttl` is how
/// long a negative answer may be kept, seconds (RFC 2308 §4).
fn soa_tail(negative_ttl: u32) -> [u8; 20] {
    let mut tail = [0; 20];
    let values = [1, SOA_TIMERS[0], SOA_TIMERS[1], SOA_TIMERS[2], negative_ttl];
    for (place, value) in tail.as_chunks_mut::<4>().0.iter_mut().zip(values) {
        *place = value.to_be_bytes();
    }
    tail
}

/// The first label of the SOA's RNAME: the mailbox of RFC 2142, below the zone.
const SOA_MAILBOX: &[u8] = b"\x0ahostmaster";
