//! Questions that several tasks share, and what comes back for them.

use std::cell::Cell;
use std::rc::Rc;

use tokio::task::JoinHandle;

use super::{Check, Observed};

/// Questions that are handed out one by one.
pub(super) struct Queue {
    pub(super) checks: Rc<[Check]>,
    next: Cell<usize>,
    done: Rc<Cell<usize>>,
}

impl Queue {
    pub(super) fn new(checks: &Rc<[Check]>, done: &Rc<Cell<usize>>) -> Rc<Self> {
        Rc::new(Self { checks: checks.clone(), next: Cell::new(0), done: done.clone() })
    }

    pub(super) fn first(&self) -> Option<&Check> {
        self.checks.first()
    }

    pub(super) fn note_done(&self) {
        self.done.set(self.done.get() + 1);
    }

    pub(super) fn take(&self) -> Option<(usize, &Check)> {
        let number = self.next.get();
        self.next.set(number + 1);
        self.checks.get(number).map(|check| (number, check))
    }
}

/// What came back for each check, in their order.
pub(super) type Answers = Vec<Option<Observed>>;

/// What one task heard, by the numbers of the checks.
pub(super) type Share = Vec<(usize, Option<Observed>)>;

pub(super) async fn gather(queue: &Queue, tasks: Vec<JoinHandle<Share>>) -> Answers {
    let mut answers = vec![None; queue.checks.len()];
    for task in tasks {
        for (number, observed) in task.await.unwrap_or_default() {
            if let Some(place) = answers.get_mut(number) {
                *place = observed;
            }
        }
    }
    answers
}
