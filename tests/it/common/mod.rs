//! What all tests share: the server as a child process, a fake Azure DNS, questions that read like dig, the cast.

pub(crate) mod ask;
pub(crate) mod cast;
pub(crate) mod dns;
pub(crate) mod fake;
pub(crate) mod hickory;
pub(crate) mod pldns;
mod socket;

pub(crate) use ask::Query;
pub(crate) use fake::{Answer, FakeAzureDns, Play, Script, Transport};
pub(crate) use pldns::{Pldns, Scratch, Setup};
