//! Addresses: IPv4, IPv6, prefixes of them (RFC 3123), EUI, ILNP and NSAP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Fault;
use super::encoded::HEX;
use super::number::decimal;
use super::token::{Token, Tokens};
use super::wire::{Wire, Words};

pub(super) const WANT_IPV4: &str = "four decimal numbers with dots between";
pub(super) const WANT_IPV6: &str = "groups of up to four hexadecimal digits with colons between";
const WANT_EUI: &str = "pairs of hexadecimal digits with hyphens between";
const WANT_GROUPS: &str = "four groups of up to four hexadecimal digits with colons between";
const WANT_NSAP: &str = "0x and pairs of hexadecimal digits";
const WANT_PREFIX: &str = "1:ADDRESS/LENGTH for IPv4 or 2:ADDRESS/LENGTH for IPv6, with a ! in front for an exception";

/// Address families of APL (IANA registry "Address Family Numbers").
const FAMILY_IPV4: u16 = 1;
const FAMILY_IPV6: u16 = 2;
/// The bit of APL that turns a prefix into an exception, beside the length of the address.
const NEGATION: u8 = 0x80;

/// Reads an IPv4 address: a dotted quad without leading zeros.
pub(super) fn read_ipv4(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let token = tokens.word()?;
    let address: Ipv4Addr = token.raw.parse().map_err(|_| tokens.not(token, WANT_IPV4))?;
    rdata.extend_from_slice(&address.octets());
    Ok(())
}

/// Prints an IPv4 address.
pub(super) fn present_ipv4(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    wire.array::<4>().map(|bytes| words.word(Ipv4Addr::from(bytes)))
}

/// Reads an IPv6 address in any form of RFC 4291 §2.2.
pub(super) fn read_ipv6(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let token = tokens.word()?;
    let address: Ipv6Addr = token.raw.parse().map_err(|_| tokens.not(token, WANT_IPV6))?;
    rdata.extend_from_slice(&address.octets());
    Ok(())
}

/// Prints an IPv6 address.
pub(super) fn present_ipv6(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    wire.array::<16>().map(|bytes| words.word(Ipv6Addr::from(bytes)))
}

/// Reads an EUI of that many bytes (RFC 7043).
pub(super) fn read_eui(len: usize, tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let token = tokens.word()?;
    let bytes: Option<Vec<u8>> = token.raw.split('-').map(hex_pair).collect();
    let bytes = bytes.filter(|bytes| bytes.len() == len).ok_or_else(|| tokens.not(token, WANT_EUI))?;
    rdata.extend_from_slice(&bytes);
    Ok(())
}

fn hex_pair(text: &str) -> Option<u8> {
    let plain = text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    plain.then(|| u8::from_str_radix(text, 16).ok())?
}

/// Prints an EUI of that many bytes.
pub(super) fn present_eui(len: usize, wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    let pairs: Vec<String> = wire.take(len)?.iter().map(|byte| format!("{byte:02x}")).collect();
    words.word(pairs.join("-"));
    Some(())
}

/// Reads 64 bits as four groups of 16 (RFC 6742 §2.1.2).
pub(super) fn read_groups(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let token = tokens.word()?;
    let groups: Option<Vec<u16>> = token.raw.split(':').map(hex_group).collect();
    let groups = groups.filter(|groups| groups.len() == 4).ok_or_else(|| tokens.not(token, WANT_GROUPS))?;
    rdata.extend(groups.into_iter().flat_map(u16::to_be_bytes));
    Ok(())
}

fn hex_group(text: &str) -> Option<u16> {
    let plain = (1..=4).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    plain.then(|| u16::from_str_radix(text, 16).ok())?
}

/// Prints 64 bits as four groups of 16.
pub(super) fn present_groups(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    let [a, b, c, d] = [wire.u16()?, wire.u16()?, wire.u16()?, wire.u16()?];
    words.word(format_args!("{a:04x}:{b:04x}:{c:04x}:{d:04x}"));
    Some(())
}

/// Reads an NSAP address; dots may stand anywhere in it (RFC 1706 §6).
pub(super) fn read_nsap(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let token = tokens.word()?;
    let wrong = || tokens.not(token, WANT_NSAP);
    let digits = token.raw.strip_prefix("0x").or_else(|| token.raw.strip_prefix("0X")).ok_or_else(wrong)?;
    let digits = digits.replace('.', "");
    let bytes = HEX.decode(Token { at: token.at, raw: &digits }, tokens.label).map_err(|_| wrong())?;
    if bytes.is_empty() {
        return Err(wrong());
    }
    rdata.extend_from_slice(&bytes);
    Ok(())
}

/// Prints an NSAP address.
pub(super) fn present_nsap(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    let bytes = wire.rest();
    words.word(format_args!("0x{}", HEX.encode(bytes)));
    (!bytes.is_empty()).then_some(())
}

/// Reads address prefixes to the end of the text, also none (RFC 3123 §5).
pub(super) fn read_prefixes(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    while let Some(token) = tokens.next_word()? {
        push_prefix(token.raw, rdata).ok_or_else(|| tokens.not(token, WANT_PREFIX))?;
    }
    Ok(())
}

fn push_prefix(text: &str, rdata: &mut Vec<u8>) -> Option<()> {
    let (negation, text) = text.strip_prefix('!').map_or((0, text), |rest| (NEGATION, rest));
    let (family, text) = text.split_once(':')?;
    let (address, prefix) = text.split_once('/')?;
    let family = u16::try_from(decimal(family, u64::from(u16::MAX))?).ok()?;
    let (bytes, max) = match (family, address.parse().ok()?) {
        (FAMILY_IPV4, IpAddr::V4(address)) => (address.octets().to_vec(), 32),
        (FAMILY_IPV6, IpAddr::V6(address)) => (address.octets().to_vec(), 128),
        _ => return None,
    };
    let prefix = u8::try_from(decimal(prefix, max)?).ok()?;
    let kept = without_final_zeros(&bytes);
    rdata.extend_from_slice(&family.to_be_bytes());
    rdata.extend_from_slice(&[prefix, negation | u8::try_from(kept.len()).ok()?]);
    rdata.extend_from_slice(kept);
    Some(())
}

/// The bytes up to the last that is not zero.
pub(super) fn without_final_zeros(bytes: &[u8]) -> &[u8] {
    let len = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    bytes.get(..len).unwrap_or_default()
}

/// Prints address prefixes to the end of the data.
pub(super) fn present_prefixes(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    while !wire.is_empty() {
        let (family, prefix, flags) = (wire.u16()?, wire.u8()?, wire.u8()?);
        let kept = wire.take(usize::from(flags & !NEGATION))?;
        if kept.last() == Some(&0) {
            return None;
        }
        let (address, max): (IpAddr, u8) = match family {
            FAMILY_IPV4 => (filled::<4>(kept)?.into(), 32),
            FAMILY_IPV6 => (filled::<16>(kept)?.into(), 128),
            _ => return None,
        };
        if prefix > max {
            return None;
        }
        let mark = if flags & NEGATION == 0 { "" } else { "!" };
        words.word(format_args!("{mark}{family}:{address}/{prefix}"));
    }
    Some(())
}

fn filled<const N: usize>(kept: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    bytes.get_mut(..kept.len())?.copy_from_slice(kept);
    Some(bytes)
}
