//! The kernel: batches of datagrams, socket options. The only room with `unsafe`, each block with its reason.
//!
//! It knows nothing of DNS. What std, tokio and socket2 offer is used from them; this room holds what they lack:
//! `recvmmsg` and `sendmmsg` with the address that a datagram was sent to, so that a reply leaves from there.

#![expect(
    unsafe_code,
    reason = "recvmmsg, sendmmsg and sendmsg with control messages have no safe form in std, tokio or socket2"
)]

mod batch;
mod control;
mod heap;
mod pass;
mod readable;
mod socket;
mod user;

pub use batch::{BATCH, Batch, Datagram};
pub use control::{LocalAddress, send_datagram};
pub use heap::give_back;
pub use pass::{PassSocket, send_descriptors};
pub use readable::readable;
pub use socket::{Bound, RECEIVE_BUFFER, adopt_datagram, bind_datagram, bind_stream, bind_stream_alone, connect_fresh};
pub use user::become_user;
