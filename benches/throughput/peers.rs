//! The servers, each with one thread for queries, the records of the work and one upstream for all else.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dns::address_of;
use crate::dnsmasq;
use crate::process::find_program;
use crate::scratch::Scratch;
use crate::work::{Work, ZONE, record_name};

/// A server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Peer {
    /// a bare responder over recvmmsg and sendmmsg: the floor
    Responder,
    Pldns,
    /// another build of pldns, named by the environment variable PLDNS_BEFORE: what a change brought
    Before,
    /// pldns with `ports = "pool"`
    PldnsPool,
    Knot,
    Nsd,
    Unbound,
    Dnsmasq,
    Dnsdist,
    Coredns,
    /// hickory-server's own UDP server with an in-memory zone
    Hickory,
}

/// What a server is started for.
pub(crate) struct Setup<'s> {
    pub(crate) scratch: &'s Scratch,
    pub(crate) port: u16,
    pub(crate) upstream: SocketAddr,
    pub(crate) work: Work,
    pub(crate) records: u32,
}

impl Peer {
    pub(crate) const ALL: [Self; 11] = [
        Self::Responder,
        Self::Pldns,
        Self::Before,
        Self::PldnsPool,
        Self::Knot,
        Self::Nsd,
        Self::Unbound,
        Self::Dnsmasq,
        Self::Dnsdist,
        Self::Coredns,
        Self::Hickory,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Responder => "responder",
            Self::Pldns => "pldns",
            Self::Before => "before",
            Self::PldnsPool => "pldns pool",
            Self::Knot => "knot",
            Self::Nsd => "nsd",
            Self::Unbound => "unbound",
            Self::Dnsmasq => "dnsmasq",
            Self::Dnsdist => "dnsdist",
            Self::Coredns => "coredns",
            Self::Hickory => "hickory",
        }
    }

    /// Whether it can do this work at all.
    pub(crate) fn can(self, work: Work) -> bool {
        match self {
            Self::Responder | Self::Pldns | Self::Before | Self::Unbound | Self::Dnsmasq | Self::Coredns => true,
            Self::PldnsPool => matches!(work, Work::Forwarded | Work::Mixed),
            Self::Knot | Self::Nsd | Self::Hickory => work == Work::Records,
            Self::Dnsdist => !work.has_records(),
        }
    }

    /// Whether its answers are right; the responder's are the same for all.
    pub(crate) fn is_judged(self) -> bool {
        self != Self::Responder
    }

    /// Its program, where it is installed.
    pub(crate) fn program(self) -> Option<PathBuf> {
        match self {
            Self::Responder | Self::Hickory => std::env::current_exe().ok(),
            Self::Before => std::env::var_os("PLDNS_BEFORE").map(PathBuf::from),
            Self::Pldns | Self::PldnsPool => {
                Some(std::env::var_os("PLDNS").map_or_else(|| env!("CARGO_BIN_EXE_pldns").into(), PathBuf::from))
            }
            Self::Knot => find_program("knotd"),
            _ => find_program(self.name()),
        }
    }

    /// Its program, on CPU 0 where `pin` is the program that does that.
    pub(crate) fn pinned(self, pin: Option<&Path>) -> Option<Command> {
        self.pinned_to(pin, "0")
    }

    /// Its program, on these CPUs where `pin` is the program that does that.
    pub(crate) fn pinned_to(self, pin: Option<&Path>, cpus: &str) -> Option<Command> {
        let program = self.program()?;
        let Some(taskset) = pin else { return Some(Command::new(program)) };
        let mut command = Command::new(taskset);
        command.args(["-c", cpus]).arg(program);
        Some(command)
    }

    /// What starts it.
    pub(crate) fn command(self, setup: &Setup<'_>, pin: Option<&Path>) -> Option<Command> {
        let mut command = self.pinned(pin)?;
        let port = setup.port;
        match self {
            Self::Responder => command.args(["--role", "responder", "--port", &port.to_string()]),
            Self::Hickory => {
                let records = setup.records.to_string();
                command.args(["--role", "hickory", "--port", &port.to_string(), "--records", &records])
            }
            Self::Pldns | Self::Before => command.arg("serve").arg("-c").arg(setup.pldns("fresh")),
            Self::PldnsPool => command.arg("serve").arg("-c").arg(setup.pldns("pool")),
            Self::Knot => command.arg("-c").arg(setup.knot()),
            Self::Nsd => command.arg("-d").arg("-c").arg(setup.nsd()),
            Self::Unbound => command.arg("-d").arg("-c").arg(setup.unbound()),
            Self::Dnsmasq => command.args(setup.dnsmasq()),
            Self::Dnsdist => command.args(["--supervised", "--disable-syslog", "-C"]).arg(setup.dnsdist()),
            Self::Coredns => command.env("GOMAXPROCS", "1").arg("-conf").arg(setup.coredns()),
        };
        Some(command)
    }
}

