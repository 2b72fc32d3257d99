//! The servers under test, each a caching forwarder with some records: stale answers, many outgoing queries, no validation.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use crate::admin;
use crate::dnsmasq;
use crate::fault::{Act, Datagrams, Fault, Transport};
use crate::load::{KNOWN, table_name};
use crate::place::Place;
use crate::process::find_program;
use crate::scratch::Scratch;
use crate::tls::{Certificates, NAME};
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
    pub(crate) fault: &'s Fault,
    pub(crate) place: &'s Place,
    pub(crate) scratch: &'s Scratch,
    pub(crate) address: SocketAddr,
    /// Where operators find it.
    pub(crate) admin: SocketAddr,
    pub(crate) upstreams: &'s [SocketAddr],
    /// A file that the process writes its number to before it begins: its control group's.
    pub(crate) group: Option<PathBuf>,
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

    /// What starts it; writes its files, whose records have this TTL.
    pub(crate) fn command(self, setup: &Setup<'_>, ttl: u32) -> Option<Command> {
        let program = self.program()?;
        let mut command = match &setup.group {
            Some(group) => {
                let mut command = setup.place.command("sh");
                command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(group).arg(program);
                command
            }
            None => setup.place.command(program),
        };
        match self {
            Self::Pldns => command.arg("serve").arg("-c").arg(setup.pldns(ttl)),
            Self::Unbound => command.arg("-d").arg("-c").arg(setup.unbound(ttl)),
            Self::Dnsdist => command.args(["--supervised", "--disable-syslog", "-C"]).arg(setup.dnsdist()),
            Self::Dnsmasq => command.args(setup.dnsmasq(ttl)),
        };
        Some(command)
    }
}

