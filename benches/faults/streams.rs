//! The connections of an upstream, by TCP or TLS, each on a thread.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rand::RngExt;
use tokio_rustls::rustls::{ServerConnection, StreamOwned};

use crate::fault::{Datagrams, Fate, Streams, Transport};
use crate::forge;
use crate::tls::Certificates;
use crate::upstream::{Right, Shared, lock};

/// Accepts until the upstream is dropped.
pub(crate) fn accept(shared: &Arc<Shared>, listener: &TcpListener, certificates: Option<Certificates>) {
    for stream in listener.incoming().flatten() {
        if shared.is_stopped() {
            return;
        }
        let is_within = shared.is_within();
        // The port is closed, as far as a listener on a thread can show that.
        if is_within && shared.fault.datagrams == Datagrams::Closed {
            continue;
        }
        shared.count_connection();
        let _ = stream.set_nodelay(true);
        if let Streams::ClosesIdle(ms) = shared.fault.streams {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(ms)));
        }
        let (shared, certificates) = (shared.clone(), certificates.clone());
        thread::spawn(move || serve(&shared, stream, certificates, is_within));
    }
}

fn serve(shared: &Shared, stream: TcpStream, certificates: Option<Certificates>, is_within: bool) {
    let Some(certificates) = certificates else {
        serve_stream(shared, stream, false);
        return;
    };
    let has_expired = is_within && shared.fault.transport == Transport::TlsExpired;
    let config = if has_expired { certificates.expired } else { certificates.valid };
    if let Ok(connection) = ServerConnection::new(config) {
        // A connection with a certificate that is valid ends when the time of the other one begins.
        let is_of_before = shared.fault.transport == Transport::TlsExpired && !is_within;
        serve_stream(shared, StreamOwned::new(connection, stream), is_of_before);
    }
}

/// Answers queries, one after another, until the connection ends.
fn serve_stream(shared: &Shared, mut stream: impl Read + Write, ends_within: bool) {
    let mut length = [0; 2];
    for number in 1.. {
        if stream.read_exact(&mut length).is_err() {
            return;
        }
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut query).is_err() || (ends_within && shared.is_within()) {
            return;
        }
        let Some(right) = Right::of(&query) else { return };
        let end = forge::question_end(&query);
        let fate = shared.decide(&query, &right, true);
        let Right { message: mut answer, slow, .. } = right;
        let is_within = shared.is_within();
        match fate {
            Fate::Lost => continue,
            Fate::LowerCase => answer = forge::lower_case(answer, end),
            Fate::Code(code) => {
                answer = forge::empty(&answer, end);
                answer[3] |= code;
            }
            Fate::Late(by) => thread::sleep(by),
            _ => thread::sleep(slow),
        }
        let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
        let (mut part, mut piece, mut is_last) = (&framed[..], framed.len(), false);
        match shared.fault.streams {
            _ if !is_within => {}
            Streams::Swallowed => continue,
            Streams::ClosesAt(count) if number % count == 0 => return,
            Streams::Cut(share) if lock(&shared.rng).random_bool(share) => {
                part = &framed[..framed.len() / 2];
                is_last = true;
            }
            Streams::Bytes => piece = 1,
            _ => {}
        }
        if part.chunks(piece).any(|piece| stream.write_all(piece).is_err()) || stream.flush().is_err() || is_last {
            return;
        }
    }
}
