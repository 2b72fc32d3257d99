//! Queries to upstreams: any thread of a worker sends them.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use smallvec::SmallVec;

use super::DatagramSockets;
use crate::forward::{AttemptId, Transmit};
use crate::sys::{SegmentedSend, prefetch};
use crate::upstream::pool::{DRAWS, Pool, PooledSocket, Pools, no_place};

/// Queries that leave from one socket of a pool together: their answers must fit into its receive buffer.
const TOGETHER: usize = 32;

/// What one thread of a worker sends with.
pub struct Sender {
    sockets: Arc<DatagramSockets>,
    pools: Arc<Pools>,
    /// What was looked up in `pools`, and the last of it: most queries are for the same upstream.
    known: HashMap<SocketAddr, Arc<Pool>, foldhash::fast::RandomState>,
    last_pool: Option<(SocketAddr, Arc<Pool>)>,
    /// The place that the next query leaves from, drawn.
    next_place: usize,
    rng: StdRng,
    volley: SegmentedSend,
}

impl Sender {
    /// Sends from `sockets`; `seed` is from the operating system's source of randomness, `pools` are shared by all workers.
    pub fn new(sockets: Arc<DatagramSockets>, seed: [u8; 32], pools: Arc<Pools>) -> Self {
        let mut rng = StdRng::from_seed(seed);
        Self {
            sockets,
            pools,
            known: HashMap::default(),
            last_pool: None,
            next_place: rng.next_u32() as usize,
            rng,
            volley: SegmentedSend::default(),
        }
    }

    /// Sends a query from a socket of its own.
    ///
    /// # Errors
    /// The system's.
    pub fn send_fresh(&mut self, transmit: &Transmit) -> io::Result<()> {
        self.sockets.send_fresh(transmit, &mut self.rng)
    }

    /// Sends queries from sockets of the pools: those to one upstream together, from one that is drawn for them. Calls
    /// `failed` for each that could not be sent.
    pub fn send_pooled(&mut self, transmits: &[Transmit], now: Instant, mut failed: impl FnMut(&Transmit, &io::Error)) {
        for alike in transmits.chunk_by(|one, next| one.to == next.to) {
            for together in alike.chunks(TOGETHER) {
                match together {
                    [alone] => self.send_alone(alone, now, &mut failed),
                    _ => self.send_together(together, now, &mut failed),
                }
            }
        }
    }

    /// The same for a query that comes alone, as it does in most networks: nothing is to be sorted, and its bytes go as they are.
    fn send_alone(&mut self, transmit: &Transmit, now: Instant, failed: &mut impl FnMut(&Transmit, &io::Error)) {
        for _ in 0..DRAWS {
            let socket = match self.draw(transmit.to, now) {
                Ok(socket) => socket,
                Err(error) => return failed(transmit, &error),
            };
            let mut ids = socket.ids();
            let is_open = ids.open(transmit.message_id(), transmit.id, transmit.deadline);
            socket.look_at(&ids);
            // Its answer will read these.
            prefetch(ids.past_end());
            drop(ids);
            self.sockets.prefetch_pooled(socket.number, prefetch);
            if !is_open {
                continue;
            }
            if let Err(error) = socket.socket.send(&transmit.message) {
                give_up(&socket, transmit.id);
                failed(transmit, &error);
            }
            // The pool has more ports than the processor's cache keeps: the next one is fetched ahead.
            if let Some((_, pool)) = &self.last_pool {
                pool.prefetch(self.next_place, prefetch);
            }
            return;
        }
        failed(transmit, &no_place());
    }

    fn send_together(&mut self, transmits: &[Transmit], now: Instant, failed: &mut impl FnMut(&Transmit, &io::Error)) {
        let mut left: SmallVec<[&Transmit; TOGETHER]> = transmits.iter().collect();
        for _ in 0..DRAWS {
            let Some(first) = left.first() else { return };
            let socket = match self.draw(first.to, now) {
                Ok(socket) => socket,
                Err(error) => return left.iter().for_each(|transmit| failed(transmit, &error)),
            };
            let mut ids = socket.ids();
            let (mut leaving, others): (SmallVec<[&Transmit; TOGETHER]>, _) =
                left.into_iter().partition(|transmit| ids.open(transmit.message_id(), transmit.id, transmit.deadline));
            socket.look_at(&ids);
            drop(ids);
            // Those of one length go as one, and a shorter one with them.
            leaving.sort_unstable_by_key(|transmit| std::cmp::Reverse(transmit.message.len()));
            self.volley.send(
                socket.socket.as_fd(),
                leaving.iter().map(|transmit| &*transmit.message),
                |index, error| {
                    if let Some(transmit) = leaving.get(index) {
                        give_up(&socket, transmit.id);
                        failed(transmit, error);
                    }
                },
            );
            // Those whose ID is in use there leave from another socket.
            left = others;
        }
        left.iter().for_each(|transmit| failed(transmit, &no_place()));
    }

    /// A socket of an upstream's pool, at random.
    fn draw(&mut self, upstream: SocketAddr, now: Instant) -> io::Result<Arc<PooledSocket>> {
        let place = self.next_place;
        self.next_place = self.rng.next_u32() as usize;
        let pool = self.pool_of(upstream);
        if let Some(socket) = pool.at(place, now) {
            return Ok(socket);
        }
        let pool = pool.clone();
        let socket = self.sockets.open_pooled(upstream, &mut self.rng, now)?;
        pool.put(place, socket.clone());
        Ok(socket)
    }

    fn pool_of(&mut self, upstream: SocketAddr) -> &Arc<Pool> {
        if self.last_pool.as_ref().is_some_and(|(last, _)| *last != upstream) {
            self.last_pool = None;
        }
        let (_, pool) = self.last_pool.get_or_insert_with(|| {
            (upstream, self.known.entry(upstream).or_insert_with(|| self.pools.of(upstream)).clone())
        });
        pool
    }
}

/// The query did not leave from this socket, and no other does.
fn give_up(socket: &PooledSocket, id: AttemptId) {
    socket.retire();
    socket.close(id);
}
