//! What cores share, used by one thread and by two at once: the cache's shards, the lock of forwarding, the queue of the log.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use criterion::Criterion;
use parking_lot::Mutex;
use privatelink_dns::cache::{Answer, Cache, TtlLimits};
use privatelink_dns::config::{LogFormat, LogLevel};
use privatelink_dns::engine::{Action, Engine, Snapshot};
use privatelink_dns::forward::{Answered, Arrival, ClientQuery, Forwarding, LoopGuard, Outbox, Question};
use privatelink_dns::log::{self, QueryLine};
use privatelink_dns::wire::{Rtype, UpstreamMessage};

use crate::{CLIENT, dns, snapshot};

/// Names that each thread has.
const NAMES: usize = 1000;
/// Questions that are asked, and answers that are taken, under one lock: a full batch.
const BATCH: usize = 64;

/// Times `work` for what `prepare` made, on so many threads at once; the time of one thread. `prepare` gets the thread's
/// number and how much there is to do, at most `most`; it is not timed.
fn at_once<T>(
    threads: usize,
    times: u64,
    most: usize,
    prepare: impl Fn(usize, usize) -> T + Sync,
    work: impl Fn(T) + Sync,
) -> Duration {
    let arrived = AtomicUsize::new(0);
    let run = |thread| {
        let (mut took, mut left, mut turn) = (Duration::ZERO, times, 0);
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(most).min(most);
            let prepared = prepare(thread, count);
            turn += threads;
            arrived.fetch_add(1, Ordering::AcqRel);
            // A sleeping thread would begin when the other one is done.
            while arrived.load(Ordering::Acquire) < turn {
                std::hint::spin_loop();
            }
            let begin = Instant::now();
            work(prepared);
            took += begin.elapsed();
            left -= count as u64;
        }
        took
    };
    let took: Duration = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        runs.into_iter().map(|run| run.join().expect("a thread that measures ends")).sum()
    });
    took / threads as u32
}

/// The query for a name of a thread.
fn query(thread: usize, number: usize) -> Vec<u8> {
    dns::query(7, &format!("t{thread}n{number}.blob.core.windows.net"), dns::A)
}

/// An upstream's answer to it.
fn answer_to(query: &[u8]) -> Vec<u8> {
    let asked = dns::Asked::parse(query).expect("a query that can be read");
    asked.reply(query, &[], Some(([10, 1, 0, 9].into(), 3600)))
}

/// Answers that go into the cache.
pub(crate) fn inserting(criterion: &mut Criterion) {
    let cache = Cache::new(64 << 20);
    let limits = TtlLimits { max: 3600, max_negative: 60, max_negative_private: 10 };
    let now = Instant::now();
    let answers = [0, 1].map(|thread| {
        let answer = |number| {
            let bytes = answer_to(&query(thread, number));
            let key = format!("key of {number} of {thread}");
            Answer::from_message(key.as_bytes(), &mut UpstreamMessage::read(bytes), &limits, now).expect("an answer")
        };
        (0..NAMES).map(answer).collect::<Vec<_>>()
    });
    let cases = [("one thread", 1, 0), ("two threads at once", 2, 1), ("two threads at once, the same names", 2, 0)];
    for (case, threads, other) in cases {
        criterion.bench_function(&format!("cache insert, {case}"), |bencher| {
            bencher.iter_custom(|times| {
                let prepare = |thread: usize, count| (&answers[thread * other], count);
                at_once(threads, times, 20 * NAMES, prepare, |(answers, count)| {
                    answers.iter().cycle().take(count).for_each(|answer| cache.insert(black_box(answer), |_| ()));
                })
            });
        });
    }
}

/// What the lock of forwarding is taken for.
struct Asked {
    question: Box<Question>,
    answer: Vec<u8>,
}

/// The questions of a thread.
fn questions(snapshot: &Snapshot, thread: usize) -> Vec<(Box<Question>, Vec<u8>)> {
    let engine = Engine::new(Arc::new(Cache::new(0)), LoopGuard::default());
    let (now, mut reply) = (Instant::now(), Vec::new());
    let question = |number| {
        let query = query(thread, number);
        match engine.answer(snapshot, &query, CLIENT, now, 0, &mut reply) {
            Action::Forward(forward) => (forward.question, answer_to(&query)),
            _ => panic!("nothing is cached: the name goes upstream"),
        }
    };
    (0..NAMES).map(question).collect()
}

