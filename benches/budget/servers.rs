//! The servers under test, each configured by somebody who knows it: large caches, stale answers, prefetching, as many
//! outgoing queries as it can be given, no validation.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use crate::process::find_program;
use crate::scratch::Scratch;

/// A server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Server {
    Pldns,
    Unbound,
    Bind,
    Dnsmasq,
    Dnsdist,
}

impl Server {
    pub(crate) const ALL: [Self; 5] = [Self::Pldns, Self::Unbound, Self::Bind, Self::Dnsmasq, Self::Dnsdist];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pldns => "pldns",
            Self::Unbound => "unbound",
            Self::Bind => "bind",
            Self::Dnsmasq => "dnsmasq",
            Self::Dnsdist => "dnsdist",
        }
    }

    /// Where its program is, if it is installed.
    pub(crate) fn program(self) -> Option<PathBuf> {
        match self {
            Self::Pldns => {
                Some(std::env::var_os("PLDNS").map_or_else(|| env!("CARGO_BIN_EXE_pldns").into(), PathBuf::from))
            }
            Self::Bind => find_program("named"),
            _ => find_program(self.name()),
        }
    }

    /// What starts it on `port`, forwarding to `upstream`.
    pub(crate) fn command(self, scratch: &Scratch, port: u16, upstream: SocketAddr) -> Option<Command> {
        let mut command = Command::new(self.program()?);
        let upstream_port = upstream.port();
        let directory = scratch.path().display();
        match self {
            Self::Pldns => {
                let text = format!(
                    "[listen]\ndns = [\"127.0.0.1:{port}\"]\nadmin = \"\"\n[[forward]]\nzone = \".\"\nupstreams = [\"{upstream}\"]\n\
                     [[upstream]]\naddress = \"{upstream}\"\nqueries_per_second = 950\npending = 180\n"
                );
                command.arg("serve").arg("-c").arg(scratch.write("pldns.toml", &text));
            }
            Self::Unbound => {
                let text = format!(
                    "server:\n interface: 127.0.0.1\n port: {port}\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n directory: \"{directory}\"\n pidfile: \"\"\n \
                     use-syslog: no\n verbosity: 0\n access-control: 127.0.0.0/8 allow\n do-not-query-localhost: no\n module-config: \"iterator\"\n \
                     num-threads: 2\n so-reuseport: yes\n so-rcvbuf: 0\n outgoing-range: 8192\n num-queries-per-thread: 4096\n jostle-timeout: 5000\n \
                     msg-cache-size: 128m\n rrset-cache-size: 256m\n prefetch: yes\n serve-expired: yes\n serve-expired-ttl: 86400\n \
                     serve-expired-client-timeout: 0\n infra-keep-probing: yes\n delay-close: 10000\n edns-buffer-size: 1232\n \
                     local-zone: \"example.\" nodefault\nforward-zone:\n name: \".\"\n forward-addr: 127.0.0.1@{upstream_port}\nremote-control:\n control-enable: no\n"
                );
                command.arg("-d").arg("-c").arg(scratch.write("unbound.conf", &text));
            }
            Self::Bind => {
                let text = format!(
                    "options {{ directory \"{directory}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none; session-keyfile none;\n \
                     recursion yes; allow-query {{ any; }}; allow-recursion {{ any; }}; forward only; forwarders {{ 127.0.0.1 port {upstream_port}; }};\n \
                     dnssec-validation no; empty-zones-enable no; max-cache-size 256m; recursive-clients 20000; clients-per-query 0; max-clients-per-query 0;\n \
                     prefetch 10 60; stale-cache-enable yes; stale-answer-enable yes; max-stale-ttl 86400; stale-answer-client-timeout 0;\n \
                     stale-refresh-time 30; resolver-query-timeout 10000; edns-udp-size 1232; }};\ncontrols {{ }};\nlogging {{ category default {{ null; }}; }};\n"
                );
                command.arg("-f").arg("-c").arg(scratch.write("named.conf", &text));
            }
            Self::Dnsmasq => {
                command.args([
                    "--keep-in-foreground",
                    "--conf-file=/dev/null",
                    "--no-resolv",
                    "--no-hosts",
                    "--bind-interfaces",
                ]);
                command.args(["--listen-address=127.0.0.1", "--pid-file=", "--user=root", "--log-facility=/dev/null"]);
                command.args([
                    "--cache-size=100000",
                    "--dns-forward-max=10000",
                    "--use-stale-cache=86400",
                    "--edns-packet-max=1232",
                ]);
                command.arg(format!("--port={port}")).arg(format!("--server=127.0.0.1#{upstream_port}"));
            }
            Self::Dnsdist => {
                let text = format!(
                    "setLocal('127.0.0.1:{port}', {{reusePort=true}})\naddLocal('127.0.0.1:{port}', {{reusePort=true}})\nsetACL('127.0.0.0/8')\n\
                     setMaxUDPOutstanding(65535)\nsetUDPTimeout(5)\nsetStaleCacheEntriesTTL(86400)\n\
                     newServer({{address='127.0.0.1:{upstream_port}', sockets=16, checkName='n0.z0.contoso.example.', checkInterval=1, maxCheckFailures=3}})\n\
                     pc = newPacketCache(200000, {{maxTTL=86400, staleTTL=10, numberOfShards=20}})\ngetPool(''):setCache(pc)\n"
                );
                command.args(["--supervised", "--disable-syslog", "-C"]).arg(scratch.write("dnsdist.conf", &text));
            }
        }
        Some(command)
    }
}
