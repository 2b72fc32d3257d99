//! The records table.

#![deny(clippy::indexing_slicing)]

pub mod rdata;
