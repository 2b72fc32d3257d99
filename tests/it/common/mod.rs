//! What all tests share: the server as a child process, a fake Azure DNS, questions that read like dig, the cast.

pub(crate) mod ask;
pub(crate) mod cast;
pub(crate) mod command;
pub(crate) mod dns;
pub(crate) mod fake;
pub(crate) mod hickory;
pub(crate) mod http;
mod pldns;
mod scratch;
mod server;
mod socket;

pub(crate) use ask::Query;
pub(crate) use command::{Ran, run};
pub(crate) use fake::{Answer, FakeAzureDns, Play, Script, Transport};
pub(crate) use pldns::{Pldns, Setup};
pub(crate) use scratch::Scratch;
pub(crate) use server::Server;

use std::time::Duration;

/// How long anything may take that is waited for: a busy machine adds to what it takes by itself.
pub(crate) const SOON: Duration = Duration::from_secs(20);
