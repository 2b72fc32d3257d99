//! What would be answered, and why: a query that is played through and never sent.

use std::sync::Arc;
use std::time::Instant;

use super::{Action, AnswerSource, Client, Engine, Forward, Observer, Reason, Snapshot};
use crate::forward::ForwardRule;
use crate::wire::edns::opt_head;
use crate::wire::header::RD;
use crate::wire::query::CLASS_IN;
use crate::wire::{Header, Name, Rcode, Rtype};

/// How a query that is played through ends.
pub enum Explained {
    /// With this reply.
    Replied {
        /// Where it comes from; the reason where it is refused.
        source: Result<AnswerSource, Reason>,
        /// The message.
        reply: Vec<u8>,
    },
    /// Without a reply.
    Dropped(Reason),
    /// At a question that upstreams would be asked.
    Asked {
        /// The name asked for.
        name: Name,
        /// By which rule.
        rule: Arc<ForwardRule>,
    },
}

impl Engine {
    /// Plays the query of `client` for `name` and `rtype` through: the code that answers a query runs, its steps are told
    /// to `observer`, and nothing is sent and nothing changes.
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
        match action {
            Action::Answered(source) | Action::AnsweredAndRefresh(source, _) => {
                Explained::Replied { source: Ok(source), reply }
            }
            Action::Refused(reason) => Explained::Replied { source: Err(reason), reply },
            Action::Dropped(reason) => Explained::Dropped(reason),
            Action::Forward(Forward { question, .. }) => {
                let wire = question.section.get(..question.section.len().saturating_sub(4));
                let name = wire.and_then(Name::from_wire).unwrap_or_else(Name::root);
                Explained::Asked { name, rule: question.rule }
            }
        }
    }
}

/// A query as a client sends it that wants recursion and understands EDNS.
fn query(name: &Name, rtype: Rtype) -> Vec<u8> {
    let header = Header { id: 0, flags: RD, qdcount: 1, ancount: 0, nscount: 0, arcount: 1 };
    let mut octets = header.to_bytes().to_vec();
    octets.extend_from_slice(name.as_wire());
    octets.extend_from_slice(&rtype.0.to_be_bytes());
    octets.extend_from_slice(&CLASS_IN.to_be_bytes());
    octets.extend_from_slice(&opt_head(Rcode::NOERROR, false, 0));
    octets
}
