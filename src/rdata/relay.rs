//! Fields whose form depends on a number before them: gateways of IPSECKEY (RFC 4025) and AMTRELAY (RFC 8777), the
//! identities of HIP (RFC 8005), the data of DOA.

use super::encoded::{BASE32, BASE64, HEX};
use super::number::{self, ALGORITHMS, decimal};
use super::token::Tokens;
use super::wire::{Wire, Words};
use super::{Fault, Problem, address, text};

/// The bit of AMTRELAY that allows asking before a relay is known, beside the type of the relay.
const DISCOVERY: u8 = 0x80;

const WANT_KIND: &str = "0 (none), 1 (an IPv4 address), 2 (an IPv6 address) or 3 (a name)";
const WANT_BIT: &str = "0 or 1";

/// Reads type, algorithm and gateway of IPSECKEY.
pub(super) fn read_gateway(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let kind = read_kind("GATEWAY-TYPE", tokens)?;
    rdata.push(kind);
    tokens.label = "ALGORITHM";
    number::read::<1>(tokens, rdata)?;
    tokens.label = "GATEWAY";
    read_by_kind(kind, tokens, rdata)
}

/// Prints type, algorithm and gateway of IPSECKEY.
pub(super) fn present_gateway(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    let kind = wire.u8()?;
    words.word(kind);
    number::present_u8(wire, words)?;
    present_by_kind(kind, wire, words)
}

/// Reads discovery bit, type and relay of AMTRELAY.
pub(super) fn read_relay(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    tokens.label = "DISCOVERY-OPTIONAL";
    let token = tokens.word()?;
    let discovery = match token.raw {
        "0" => 0,
        "1" => DISCOVERY,
        _ => return Err(tokens.not(token, WANT_BIT)),
    };
    let kind = read_kind("TYPE", tokens)?;
    rdata.push(discovery | kind);
    tokens.label = "RELAY";
    read_by_kind(kind, tokens, rdata)
}

/// Prints discovery bit, type and relay of AMTRELAY.
pub(super) fn present_relay(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    let byte = wire.u8()?;
    let kind = byte & !DISCOVERY;
    words.word(u8::from(byte & DISCOVERY != 0));
    words.word(kind);
    present_by_kind(kind, wire, words)
}

fn read_kind(label: &'static str, tokens: &mut Tokens<'_>) -> Result<u8, Fault> {
    tokens.label = label;
    let token = tokens.word()?;
    let kind = decimal(token.raw, 3).and_then(|kind| u8::try_from(kind).ok());
    kind.ok_or_else(|| tokens.not(token, WANT_KIND))
}

fn read_by_kind(kind: u8, tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    match kind {
        0 => {
            let token = tokens.word()?;
            if token.raw == "." { Ok(()) } else { Err(tokens.not(token, "a dot, because its type is 0")) }
        }
        1 => address::read_ipv4(tokens, rdata),
        2 => address::read_ipv6(tokens, rdata),
        _ => text::read_name(tokens, rdata),
    }
}

fn present_by_kind(kind: u8, wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    match kind {
        0 => {
            words.word('.');
            Some(())
        }
        1 => address::present_ipv4(wire, words),
        2 => address::present_ipv6(wire, words),
        3 => text::present_name(wire, words),
        _ => None,
    }
}

/// Reads algorithm, identity tag and public key of HIP.
pub(super) fn read_identity(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    tokens.label = "ALGORITHM";
    let mut algorithm = Vec::new();
    number::read_named_u8(ALGORITHMS, tokens, &mut algorithm)?;
    tokens.label = "IDENTITY-TAG";
    let token = tokens.word()?;
    let tag = HEX.decode(token, tokens.label)?;
    let tag_len = u8::try_from(tag.len()).map_err(|_| tokens.not(token, "at most 255 bytes"))?;
    tokens.label = "PUBLIC-KEY";
    let token = tokens.word()?;
    let key = BASE64.decode(token, tokens.label)?;
    let key_len = u16::try_from(key.len()).map_err(|_| token.fault(Problem::TooLong(key.len())))?;
    rdata.push(tag_len);
    rdata.extend_from_slice(&algorithm);
    rdata.extend_from_slice(&key_len.to_be_bytes());
    rdata.extend_from_slice(&tag);
    rdata.extend_from_slice(&key);
    Ok(())
}

/// Prints algorithm, identity tag and public key of HIP; neither may be empty, an empty word cannot be written.
pub(super) fn present_identity(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    let (tag_len, algorithm, key_len) = (wire.u8()?, wire.u8()?, wire.u16()?);
    let tag = wire.take(usize::from(tag_len)).filter(|tag| !tag.is_empty())?;
    let key = wire.take(usize::from(key_len)).filter(|key| !key.is_empty())?;
    words.word(algorithm);
    words.word(HEX.encode(tag));
    words.word(BASE64.encode(key));
    Some(())
}

/// Reads bytes behind a length byte: hexadecimal, or `-` for none (the salt of RFC 5155 §3.3).
pub(super) fn read_salt(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let token = tokens.word()?;
    let salt = if token.raw == "-" { Vec::new() } else { HEX.decode(token, tokens.label)? };
    push_counted(&salt, "- or hexadecimal digits of at most 255 bytes", tokens, token, rdata)
}

/// Prints bytes behind a length byte, `-` for none.
pub(super) fn present_salt(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    match wire.counted()? {
        [] => words.word('-'),
        salt => words.word(HEX.encode(salt)),
    }
    Some(())
}

/// Reads a hashed name behind its length byte (RFC 5155 §3.3).
pub(super) fn read_hash(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let token = tokens.word()?;
    let hash = BASE32.decode(token, tokens.label)?;
    push_counted(&hash, "base32hex of at most 255 bytes", tokens, token, rdata)
}

/// Prints a hashed name behind its length byte.
pub(super) fn present_hash(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    let hash = wire.counted().filter(|hash| !hash.is_empty())?;
    words.word(BASE32.encode(hash));
    Some(())
}

fn push_counted(
    bytes: &[u8],
    want: &'static str,
    tokens: &Tokens<'_>,
    token: super::token::Token<'_>,
    rdata: &mut Vec<u8>,
) -> Result<(), Fault> {
    rdata.push(u8::try_from(bytes.len()).map_err(|_| tokens.not(token, want))?);
    rdata.extend_from_slice(bytes);
    Ok(())
}

/// Reads base64 to the end of the text, or `-` for nothing.
pub(super) fn read_object(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    if tokens.skip_if("-") { Ok(()) } else { BASE64.read_rest(tokens, rdata, 1) }
}

/// Prints the rest of the data in base64, `-` for nothing.
pub(super) fn present_object(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    if wire.is_empty() {
        words.word('-');
        return Some(());
    }
    BASE64.present_rest(wire, words, 1)
}
