//! Parameters of SVCB and HTTPS (RFC 9460 §2, RFC 9461, RFC 9540).
//!
//! On the wire they stand in ascending order of their keys, each once; in text in any order. `keyNNNNN` with a text of
//! bytes may be written for every key, and is how keys without a name are printed.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::encoded::BASE64;
use super::number::decimal;
use super::text::quoted;
use super::token::{Token, Tokens};
use super::wire::{Wire, Words};
use super::{Fault, Problem};

/// How the value of a parameter is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Keys,
    Strings,
    Nothing,
    Port,
    Ipv4s,
    Ipv6s,
    Base64,
    Text,
    /// Anything, as bytes: keys without a name.
    Bytes,
}

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;

/// Key, name and kind (IANA registry "Service Parameter Keys").
const KEYS: &[(u16, &str, Kind)] = &[
    (MANDATORY, "mandatory", Kind::Keys),
    (ALPN, "alpn", Kind::Strings),
    (NO_DEFAULT_ALPN, "no-default-alpn", Kind::Nothing),
    (3, "port", Kind::Port),
    (4, "ipv4hint", Kind::Ipv4s),
    (5, "ech", Kind::Base64),
    (6, "ipv6hint", Kind::Ipv6s),
    (7, "dohpath", Kind::Text),
    (8, "ohttp", Kind::Nothing),
];

const WANT_KEY: &str = "a key such as alpn, port or ipv4hint, or keyNNNNN";

/// Reads parameters to the end of the text, also none.
pub(super) fn read(tokens: &mut Tokens<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let start = tokens.peek()?.map_or(0, |token| token.at);
    let mut parameters = BTreeMap::new();
    while let Some(token) = tokens.next_word()? {
        tokens.label = "KEY";
        let (name, value) = token.raw.split_once('=').unwrap_or((token.raw, ""));
        let key = key(name).ok_or_else(|| tokens.not(Token { raw: name, ..token }, WANT_KEY))?;
        let value = Token { at: token.at + token.raw.len() - value.len(), raw: value };
        let kind = if KEYS.iter().any(|known| known.1 == name) { kind(key) } else { Kind::Bytes };
        tokens.label = "VALUE";
        let bytes = value.bytes()?;
        let wire = encode(kind, &bytes).filter(|wire| decode(key, wire).is_some());
        let wire = wire.ok_or_else(|| tokens.not(value_or(value, token), want(key)))?;
        if parameters.insert(key, wire).is_some() {
            return Err(token.fault(Problem::Twice(key_name(key))));
        }
    }
    if let Some((needs, missing)) = lacking(&parameters) {
        return Err(Fault { at: start, problem: Problem::Needs { needs, missing: key_name(missing) } });
    }
    for (key, value) in parameters {
        rdata.extend_from_slice(&key.to_be_bytes());
        // What cannot be said in 16 bits is more than a record holds, and refused as a whole.
        rdata.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        rdata.extend_from_slice(&value);
    }
    Ok(())
}

fn value_or<'a>(value: Token<'a>, whole: Token<'a>) -> Token<'a> {
    if value.raw.is_empty() { whole } else { value }
}

/// Prints parameters to the end of the data.
pub(super) fn present(wire: &mut Wire<'_>, words: &mut Words) -> Option<()> {
    let mut parameters = BTreeMap::new();
    while !wire.is_empty() {
        let (key, len) = (wire.u16()?, wire.u16()?);
        let value = wire.take(usize::from(len))?;
        if parameters.last_key_value().is_some_and(|(&last, _)| key <= last) {
            return None;
        }
        words.word(match decode(key, value)?.as_str() {
            "" => key_name(key),
            text => format!("{}={text}", key_name(key)),
        });
        parameters.insert(key, value);
    }
    lacking(&parameters).is_none().then_some(())
}

fn key(name: &str) -> Option<u16> {
    let known = KEYS.iter().find(|known| known.1 == name).map(|known| known.0);
    known.or_else(|| {
        let digits = name.strip_prefix("key").filter(|digits| *digits == "0" || !digits.starts_with('0'))?;
        decimal(digits, u64::from(u16::MAX))?.try_into().ok()
    })
}

fn kind(key: u16) -> Kind {
    KEYS.iter().find(|known| known.0 == key).map_or(Kind::Bytes, |known| known.2)
}

fn key_name(key: u16) -> String {
    KEYS.iter().find(|known| known.0 == key).map_or_else(|| format!("key{key}"), |known| known.1.to_owned())
}

fn want(key: u16) -> &'static str {
    match kind(key) {
        Kind::Keys => "keys with commas between, each once and not mandatory itself",
        Kind::Strings => r"protocols such as h2,h3 (a comma inside one is written \\,)",
        Kind::Nothing => "no value",
        Kind::Port => "a port number from 0 to 65535",
        Kind::Ipv4s => "IPv4 addresses with commas between",
        Kind::Ipv6s => "IPv6 addresses with commas between",
        Kind::Base64 => "base64",
        Kind::Text => "a text",
        Kind::Bytes => "at most 65535 bytes",
    }
}

