//! The log: lines made where something happens, written by a thread of their own.
//!
//! Between the two is a bounded queue. A line is put in, and its thread goes on; when the output is not read, the queue
//! fills up, lines are dropped and counted, and no query waits. Sampled queries are put in as they are and become text
//! in the writer's thread.
//!
//! Errors and warnings about things that can go wrong many times a second go through [`Recurring`].

mod backlog;
mod dnstap;
mod recurring;
mod writer;

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

pub use dnstap::{DNSTAP_BYTES, Tap, TapTarget, Tapped};
pub use recurring::Recurring;
pub use writer::{QueryLine, WAITING_BYTES_MAX, dropped, finish, query, write};

use crate::config::{LogFormat, LogLevel};

static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();
/// The level of the settings, as a number.
static SET: AtomicU8 = AtomicU8::new(LogLevel::Info as u8);
static DEBUGGING: AtomicBool = AtomicBool::new(false);
static TEXT: AtomicBool = AtomicBool::new(false);

/// What the targets of lines of this program begin with.
const OURS: &str = env!("CARGO_CRATE_NAME");

/// Starts the log on standard error. Only the first call does anything.
pub fn start(format: LogFormat, level: LogLevel) {
    let (filter, handle) = reload::Layer::new(filter_of(level));
    if LEVEL.set(handle).is_err() {
        return;
    }
    SET.store(level as u8, Ordering::Relaxed);
    writer::start();
    // What goes wrong is logged here, once, in words of this program: the lines of libraries are for their authors.
    let ours = filter_fn(|metadata| metadata.target().starts_with(OURS));
    let is_terminal = std::io::stderr().is_terminal();
    let is_text = match format {
        LogFormat::Auto => is_terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    TEXT.store(is_text, Ordering::Relaxed);
    // https://no-color.org: set and not empty.
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(is_terminal && !no_color)
        .with_writer(writer::Lines)
        .with_target(false);
    let registry = tracing_subscriber::registry().with(filter).with(ours);
    // Another subscriber of the same process stays in its place.
    let _ = if is_text {
        registry.with(lines).try_init()
    } else {
        registry.with(lines.json().flatten_event(true)).try_init()
    };
}

/// Whether [`start`] was called.
pub fn is_started() -> bool {
    LEVEL.get().is_some()
}

/// Whether lines are text for people, and not JSON.
pub fn is_text() -> bool {
    TEXT.load(Ordering::Relaxed)
}

/// Whether a person reads along: standard error is a terminal.
pub fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

/// Has panics become lines of the log, with their place; what they cost is logged by the code that catches them.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic: {message}");
    }));
}

/// Sets the level.
pub fn set_level(level: LogLevel) {
    SET.store(level as u8, Ordering::Relaxed);
    DEBUGGING.store(false, Ordering::Relaxed);
    apply(level);
}

/// Goes to the level `debug`, or back from there.
pub fn toggle_debug() {
    let debugging = !DEBUGGING.fetch_xor(true, Ordering::Relaxed);
    let set = SET.load(Ordering::Relaxed);
    let mut levels = LogLevel::ALL.into_iter().map(|(level, _)| level);
    let level = levels.find(|&level| level as u8 == set).unwrap_or(LogLevel::Info);
    apply(if debugging { LogLevel::Debug } else { level });
    tracing::warn!(debugging, "log level changed");
}

fn apply(level: LogLevel) {
    if let Some(handle) = LEVEL.get() {
        let _ = handle.reload(filter_of(level));
    }
}

fn filter_of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
