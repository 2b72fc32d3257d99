//! `/records`: the table page by page, and searched part by part, so that no request costs more than its part.

use std::fmt::Write;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::guard::Parameters;
use super::{Admin, PAGE_BYTES};
use crate::rdata::present;
use crate::records::{Rrset, Table};
use crate::wire::Name;
use crate::wire::name::Presented;

/// Record sets of one page.
const PAGE_MAX: usize = 1000;
/// Record sets that one request searches.
const SEARCHED_MAX: usize = 4000;

/// Which records to show.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// How many record sets to pass over.
    #[serde(default)]
    offset: usize,
    /// How many to show.
    limit: Option<usize>,
    /// A part of the name or the data, in any case of letters.
    #[serde(default)]
    search: String,
}

/// The records table, page by page; with `search` those that fit among the next of its sets. `next` is where to go on.
pub(super) async fn records(State(admin): State<Arc<Admin>>, Parameters(page): Parameters<Page>) -> Response {
    let snapshot = admin.shared.snapshot.load_full();
    let table = &snapshot.table;
    let limit = page.limit.unwrap_or(PAGE_MAX).min(PAGE_MAX);
    let search = Search::new(&page.search);
    let (mut sets, mut bytes, mut offset, mut next) = (Vec::new(), 0, page.offset, None);
    let exact = search.exact(table).filter(|_| page.offset == 0);
    for set in exact.iter().flat_map(|name| table.rrsets(name.as_wire())) {
        push(table, exact.as_ref().map_or(&[], Name::as_wire), set, &mut sets, &mut bytes);
    }
    for (owner, set) in table.iter_from(page.offset) {
        let is_searched = search.is_on() && offset - page.offset >= SEARCHED_MAX;
        if sets.len() >= limit || is_searched || (bytes > PAGE_BYTES && !sets.is_empty()) {
            next = Some(offset);
            break;
        }
        offset += 1;
        if search.fits(owner, set) {
            push(table, owner, set, &mut sets, &mut bytes);
        }
    }
    let stats = table.stats();
    Json(json!({
        "generation": snapshot.generation,
        "names": stats.names,
        "records": stats.records,
        "record_sets": stats.sets,
        "offset": page.offset,
        "next": next,
        "sets": sets,
    }))
    .into_response()
}

/// What is searched for.
struct Search {
    /// Lower case; "" for all.
    text: String,
    /// The whole name, where the text is one: found at once, and shown first.
    name: Option<Name>,
}

impl Search {
    fn new(text: &str) -> Self {
        let text = text.trim().trim_end_matches('.').to_ascii_lowercase();
        let name = Name::parse(&text).ok().filter(|_| !text.is_empty()).map(|name| name.to_lowercase());
        Self { text, name }
    }

    fn is_on(&self) -> bool {
        !self.text.is_empty()
    }

    /// The name, where the table has it.
    fn exact(&self, table: &Table) -> Option<Name> {
        self.name.clone().filter(|name| table.rrsets(name.as_wire()).next().is_some())
    }

    fn fits(&self, owner: &[u8], set: Rrset<'_>) -> bool {
        if !self.is_on() {
            return true;
        }
        if self.name.as_ref().is_some_and(|name| name.as_wire() == owner) {
            return false;
        }
        let mut name = String::new();
        // Writing to a String does not fail.
        let _ = write!(name, "{}", Presented(owner));
        let has = |text: &str| text.to_ascii_lowercase().contains(&self.text);
        has(&name) || set.iter().any(|(_, data)| has(&present(set.rtype, data)))
    }
}

/// Adds a record set with its place and the clients that see it; `bytes` is about what all of them take.
fn push(table: &Table, owner: &[u8], set: Rrset<'_>, sets: &mut Vec<Value>, bytes: &mut usize) {
    let data: Vec<_> = set.iter().map(|(_, data)| present(set.rtype, data)).collect();
    let clients: Vec<_> = table.views().clients(set.view).iter().map(ToString::to_string).collect();
    let place = table.place(owner, set.rtype, set.view);
    let file = place.map(|place| place.file.to_owned());
    let texts = data.iter().chain(&clients).chain(&file);
    *bytes += owner.len() + texts.map(|text| text.len() + 3).sum::<usize>() + 96;
    sets.push(json!({
        "name": Name::from_wire(owner).map(|name| name.to_string()),
        "type": set.rtype.to_string(),
        "ttl": set.iter().next().map(|(ttl, _)| ttl),
        "data": data,
        "clients": clients,
        "file": file,
        "line": place.map(|place| place.line),
    }));
}
