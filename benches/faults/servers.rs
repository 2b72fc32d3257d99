//! The servers under test, each a caching forwarder to one upstream: stale answers, many outgoing queries, no validation.

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
    Dnsdist,
}

impl Server {
    pub(crate) const ALL: [Self; 3] = [Self::Pldns, Self::Unbound, Self::Dnsdist];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pldns => "pldns",
            Self::Unbound => "unbound",
            Self::Dnsdist => "dnsdist",
        }
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

    /// What starts it on `port`, forwarding to `upstream`.
    pub(crate) fn command(self, scratch: &Scratch, port: u16, upstream: SocketAddr) -> Option<Command> {
        let mut command = Command::new(self.program()?);
        let (directory, upstream_port) = (scratch.path().display(), upstream.port());
        match self {
            Self::Pldns => {
                let text = format!(
                    "[listen]\ndns = [\"127.0.0.1:{port}\"]\nadmin = \"\"\n[[forward]]\nzone = \".\"\nupstreams = [\"{upstream}\"]\n"
                );
                command.arg("serve").arg("-c").arg(scratch.write("pldns.toml", &text));
            }
            Self::Unbound => {
                let text = format!(
                    "server:\n interface: 127.0.0.1\n port: {port}\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n \
                     directory: \"{directory}\"\n pidfile: \"\"\n use-syslog: no\n verbosity: 0\n \
                     access-control: 127.0.0.0/8 allow\n do-not-query-localhost: no\n module-config: \"iterator\"\n \
                     num-threads: 2\n so-reuseport: yes\n outgoing-range: 8192\n num-queries-per-thread: 4096\n \
                     serve-expired: yes\n serve-expired-client-timeout: 1800\n infra-keep-probing: yes\n \
                     edns-buffer-size: 1232\n local-zone: \"test.\" nodefault\nforward-zone:\n name: \".\"\n \
                     forward-addr: 127.0.0.1@{upstream_port}\nremote-control:\n control-enable: no\n"
                );
                command.arg("-d").arg("-c").arg(scratch.write("unbound.conf", &text));
            }
            Self::Dnsdist => {
                let text = format!(
                    "setLocal('127.0.0.1:{port}')\nsetACL('127.0.0.0/8')\nsetUDPTimeout(5)\n\
                     newServer({{address='127.0.0.1:{upstream_port}', sockets=16, checkName='probe.known.test.'}})\n\
                     pc = newPacketCache(200000, {{maxTTL=86400, staleTTL=10}})\ngetPool(''):setCache(pc)\n"
                );
                command.args(["--supervised", "--disable-syslog", "-C"]).arg(scratch.write("dnsdist.conf", &text));
            }
        }
        Some(command)
    }
}
