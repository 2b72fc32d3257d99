//! DNS messages by hand: the tests' own encoder and parser, so that the server is not judged by its own code.
//!
//! Names are uncompressed wire labels; what a test writes and what a failure prints is presentation form.

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

/// One question.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) name: Vec<u8>,
    pub(crate) qtype: u16,
    pub(crate) class: u16,
}

/// One message, every section read to its end.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) id: u16,
    pub(crate) flags: u16,
    pub(crate) questions: Vec<Question>,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    /// Without the OPT record.
    pub(crate) additionals: Vec<Record>,
    pub(crate) opt: Option<Opt>,
}

/// The OPT record (RFC 6891 §6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opt {
    pub(crate) size: u16,
    pub(crate) rcode_high: u8,
    pub(crate) version: u8,
    pub(crate) flags: u16,
    pub(crate) options: Vec<(u16, Vec<u8>)>,
}

pub(crate) const QR: u16 = 0x8000;
pub(crate) const AA: u16 = 0x0400;
pub(crate) const TC: u16 = 0x0200;
pub(crate) const RD: u16 = 0x0100;
pub(crate) const RA: u16 = 0x0080;
pub(crate) const AD: u16 = 0x0020;
pub(crate) const CD: u16 = 0x0010;
/// DO of the OPT record's flags.
pub(crate) const DO: u16 = 0x8000;
pub(crate) const OPT: u16 = 41;

const TYPES: &[(u16, &str)] = &[
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (12, "PTR"),
    (13, "HINFO"),
    (15, "MX"),
    (16, "TXT"),
    (28, "AAAA"),
    (33, "SRV"),
    (35, "NAPTR"),
    (39, "DNAME"),
    (41, "OPT"),
    (43, "DS"),
    (44, "SSHFP"),
    (46, "RRSIG"),
    (48, "DNSKEY"),
    (52, "TLSA"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (251, "IXFR"),
    (252, "AXFR"),
    (255, "ANY"),
    (257, "CAA"),
];

const RCODES: &[(u16, &str)] = &[
    (0, "NOERROR"),
    (1, "FORMERR"),
    (2, "SERVFAIL"),
    (3, "NXDOMAIN"),
    (4, "NOTIMP"),
    (5, "REFUSED"),
    (16, "BADVERS"),
];

/// The number of a type, from its mnemonic or `TYPE123`.
pub(crate) fn rtype(text: &str) -> u16 {
    TYPES.iter().find(|(_, name)| *name == text).map_or_else(
        || {
            text.strip_prefix("TYPE")
                .and_then(|n| n.parse().ok())
                .unwrap_or_else(|| panic!("no such type: {text}"))
        },
        |(n, _)| *n,
    )
}

pub(crate) fn show_type(rtype: u16) -> String {
    TYPES
        .iter()
        .find(|(n, _)| *n == rtype)
        .map_or_else(|| format!("TYPE{rtype}"), |(_, name)| (*name).to_owned())
}

pub(crate) fn rcode(text: &str) -> u16 {
    RCODES
        .iter()
        .find(|(_, name)| *name == text)
        .unwrap_or_else(|| panic!("no such rcode: {text}"))
        .0
}

pub(crate) fn show_rcode(rcode: u16) -> String {
    RCODES
        .iter()
        .find(|(n, _)| *n == rcode)
        .map_or_else(|| format!("RCODE{rcode}"), |(_, name)| (*name).to_owned())
}

/// Presentation form (RFC 1035 §5.1, with `\DDD` and `\X`) to uncompressed wire form, always absolute.
pub(crate) fn name(text: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut label = Vec::new();
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'.' => {
                if !label.is_empty() {
                    push_label(&mut wire, &std::mem::take(&mut label));
                }
            }
            b'\\' => {
                let first = bytes.next().expect("something after the backslash");
                if first.is_ascii_digit() {
                    let digits = [first, bytes.next().unwrap(), bytes.next().unwrap()];
                    label.push(
                        std::str::from_utf8(&digits)
                            .unwrap()
                            .parse()
                            .expect("three decimal digits"),
                    );
                } else {
                    label.push(first);
                }
            }
            other => label.push(other),
        }
    }
    if !label.is_empty() {
        push_label(&mut wire, &label);
    }
    wire.push(0);
    wire
}

fn push_label(wire: &mut Vec<u8>, label: &[u8]) {
    assert!(label.len() < 64, "label too long: {label:?}");
    wire.push(label.len() as u8);
    wire.extend_from_slice(label);
}

