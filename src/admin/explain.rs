//! `/explain`: how a name is answered, as JSON, or as text for clients that do not ask for JSON.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Admin;
use super::refusal::refuse;
use crate::client::ask_rule;
use crate::discover::DriftKind;
use crate::explain::{Explanation, Question, RejectedReload, Seen, Surroundings, Unapproved, Walk};
use crate::wire::{Name, NameError, Rtype};

/// The client where none is named: this machine.
pub(super) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What is to be explained.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// In presentation form.
    name: String,
    /// A mnemonic or `TYPE123`; A where it is missing.
    #[serde(rename = "type")]
    rtype: Option<String>,
    /// The client's address.
    client: Option<String>,
    /// Whether upstreams are asked where neither table nor cache answers.
    #[serde(default)]
    ask: bool,
}

/// A parameter that is missing, unknown or malformed.
#[derive(Debug, thiserror::Error)]
enum Malformed {
    #[error("{0}")]
    Parameters(String),
    #[error("name: {0}")]
    Name(#[from] NameError),
    #[error("type: must be a type's name, or TYPE and a number")]
    Rtype,
    #[error("client: {0}")]
    Client(#[from] std::net::AddrParseError),
}

/// What would be answered, and why. Nothing changes; upstreams are asked only with `ask=true`.
pub(super) async fn explain(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let asked = asked.map_err(|rejection| Malformed::Parameters(rejection.body_text()));
    let read = asked.and_then(|Query(asked)| Ok((asked.read()?, asked.ask)));
    match read {
        Ok((question, ask)) => {
            let explanation = explanation(&admin, question, ask).await;
            if wants_json(&headers) {
                Json(explanation).into_response()
            } else {
                ([(CONTENT_TYPE, "text/plain; charset=utf-8")], explanation.to_string()).into_response()
            }
        }
        Err(problem) => refuse(StatusCode::BAD_REQUEST, &problem.to_string()),
    }
}

/// A client that takes anything, as curl does, gets JSON, as it always did; one that prefers text gets text.
fn wants_json(headers: &HeaderMap) -> bool {
    let accepts = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
    accepts.contains("json") || !accepts.contains("text/")
}

impl Asked {
    fn read(&self) -> Result<Question, Malformed> {
        let name = Name::parse(&self.name)?;
        let rtype = match &self.rtype {
            None => Rtype::A,
            Some(text) => Rtype::parse(text).ok_or(Malformed::Rtype)?,
        };
        let client = match &self.client {
            None => CLIENT,
            Some(text) => text.parse::<IpAddr>()?.to_canonical(),
        };
        Ok(Question { name, rtype, client })
    }
}

async fn explanation(admin: &Admin, question: Question, ask: bool) -> Explanation {
    let snapshot = admin.shared.snapshot.load_full();
    let around = surroundings(admin, question.client);
    let mut walk = Walk::begin((&admin.shared.engine, &snapshot), admin.azure, question, around, Instant::now());
    while let Some((rule, query, key)) = walk.next().filter(|_| ask) {
        let now = Instant::now();
        let remembered = admin.shared.forwarding().remembered_failure(now, key);
        match remembered {
            Some(answer) => walk.recall(answer.as_deref(), now),
            None => {
                let (attempts, message) = ask_rule(&rule, &query, &admin.shared.trust).await;
                walk.take_response(attempts, message.as_deref(), Instant::now());
            }
        }
    }
    walk.finish()
}

/// What can be said without asking anything.
pub(super) fn explanation_at_hand(admin: &Admin, question: Question) -> Explanation {
    let snapshot = admin.shared.snapshot.load_full();
    let around = surroundings(admin, question.client);
    Walk::begin((&admin.shared.engine, &snapshot), admin.azure, question, around, Instant::now()).finish()
}

/// What this server knows beside settings and records.
fn surroundings(admin: &Admin, client: IpAddr) -> Surroundings {
    let last = admin.status.reloads().last;
    let rejected = RejectedReload {
        problem: last.problems.first().cloned().unwrap_or_default(),
        problem_count: last.problem_count,
    };
    let unapproved = admin.discover.drift_of(DriftKind::PendingConnection).into_iter().map(|drift| Unapproved {
        names: drift.names.iter().filter_map(|name| Name::parse(name).ok()).collect(),
        endpoint: drift.subject,
        state: drift.reason,
    });
    Surroundings {
        upstreams: admin.shared.forwarding().upstream_states().collect(),
        reload: (!last.accepted).then_some(rejected),
        unapproved: unapproved.collect(),
        seen: (!client.is_loopback()).then(|| seen(admin, client)),
    }
}

/// When a query of this client last came, to any worker.
fn seen(admin: &Admin, client: IpAddr) -> Seen {
    let ages = admin.counters.iter().filter_map(|counters| counters.clients.age(client));
    match ages.min() {
        Some(minutes) => Seen::Ago { minutes },
        None => Seen::Never { minutes: admin.status.started.elapsed().as_secs() / 60 },
    }
}