/// The wire form of a value whose quotes and escapes are resolved.
fn encode(kind: Kind, value: &[u8]) -> Option<Vec<u8>> {
    let plain = std::str::from_utf8(value);
    let items = || plain.ok().map(|plain| plain.split(','));
    match kind {
        Kind::Keys => {
            let mut keys = items()?.map(key).collect::<Option<Vec<_>>>()?;
            keys.sort_unstable();
            Some(keys.into_iter().flat_map(u16::to_be_bytes).collect())
        }
        Kind::Strings => {
            let mut wire = Vec::new();
            for item in split_list(value)? {
                wire.push(u8::try_from(item.len()).ok()?);
                wire.extend(item);
            }
            Some(wire)
        }
        Kind::Port => {
            u16::try_from(decimal(plain.ok()?, u64::from(u16::MAX))?).ok().map(|port| port.to_be_bytes().to_vec())
        }
        Kind::Ipv4s => items()?
            .map(|item| item.parse().map(|address: Ipv4Addr| address.octets()))
            .collect::<Result<Vec<_>, _>>()
            .ok()
            .map(|all| all.concat()),
        Kind::Ipv6s => items()?
            .map(|item| item.parse().map(|address: Ipv6Addr| address.octets()))
            .collect::<Result<Vec<_>, _>>()
            .ok()
            .map(|all| all.concat()),
        Kind::Base64 => BASE64.decode(Token { at: 0, raw: plain.ok()? }, "ech").ok(),
        Kind::Nothing | Kind::Text | Kind::Bytes => Some(value.to_vec()),
    }
}

/// The text of a value, nothing when it does not fit its key.
fn decode(key: u16, value: &[u8]) -> Option<String> {
    match kind(key) {
        Kind::Keys => {
            let keys: Vec<u16> = chunks(value)?.map(u16::from_be_bytes).collect();
            let ascends = keys.is_sorted_by(|a, b| a < b) && !keys.contains(&MANDATORY);
            ascends.then(|| keys.into_iter().map(key_name).collect::<Vec<_>>().join(","))
        }
        Kind::Strings => {
            let mut wire = Wire(value);
            let mut items = Vec::new();
            while !wire.is_empty() || items.is_empty() {
                items.push(list_item(wire.counted().filter(|item| !item.is_empty())?));
            }
            Some(quoted(&items.join(&b',')))
        }
        Kind::Nothing => value.is_empty().then(String::new),
        Kind::Port => <[u8; 2]>::try_from(value).ok().map(|port| u16::from_be_bytes(port).to_string()),
        Kind::Ipv4s => {
            Some(chunks(value)?.map(|bytes: [u8; 4]| Ipv4Addr::from(bytes).to_string()).collect::<Vec<_>>().join(","))
        }
        Kind::Ipv6s => {
            Some(chunks(value)?.map(|bytes: [u8; 16]| Ipv6Addr::from(bytes).to_string()).collect::<Vec<_>>().join(","))
        }
        Kind::Base64 => (!value.is_empty()).then(|| BASE64.encode(value)),
        Kind::Text => (!value.is_empty() && std::str::from_utf8(value).is_ok()).then(|| quoted(value)),
        Kind::Bytes if value.is_empty() => Some(String::new()),
        Kind::Bytes => (value.len() <= usize::from(u16::MAX)).then(|| quoted(value)),
    }
}

/// At least one piece of `N` bytes, and nothing left over.
fn chunks<const N: usize>(value: &[u8]) -> Option<impl Iterator<Item = [u8; N]>> {
    let (pieces, rest) = value.as_chunks::<N>();
    (!pieces.is_empty() && rest.is_empty()).then(|| pieces.iter().copied())
}

/// The items of a list with commas between; `\,` and `\\` inside an item (RFC 9460 appendix A.1).
fn split_list(value: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut items = Vec::new();
    let mut item = Vec::new();
    let mut rest = value.iter().copied();
    while let Some(byte) = rest.next() {
        match byte {
            b',' => items.push(std::mem::take(&mut item)),
            b'\\' => item.push(rest.next().filter(|escaped| matches!(escaped, b',' | b'\\'))?),
            _ => item.push(byte),
        }
    }
    items.push(item);
    Some(items)
}

fn list_item(item: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(item.len());
    for &byte in item {
        if matches!(byte, b',' | b'\\') {
            text.push(b'\\');
        }
        text.push(byte);
    }
    text
}

/// The first parameter that needs another which is not there, and that other (RFC 9460 §7.1.1 and §8).
fn lacking<V: AsRef<[u8]>>(parameters: &BTreeMap<u16, V>) -> Option<(&'static str, u16)> {
    if parameters.contains_key(&NO_DEFAULT_ALPN) && !parameters.contains_key(&ALPN) {
        return Some(("no-default-alpn", ALPN));
    }
    let mandatory = parameters.get(&MANDATORY)?;
    let (keys, _) = mandatory.as_ref().as_chunks::<2>();
    let mut keys = keys.iter().map(|&key| u16::from_be_bytes(key));
    keys.find(|key| !parameters.contains_key(key)).map(|key| ("mandatory", key))
}
