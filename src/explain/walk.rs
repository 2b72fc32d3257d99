//! One query played through, with stops where upstreams must be asked.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use super::case::{Case, Question, Seen, Surroundings};
use super::explanation::{Ask, Attempt, Explanation, Link, Outcome, Reply, ShownRecord, Step, UpstreamStep};
use super::judge::judge;
use super::notes::Notes;
use super::{AzureNames, is_privatelink};
use crate::engine::{AnswerSource, Asked, Client, Engine, Explained, Reached, Snapshot};
use crate::forward::{Failure, ForwardRule};
use crate::rdata::present;
use crate::records::Lookup;
use crate::wire::header::{AA, TC};
use crate::wire::{Message, Name, OwnedRecord, Rcode, Section, Transport};

/// Questions to upstreams that one explanation may need.
const QUESTIONS_MAX: usize = 32;

/// A query on its way through the engine.
pub struct Walk<'w> {
    engine: &'w Engine,
    azure: AzureNames,
    question: Question,
    notes: Notes<'w>,
    /// Taken while the engine goes on.
    state: Option<Explained>,
    /// Why upstreams did not answer, where they did not.
    failure: Option<Failure>,
    attempts: Vec<Attempt>,
    questions: usize,
    is_remembered: bool,
    surroundings: Surroundings,
}

impl<'w> Walk<'w> {
    /// Plays the query until an upstream is needed.
    pub fn begin(
        (engine, snapshot): (&'w Engine, &'w Snapshot),
        azure: AzureNames,
        question: Question,
        surroundings: Surroundings,
        now: Instant,
    ) -> Self {
        let (rtype, client) = (question.rtype, question.client);
        let upstreams = surroundings.upstreams.clone();
        let notes = Notes { snapshot, rtype, client, now, upstreams, steps: RefCell::default() };
        let mut walk = Self {
            engine,
            azure,
            question,
            notes,
            state: None,
            failure: None,
            attempts: Vec::new(),
            questions: 0,
            is_remembered: false,
            surroundings,
        };
        let asked = (&walk.question.name, rtype);
        walk.state = Some(engine.explain(snapshot, asked, walk.client(), now, &walk.notes));
        walk
    }

    fn client(&self) -> Client {
        Client { address: self.question.client, transport: Transport::Tcp }
    }

    /// The question that upstreams must be asked next: rule, query with ID 0, and the key of the memory of failures.
    /// `None` when the query has come to its end.
    pub fn next(&self) -> Option<(Arc<ForwardRule>, Vec<u8>, &[u8])> {
        match &self.state {
            Some(Explained::Asked(asked)) if self.questions < QUESTIONS_MAX => {
                Some((asked.rule().clone(), asked.message(), asked.key()))
            }
            _ => None,
        }
    }

    /// Goes on with what upstreams answered: all that were tried, and the message of the one that answered.
    pub fn take_response(&mut self, attempts: Vec<Attempt>, message: Option<&[u8]>, now: Instant) {
        let Some(asked) = self.take_asked() else { return };
        let name = asked.name().to_string();
        let count = attempts.len();
        for (number, tried) in attempts.iter().cloned().enumerate() {
            let reply = message.filter(|_| number + 1 == count).and_then(shown_reply);
            let lines = |records: &[ShownRecord]| records.iter().map(ShownRecord::line).collect();
            let step = UpstreamStep {
                name: name.clone(),
                tried,
                answer: reply.as_ref().map(|reply| lines(&reply.answer)).unwrap_or_default(),
                authority: reply.as_ref().map(|reply| lines(&reply.authority)).unwrap_or_default(),
            };
            self.notes.push(Step::Upstream(step));
        }
        self.attempts = attempts;
        let reached = message.map_or(Reached::Failed(Failure::Silence), Reached::Message);
        self.go_on(asked, reached, now);
    }

    /// Goes on with a failure that the server remembers: the question is not sent again yet.
    pub fn recall(&mut self, answer: Option<&[u8]>, now: Instant) {
        let Some(asked) = self.take_asked() else { return };
        self.is_remembered = true;
        let reached = answer.map_or(Reached::Failed(Failure::Remembered), Reached::Message);
        self.go_on(asked, reached, now);
    }

    fn take_asked(&mut self) -> Option<Asked> {
        match self.state.take() {
            Some(Explained::Asked(asked)) => Some(*asked),
            other => {
                self.state = other;
                None
            }
        }
    }

    fn go_on(&mut self, asked: Asked, reached: Reached<'_>, now: Instant) {
        self.questions += 1;
        if let Reached::Failed(failure) = reached {
            self.failure = Some(failure);
        }
        let (snapshot, client) = (self.notes.snapshot, self.client());
        self.state = Some(self.engine.explain_further(snapshot, asked, reached, client, now, &self.notes));
    }

