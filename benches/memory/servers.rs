//! The servers, each with one thread for queries, its encrypted listeners, an upstream for all else, and records.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use rcgen::{CertificateParams, KeyPair};

use crate::dns::address_of;
use crate::process::{Running, find_program, free_port};
use crate::scratch::Scratch;

/// The zone of the records.
const ZONE: &str = "bench.example";
/// A record that every server has.
pub(crate) const RECORD: &str = "r0.bench.example";
/// The name in the certificate.
pub(crate) const NAME: &str = "dns.example";
/// Connections that a server may have at the same time.
const CONNECTIONS_MAX: usize = 4096;

/// A server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    Pldns,
    Unbound,
    Dnsdist,
    Nsd,
    Knot,
}

/// A server that runs, with its ports for connections.
pub(crate) struct Server {
    pub(crate) running: Running,
    pub(crate) tls: u16,
    pub(crate) https: u16,
    // Its files live as long as it does.
    _scratch: Scratch,
}

/// What a configuration is written of.
struct Setup {
    scratch: Scratch,
    dns: u16,
    tls: u16,
    https: u16,
    upstream: u16,
    records: u32,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Pldns, Self::Unbound, Self::Dnsdist, Self::Nsd, Self::Knot];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pldns => "pldns",
            Self::Unbound => "Unbound",
            Self::Dnsdist => "dnsdist",
            Self::Nsd => "NSD",
            Self::Knot => "Knot",
        }
    }

    /// Whether it forwards and has encrypted listeners here.
    pub(crate) fn forwards(self) -> bool {
        matches!(self, Self::Pldns | Self::Unbound | Self::Dnsdist)
    }

    /// Whether it has records of its own.
    pub(crate) fn has_records(self) -> bool {
        self != Self::Dnsdist
    }

    /// Its program, where it is installed.
    fn program(self) -> Option<PathBuf> {
        match self {
            Self::Pldns => {
                Some(std::env::var_os("PLDNS").map_or_else(|| env!("CARGO_BIN_EXE_pldns").into(), PathBuf::from))
            }
            Self::Unbound => find_program("unbound"),
            Self::Dnsdist => find_program("dnsdist"),
            Self::Nsd => find_program("nsd"),
            Self::Knot => find_program("knotd"),
        }
    }

    pub(crate) fn is_installed(self) -> bool {
        self.program().is_some()
    }

    /// Starts it with so many records and waits for its first answer.
    pub(crate) fn start(self, upstream: u16, records: u32) -> Result<Server, String> {
        let scratch = Scratch::new(&format!("memory-{}", self.name()));
        let setup = Setup { scratch, dns: free_port(), tls: free_port(), https: free_port(), upstream, records };
        let mut command = Command::new(self.program().ok_or("not installed")?);
        match self {
            Self::Pldns => command.arg("serve").arg("-c").arg(setup.pldns()?),
            Self::Unbound => command.arg("-d").arg("-c").arg(setup.unbound()?),
            Self::Dnsdist => command.args(["--supervised", "--disable-syslog", "-C"]).arg(setup.dnsdist()?),
            Self::Nsd => command.arg("-d").arg("-c").arg(setup.nsd()),
            Self::Knot => command.arg("-c").arg(setup.knot()),
        };
        let log = setup.scratch.path().join("log");
        let running = Running::start(command, setup.dns, RECORD, &log)?;
        Ok(Server { running, tls: setup.tls, https: setup.https, _scratch: setup.scratch })
    }
}

impl Setup {
    /// Each record as a line.
    fn lines(&self, line: impl Fn(&mut String, &str, std::net::Ipv4Addr)) -> String {
        let mut text = String::new();
        for number in 0..self.records {
            let label = format!("r{number}");
            line(&mut text, &format!("{label}.{ZONE}"), address_of(&label));
        }
        text
    }

    /// The files of a certificate, its own authority, and of its key.
    fn certificate(&self) -> Result<(String, String), String> {
        let params = CertificateParams::new(vec![NAME.to_owned()]).map_err(|error| error.to_string())?;
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let chain = params.self_signed(&key).map_err(|error| error.to_string())?.pem();
        Ok((self.scratch.write("chain.pem", &chain), self.scratch.write("key.pem", &key.serialize_pem())))
    }