impl Setup<'_> {
    /// Each record as a line, those of a large table after those that are asked for.
    fn records(&self, line: impl Fn(&mut String, &str, std::net::Ipv4Addr)) -> String {
        let more = if let Act::Reloads(count) = self.fault.act { count } else { 0 };
        let mut text = String::new();
        for name in (0..KNOWN).map(table_name).chain((0..more).map(|number| format!("x{number}.table.test"))) {
            line(&mut text, &name, right(&name));
        }
        text
    }

    fn logs_queries(&self) -> bool {
        matches!(self.fault.act, Act::Log(_, true))
    }

    /// The authority of upstreams by TLS, as a file.
    fn authority(&self) -> Option<String> {
        (self.fault.transport != Transport::Datagrams)
            .then(|| self.scratch.write("ca.pem", &Certificates::shared().authority))
    }

    fn pldns(&self, ttl: u32) -> String {
        let records = self.records(|text, name, address| {
            let _ =
                writeln!(text, "[[record]]\nname = \"{name}\"\ntype = \"A\"\ndata = \"{address}\"\nttl = \"{ttl}s\"");
        });
        self.scratch.write("records.toml", &records);
        self.scratch.write("token", admin::TOKEN);
        let is_tls = self.authority().is_some();
        let form = |upstream: &SocketAddr| {
            if is_tls { format!("\"tls://{upstream}#{NAME}\"") } else { format!("\"{upstream}\"") }
        };
        let upstreams: Vec<String> = self.upstreams.iter().map(form).collect();
        let mut text = format!(
            "[listen]\ndns = [\"{}\"]\nadmin = \"{}\"\ndrain = \"0s\"\n[admin]\ntoken_file = \"token\"\n\
             [records]\nfiles = [\"records.toml\"]\nwatch = \"0s\"\n[[forward]]\nzone = \".\"\nupstreams = [{}]\n",
            self.address,
            self.admin,
            upstreams.join(", ")
        );
        if is_tls {
            text.push_str("[tls]\nupstream_ca = \"ca.pem\"\n");
        }
        if self.logs_queries() {
            text.push_str("[log]\nqueries = \"1/1\"\n");
        }
        if self.fault.act == Act::Restarts {
            let _ = writeln!(text, "[process]\nhandover = \"{}/run.sock\"", self.scratch.path().display());
        }
        for upstream in self.upstreams.iter().filter(|_| self.fault.datagrams == Datagrams::Limited) {
            let _ = writeln!(text, "[[upstream]]\naddress = \"{upstream}\"\nqueries_per_second = 950\npending = 180");
        }
        self.scratch.write("pldns.toml", &text)
    }

    fn unbound(&self, ttl: u32) -> String {
        let records = self.records(|text, name, address| {
            let _ = writeln!(text, " local-data: \"{name}. {ttl} A {address}\"");
        });
        let mut text = format!(
            "server:\n interface: {}\n port: {}\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n \
             directory: \"{}\"\n pidfile: \"\"\n use-syslog: no\n logfile: \"\"\n verbosity: 0\n log-queries: {}\n \
             access-control: 127.0.0.0/8 allow\n access-control: 10.0.0.0/8 allow\n \
             do-not-query-localhost: no\n module-config: \"iterator\"\n \
             num-threads: 2\n so-reuseport: yes\n outgoing-range: 8192\n num-queries-per-thread: 4096\n \
             incoming-num-tcp: 1000\n serve-expired: yes\n serve-expired-client-timeout: 1800\n \
             infra-keep-probing: yes\n edns-buffer-size: 1232\n local-zone: \"test.\" nodefault\n \
             local-zone: \"table.test.\" static\n",
            self.address.ip(),
            self.address.port(),
            self.scratch.path().display(),
            if self.logs_queries() { "yes" } else { "no" },
        );
        let authority = self.authority();
        if let Some(authority) = &authority {
            let _ = writeln!(text, " tls-cert-bundle: \"{authority}\"");
        }
        let _ = writeln!(text, "{records}forward-zone:\n name: \".\"");
        for upstream in self.upstreams {
            let _ = write!(text, " forward-addr: {}@{}", upstream.ip(), upstream.port());
            text.push_str(if authority.is_some() { "#dns.example\n forward-tls-upstream: yes\n" } else { "\n" });
        }
        text.push_str("remote-control:\n control-enable: no\n");
        self.scratch.write("unbound.conf", &text)
    }

    fn dnsdist(&self) -> String {
        let mut text = format!(
            "setLocal('{}', {{reusePort=true}})\nsetACL({{'127.0.0.0/8', '10.0.0.0/8'}})\nsetUDPTimeout(5)\n",
            self.address
        );
        let tls = self.authority().map_or_else(String::new, |authority| {
            format!(", tls='openssl', subjectName='{NAME}', caStore='{authority}', validateCertificates=true")
        });
        for upstream in self.upstreams {
            let _ =
                writeln!(text, "newServer({{address='{upstream}', sockets=16, checkName='probe.known.test.'{tls}}})");
        }
        if self.logs_queries() {
            text.push_str("addAction(AllRule(), LogAction('', false, true, false, false))\n");
        }
        text.push_str("pc = newPacketCache(200000, {maxTTL=86400, staleTTL=10})\ngetPool(''):setCache(pc)\n");
        self.scratch.write("dnsdist.conf", &text)
    }

    fn dnsmasq(&self, ttl: u32) -> Vec<String> {
        let hosts = self.records(|text, name, address| {
            let _ = writeln!(text, "{address} {name}");
        });
        let hosts = self.scratch.write("hosts", &hosts);
        let mut arguments = dnsmasq::arguments(self.address.port(), self.upstreams);
        arguments
            .retain(|argument| !argument.starts_with("--listen-address") && !argument.starts_with("--log-facility"));
        arguments.extend(["--use-stale-cache=86400", "--local=/table.test/"].map(str::to_owned));
        arguments.push(format!("--listen-address={}", self.address.ip()));
        arguments.push(format!("--local-ttl={ttl}"));
        arguments.push(format!("--addn-hosts={hosts}"));
        arguments.push(format!("--log-facility={}", if self.logs_queries() { "-" } else { "/dev/null" }));
        arguments.extend(self.logs_queries().then(|| "--log-queries".to_owned()));
        arguments
    }
}
