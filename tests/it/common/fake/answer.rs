//! One message of the fake server, built for the query it answers.

use super::Seen;
use crate::common::dns::{self, Opt, Record};
use std::sync::Arc;

/// The SOA data that Azure's private zones carry.
const AZURE_SOA: &str = "azureprivatedns.net azureprivatedns-host.microsoft.com 1 3600 300 2419200 10";

/// Whether the answer carries an OPT record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WithOpt {
    IfAsked,
    Never,
}

type Edit = Arc<dyn Fn(&mut Vec<u8>) + Send + Sync>;

/// One message to be sent, built for the query it answers.
#[derive(Clone)]
pub(crate) struct Answer {
    flags: u16,
    rcode: u16,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
    with_opt: WithOpt,
    options: Vec<(u16, Vec<u8>)>,
    edits: Vec<Edit>,
}

/// Presentation form to records.
fn records(lines: &[&str]) -> Vec<Record> {
    lines.iter().map(|line| dns::record(line)).collect()
}

impl Answer {
    pub(crate) fn of(lines: &[&str]) -> Self {
        Self {
            flags: dns::QR | dns::RA,
            rcode: 0,
            answers: records(lines),
            authorities: Vec::new(),
            additionals: Vec::new(),
            with_opt: WithOpt::IfAsked,
            options: Vec::new(),
            edits: Vec::new(),
        }
    }

    pub(crate) fn rcode(mut self, rcode: &str) -> Self {
        self.rcode = dns::rcode(rcode);
        self
    }

    /// NXDOMAIN or NODATA as a private zone says it.
    pub(crate) fn negative(rcode: &str, zone: &str) -> Self {
        Self::of(&[]).rcode(rcode).authority(&[&format!("{zone} 3600 IN SOA {AZURE_SOA}")])
    }

    pub(crate) fn authority(mut self, lines: &[&str]) -> Self {
        self.authorities = records(lines);
        self
    }

    pub(crate) fn additional(mut self, lines: &[&str]) -> Self {
        self.additionals = records(lines);
        self
    }

    pub(crate) fn flag(mut self, flag: u16) -> Self {
        self.flags |= flag;
        self
    }

    pub(crate) fn without_opt(mut self) -> Self {
        self.with_opt = WithOpt::Never;
        self
    }

    pub(crate) fn option(mut self, code: u16, data: &[u8]) -> Self {
        self.options.push((code, data.to_vec()));
        self
    }

    pub(crate) fn edit(mut self, edit: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Self {
        self.edits.push(Arc::new(edit));
        self
    }

    pub(crate) fn wrong_id(self) -> Self {
        self.edit(|bytes| bytes[1] ^= 0x55)
    }

    /// The question with the case of its letters turned round.
    pub(crate) fn wrong_case(self) -> Self {
        self.edit(|bytes| {
            let mut at = 12;
            while bytes[at] != 0 {
                let end = at + 1 + bytes[at] as usize;
                for byte in &mut bytes[at + 1..end] {
                    if byte.is_ascii_alphabetic() {
                        *byte ^= 0x20;
                    }
                }
                at = end;
            }
        })
    }

    /// Another question of the same length: the first letter differs.
    pub(crate) fn wrong_question(self) -> Self {
        self.edit(|bytes| bytes[13] = if bytes[13].eq_ignore_ascii_case(&b'q') { b'z' } else { b'q' })
    }

    /// The last `count` bytes are missing, counts stay as they were.
    pub(crate) fn cut(self, count: usize) -> Self {
        self.edit(move |bytes| bytes.truncate(bytes.len() - count))
    }

    pub(crate) fn bytes(&self, query: &Seen) -> Vec<u8> {
        let asked = &query.message;
        let question = query.question();
        let mut out = asked.id.to_be_bytes().to_vec();
        let copied = asked.flags & (dns::RD | dns::CD | 0x7800);
        out.extend((self.flags | copied | self.rcode & 0xf).to_be_bytes());
        let opt = match self.with_opt {
            WithOpt::IfAsked => asked.opt.as_ref(),
            WithOpt::Never => None,
        };
        let additional_count = self.additionals.len() + usize::from(opt.is_some());
        for count in [1, self.answers.len(), self.authorities.len(), additional_count] {
            out.extend((count as u16).to_be_bytes());
        }
        out.extend(&question.name);
        out.extend(question.qtype.to_be_bytes());
        out.extend(question.class.to_be_bytes());
        for record in self.answers.iter().chain(&self.authorities).chain(&self.additionals) {
            record.write(&mut out, Some(&question.name));
        }
        if let Some(opt) = opt {
            let cookie = opt.options.iter().filter(|(code, _)| *code == 10).cloned();
            Opt {
                size: 1224,
                rcode_high: (self.rcode >> 4) as u8,
                version: 0,
                flags: opt.flags & dns::DO,
                options: cookie.chain(self.options.clone()).collect(),
            }
            .write(&mut out);
        }
        for edit in &self.edits {
            edit(&mut out);
        }
        out
    }
}
