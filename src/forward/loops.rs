//! Loops through forwarders that drop our token: what is known of a question that comes back without it.
//!
//! A query for a question that was sent to an upstream comes from that upstream's address. That alone says little: the
//! upstream's machine may have this server for its own resolver. It is a loop
//!
//! - where the name has the letter case that was drawn at random for this very upstream, for forwarders keep it;
//! - else where it happens again, after the upstream was asked once more, as it is when it has not answered in time. The case
//!   of that attempt is drawn, whatever is known of the upstream.
//!
//! Such a query is refused, so that the other forwarder fails at once and this one with it; the question itself goes on,
//! for another upstream may have the answer. Flags do not matter: a forwarder has its own.

use std::net::IpAddr;

use super::letters::has_case;
use super::outstanding::{Attempt, OutstandingQuery};
use super::question::Question;
use super::questions::Questions;
use super::upstreams::Upstreams;

/// How many letters a name needs for its random case to be evidence.
const LETTERS_MIN: usize = 8;

/// Whether a question that `client` asks, which stands in `known` if it is outstanding, is one that came back. Notes what may
/// be evidence later.
pub(super) fn is_loop<W>(
    questions: &mut Questions<W>,
    upstreams: &Upstreams,
    question: &Question,
    client: IpAddr,
    known: Option<u32>,
) -> bool {
    if question.alike.is_empty() {
        return false;
    }
    let alike = question.alike.iter().filter_map(|key| questions.find(questions.hash(key), key));
    let slots: Vec<u32> = known.into_iter().chain(alike).collect();
    let is_to_client =
        |tried: &Attempt| upstreams.get(tried.upstream).is_some_and(|upstream| upstream.target.address.ip() == client);
    let mut is_loop = false;
    for slot in slots {
        let Some(query) = questions.get_mut(slot) else { continue };
        let mut to_client = query.attempts.iter().filter(|tried| is_to_client(tried));
        is_loop |= to_client.any(|tried| is_drawn(query, tried, &question.section));
        let round = query.attempts.iter_mut().skip(query.round_start);
        let mut round = round.filter(|tried| !tried.is_rest && is_to_client(tried)).rev();
        let Some(last) = round.next() else { continue };
        last.came_back = true;
        // Loopback is all of this machine: its other clients have the address of an upstream there.
        is_loop |= !client.is_loopback() && round.any(|tried| tried.came_back);
    }
    is_loop
}

/// Whether a question section has the letter case that was drawn for a try, which no client would have by itself.
fn is_drawn<W>(query: &OutstandingQuery<W>, tried: &Attempt, section: &[u8]) -> bool {
    let asked = &*query.question.section;
    let letters = || section.iter().filter(|byte| byte.is_ascii_alphabetic());
    tried.case.is_some()
        && has_case(section, asked, tried.case)
        && section != asked
        && letters().count() >= LETTERS_MIN
        && letters().any(u8::is_ascii_uppercase)
        && letters().any(u8::is_ascii_lowercase)
}
