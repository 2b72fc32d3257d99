//! Records between presentation form and the wire.

use super::{name, rtype, show_name, show_type};
use std::fmt;

/// One record, its names decompressed.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Record {
    pub(crate) name: Vec<u8>,
    pub(crate) rtype: u16,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    pub(crate) rdata: Vec<u8>,
}

/// `owner TTL IN TYPE data...`. A TTL of `*` reads as `u32::MAX`, which [`Record::is`] takes as "any".
pub(crate) fn record(text: &str) -> Record {
    let mut words = text.splitn(5, ' ').map(str::trim);
    let owner = words.next().unwrap_or_default();
    let ttl = words.next().unwrap_or_else(|| panic!("no TTL in {text:?}"));
    let class = words.next().unwrap_or_else(|| panic!("no class in {text:?}"));
    let kind = words.next().unwrap_or_else(|| panic!("no type in {text:?}"));
    let data = words.next().unwrap_or_default();
    Record {
        name: name(owner),
        rtype: rtype(kind),
        class: match class {
            "IN" => 1,
            "CH" => 3,
            other => panic!("class {other} in {text:?}"),
        },
        ttl: if ttl == "*" { u32::MAX } else { ttl.parse().unwrap_or_else(|_| panic!("TTL in {text:?}")) },
        rdata: rdata(rtype(kind), data),
    }
}

/// Record data in presentation form, or `\# LENGTH HEX` (RFC 3597 §5), to wire form.
pub(crate) fn rdata(rtype: u16, text: &str) -> Vec<u8> {
    if let Some(generic) = text.strip_prefix("\\#") {
        let (length, hex) = generic.trim().split_once(' ').unwrap_or_else(|| (generic.trim(), ""));
        let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        let data: Vec<u8> = digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).expect("hex digits"))
            .collect();
        assert_eq!(data.len().to_string(), length, "length in {text:?}");
        return data;
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    match rtype {
        1 => text.parse::<std::net::Ipv4Addr>().unwrap_or_else(|_| panic!("IPv4: {text}")).octets().to_vec(),
        28 => text.parse::<std::net::Ipv6Addr>().unwrap_or_else(|_| panic!("IPv6: {text}")).octets().to_vec(),
        2 | 5 | 12 | 39 => name(text),
        6 => {
            let mut data = [name(words[0]), name(words[1])].concat();
            for number in &words[2..7] {
                data.extend(number.parse::<u32>().expect("a number of the SOA").to_be_bytes());
            }
            data
        }
        15 => [words[0].parse::<u16>().unwrap().to_be_bytes().to_vec(), name(words[1])].concat(),
        33 => {
            let mut data = Vec::new();
            for number in &words[..3] {
                data.extend(number.parse::<u16>().expect("a number of the SRV").to_be_bytes());
            }
            data.extend(name(words[3]));
            data
        }
        13 | 16 => strings(text),
        _ => panic!("write {} as \\# LENGTH HEX", show_type(rtype)),
    }
}

/// Character strings in quotes.
fn strings(text: &str) -> Vec<u8> {
    let mut data = Vec::new();
    for (index, part) in text.split('"').enumerate() {
        if index % 2 == 1 {
            data.push(u8::try_from(part.len()).expect("255 bytes at most"));
            data.extend_from_slice(part.as_bytes());
        }
    }
    assert!(!data.is_empty(), "no quoted string in {text:?}");
    data
}

impl Record {
    /// Equal but for letter case of names; `u32::MAX` as the expected TTL is any.
    pub(crate) fn is(&self, expected: &Self) -> bool {
        self.same_data(expected) && (expected.ttl == u32::MAX || self.ttl == expected.ttl)
    }

    /// Equal but for TTL and letter case of names.
    pub(crate) fn same_data(&self, other: &Self) -> bool {
        let lower = matches!(self.rtype, 2 | 5 | 6 | 12 | 15 | 33 | 39);
        self.name.eq_ignore_ascii_case(&other.name)
            && self.rtype == other.rtype
            && self.class == other.class
            && if lower { self.rdata.eq_ignore_ascii_case(&other.rdata) } else { self.rdata == other.rdata }
    }

    /// Wire form; `compress` is a name in the message that may be pointed at, and where it stands.
    pub(crate) fn write(&self, out: &mut Vec<u8>, compress: Option<&[u8]>) {
        if compress.is_some_and(|qname| qname.eq_ignore_ascii_case(&self.name)) {
            out.extend([0xc0, 12]);
        } else {
            out.extend(&self.name);
        }
        out.extend(self.rtype.to_be_bytes());
        out.extend(self.class.to_be_bytes());
        out.extend(self.ttl.to_be_bytes());
        out.extend((self.rdata.len() as u16).to_be_bytes());
        out.extend(&self.rdata);
    }

    fn show_data(&self) -> String {
        let data = &self.rdata;
        match (self.rtype, data.len()) {
            (1, 4) => std::net::Ipv4Addr::new(data[0], data[1], data[2], data[3]).to_string(),
            (28, 16) => std::net::Ipv6Addr::from(<[u8; 16]>::try_from(data.as_slice()).unwrap()).to_string(),
            (2 | 5 | 12 | 39, 1..) => show_name(data),
            (6, 22..) => {
                let mname = name_end(data, 0);
                let rname = name_end(data, mname);
                let numbers: Vec<String> = data[rname..]
                    .chunks(4)
                    .map(|four| u32::from_be_bytes(four.try_into().unwrap()).to_string())
                    .collect();
                format!("{} {} {}", show_name(data), show_name(&data[mname..]), numbers.join(" "))
            }
            _ => {
                let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("\\# {} {hex}", data.len())
            }
        }
    }
}

fn name_end(data: &[u8], mut at: usize) -> usize {
    while data[at] != 0 {
        at += 1 + data[at] as usize;
    }
    at + 1
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = if self.class == 1 { "IN".to_owned() } else { format!("CLASS{}", self.class) };
        write!(
            f,
            "{} {} {class} {} {}",
            show_name(&self.name),
            if self.ttl == u32::MAX { "*".to_owned() } else { self.ttl.to_string() },
            show_type(self.rtype),
            self.show_data()
        )
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
