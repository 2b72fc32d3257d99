//! The thread of discovery: rounds at an interval, the state file, and a word to the loader when records changed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::round::{RoundReport, Rounds};
use super::state::State;
use super::status::Status;
use crate::config::Settings;
use crate::files;
use crate::upstream::Trust;

/// The mode of the state file: it names an organisation's resources.
const STATE_MODE: u32 = 0o640;
/// A failure that stays the same is logged again after this time.
const AGAIN: Duration = Duration::from_secs(600);
/// Names that one line of the log has.
const NAMES_LOGGED: usize = 5;

/// A running discovery thread.
#[derive(Debug)]
pub struct Discovery {
    orders: Sender<Box<Settings>>,
    status: Arc<Status>,
}

impl Discovery {
    /// Takes new settings: the next round, which begins at once where they changed, is by them.
    pub fn set(&self, settings: &Settings) {
        // Off from now on, whatever the thread is waiting for.
        if !settings.azure.discover.is_on() {
            self.status.set_on(false);
        }
        let _ = self.orders.send(Box::new(settings.clone()));
    }
}

/// The last good result out of the state file, for the first load. What is wrong with the file is returned as a sentence.
fn load(settings: &Settings, home: &Path) -> (State, Option<String>) {
    let Some(path) = state_path(settings, home) else { return (State::default(), None) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return (State::default(), None),
        Err(error) => return (State::default(), Some(format!("cannot read {}: {error}", path.display()))),
    };
    match State::from_text(&text, Instant::now()) {
        Ok(state) => (state, None),
        Err(error) => (State::default(), Some(format!("{} is ignored: {error}", path.display()))),
    }
}

fn state_path(settings: &Settings, home: &Path) -> Option<PathBuf> {
    settings.azure.discover.state.as_ref().map(|file| home.join(file))
}

/// Reads the state file into `status` and gives what starts the thread. `home` is the directory of the settings file.
///
/// Two steps, because the first load of the table takes what the state file has, while the thread must not start before
/// privileges are dropped.
pub fn start(settings: &Settings, home: &Path, status: Arc<Status>) -> Starter {
    let is_on = settings.azure.discover.is_on();
    status.set_on(is_on);
    let mut state = State::default();
    let mut problem = None;
    if is_on {
        (state, problem) = load(settings, home);
        state.expire(settings.azure.discover.grace, Instant::now());
        status.take(state.records(settings.azure.discover.views), state.drift().collect());
    }
    Starter { state, problem, settings: Box::new(settings.clone()), home: home.to_owned(), status }
}

/// What [`start`] prepared.
#[derive(Debug)]
pub struct Starter {
    state: State,
    problem: Option<String>,
    settings: Box<Settings>,
    home: PathBuf,
    status: Arc<Status>,
}

impl Starter {
    /// Starts the thread; `trust` is for upstreams over TLS and HTTPS, and `changed` is called when other records follow than before.
    ///
    /// # Errors
    /// The system's, where it has no thread to give.
    pub fn run(self, trust: Arc<Trust>, changed: impl Fn() + Send + 'static) -> std::io::Result<Discovery> {
        let (orders, received) = mpsc::channel();
        let Self { state, problem, settings, home, status } = self;
        if let Some(problem) = problem {
            tracing::warn!("discovery: {problem}");
        }
        let worker = Worker {
            state,
            settings,
            home,
            status: status.clone(),
            orders: received,
            trust,
            changed: Box::new(changed),
            logged: HashMap::new(),
            written: None,
        };
        std::thread::Builder::new().name("discover".to_owned()).spawn(move || worker.work())?;
        Ok(Discovery { orders, status })
    }
}

struct Worker {
    state: State,
    settings: Box<Settings>,
    home: PathBuf,
    status: Arc<Status>,
    orders: Receiver<Box<Settings>>,
    trust: Arc<Trust>,
    changed: Box<dyn Fn() + Send>,
    /// When which failure was logged.
    logged: HashMap<String, Instant>,
    /// The text of the state file as written last.
    written: Option<String>,
}

