//! Bytes: names, queries, EDNS, messages, replies.
//!
//! Everything that comes from the network is parsed here, once, into borrowed views; everything that goes out is
//! written here. Nothing in this room knows what a record means, where bytes came from, or what time it is.
//!
//! RFC 1035 (messages), RFC 6891 (EDNS), RFC 8914 (extended errors), RFC 3597 (unknown types), RFC 9267 (what goes
//! wrong when parsing DNS).

#![deny(clippy::indexing_slicing)]
#![cfg_attr(not(test), deny(clippy::cast_possible_truncation))]

pub mod address;
pub mod answer;
pub mod compose;
pub mod compression;
pub mod edns;
pub mod header;
mod joined;
pub mod message;
pub mod name;
pub mod query;
pub mod reply;
pub mod rtype;
pub mod soundness;
mod transport;

pub use address::{is_private, is_private_address};
pub use answer::UpstreamMessage;
pub use compose::{AnswerFlags, OwnedRecord};
pub use edns::{Edns, ExtendedError};
pub use header::{Header, Rcode};
pub(crate) use joined::joined;
pub use message::{Message, RecordView, Section};
pub use name::{Name, NameError};
pub use query::{Fault, LowerName, NameBuf, Query, Refusal};
pub use rtype::Rtype;
pub use soundness::SoundMessage;
pub use transport::Transport;
