//! Answers of scripted upstreams, byte by byte.

use std::net::Ipv4Addr;

use crate::common::dns::{Message, show_name};

/// The name in a query, lower case, with a dot at its end.
pub(crate) fn name_of(query: &[u8]) -> String {
    let name = show_name(&Message::parse(query).unwrap().questions[0].name).to_lowercase();
    if name == "." { name } else { name + "." }
}

/// The address that a name has here: another one for each.
pub(crate) fn address_of(name: &str) -> Ipv4Addr {
    let name = name.trim_end_matches('.');
    let sum = name.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let [_, b, c, d] = sum.to_be_bytes();
    Ipv4Addr::new(10, b, c, d)
}

/// The answer to a query: the address of its name.
pub(crate) fn answer(query: &[u8]) -> Vec<u8> {
    let end = question_end(query);
    let mut bytes = query[..end].to_vec();
    bytes[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    bytes.extend(address_of(&name_of(query)).octets());
    bytes
}

/// An answer whose bytes no library would write again as they are: names not compressed, in another case than asked,
/// an unknown record type, options unknown and private, reserved bits.
pub(crate) fn odd_answer(query: &[u8]) -> Vec<u8> {
    let end = question_end(query);
    let mut bytes = query[..end].to_vec();
    bytes[2..12].copy_from_slice(&[0x81, 0xe0, 0, 1, 0, 2, 0, 0, 0, 1]);
    bytes[12..end - 4].make_ascii_uppercase();
    for (rtype, data) in [(1_u16, &[10_u8, 1, 2, 3][..]), (65_333, b"\0\x01\x02anything")] {
        bytes.extend(query[12..end - 4].to_vec());
        bytes.extend(rtype.to_be_bytes());
        bytes.extend([0, 1, 0x7f, 0xff, 0xff, 0xff]);
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend(data);
    }
    let options = [0xfd, 0xe9, 0, 3, 1, 2, 3, 0, 15, 0, 4, 0, 22, b'h', b'i'];
    bytes.extend([0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, options.len() as u8]);
    bytes.extend(options);
    bytes
}

fn question_end(query: &[u8]) -> usize {
    let mut at = 12;
    while let len @ 1.. = usize::from(query[at]) {
        at += 1 + len;
    }
    at + 5
}
