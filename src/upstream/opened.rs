//! The sockets of pools that one worker opened and reads from, each by a number that its token has.

use std::sync::Arc;

use super::pool::PooledSocket;

/// Places of sockets; one is a pointer, so that hundreds are in one page of memory and can be fetched without being read.
#[derive(Default)]
pub(super) struct Opened {
    places: Vec<Option<Arc<PooledSocket>>>,
    /// Numbers of places that are free.
    free: Vec<usize>,
}

impl Opened {
    /// Keeps the socket that `open` gives for the number that it has here.
    pub(super) fn open(&mut self, open: impl FnOnce(usize) -> Arc<PooledSocket>) -> Arc<PooledSocket> {
        let number = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        let socket = open(number);
        if let Some(place) = self.places.get_mut(number) {
            *place = Some(socket.clone());
        }
        socket
    }

    pub(super) fn get(&self, number: usize) -> Option<&Arc<PooledSocket>> {
        self.places.get(number)?.as_ref()
    }

    /// Names the memory of a place.
    pub(super) fn prefetch(&self, number: usize, prefetch: impl Fn(*const u8)) {
        if let Some(place) = self.places.get(number) {
            prefetch((&raw const *place).cast());
        }
    }

    /// Keeps the sockets for which `is_kept` says so; gives the others, to be closed where nothing waits for it.
    #[must_use]
    pub(super) fn retain(&mut self, is_kept: impl Fn(&PooledSocket) -> bool) -> Vec<Arc<PooledSocket>> {
        let mut gone = Vec::new();
        for (number, place) in self.places.iter_mut().enumerate() {
            if let Some(socket) = place.take_if(|socket| !is_kept(socket)) {
                gone.push(socket);
                self.free.push(number);
            }
        }
        gone
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<PooledSocket>> {
        self.places.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Instant;

    use super::*;

    #[test]
    fn numbers_are_given_again_when_their_sockets_are_gone() {
        let mut opened = Opened::default();
        let open = |opened: &mut Opened| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            opened.open(|number| Arc::new(PooledSocket::new(socket, number, Instant::now())))
        };
        let sockets: Vec<_> = (0..3).map(|_| open(&mut opened)).collect();
        for (number, socket) in sockets.iter().enumerate() {
            assert!(Arc::ptr_eq(opened.get(number).unwrap(), socket) && socket.number == number);
        }
        assert!(Arc::ptr_eq(&opened.retain(|socket| socket.number != 1)[0], &sockets[1]));
        assert!(opened.get(1).is_none() && opened.get(3).is_none());
        assert_eq!([open(&mut opened).number, open(&mut opened).number], [1, 3]);
        assert_eq!(opened.iter().count(), 4);
    }
}