/// Questions that are asked and answered, a batch under each lock, as workers do it.
pub(crate) fn forwarding(criterion: &mut Criterion) {
    let snapshot = snapshot();
    let known = [0, 1].map(|thread| questions(&snapshot, thread));
    let now = Instant::now();
    let deadline = now + Duration::from_secs(4);
    let shared = Mutex::new(Forwarding::new([7; 32], LoopGuard::default()));
    let prepare = |thread: usize, count| {
        let known: &Vec<(Box<Question>, Vec<u8>)> = &known[thread];
        let asked = known.iter().cycle().take(count);
        asked.map(|(question, answer)| Asked { question: question.clone(), answer: answer.clone() }).collect::<Vec<_>>()
    };
    // Gives how long it had the lock.
    let work = |asked: Vec<Asked>| {
        let (mut out, mut held) = (Outbox::default(), Duration::ZERO);
        let mut asked = asked.into_iter().peekable();
        while asked.peek().is_some() {
            let mut answers = [const { Vec::new() }; BATCH];
            let mut locked = shared.lock();
            let begin = Instant::now();
            for (place, Asked { question, answer }) in answers.iter_mut().zip(asked.by_ref()) {
                let client_query = ClientQuery {
                    waiter: (),
                    client: CLIENT.address,
                    deadline,
                    stale: None,
                    is_datagram: true,
                    beside: 0,
                };
                locked.ask(now, question, client_query, &mut out);
                *place = answer;
            }
            black_box((locked.next_timeout(now), locked.take_news()));
            held += begin.elapsed();
            drop(locked);
            let sent = out.transmits.drain(..).zip(answers);
            let heard: Vec<_> = sent
                .map(|(transmit, mut answer)| {
                    answer[..2].copy_from_slice(&transmit.message[..2]);
                    (transmit.id, Box::new(UpstreamMessage::read(answer)))
                })
                .collect();
            let mut locked = shared.lock();
            let begin = Instant::now();
            for (id, message) in heard {
                locked.on_response(now, id, Arrival::Message(message), &mut out);
            }
            black_box((locked.next_timeout(now), locked.take_news()));
            held += begin.elapsed();
            drop(locked);
            for resolved in out.resolved.drain(..) {
                let Answered { question, message } = resolved.outcome.expect("an answer to what was asked");
                black_box((question, message));
            }
        }
        held
    };
    for (case, threads) in [("one thread", 1), ("two threads at once", 2)] {
        criterion.bench_function(&format!("forwarding asked and answered, {case}"), |bencher| {
            bencher.iter_custom(|times| at_once(threads, times, 4 * NAMES, prepare, |asked| _ = work(asked)));
        });
    }
    criterion.bench_function("forwarding asked and answered, the time of the lock", |bencher| {
        bencher.iter_custom(|times| {
            let held = Mutex::new(Duration::ZERO);
            at_once(1, times, 4 * NAMES, prepare, |asked| *held.lock() += work(asked));
            held.into_inner()
        });
    });
}

/// Queries that go into the queue of the log, whose thread throws them away: the level says so.
pub(crate) fn logging(criterion: &mut Criterion) {
    log::start(LogFormat::Text, LogLevel::Error);
    log::write();
    let query = query(0, 0);
    let prepare = |_, count| {
        // The thread that writes has emptied the queue, so that no line is dropped.
        log::finish();
        let line = |_| QueryLine {
            client: CLIENT.address,
            transport: "udp",
            query: query.clone().into(),
            rtype: Some(Rtype::A),
            outcome: "record",
            rcode: None,
            rule: None,
            duration: Duration::ZERO,
            is_debug: false,
        };
        (0..count).map(line).collect::<Vec<_>>()
    };
    for (case, threads) in [("one thread", 1), ("two threads at once", 2)] {
        let before = log::dropped();
        criterion.bench_function(&format!("log push, {case}"), |bencher| {
            bencher.iter_custom(|times| {
                at_once(threads, times, NAMES, prepare, |lines| lines.into_iter().for_each(log::query))
            });
        });
        assert_eq!(log::dropped(), before, "the queue has room for all lines");
    }
}
