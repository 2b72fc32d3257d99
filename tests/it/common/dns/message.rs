//! Whole messages, read strictly and shown like dig.

use super::{AA, AD, CD, OPT, QR, RA, RD, Record, TC, show_name, show_rcode, show_type};
use std::fmt;

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

impl Opt {
    /// The extended errors (RFC 8914 §2): code and text.
    pub(crate) fn extended_errors(&self) -> Vec<(u16, String)> {
        self.options
            .iter()
            .filter(|(code, _)| *code == 15)
            .map(|(_, data)| {
                assert!(data.len() >= 2, "an extended error shorter than its code");
                (u16::from_be_bytes([data[0], data[1]]), String::from_utf8_lossy(&data[2..]).into_owned())
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
            questions.push(Question { name: reader.name()?, qtype: reader.u16()?, class: reader.u16()? });
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
            return Err(format!("{} bytes after the last record", bytes.len() - reader.at));
        }
        let [answers, authorities, additionals] = sections;
        Ok(Self { id, flags, questions, answers, authorities, additionals, opt })
    }
}

fn read_opt(record: &Record) -> Result<Opt, String> {
    let mut reader = Reader { bytes: &record.rdata, at: 0 };
    let mut options = Vec::new();
    while reader.at < record.rdata.len() {
        let code = reader.u16()?;
        let length = reader.u16()? as usize;
        options.push((code, reader.take(length)?.to_vec()));
    }
    let [rcode_high, version, high, low] = record.ttl.to_be_bytes();
    Ok(Opt { size: record.class, rcode_high, version, flags: u16::from_be_bytes([high, low]), options })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let taken = self.bytes.get(self.at..self.at + length).ok_or_else(|| format!("ends at {}", self.at))?;
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
                    let label = self.bytes.get(at..=at + length).ok_or_else(|| format!("label runs out at {at}"))?;
                    wire.extend_from_slice(label);
                    at += length + 1;
                }
                192.. => {
                    let low = *self.bytes.get(at + 1).ok_or_else(|| format!("pointer runs out at {at}"))?;
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
        if wire.len() > 255 { Err("name longer than 255 bytes".to_owned()) } else { Ok(wire) }
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
            return Err(format!("{} data of {} does not fill its length", show_type(rtype), show_name(&name)));
        }
        Ok(Record { name, rtype, class, ttl, rdata })
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags: String = [("qr", QR), ("aa", AA), ("tc", TC), ("rd", RD), ("ra", RA), ("ad", AD), ("cd", CD)]
            .iter()
            .filter(|(_, bit)| self.has(*bit))
            .map(|(name, _)| format!(" {name}"))
            .collect();
        let opcode = self.flags >> 11 & 0xf;
        writeln!(f, ";; {} id {} opcode {opcode} flags{flags}", show_rcode(self.rcode()), self.id)?;
        if let Some(opt) = &self.opt {
            writeln!(f, ";; EDNS version {} size {} flags {:#06x}", opt.version, opt.size, opt.flags)?;
            for (code, data) in &opt.options {
                writeln!(f, ";;   option {code}: {data:02x?} {:?}", String::from_utf8_lossy(data))?;
            }
        }
        for question in &self.questions {
            let class = if question.class == 1 { "IN".to_owned() } else { format!("CLASS{}", question.class) };
            writeln!(f, ";{} {class} {}", show_name(&question.name), show_type(question.qtype))?;
        }
        for (title, records) in
            [("ANSWER", &self.answers), ("AUTHORITY", &self.authorities), ("ADDITIONAL", &self.additionals)]
        {
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
        Err(why) => format!(";; unreadable ({why}), {} bytes: {bytes:02x?}\n", bytes.len()),
    }
}
