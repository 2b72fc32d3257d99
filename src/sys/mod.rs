//! The kernel: batches of datagrams, socket options, freed memory. The only room with `unsafe`, each block with its reason.
//!
//! It knows nothing of DNS. What std, tokio and socket2 offer is used from them; this room holds what they lack:
//! `recvmmsg` and `sendmmsg` with the address that a datagram was sent to, so that a reply leaves from there.

#![expect(
    unsafe_code,
    reason = "recvmmsg and sendmmsg with control messages, prefetches and malloc_trim have no safe form in std, tokio or socket2"
)]

mod arrival;
mod batch;
mod control;
mod ephemeral;
mod fetch;
mod gather;
mod memory;
mod pass;
mod readable;
mod socket;
mod user;
mod volley;

pub use arrival::{Arrived, receive_datagram};
pub use batch::{BATCH, Batch, Datagram, Datagrams};
pub use control::LocalAddress;
pub use ephemeral::{EPHEMERAL_PORTS, discard_received, disconnect, ephemeral_ports};
pub use fetch::fetch;
pub use gather::{GATHER, Gathered, Inbox};
pub use memory::give_back_memory;
pub use pass::{PassSocket, send_descriptors};
pub use readable::{readable, readable_socket};
pub use socket::{
    Bound, RECEIVE_BUFFER, adopt_datagram, bind_datagram, bind_stream, bind_stream_alone, has_family, open_connected,
};
pub use user::become_user;
pub use volley::Volley;