impl Worker {
    fn work(mut self) {
        let mut rounds = Rounds::new(&self.settings, self.trust.clone());
        let mut next = Instant::now();
        loop {
            let discover = self.settings.azure.discover.clone();
            let mut wait =
                if discover.is_on() { next.saturating_duration_since(Instant::now()) } else { Duration::MAX };
            if let Some(expiry) = self.state.next_expiry(discover.grace) {
                wait = wait.min(expiry.saturating_duration_since(Instant::now()));
            }
            let order = match wait {
                Duration::MAX => self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                wait => self.orders.recv_timeout(wait),
            };
            match order {
                Err(RecvTimeoutError::Disconnected) => return,
                Ok(settings) => {
                    let is_concerned = discover.is_on() || settings.azure.discover.is_on();
                    let is_other = settings.azure.discover != discover || settings.forwards != self.settings.forwards;
                    self.settings = settings;
                    if is_concerned && is_other {
                        self.use_settings();
                        rounds = Rounds::new(&self.settings, self.trust.clone());
                        next = Instant::now();
                    }
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() >= next => {
                    let report = rounds.run(&mut self.state);
                    self.finish(&report);
                    rounds.read_zone_groups(&mut self.state);
                    self.status.take_drift(self.state.drift().collect());
                    next = Instant::now() + self.settings.azure.discover.interval;
                }
                Err(RecvTimeoutError::Timeout) => {
                    // Only where a subscription is read does its grace run; what ran out leaves between two rounds.
                    self.state.expire(discover.grace, Instant::now());
                    self.publish();
                }
            }
        }
    }

    fn use_settings(&mut self) {
        let is_on = self.settings.azure.discover.is_on();
        self.status.set_on(is_on);
        if !is_on {
            self.state = State::default();
            return (self.changed)();
        }
        self.publish();
    }

    /// After a round: log, status, state file, table.
    fn finish(&mut self, report: &RoundReport) {
        let was_read = self.status.is_read();
        self.status.note(report);
        self.log(report);
        // Records of files are compared with endpoints at a load, where all endpoints are known: from now on they are.
        if !self.publish() && !was_read && self.status.is_read() {
            (self.changed)();
        }
        if report.read > 0 {
            self.write_state();
        }
    }

    /// Gives the records to the loader where they changed. Whether they did.
    fn publish(&mut self) -> bool {
        let discover = &self.settings.azure.discover;
        let discovered = self.state.records(discover.views);
        let before = self.status.discovered();
        for (name, endpoints) in discovered.conflicts.iter().filter(|it| !before.conflicts.contains(it)) {
            tracing::warn!(
                name,
                endpoints = endpoints.join(", "),
                "discovery: endpoints disagree and views are off; the name is left out"
            );
        }
        let names = |records: &[super::DiscoveredRecord], others: &[super::DiscoveredRecord]| {
            // They are sorted.
            let new =
                records.iter().filter(|record| others.binary_search(record).is_err()).map(|record| record.name.clone());
            let mut names: Vec<String> = new.collect();
            names.dedup();
            names
        };
        let (added, removed) =
            (names(&discovered.records, &before.records), names(&before.records, &discovered.records));
        let is_changed = self.status.take(discovered, self.state.drift().collect());
        if is_changed {
            tracing::info!(
                endpoints = self.state.endpoint_count(),
                added = shortened(&added),
                removed = shortened(&removed),
                "discovery: records changed"
            );
            (self.changed)();
        }
        is_changed
    }

    fn log(&mut self, report: &RoundReport) {
        let now = Instant::now();
        for (of, failure, text) in &report.failures {
            let key = format!("{of} {}", failure.word());
            if self.logged.get(&key).is_some_and(|at| now.saturating_duration_since(*at) < AGAIN) {
                continue;
            }
            self.logged.insert(key, now);
            let age = self.status.summary(false).age_seconds;
            tracing::warn!(
                of,
                reason = failure.word(),
                error = text,
                age_seconds = age,
                "discovery failed; keeping its records"
            );
        }
        if report.is_complete() && !self.logged.is_empty() && self.logged.keys().any(|key| !key.starts_with("remark "))
        {
            self.logged.retain(|key, _| key.starts_with("remark "));
            tracing::info!("discovery works again");
        }
        for remark in &report.remarks {
            if self.logged.insert(format!("remark {remark}"), now).is_none() {
                tracing::warn!("discovery: {remark}");
            }
        }
    }

    fn write_state(&mut self) {
        let Some(path) = state_path(&self.settings, &self.home) else { return };
        let text = match self.state.to_text(Instant::now()) {
            Ok(text) => text,
            Err(error) => return tracing::error!(%error, "discovery: cannot write the state"),
        };
        if self.written.as_ref() == Some(&text) {
            return;
        }
        match files::replace(&path, text.as_bytes(), Some(STATE_MODE)) {
            Ok(()) => self.written = Some(text),
            Err(error) => {
                let key = format!("state {error}");
                let now = Instant::now();
                if self.logged.get(&key).is_none_or(|at| now.saturating_duration_since(*at) >= AGAIN) {
                    tracing::warn!(path = %path.display(), %error, "discovery: cannot write the state file");
                }
                self.logged.insert(key, now);
            }
        }
    }
}

fn shortened(names: &[String]) -> String {
    let mut text = names.iter().take(NAMES_LOGGED).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_LOGGED {
        text += &format!(" and {} more", names.len() - NAMES_LOGGED);
    }
    text
}