pub(crate) fn show_name(wire: &[u8]) -> String {
    let mut text = String::new();
    let mut at = 0;
    while wire[at] != 0 {
        let end = at + 1 + wire[at] as usize;
        for &byte in &wire[at + 1..end] {
            match byte {
                b'.' | b'\\' | b'"' => text.extend(['\\', byte as char]),
                0x21..=0x7e => text.push(byte as char),
                other => text.push_str(&format!("\\{other:03}")),
            }
        }
        text.push('.');
        at = end;
    }
    if text.len() > 1 {
        text.pop();
    }
    if text.is_empty() { ".".to_owned() } else { text }
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
        ttl: if ttl == "*" {
            u32::MAX
        } else {
            ttl.parse().unwrap_or_else(|_| panic!("TTL in {text:?}"))
        },
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
        1 => text
            .parse::<std::net::Ipv4Addr>()
            .unwrap_or_else(|_| panic!("IPv4: {text}"))
            .octets()
            .to_vec(),
        28 => text
            .parse::<std::net::Ipv6Addr>()
            .unwrap_or_else(|_| panic!("IPv6: {text}"))
            .octets()
            .to_vec(),
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
            data.push(u8::try_from(part.len()).expect("255 octets at most"));
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
            && if lower {
                self.rdata.eq_ignore_ascii_case(&other.rdata)
            } else {
                self.rdata == other.rdata
            }
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
                format!(
                    "{} {} {}",
                    show_name(data),
                    show_name(&data[mname..]),
                    numbers.join(" ")
                )
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
        let class = if self.class == 1 {
            "IN".to_owned()
        } else {
            format!("CLASS{}", self.class)
        };
        write!(
            f,
            "{} {} {class} {} {}",
            show_name(&self.name),
            if self.ttl == u32::MAX {
                "*".to_owned()
            } else {
                self.ttl.to_string()
            },
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

impl Opt {
    /// The extended errors (RFC 8914 §2): code and text.
    pub(crate) fn extended_errors(&self) -> Vec<(u16, String)> {
        self.options
            .iter()
            .filter(|(code, _)| *code == 15)
            .map(|(_, data)| {
                assert!(data.len() >= 2, "an extended error shorter than its code");
                (
                    u16::from_be_bytes([data[0], data[1]]),
                    String::from_utf8_lossy(&data[2..]).into_owned(),
                )
            })
            .collect()
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(0);
        out.extend(OPT.to_be_bytes());
        out.extend(self.size.to_be_bytes());
        out.extend([self.rcode_high, self.version]);
        out.extend(self.flags.to_be_bytes());
        let length: usize = self.options.iter().map(|(_, data)| data.len() + 4).sum();
        out.extend((length as u16).to_be_bytes());
        for (code, data) in &self.options {
            out.extend(code.to_be_bytes());
            out.extend((data.len() as u16).to_be_bytes());
            out.extend(data);
        }
    }
}

impl Message {
    pub(crate) fn rcode(&self) -> u16 {
        let high = self.opt.as_ref().map_or(0, |opt| u16::from(opt.rcode_high));
        high << 4 | self.flags & 0xf
    }

    pub(crate) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Reads a whole message strictly: counts, pointers that only go back, nothing left over.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader { bytes, at: 0 };
        let id = reader.u16()?;
        let flags = reader.u16()?;
        let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
        let mut questions = Vec::new();
        for _ in 0..counts[0] {
            questions.push(Question {
                name: reader.name()?,
                qtype: reader.u16()?,
                class: reader.u16()?,
            });
        }
        let mut opt = None;
        let mut sections = [Vec::new(), Vec::new(), Vec::new()];
        for (index, section) in sections.iter_mut().enumerate() {
            for _ in 0..counts[index + 1] {
                let record = reader.record()?;
                if record.rtype != OPT {
                    section.push(record);
                    continue;
                }
                if index != 2 || opt.is_some() || record.name != [0] {
                    return Err("an OPT record where none may be".to_owned());
                }
                opt = Some(read_opt(&record)?);
            }
        }
        if reader.at != bytes.len() {
            return Err(format!("{} octets after the last record", bytes.len() - reader.at));
        }
        let [answers, authorities, additionals] = sections;
        Ok(Self {
            id,
            flags,
            questions,
            answers,
            authorities,
            additionals,
            opt,
        })
    }
}

fn read_opt(record: &Record) -> Result<Opt, String> {
    let mut reader = Reader {
        bytes: &record.rdata,
        at: 0,
    };
    let mut options = Vec::new();
    while reader.at < record.rdata.len() {
        let code = reader.u16()?;
        let length = reader.u16()? as usize;
        options.push((code, reader.take(length)?.to_vec()));
    }
    let [rcode_high, version, high, low] = record.ttl.to_be_bytes();
    Ok(Opt {
        size: record.class,
        rcode_high,
        version,
        flags: u16::from_be_bytes([high, low]),
        options,
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let taken = self
            .bytes
            .get(self.at..self.at + length)
            .ok_or_else(|| format!("ends at {}", self.at))?;
        self.at += length;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, String> {
        self.take(2).map(|two| u16::from_be_bytes([two[0], two[1]]))
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.take(4).map(|four| u32::from_be_bytes(four.try_into().unwrap()))
    }

    fn name(&mut self) -> Result<Vec<u8>, String> {
        let mut wire = Vec::new();
        let mut at = self.at;
        let mut limit = self.at;
        let mut jumped = false;
        loop {
            let length = *self.bytes.get(at).ok_or_else(|| format!("name runs out at {at}"))? as usize;
            match length {
                0 => {
                    wire.push(0);
                    if !jumped {
                        self.at = at + 1;
                    }
                    break;
                }
                1..64 => {
                    let label = self
                        .bytes
                        .get(at..=at + length)
                        .ok_or_else(|| format!("label runs out at {at}"))?;
                    wire.extend_from_slice(label);
                    at += length + 1;
                }
                192.. => {
                    let low = *self
                        .bytes
                        .get(at + 1)
                        .ok_or_else(|| format!("pointer runs out at {at}"))?;
                    let target = (length & 0x3f) << 8 | low as usize;
                    if target >= limit {
                        return Err(format!("pointer at {at} goes to {target}, not back"));
                    }
                    if !jumped {
                        self.at = at + 2;
                        jumped = true;
                    }
                    limit = target;
                    at = target;
                }
                other => return Err(format!("label type {other:#x} at {at}")),
            }
        }
        if wire.len() > 255 {
            Err("name longer than 255 octets".to_owned())
        } else {
            Ok(wire)
        }
    }

    fn record(&mut self) -> Result<Record, String> {
        let name = self.name()?;
        let rtype = self.u16()?;
        let class = self.u16()?;
        let ttl = self.u32()?;
        let length = self.u16()? as usize;
        let end = self.at + length;
        if end > self.bytes.len() {
            return Err(format!("record data runs out at {}", self.at));
        }
        let rdata = match rtype {
            2 | 5 | 12 | 39 => self.name()?,
            6 => {
                let mut data = [self.name()?, self.name()?].concat();
                data.extend(self.take(20)?);
                data
            }
            15 => [self.take(2)?.to_vec(), self.name()?].concat(),
            33 => [self.take(6)?.to_vec(), self.name()?].concat(),
            _ => self.take(length)?.to_vec(),
        };
        if self.at != end {
            return Err(format!(
                "{} data of {} does not fill its length",
                show_type(rtype),
                show_name(&name)
            ));
        }
        Ok(Record {
            name,
            rtype,
            class,
            ttl,
            rdata,
        })
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags: String = [
            ("qr", QR),
            ("aa", AA),
            ("tc", TC),
            ("rd", RD),
            ("ra", RA),
            ("ad", AD),
            ("cd", CD),
        ]
        .iter()
        .filter(|(_, bit)| self.has(*bit))
        .map(|(name, _)| format!(" {name}"))
        .collect();
        let opcode = self.flags >> 11 & 0xf;
        writeln!(
            f,
            ";; {} id {} opcode {opcode} flags{flags}",
            show_rcode(self.rcode()),
            self.id
        )?;
        if let Some(opt) = &self.opt {
            writeln!(
                f,
                ";; EDNS version {} size {} flags {:#06x}",
                opt.version, opt.size, opt.flags
            )?;
            for (code, data) in &opt.options {
                writeln!(f, ";;   option {code}: {data:02x?} {:?}", String::from_utf8_lossy(data))?;
            }
        }
        for question in &self.questions {
            let class = if question.class == 1 {
                "IN".to_owned()
            } else {
                format!("CLASS{}", question.class)
            };
            writeln!(
                f,
                ";{} {class} {}",
                show_name(&question.name),
                show_type(question.qtype)
            )?;
        }
        for (title, records) in [
            ("ANSWER", &self.answers),
            ("AUTHORITY", &self.authorities),
            ("ADDITIONAL", &self.additionals),
        ] {
            if !records.is_empty() {
                writeln!(f, ";; {title}")?;
            }
            for record in records {
                writeln!(f, "{record}")?;
            }
        }
        Ok(())
    }
}

/// A message as text, or why it is none, with its bytes.
pub(crate) fn show(bytes: &[u8]) -> String {
    match Message::parse(bytes) {
        Ok(message) => message.to_string(),
        Err(why) => format!(";; unreadable ({why}), {} octets: {bytes:02x?}\n", bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Message, name, record, show_name};

    #[test]
    fn names_survive_the_way_through_presentation_form() {
        for text in ["a.b.com", ".", "a\\.b.com", "\\000\\255.x", "*.example"] {
            assert_eq!(show_name(&name(text)), text);
        }
        assert_eq!(name("a.bc"), b"\x01a\x02bc\x00");
    }

    #[test]
    fn records_survive_the_way_through_the_wire() {
        let mut bytes = vec![0, 1, 0x80, 0, 0, 0, 0, 2, 0, 0, 0, 0];
        let soa = record("a.example 10 IN SOA ns.example host.example 1 2 3 4 5");
        let mx = record("a.example 20 IN MX 10 mail.example");
        soa.write(&mut bytes, None);
        mx.write(&mut bytes, None);
        let message = Message::parse(&bytes).expect("readable");
        assert_eq!(message.answers, [soa, mx]);
        bytes.push(0);
        assert!(Message::parse(&bytes).is_err(), "left over octets are not overlooked");
    }
}
