//! Datagrams of a pool, over real sockets.

use std::net::UdpSocket;
use std::time::Duration;

use mio::{Events, Poll};

use super::*;
use crate::forward::{Ports, Protocol, Via, test_try};

/// A worker's sockets, their poll, and an upstream.
struct Desk {
    sockets: Arc<DatagramSockets>,
    sender: Sender,
    reader: Reader,
    poll: Poll,
    upstream: UdpSocket,
    now: Instant,
}

impl Desk {
    fn new() -> Self {
        let (poll, upstream) = (Poll::new().unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        upstream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let sockets = Arc::new(DatagramSockets::new(poll.registry().try_clone().unwrap()));
        let (sender, reader) = (Sender::new(sockets.clone(), [7; 32], Arc::default()), Reader::new(sockets.clone()));
        Self { sockets, sender, reader, poll, upstream, now: Instant::now() }
    }

    /// Sends a query from a pool; the socket that it left from, and its address.
    fn send(&mut self, slot: u32, message: &[u8]) -> (Arc<PooledSocket>, SocketAddr) {
        let transmit = Transmit {
            id: test_try(slot),
            to: self.upstream.local_addr().unwrap(),
            protocol: Protocol::Datagram,
            via: Via::Datagram,
            ports: Ports::Pool,
            message: message.into(),
            losses_max: 0,
            deadline: self.now + Duration::from_secs(4),
        };
        self.sender.send_pooled(&[transmit], self.now, |_, error| panic!("{error}"));
        let from = self.upstream.recv_from(&mut [0; 64]).unwrap().1;
        let opened = self.sockets.pooled.lock();
        let mut sockets = opened.iter().cloned();
        (sockets.find(|pooled| pooled.socket.local_addr().unwrap().port() == from.port()).unwrap(), from)
    }

    /// Reads until so much has come.
    fn read(&mut self, count: usize) -> Vec<Received> {
        let (mut events, mut received) = (Events::with_capacity(8), Vec::new());
        let end = Instant::now() + Duration::from_secs(20);
        while received.len() < count {
            assert!(Instant::now() < end, "{received:?}");
            if !self.reader.has_ready() {
                self.poll.poll(&mut events, Some(Duration::from_millis(100))).unwrap();
                events.iter().for_each(|event| _ = self.reader.note_ready(event.token()));
            }
            self.reader.read(&mut received, &mut Spares::new(1));
        }
        received
    }

    /// The query that is answered next; it is over then.
    fn receive(&mut self) -> Vec<AttemptId> {
        let received = self.read(1);
        received.iter().for_each(|received| self.reader.close(received.source()));
        received.iter().map(|received| received.id).collect()
    }
}

#[test]
fn what_an_answer_leaves_behind_it_does_not_keep_the_next_from_being_heard() {
    let mut desk = Desk::new();
    let (socket, from) = desk.send(1, &[1, 1, 0]);
    for _ in 0..3 {
        desk.upstream.send_to(&[1, 1, 0x80], from).unwrap();
    }
    assert_eq!(desk.receive(), [test_try(1)]);
    assert!(!desk.reader.has_ready(), "no look for what else there is");
    // Another query leaves from the same port.
    assert!(socket.ids().open(0x0202, test_try(2), desk.now + Duration::from_secs(4)));
    socket.socket.send(&[2, 2, 0]).unwrap();
    assert_eq!(desk.upstream.recv_from(&mut [0; 64]).unwrap().1, from);
    desk.upstream.send_to(&[2, 2, 0x80], from).unwrap();
    assert_eq!(desk.receive(), [test_try(2)]);
}

#[test]
fn a_guess_before_the_answer_is_told_and_the_answer_is_heard() {
    let mut desk = Desk::new();
    let (_, from) = desk.send(1, &[1, 1, 0]);
    desk.upstream.send_to(&[9, 9, 0x80], from).unwrap();
    desk.upstream.send_to(&[1, 1, 0x80], from).unwrap();
    let outcomes = desk.read(2);
    let is_guess = |received: &Received| matches!(received.outcome, Ok(Arrival::WrongId));
    let is_answer = |received: &Received| matches!(received.outcome, Ok(Arrival::Message(_)));
    assert!(is_guess(&outcomes[0]) && is_answer(&outcomes[1]), "{outcomes:?}");
}
