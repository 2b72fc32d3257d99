//! Sets as bits: the types of NSEC, NSEC3 and CSYNC (RFC 4034 §4.1.2), the ports of WKS (RFC 1035 §3.4.2).

use std::collections::BTreeSet;

use super::Fault;
use super::address::without_final_zeros;
use super::number::decimal;
use super::token::Tokens;
use super::wire::{Wire, Words};
use crate::wire::Rtype;

/// The largest bitmap of one window of types, bytes.
const WINDOW_MAX: usize = 32;
/// A bitmap of all ports, bytes.
const PORTS_MAX: usize = 8192;

const WANT_TYPE: &str = "a record type such as AAAA or TYPE65280";
const WANT_PORT: &str = "a port number from 0 to 65535";

/// Reads one record type.
pub(super) fn read_type(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let token = tokens.word()?;
    let rtype = Rtype::parse(token.raw).ok_or_else(|| tokens.not(token, WANT_TYPE))?;
    rdata.extend_from_slice(&rtype.0.to_be_bytes());
    Ok(())
}

/// Prints one record type.
pub(super) fn present_type(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    wire.u16().map(|number| words.word(Rtype(number)))
}

/// Reads record types to the end of the text, in any order, also none.
pub(super) fn read_types(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let mut types = BTreeSet::new();
    while let Some(token) = tokens.next_word()? {
        let rtype = Rtype::parse(token.raw).ok_or_else(|| tokens.not(token, WANT_TYPE))?;
        types.insert(rtype.0);
    }
    for window in 0..=u8::MAX {
        let first = u16::from(window) << 8;
        let bits = bits(WINDOW_MAX, types.range(first..=first | 0xff).map(|number| number & 0xff));
        if !bits.is_empty() {
            rdata.extend([window, bits.len() as u8]); // at most WINDOW_MAX
            rdata.extend_from_slice(&bits);
        }
    }
    Ok(())
}

/// Prints record types to the end of the data.
pub(super) fn present_types(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    let mut last = None;
    while !wire.is_empty() {
        let window = wire.u8()?;
        let bits = wire.counted()?;
        let ascends = last.is_none_or(|last| window > last);
        if !ascends || bits.len() > WINDOW_MAX || bits.is_empty() || bits.last() == Some(&0) {
            return None;
        }
        last = Some(window);
        members(bits).for_each(|member| words.word(Rtype(u16::from(window) << 8 | member)));
    }
    Some(())
}

/// Reads port numbers to the end of the text, in any order, also none.
pub(super) fn read_ports(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let mut ports = BTreeSet::new();
    while let Some(token) = tokens.next_word()? {
        let port = decimal(token.raw, u64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok());
        ports.insert(port.ok_or_else(|| tokens.not(token, WANT_PORT))?);
    }
    rdata.extend_from_slice(&bits(PORTS_MAX, ports.into_iter()));
    Ok(())
}

/// Prints port numbers to the end of the data.
pub(super) fn present_ports(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    let bits = wire.rest();
    members(bits).for_each(|port| words.word(port));
    (bits.len() <= PORTS_MAX && bits.last() != Some(&0)).then_some(())
}

/// The smallest bitmap that holds the members, at most `max` bytes; bit 0 is the highest of the first byte.
fn bits(max: usize, members: impl Iterator<Item = u16>) -> Vec<u8> {
    let mut bits = vec![0; max];
    for member in members {
        if let Some(byte) = bits.get_mut(usize::from(member >> 3)) {
            *byte |= 0x80 >> (member & 7);
        }
    }
    without_final_zeros(&bits).to_vec()
}

fn members(bits: &[u8]) -> impl Iterator<Item = u16> {
    (0..=u16::MAX)
        .zip(bits.iter().flat_map(|byte| (0..8).map(move |bit| byte & (0x80 >> bit) != 0)))
        .filter_map(|(member, set)| set.then_some(member))
}
