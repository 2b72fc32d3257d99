//! Asking the upstreams of a rule, one after another.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SysRng;
use rand::{RngExt, TryRng};
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;

use super::{AskError, ask_tcp, ask_udp, is_truncated, with_id};
use crate::explain::{Attempt, Cause};
use crate::forward::{ForwardRule, Protocol, Target, TroubleKind};
use crate::upstream::{Streams, Trust, trouble_of};
use crate::wire::edns::OPT_LEN;
use crate::wire::{Edns, Header, Message, Rcode, Rtype};

/// How long a datagram is waited for before it is sent again, and after that.
const WAITS: [Duration; 2] = [Duration::from_millis(1500), Duration::from_millis(1500)];
/// The same for a query without EDNS, once those with it were not answered.
const PLAIN_WAIT: [Duration; 1] = [Duration::from_secs(1)];
/// How long an answer over TCP is waited for.
const STREAM_WAIT: Duration = Duration::from_secs(4);

/// Asks a rule's upstreams in turn until one answers: what came of each, and the message of the last if there is one.
/// `query` has EDNS without options, as [`super::query`] and the engine write it. Upstreams over TLS and HTTPS are asked over
/// a connection of their own, and their certificates are checked against `trust`. To be called in a `LocalSet`.
pub async fn ask_rule(rule: &ForwardRule, query: &[u8], trust: &Arc<Trust>) -> (Vec<Attempt>, Option<Vec<u8>>) {
    let mut attempts = Vec::new();
    let mut last = None;
    for target in &rule.upstreams {
        let (tried, message) = ask_target(target, query, trust).await;
        let is_useful = tried.cause.is_none() && matches!(tried.rcode.as_deref(), Some("NOERROR" | "NXDOMAIN"));
        attempts.push(tried);
        last = message;
        if is_useful {
            break;
        }
    }
    (attempts, last)
}

/// Asks one upstream as the server would: over UDP, and over TCP where the answer is truncated.
async fn ask_target(target: &Target, query: &[u8], trust: &Arc<Trust>) -> (Attempt, Option<Vec<u8>>) {
    let start = Instant::now();
    let server = target.address;
    let mut over = "udp";
    let mut cause = None;
    let outcome = match &target.protocol {
        Protocol::Datagram => match ask_udp(server, query, &WAITS).await {
            Ok(message) if is_truncated(&message) => {
                over = "tcp";
                let answered = ask_tcp(server, query, STREAM_WAIT).await;
                if answered.is_err() {
                    cause = Some(Cause::UpstreamTruncated);
                }
                answered
            }
            outcome => {
                let may_be_edns = match &outcome {
                    Ok(message) => rejects_edns(message),
                    Err(error) => matches!(error, AskError::Timeout),
                };
                let plain = if may_be_edns { ask_plain(server, query).await } else { None };
                if plain.is_some() {
                    cause = Some(Cause::UpstreamWithoutEdns);
                }
                plain.map_or(outcome, Ok)
            }
        },
        Protocol::Tcp => {
            over = "tcp";
            ask_tcp(server, query, STREAM_WAIT).await
        }
        Protocol::Tls { .. } | Protocol::Https { .. } => {
            over = if matches!(target.protocol, Protocol::Tls { .. }) { "tls" } else { "https" };
            let query = with_id(query, rand::rng().random());
            ask_encrypted(target.clone(), query, trust.clone()).await
        }
    };
    let milliseconds = start.elapsed().as_secs_f64() * 1000.0;
    let mut tried = Attempt {
        upstream: target.to_string(),
        over: over.to_owned(),
        milliseconds: (milliseconds * 1000.0).round() / 1000.0,
        rcode: None,
        edns: false,
        error: None,
        cause,
    };
    match outcome {
        Ok(message) => {
            tried.rcode = rcode_of(&message).map(|rcode| rcode.to_string());
            tried.edns = has_edns(&message);
            if tried.rcode.is_none() {
                tried.error = Some("the response is malformed".to_owned());
                tried.cause = Some(Cause::UpstreamFailed);
                return (tried, None);
            }
            (tried, Some(message))
        }
        Err(error) => {
            tried.error = Some(error.to_string());
            tried.cause = cause.or(Some(match error {
                AskError::Timeout => Cause::UpstreamTimeout,
                AskError::Unreachable(_) => Cause::UpstreamUnreachable,
                AskError::Certificate(_) => Cause::UpstreamCertificate,
            }));
            (tried, None)
        }
    }
}

/// Asks over TLS or HTTPS with the server's own client, over a connection that ends with the answer. That client works on one
/// thread alone, so it has a task of its own.
async fn ask_encrypted(target: Target, query: Vec<u8>, trust: Arc<Trust>) -> Result<Vec<u8>, AskError> {
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
    let (answer, answered) = oneshot::channel();
    spawn_local(async move {
        let ask = async { Streams::new(trust, seed).ask(&target, &query, 1, deadline()).await };
        // The connection is a task of this set, and ends with it.
        let _ = answer.send(LocalSet::new().run_until(ask).await);
    });
    let outcome = answered.await.map_err(|_| io::Error::other("asking failed"))?;
    outcome.map_err(|error| match (error.kind(), trouble_of(&error).kind) {
        (io::ErrorKind::TimedOut, _) => AskError::Timeout,
        (_, TroubleKind::Certificate) => AskError::Certificate(error),
        _ => AskError::Unreachable(error),
    })
}

#[expect(clippy::disallowed_methods, reason = "part of the shell, which owns the clock")]
fn deadline() -> std::time::Instant {
    std::time::Instant::now() + STREAM_WAIT
}

/// FORMERR or NOTIMP without an OPT record: what servers answer that do not know EDNS (RFC 6891 §7).
fn rejects_edns(message: &[u8]) -> bool {
    let rcode = Header::read(message).map(Header::rcode);
    matches!(rcode, Some(Rcode::FORMERR | Rcode::NOTIMP)) && !has_edns(message)
}

/// The response code, with the upper bits of the OPT record; `None` for a message that cannot be read to its end.
fn rcode_of(message: &[u8]) -> Option<Rcode> {
    let message = Message::parse(message)?;
    let opt = message.records.iter().find(|record| record.rtype == Rtype::OPT);
    let high = opt.map_or(0, |opt| Edns::from_fields(opt.class, opt.ttl).rcode_high);
    Some(Rcode(message.header.rcode().0 | u16::from(high) << 4))
}

fn has_edns(message: &[u8]) -> bool {
    Message::parse(message).is_some_and(|message| message.records.iter().any(|record| record.rtype == Rtype::OPT))
}

/// What the query is answered when its OPT record is left out; `None` where that does not help either.
async fn ask_plain(server: std::net::SocketAddr, query: &[u8]) -> Option<Vec<u8>> {
    let mut plain = query.to_vec();
    plain.truncate(query.len().saturating_sub(OPT_LEN));
    if let Some(place) = plain.get_mut(10..12) {
        place.copy_from_slice(&[0, 0]);
    }
    ask_udp(server, &plain, &PLAIN_WAIT).await.ok().filter(|message| !rejects_edns(message))
}
