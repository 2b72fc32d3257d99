//! The kernel: batches of datagrams, socket options, freed memory. The only room with `unsafe`, each block with its reason.
//!
//! It knows nothing of DNS. What std, tokio and socket2 offer is used from them; this room holds what they lack:
//! `recvmmsg` and `sendmmsg` with the address that a datagram was sent to, so that a reply leaves from there.

#![expect(
    unsafe_code,
    reason = "recvmmsg and sendmmsg with control messages, prefetches, signals to one thread and malloc_trim have no safe form in std, tokio or socket2"
)]

mod arrival;
mod batch;
mod control;
mod ephemeral;
mod fd_passing;
mod memory;
mod prefetch;
mod readable;
mod segmented_send;
mod send_queue;
mod sleeper;
mod socket;
mod user;

pub use arrival::{Arrived, receive_datagram};
pub use batch::{BATCH, Batch, Datagram, Datagrams};
pub use control::LocalAddress;
pub use ephemeral::{EPHEMERAL_PORTS, discard_received, disconnect, ephemeral_ports};
pub use fd_passing::{FdSocket, send_descriptors};
pub use memory::give_back_memory;
pub use prefetch::prefetch;
pub use readable::{readable, readable_socket};
pub use segmented_send::SegmentedSend;
pub use send_queue::{GATHER, Inbox, SendQueue};
pub use sleeper::{MaySleep, Sleeper};
pub use socket::{
    Bound, RECEIVE_BUFFER, adopt_datagram, bind_datagram, bind_stream, bind_stream_alone, has_family, open_connected,
};
pub use user::become_user;