impl Setup<'_> {
    /// Each record as a line.
    fn lines(&self, line: impl Fn(&mut String, &str, std::net::Ipv4Addr)) -> String {
        let mut text = String::new();
        if self.work.has_records() {
            for number in 0..self.records {
                line(&mut text, &record_name(number), address_of(&format!("r{number}")));
            }
        }
        text
    }

    fn zone_file(&self) -> String {
        let mut text =
            format!("$ORIGIN {ZONE}.\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n");
        text += &self.lines(|text, name, address| {
            let _ = writeln!(text, "{name}. A {address}");
        });
        self.scratch.write("zone", &text)
    }

    fn pldns(&self, ports: &str) -> String {
        self.pldns_with(ports, "")
    }

    /// The settings of pldns with `more` tables; their path.
    pub(crate) fn pldns_with(&self, ports: &str, more: &str) -> String {
        let records = self.lines(|text, name, address| {
            let _ = writeln!(text, "[[record]]\nname = \"{name}\"\ntype = \"A\"\ndata = \"{address}\"");
        });
        // A file of no bytes is refused: a command may have failed to write it.
        self.scratch.write("bench-records.toml", &format!("# records of the benchmark\n{records}"));
        let (port, upstream) = (self.port, self.upstream);
        let zone = if self.work.has_records() {
            format!("[[zone]]\nname = \"{ZONE}\"\nmissing = \"nxdomain\"\n")
        } else {
            String::new()
        };
        let text = format!(
            "[listen]\ndns = [\"127.0.0.1:{port}\"]\nadmin = \"\"\n[records]\nfiles = [\"bench-records.toml\"]\n{zone}\
             [[forward]]\nzone = \".\"\nupstreams = [\"{upstream}\"]\n[[upstream]]\naddress = \"{upstream}\"\nports = \"{ports}\"\n{more}"
        );
        self.scratch.write(&format!("pldns-{ports}.toml"), &text)
    }

    fn knot(&self) -> String {
        let (port, zone, directory) = (self.port, self.zone_file(), self.scratch.path().display());
        self.scratch.write(
            "knot.conf",
            &format!(
                "server:\n  rundir: \"{directory}\"\n  listen: 127.0.0.1@{port}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
                 database:\n  storage: \"{directory}\"\n\
                 zone:\n  - domain: {ZONE}\n    file: \"{zone}\"\n    zonefile-load: whole\n    zonefile-sync: -1\n    journal-content: none\n"
            ),
        )
    }

    fn nsd(&self) -> String {
        let (port, zone, directory) = (self.port, self.zone_file(), self.scratch.path().display());
        self.scratch.write(
            "nsd.conf",
            &format!(
                "server:\n ip-address: 127.0.0.1@{port}\n server-count: 1\n username: \"\"\n zonesdir: \"{directory}\"\n database: \"\"\n pidfile: \"\"\n \
                 xfrdfile: \"{directory}/xfrd.state\"\n xfrdir: \"{directory}\"\n zonelistfile: \"{directory}/zone.list\"\n rrl-ratelimit: 0\n\
                 remote-control:\n control-enable: no\nzone:\n name: {ZONE}\n zonefile: \"{zone}\"\n"
            ),
        )
    }

    fn unbound(&self) -> String {
        let records = self.lines(|text, name, address| {
            let _ = writeln!(text, " local-data: \"{name}. 60 A {address}\"");
        });
        let zone = if records.is_empty() { String::new() } else { format!(" local-zone: \"{ZONE}.\" static\n") };
        let (port, upstream, directory) = (self.port, self.upstream.port(), self.scratch.path().display());
        self.scratch.write(
            "unbound.conf",
            &format!(
                "server:\n interface: 127.0.0.1\n port: {port}\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n directory: \"{directory}\"\n pidfile: \"\"\n \
                 use-syslog: no\n verbosity: 0\n do-not-query-localhost: no\n module-config: \"iterator\"\n num-threads: 1\n outgoing-range: 8192\n \
                 num-queries-per-thread: 4096\n msg-cache-size: 128m\n rrset-cache-size: 256m\n edns-buffer-size: 1232\n{zone}{records}\
                 forward-zone:\n name: \".\"\n forward-addr: 127.0.0.1@{upstream}\nremote-control:\n control-enable: no\n"
            ),
        )
    }

    fn dnsmasq(&self) -> Vec<String> {
        let hosts = self.lines(|text, name, address| {
            let _ = writeln!(text, "{address} {name}");
        });
        let hosts = self.scratch.write("hosts", &hosts);
        let mut arguments = dnsmasq::arguments(self.port, &[self.upstream]);
        if self.work.has_records() {
            arguments.extend([
                format!("--addn-hosts={hosts}"),
                format!("--local=/{ZONE}/"),
                "--local-ttl=60".to_owned(),
            ]);
        }
        arguments
    }

    fn dnsdist(&self) -> String {
        let (port, upstream) = (self.port, self.upstream.port());
        self.scratch.write(
            "dnsdist.conf",
            &format!(
                "setLocal('127.0.0.1:{port}')\nsetMaxUDPOutstanding(65535)\nlocal s = newServer({{address='127.0.0.1:{upstream}', sockets=4}})\ns:setUp()\n\
                 getPool(''):setCache(newPacketCache(200000, {{maxTTL=86400}}))\n"
            ),
        )
    }

    fn coredns(&self) -> String {
        let hosts = self.lines(|text, name, address| {
            let _ = writeln!(text, "{address} {name}");
        });
        let hosts = self.scratch.write("coredns-hosts", &hosts);
        let (port, upstream) = (self.port, self.upstream);
        let records = if self.work.has_records() {
            format!("{ZONE}:{port} {{\n bind 127.0.0.1\n hosts {hosts} {ZONE} {{\n ttl 60\n }}\n}}\n")
        } else {
            String::new()
        };
        let forward =
            format!(".:{port} {{\n bind 127.0.0.1\n cache {{\n success 200000\n }}\n forward . {upstream}\n}}\n");
        self.scratch.write("Corefile", &(records + &forward))
    }
}
