//! The server as its users meet it: the built binary, real sockets, a fake Azure DNS behind it.
//!
//! A test reads like a dig session: `server.ask("name TYPE").rcode("NOERROR").aa().answer("name 10 IN A 10.1.0.5")`.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests own sockets, files and a clock, and end where something is not as it must be"
)]

/// Who may ask.
mod access;
/// Answers from the table.
mod answers;
/// What Azure DNS was seen to do.
mod azure_oddities;
/// Cached answers and questions in flight.
mod cache;
/// CNAME chains in, out of and into the table.
mod chains;
/// `pldns check` as a user runs it.
mod check;
/// What all tests share.
mod common;
/// RFCs clause by clause.
mod conformance;
/// Private endpoints found in Azure.
mod discover;
/// EDNS towards clients.
mod edns;
/// `pldns explain` as a user runs it.
mod explain;
/// Rules, and what passes through.
mod forwarding;
/// Metadata to records, and records to answers.
mod generate;
/// Public answers behind private endpoints, and zones that shadow names.
mod guard;
/// Upstreams that want to do harm.
mod hostile;
/// The rules of the house.
mod house;
/// Questions that come back.
mod loops;
/// What is no query.
mod malformed;
/// Probes, pages, metrics, reloads, drain, logs, privileges.
mod operate;
/// Upstreams that fall silent, and come back.
mod outage;
/// What packages, editors and container health checks ask.
mod packaging;
/// Ports towards upstreams that are used again.
mod pool;
/// Each dependency with its reason.
mod reasons;
/// Documents against the program.
mod references;
/// SIGHUP.
mod reload;
/// Who is responsible for a name.
mod responsibility;
/// PTR of the table's addresses.
mod reverse;
/// hickory's client in place of ours.
mod second_client;
/// SIGTERM.
mod shutdown;
/// `localhost` and its like.
mod special_names;
/// Lies on the way from the upstream.
mod spoofing;
/// Upstreams over TCP, TLS and HTTPS.
mod streams;
/// TCP towards clients.
mod tcp;
/// How long, how often, and who next.
mod timeouts;
/// `pldns verify` as a pipeline runs it.
mod verify;
/// Records that only some clients see.
mod views;
/// RFC 4592 wildcards and partial wildcards.
mod wildcards;