    /// The explanation.
    pub fn finish(self) -> Explanation {
        let Question { name, rtype, client } = &self.question;
        let (mut source, mut refusal, mut reply, mut ask) = (None, None, None, None);
        let outcome = match &self.state {
            Some(Explained::Replied { source: Ok(known), reply: bytes }) => {
                source = Some(*known);
                reply = shown_reply(bytes);
                Outcome::Answered
            }
            Some(Explained::Replied { source: Err(reason), reply: bytes }) => {
                refusal = Some(*reason);
                reply = shown_reply(bytes);
                Outcome::Refused
            }
            Some(Explained::Dropped(reason)) => {
                refusal = Some(*reason);
                Outcome::Dropped
            }
            Some(Explained::Asked(asked)) => {
                let upstreams = self.notes.upstreams_of(asked.rule());
                ask = Some(Ask { name: asked.name().to_string(), upstreams });
                Outcome::Forwarded
            }
            None => Outcome::Dropped,
        };
        let names = chain_of(name, reply.as_ref());
        self.note_privatelink(&names);
        if let Some(seen) = self.surroundings.seen.filter(|_| outcome == Outcome::Answered) {
            let (Seen::Never { minutes } | Seen::Ago { minutes }) = seen;
            self.notes.push(Step::Client { seen: matches!(seen, Seen::Ago { .. }), minutes });
        }
        let steps = self.notes.steps.take();
        let case = Case {
            snapshot: self.notes.snapshot,
            azure: self.azure,
            question: &self.question,
            steps: &steps,
            names: &names,
            outcome,
            source,
            refusal,
            reply: reply.as_ref(),
            ask: ask.as_ref(),
            failure: self.failure,
            attempts: &self.attempts,
            is_remembered: self.is_remembered,
            around: &self.surroundings,
        };
        let finding = judge(&case);
        let answer = reply.iter().flat_map(|reply| &reply.answer);
        Explanation {
            name: name.to_string(),
            rtype: rtype.to_string(),
            client: client.to_string(),
            verdict: finding.verdict,
            cause: finding.cause,
            reason: finding.reason,
            fix: finding.fix,
            answer: answer.map(ShownRecord::line).collect(),
            chain: links(&names, &steps),
            outcome,
            source: source.map(|source: AnswerSource| source.name().to_owned()),
            refusal: refusal.map(|reason| reason.name().to_owned()),
            reply,
            ask,
            reload: self.surroundings.reload,
            generation: self.notes.snapshot.generation,
            steps,
            compare: Vec::new(),
        }
    }

    /// Notes the privatelink names of the chain that the table lacks.
    fn note_privatelink(&self, names: &[Name]) {
        for name in names.iter().filter(|name| is_privatelink(name)) {
            let lower = name.to_lowercase();
            let found = self.notes.snapshot.table.lookup(lower.as_wire(), self.question.rtype, self.question.client);
            if matches!(found, Lookup::Missing) {
                self.notes.push(Step::Privatelink { name: name.to_string() });
            }
        }
    }
}

/// The name and the targets of the answer's CNAMEs from it on.
fn chain_of(name: &Name, reply: Option<&Reply>) -> Vec<Name> {
    let mut names = vec![name.clone()];
    let records = reply.map_or(&[][..], |reply| &reply.answer);
    let target_of = |name: &Name| {
        let is_alias =
            |record: &&ShownRecord| record.rtype == "CNAME" && Name::parse(&record.name).as_ref() == Ok(name);
        records.iter().find(is_alias).and_then(|record| Name::parse(&record.data).ok())
    };
    while let Some(next) = names.last().and_then(target_of) {
        if names.contains(&next) {
            break;
        }
        names.push(next);
    }
    names
}

/// The CNAMEs with who answered each: what was last found for a name at or before it.
fn links(names: &[Name], steps: &[Step]) -> Vec<Link> {
    let mut by = String::new();
    let mut links = Vec::new();
    for pair in names.windows(2) {
        let [name, target] = pair else { continue };
        let is_of = |text: &String| Name::parse(text).as_ref() == Ok(name);
        for step in steps {
            match step {
                Step::Table(table) if is_of(&table.name) && table.found == "alias" => {
                    by = match (&table.file, table.line) {
                        (Some(file), Some(line)) => format!("{file}:{line}"),
                        _ => "records table".to_owned(),
                    };
                }
                Step::Rule(rule) if is_of(&rule.name) => {
                    let upstreams: Vec<_> = rule.upstreams.iter().map(|upstream| upstream.upstream.as_str()).collect();
                    by = format!("rule {} ({})", rule.zone.as_deref().unwrap_or("."), upstreams.join(", "));
                }
                _ => {}
            }
        }
        links.push(Link { name: name.to_string(), target: target.to_string(), by: by.clone() });
    }
    links
}

/// A message in presentation format.
fn shown_reply(bytes: &[u8]) -> Option<Reply> {
    let message = Message::parse(bytes)?;
    let section = |section| -> Vec<ShownRecord> {
        let records = message.section(section).filter_map(|record| OwnedRecord::from_view(&message, record));
        let shown = records.map(|record| ShownRecord {
            name: record.owner.to_string(),
            rtype: record.rtype.to_string(),
            ttl: record.ttl,
            data: present(record.rtype, &record.data),
        });
        shown.collect()
    };
    let rcode: Rcode = message.header.rcode();
    Some(Reply {
        rcode: rcode.to_string(),
        authoritative: message.header.flags & AA != 0,
        truncated: message.header.flags & TC != 0,
        answer: section(Section::Answer),
        authority: section(Section::Authority),
    })
}
