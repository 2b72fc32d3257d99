//! The built server between a client and scripted upstreams, which run on the test's own thread: whatever waits for the server does so
//! beside it.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::message::address_of;
use crate::common::ask::Got;
use crate::common::{self, Query, Ran, SOON, Scratch, Setup, run};

pub(crate) struct Pldns(common::Pldns);

/// Settings in a directory of their own.
fn directory(settings: &str, files: &[(&str, &str)]) -> Scratch {
    let directory = Scratch::new();
    directory
        .write("pldns.toml", &format!("[listen]\nadmin = \"\"\ndrain = \"0s\"\n[process]\nworkers = 1\n{settings}"));
    for (name, text) in files {
        directory.write(name, text);
    }
    directory
}

/// `pldns check` of these settings.
pub(crate) fn check(settings: &str, files: &[(&str, &str)]) -> Ran {
    run(directory(settings, files).path(), &["check", "-c", "pldns.toml"])
}

/// `pldns explain` of a name by settings whose only rule has this upstream.
pub(crate) async fn explain(upstream: &str, authority: &str, name: &str) -> serde_json::Value {
    let settings =
        format!("[tls]\nupstream_ca = \"ca.pem\"\n[[forward]]\nzone = \".\"\nupstreams = [\"{upstream}\"]\n");
    let (directory, name) = (directory(&settings, &[("ca.pem", authority)]), name.to_owned());
    let explaining = move || run(directory.path(), &["explain", &name, "--json", "-c", "pldns.toml"]);
    let explained = spawn_blocking(explaining).await.unwrap();
    serde_json::from_str(&explained.code(0).out).unwrap()
}

impl Pldns {
    /// A server whose only rule has this upstream.
    pub(crate) async fn with_upstream(upstream: &str, files: &[(&str, &str)]) -> Self {
        let tls = if files.is_empty() { "" } else { "[tls]\nupstream_ca = \"ca.pem\"\n" };
        Self::start(&format!("{tls}[[forward]]\nzone = \".\"\nupstreams = [\"{upstream}\"]\n"), files).await
    }

    pub(crate) async fn start(settings: &str, files: &[(&str, &str)]) -> Self {
        let mut setup = Setup::new(&format!("[process]\nworkers = 1\n{settings}"), "");
        for (name, text) in files {
            setup = setup.with_file(name, text);
        }
        Self(spawn_blocking(move || setup.start()).await.unwrap())
    }

    /// Asks for the addresses of a name.
    pub(crate) async fn ask(&self, name: &str) -> Got {
        let (query, server) = (Query::new(&format!("{name} A")).no_edns(), self.0.address());
        spawn_blocking(move || query.ask_at(server)).await.unwrap()
    }

    /// Asks for a name that must be answered with its address.
    pub(crate) async fn must_answer(&self, name: &str) -> Duration {
        let got = self.ask(name).await;
        let addresses: Vec<_> =
            got.rcode("NOERROR").message.answers.iter().filter(|record| record.rtype == 1).collect();
        let [record] = addresses[..] else { panic!("{name}: {}", got.message) };
        let address: [u8; 4] = record.rdata[..].try_into().unwrap();
        assert_eq!(Ipv4Addr::from(address), address_of(name), "{name}");
        got.took
    }

    /// Waits for a line of the log.
    pub(crate) async fn logged(&self, part: &str) -> String {
        let deadline = Instant::now() + SOON;
        while Instant::now() < deadline {
            if let Some(line) = self.lines(part).into_iter().next() {
                return line;
            }
            sleep(Duration::from_millis(5)).await;
        }
        panic!("{part} is not in the log");
    }

    /// Warnings in the log, but for the one that tests as root get.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.lines("WARN").into_iter().filter(|line| !line.contains("running as root")).collect()
    }

    /// The lines of the log that contain this.
    pub(crate) fn lines(&self, part: &str) -> Vec<String> {
        self.0.lines(part)
    }

    /// Writes a file and lets the server read all anew.
    pub(crate) async fn reload(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            self.0.write(name, text);
        }
        self.0.signal(libc::SIGHUP);
        self.logged("\"reloaded\"").await;
    }
}
