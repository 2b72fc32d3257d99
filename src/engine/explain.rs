//! What would be answered, and why: a query that is played through. The engine sends nothing and changes nothing; where an
//! upstream is needed, the caller asks it and the walk goes on with what came back.

use std::sync::Arc;
use std::time::Instant;

use super::{
    Action, AnswerSource, Chain, Client, Engine, Forward, Observer, Reason, Snapshot, StaleAnswer, UpstreamResult,
    read_answer,
};
use crate::forward::{Failure, ForwardRule, Question};
use crate::wire::edns::opt_head;
use crate::wire::header::RD;
use crate::wire::query::CLASS_IN;
use crate::wire::{Header, Name, Rcode, Rtype, UpstreamMessage};

/// How far a query that is played through has come.
pub enum Explained {
    /// A reply is written.
    Replied {
        /// Where it comes from; the reason where it is refused.
        source: Result<AnswerSource, Reason>,
        /// The message.
        reply: Vec<u8>,
    },
    /// It ends without a reply.
    Dropped(Reason),
    /// Upstreams must be asked before it can go on.
    Asked(Box<Asked>),
}

/// A question for upstream, and the query that needs it.
pub struct Asked {
    /// The client's query.
    query: Vec<u8>,
    question: Box<Question>,
    chain: Option<Chain>,
    stale: Option<StaleAnswer>,
}

/// What came of a question.
#[derive(Debug, Clone, Copy)]
pub enum Reached<'a> {
    /// An upstream answered with this message.
    Message(&'a [u8]),
    /// No upstream answered: an expired answer is served where there is one that may be.
    Failed(Failure),
}

impl Asked {
    /// The name that is asked for.
    pub fn name(&self) -> Name {
        let section = &self.question.section;
        let wire = section.get(..section.len().saturating_sub(4));
        wire.and_then(Name::from_wire).unwrap_or_else(Name::root)
    }

    /// The rule that says who is asked.
    pub fn rule(&self) -> &Arc<ForwardRule> {
        &self.question.rule
    }

    /// What the cache and the memory of failures know the question by.
    pub fn key(&self) -> &[u8] {
        &self.question.key
    }

    /// Whether an expired answer could be served instead.
    pub fn has_stale(&self) -> bool {
        self.stale.is_some()
    }

    /// The query to send, with ID 0.
    pub fn message(&self) -> Vec<u8> {
        query_of(&self.question.section, self.question.dnssec_ok)
    }
}

impl Engine {
    /// Plays the query of `client` for `name` and `rtype` through: the code that answers a query runs, its steps are
    /// reported to `observer`, and nothing is sent and nothing changes.
    pub fn explain(
        &self,
        snapshot: &Snapshot,
        (name, rtype): (&Name, Rtype),
        client: Client,
        now: Instant,
        observer: &impl Observer,
    ) -> Explained {
        let mut reply = Vec::new();
        let query = query(name, rtype);
        let action = self.answer_observed(snapshot, &query, client, now, 0, &mut reply, observer);
        explained(action, query, reply)
    }

    /// Goes on with a query that needed an upstream, once that was asked. The cache is not changed.
    pub fn explain_further(
        &self,
        snapshot: &Snapshot,
        asked: Asked,
        reached: Reached<'_>,
        client: Client,
        now: Instant,
        observer: &impl Observer,
    ) -> Explained {
        let Asked { query, question, chain, stale } = asked;
        let mut reply = Vec::new();
        let heard = match reached {
            Reached::Message(message) => {
                let mut message = UpstreamMessage::read(message.to_vec());
                read_answer(snapshot, &question, &mut message, now).ok_or(Failure::Silence)
            }
            Reached::Failed(failure) => Err(failure),
        };
        let result = match (&heard, &stale) {
            (Ok(answer), _) => UpstreamResult::Answer(answer),
            (Err(_), Some(stale)) => UpstreamResult::Stale(&stale.answer),
            (Err(failure), None) => UpstreamResult::Failed(*failure, None),
        };
        let action = self.resolve_observed(snapshot, &query, client, chain, result, now, 0, &mut reply, observer);
        explained(action, query, reply)
    }
}

fn explained(action: Action, query: Vec<u8>, reply: Vec<u8>) -> Explained {
    match action {
        Action::Answered(source) | Action::AnsweredAndRefresh(source, _) => {
            Explained::Replied { source: Ok(source), reply }
        }
        Action::Refused(reason) => Explained::Replied { source: Err(reason), reply },
        Action::Dropped(reason) => Explained::Dropped(reason),
        Action::Forward(Forward { question, chain, stale }) => Explained::Asked(Box::new(Asked {
            query,
            question,
            chain: chain.map(|chain| *chain),
            stale: stale.map(|stale| *stale),
        })),
    }
}

/// A query as a client sends it that wants recursion and understands EDNS.
fn query(name: &Name, rtype: Rtype) -> Vec<u8> {
    let section = [name.as_wire(), &rtype.0.to_be_bytes(), &CLASS_IN.to_be_bytes()].concat();
    query_of(&section, false)
}

fn query_of(section: &[u8], dnssec_ok: bool) -> Vec<u8> {
    let header = Header { id: 0, flags: RD, qdcount: 1, ancount: 0, nscount: 0, arcount: 1 };
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend_from_slice(section);
    bytes.extend_from_slice(&opt_head(Rcode::NOERROR, dnssec_ok, 0));
    bytes
}
