//! Who waits for a budget: each client has a line of its own, and the lines take turns.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// Lines of waiting things, one a client.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    lines: HashMap<IpAddr, VecDeque<T>, foldhash::fast::RandomState>,
    /// The clients that have a line, the next to be served in front.
    turns: VecDeque<IpAddr>,
    len: usize,
}

impl<T> FairQueue<T> {
    pub(super) fn new() -> Self {
        Self { lines: HashMap::default(), turns: VecDeque::new(), len: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, client: IpAddr, thing: T) {
        let line = self.lines.entry(client).or_default();
        if line.is_empty() {
            self.turns.push_back(client);
        }
        line.push_back(thing);
        self.len += 1;
    }

    /// Puts something in front of its client's line: it waited before.
    pub(super) fn push_front(&mut self, client: IpAddr, thing: T) {
        let line = self.lines.entry(client).or_default();
        if line.is_empty() {
            self.turns.push_back(client);
        }
        line.push_front(thing);
        self.len += 1;
    }

    /// Keeps only what `keep` says.
    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        for line in self.lines.values_mut() {
            line.retain(&keep);
        }
        self.lines.retain(|_, line| !line.is_empty());
        self.turns.retain(|client| self.lines.contains_key(client));
        self.len = self.lines.values().map(VecDeque::len).sum();
    }

    /// The first of the line whose turn it is; that line then waits for the others.
    pub(super) fn pop(&mut self) -> Option<T> {
        let client = self.turns.pop_front()?;
        let line = self.lines.get_mut(&client)?;
        let thing = line.pop_front()?;
        self.len -= 1;
        if line.is_empty() {
            self.lines.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        Some(thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_does_not_keep_others_waiting() {
        let client = |n: u8| IpAddr::from([10, 0, 0, n]);
        let mut queue = FairQueue::new();
        for n in 0..100 {
            queue.push(client(1), n);
        }
        queue.push(client(2), 1000);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order[..3], [0, 1000, 1]);
        assert_eq!(order.len(), 101);
        assert!(queue.is_empty() && queue.lines.is_empty() && queue.turns.is_empty());
    }
}