    fn pldns(&self) -> Result<String, String> {
        let records = self.lines(|text, name, address| {
            let _ = writeln!(text, "[[record]]\nname = \"{name}\"\ntype = \"A\"\ndata = \"{address}\"");
        });
        self.scratch.write("records.toml", &records);
        self.certificate()?;
        let Self { dns, tls, https, upstream, .. } = self;
        let text = format!(
            "[listen]\ndns = [\"127.0.0.1:{dns}\"]\ntls = [\"127.0.0.1:{tls}\"]\nhttps = [\"127.0.0.1:{https}\"]\nadmin = \"\"\n\
             connections = {CONNECTIONS_MAX}\n[process]\nworkers = 1\n[tls]\ncertificate = \"chain.pem\"\nprivate_key = \"key.pem\"\n\
             [records]\nfiles = [\"records.toml\"]\n[[forward]]\nzone = \".\"\nupstreams = [\"127.0.0.1:{upstream}\"]\n"
        );
        Ok(self.scratch.write("pldns.toml", &text))
    }

    fn unbound(&self) -> Result<String, String> {
        let records = self.lines(|text, name, address| {
            let _ = writeln!(text, " local-data: \"{name}. 60 A {address}\"");
        });
        let (chain, key) = self.certificate()?;
        let Self { dns, tls, https, upstream, .. } = self;
        let directory = self.scratch.path().display();
        let text = format!(
            "server:\n interface: 127.0.0.1@{dns}\n interface: 127.0.0.1@{tls}\n interface: 127.0.0.1@{https}\n port: {dns}\n tls-port: {tls}\n \
             https-port: {https}\n tls-service-pem: \"{chain}\"\n tls-service-key: \"{key}\"\n incoming-num-tcp: {CONNECTIONS_MAX}\n tcp-idle-timeout: 120000\n \
             do-daemonize: no\n username: \"\"\n chroot: \"\"\n directory: \"{directory}\"\n pidfile: \"\"\n use-syslog: no\n verbosity: 0\n \
             do-not-query-localhost: no\n module-config: \"iterator\"\n num-threads: 1\n outgoing-range: 8192\n num-queries-per-thread: 4096\n \
             msg-cache-size: 128m\n rrset-cache-size: 256m\n local-zone: \"{ZONE}.\" static\n{records}\
             forward-zone:\n name: \".\"\n forward-addr: 127.0.0.1@{upstream}\nremote-control:\n control-enable: no\n"
        );
        Ok(self.scratch.write("unbound.conf", &text))
    }

    fn dnsdist(&self) -> Result<String, String> {
        let (chain, key) = self.certificate()?;
        let Self { dns, tls, https, upstream, .. } = self;
        let text = format!(
            "setLocal('127.0.0.1:{dns}')\naddTLSLocal('127.0.0.1:{tls}', '{chain}', '{key}')\n\
             addDOHLocal('127.0.0.1:{https}', '{chain}', '{key}', '/dns-query')\nsetMaxTCPClientThreads(1)\nsetTCPRecvTimeout(60)\n\
             addAction('r0.{ZONE}.', SpoofAction('10.0.0.1'))\n\
             setMaxUDPOutstanding(65535)\nlocal s = newServer({{address='127.0.0.1:{upstream}', sockets=4}})\ns:setUp()\n\
             getPool(''):setCache(newPacketCache(200000, {{maxTTL=86400}}))\n"
        );
        Ok(self.scratch.write("dnsdist.conf", &text))
    }

    fn zone_file(&self) -> String {
        let mut text =
            format!("$ORIGIN {ZONE}.\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n");
        text += &self.lines(|text, name, address| {
            let _ = writeln!(text, "{name}. A {address}");
        });
        self.scratch.write("zone", &text)
    }

    fn nsd(&self) -> String {
        let (port, zone, directory) = (self.dns, self.zone_file(), self.scratch.path().display());
        self.scratch.write(
            "nsd.conf",
            &format!(
                "server:\n ip-address: 127.0.0.1@{port}\n server-count: 1\n username: \"\"\n zonesdir: \"{directory}\"\n database: \"\"\n pidfile: \"\"\n \
                 xfrdfile: \"{directory}/xfrd.state\"\n xfrdir: \"{directory}\"\n zonelistfile: \"{directory}/zone.list\"\n rrl-ratelimit: 0\n\
                 remote-control:\n control-enable: no\nzone:\n name: {ZONE}\n zonefile: \"{zone}\"\n"
            ),
        )
    }

    fn knot(&self) -> String {
        let (port, zone, directory) = (self.dns, self.zone_file(), self.scratch.path().display());
        self.scratch.write(
            "knot.conf",
            &format!(
                "server:\n  rundir: \"{directory}\"\n  listen: 127.0.0.1@{port}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
                 database:\n  storage: \"{directory}\"\n\
                 zone:\n  - domain: {ZONE}\n    file: \"{zone}\"\n    zonefile-load: whole\n    zonefile-sync: -1\n    journal-content: none\n"
            ),
        )
    }
}
