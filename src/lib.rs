//! # pldns
//!
//! The DNS server that an Azure virtual network is pointed at when its private endpoints must resolve. It answers
//! private-endpoint names from a records table, forwards everything else by rule to Azure DNS (168.63.129.16), and
//! derives the table from workspace metadata.
//!
//! ## The way of a query
//!
//! ```text
//! server::udp, server::stream ─> engine ─> wire (parse) ─> access ─> records ─> cache ─> wire (reply)
//!                                                                                  │ not known here
//!                                                  forward (decides) ─> upstream (carries out) ─> cache ─> reply
//! ```
//!
//! ## Rooms
//!
//! The core (`wire`, `rdata`, `records`, `cache`, `forward`, `engine`) has no sockets and no clock: it takes bytes,
//! addresses and an instant, and gives bytes or a decision. The shell (`sys`, `server`, `upstream`) talks to the kernel and
//! decides nothing. `azure` and `generate` turn metadata into records files and know nothing of the server.
//! `ARCHITECTURE.md` has the whole map.

pub mod admin;
pub mod azure;
pub mod cache;
pub mod cli;
pub mod client;
pub mod config;
pub mod control;
pub mod discover;
pub mod document;
pub mod engine;
pub mod explain;
pub mod files;
pub mod forward;
#[doc(hidden)]
pub mod fuzz;
pub mod generate;
pub mod log;
pub mod rdata;
pub mod records;
pub mod reload;
pub mod server;
pub mod sys;
pub mod upstream;
pub mod verify;
pub mod wire;
