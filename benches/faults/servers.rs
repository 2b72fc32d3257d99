//! The servers under test, each a caching forwarder with some records: stale answers, many outgoing queries, no validation.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use crate::dnsmasq;
use crate::load::{KNOWN, table_name};
use crate::process::find_program;
use crate::scratch::Scratch;
use crate::upstream::right;

/// A server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Server {
    Pldns,
    Unbound,
    Dnsdist,
    Dnsmasq,
}

/// What a server is started for.
pub(crate) struct Setup<'s> {
    pub(crate) scratch: &'s Scratch,
    pub(crate) port: u16,
    pub(crate) upstreams: &'s [SocketAddr],
    /// The upstreams have Azure DNS's limits.
    pub(crate) is_limited: bool,
}

impl Server {
    pub(crate) const ALL: [Self; 4] = [Self::Pldns, Self::Unbound, Self::Dnsdist, Self::Dnsmasq];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pldns => "pldns",
            Self::Unbound => "unbound",
            Self::Dnsdist => "dnsdist",
            Self::Dnsmasq => "dnsmasq",
        }
    }

    /// Whether it can have records of its own.
    pub(crate) fn has_records(self) -> bool {
        self != Self::Dnsdist
    }

    /// Where its program is, if it is installed.
    pub(crate) fn program(self) -> Option<PathBuf> {
        match self {
            Self::Pldns => {
                Some(std::env::var_os("PLDNS").map_or_else(|| env!("CARGO_BIN_EXE_pldns").into(), PathBuf::from))
            }
            _ => find_program(self.name()),
        }
    }

    /// What starts it.
    pub(crate) fn command(self, setup: &Setup<'_>) -> Option<Command> {
        let mut command = Command::new(self.program()?);
        match self {
            Self::Pldns => command.arg("serve").arg("-c").arg(setup.pldns()),
            Self::Unbound => command.arg("-d").arg("-c").arg(setup.unbound()),
            Self::Dnsdist => command.args(["--supervised", "--disable-syslog", "-C"]).arg(setup.dnsdist()),
            Self::Dnsmasq => command.args(setup.dnsmasq()),
        };
        Some(command)
    }
}

impl Setup<'_> {
    /// Each record as a line.
    fn records(&self, line: impl Fn(&mut String, &str, std::net::Ipv4Addr)) -> String {
        let mut text = String::new();
        for number in 0..KNOWN {
            let name = table_name(number);
            line(&mut text, &name, right(&name));
        }
        text
    }

    fn pldns(&self) -> String {
        let records = self.records(|text, name, address| {
            let _ = writeln!(text, "[[record]]\nname = \"{name}\"\ntype = \"A\"\ndata = \"{address}\"");
        });
        self.scratch.write("records.toml", &records);
        let upstreams: Vec<String> = self.upstreams.iter().map(|upstream| format!("\"{upstream}\"")).collect();
        let mut text = format!(
            "[listen]\ndns = [\"127.0.0.1:{}\"]\nadmin = \"\"\n[records]\nfiles = [\"records.toml\"]\n\
             [[forward]]\nzone = \".\"\nupstreams = [{}]\n",
            self.port,
            upstreams.join(", ")
        );
        for upstream in self.upstreams.iter().filter(|_| self.is_limited) {
            let _ = writeln!(text, "[[upstream]]\naddress = \"{upstream}\"\nqueries_per_second = 950\npending = 180");
        }
        self.scratch.write("pldns.toml", &text)
    }

    fn unbound(&self) -> String {
        let records = self.records(|text, name, address| {
            let _ = writeln!(text, " local-data: \"{name}. 60 A {address}\"");
        });
        let mut text = format!(
            "server:\n interface: 127.0.0.1\n port: {}\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n \
             directory: \"{}\"\n pidfile: \"\"\n use-syslog: no\n verbosity: 0\n \
             access-control: 127.0.0.0/8 allow\n do-not-query-localhost: no\n module-config: \"iterator\"\n \
             num-threads: 2\n so-reuseport: yes\n outgoing-range: 8192\n num-queries-per-thread: 4096\n \
             serve-expired: yes\n serve-expired-client-timeout: 1800\n infra-keep-probing: yes\n \
             edns-buffer-size: 1232\n local-zone: \"test.\" nodefault\n local-zone: \"table.test.\" static\n{records}\
             forward-zone:\n name: \".\"\n",
            self.port,
            self.scratch.path().display()
        );
        for upstream in self.upstreams {
            let _ = writeln!(text, " forward-addr: {}@{}", upstream.ip(), upstream.port());
        }
        text.push_str("remote-control:\n control-enable: no\n");
        self.scratch.write("unbound.conf", &text)
    }

    fn dnsdist(&self) -> String {
        let mut text = format!("setLocal('127.0.0.1:{}')\nsetACL('127.0.0.0/8')\nsetUDPTimeout(5)\n", self.port);
        for upstream in self.upstreams {
            let _ = writeln!(text, "newServer({{address='{upstream}', sockets=16, checkName='probe.known.test.'}})");
        }
        text.push_str("pc = newPacketCache(200000, {maxTTL=86400, staleTTL=10})\ngetPool(''):setCache(pc)\n");
        self.scratch.write("dnsdist.conf", &text)
    }

    fn dnsmasq(&self) -> Vec<String> {
        let hosts = self.records(|text, name, address| {
            let _ = writeln!(text, "{address} {name}");
        });
        let hosts = self.scratch.write("hosts", &hosts);
        let mut arguments = dnsmasq::arguments(self.port, self.upstreams);
        arguments.extend(["--use-stale-cache=86400", "--local=/table.test/", "--local-ttl=60"].map(str::to_owned));
        arguments.push(format!("--addn-hosts={hosts}"));
        arguments
    }
}
