//! Answers that came in fragments: later fragments bear neither port nor ID, so TCP decides.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use super::namespace;
use super::server::{RECORDS, Scratch, Server, ask, settings};

/// The loopback interface's: a datagram with 55 addresses comes in two fragments, one with 20 in one piece.
const PREPARE: &str = "ip link set lo mtu 600";

/// What the upstream says by datagram, and by TCP.
const BY_DATAGRAM: [u8; 4] = [203, 0, 113, 66];
const BY_TCP: [u8; 4] = [192, 0, 2, 1];

#[test]
fn an_answer_in_fragments_is_asked_for_by_tcp() {
    if let Some(place) = namespace::place() {
        return inside(place);
    }
    let dir = Scratch::new();
    namespace::run("operate::fragments::an_answer_in_fragments_is_asked_for_by_tcp", &dir, PREPARE, |_| {});
}

fn inside(place: PathBuf) {
    let dir = Scratch::at(place);
    std::fs::create_dir_all(dir.path().join("records")).unwrap();
    dir.write("records/r.toml", RECORDS);
    let forward = format!("[[forward]]\nzone = \".\"\nupstreams = [\"{}\"]\n", upstream());
    dir.write("pldns.toml", &settings(&forward));
    let server = Server::start_in(Arc::new(dir), |_| {});
    for _ in 0..2 {
        assert_eq!(ask(server.dns, "whole.example"), Some(BY_DATAGRAM));
        assert_eq!(ask(server.dns, "fragments.example"), Some(BY_TCP));
    }
    server.stop();
}

/// An upstream whose datagrams for fragments.example do not go through the interface in one piece.
fn upstream() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        let mut query = [0; 1500];
        loop {
            let (len, from) = socket.recv_from(&mut query).unwrap();
            let is_long = query[..len].to_ascii_lowercase().windows(9).any(|part| part == b"fragments");
            let reply = answer(&query[..len], BY_DATAGRAM, if is_long { 55 } else { 20 });
            assert!(is_long == (reply.len() > 600) && reply.len() <= 1232);
            socket.send_to(&reply, from).unwrap();
        }
    });
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut len = [0; 2];
                while stream.read_exact(&mut len).is_ok() {
                    let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
                    stream.read_exact(&mut query).unwrap();
                    let reply = answer(&query, BY_TCP, 1);
                    let len = u16::try_from(reply.len()).unwrap().to_be_bytes();
                    stream.write_all(&[&len[..], &reply].concat()).unwrap();
                }
            });
        }
    });
    address
}

/// An answer with the same address as often as said.
fn answer(query: &[u8], address: [u8; 4], count: u8) -> Vec<u8> {
    let question_end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let mut reply = query[..question_end].to_vec();
    reply[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0]);
    for _ in 0..count {
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        reply.extend(address);
    }
    reply
}
