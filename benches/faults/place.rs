//! Where a row is measured: in network namespaces of its own, or, where there can be none, on loopback.
//!
//! The benchmark runs each row in a process of its own, which `unshare` has given a network namespace. Clients and upstreams
//! are in that one; the server is in a second one. Two pairs of interfaces lead from one to the other.

use std::ffi::OsStr;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::find_program;

const OUTSIDE: &str = "link set lo up
link add clients0 type veth peer name clients netns SERVER
link add upstream0 type veth peer name upstream netns SERVER
addr add 10.53.1.2/24 dev clients0
addr add 10.53.1.9/24 dev clients0
addr add 10.53.1.10/24 dev clients0
addr add 10.53.1.11/24 dev clients0
addr add 10.53.1.12/24 dev clients0
addr add 10.53.1.13/24 dev clients0
addr add 10.53.1.14/24 dev clients0
addr add 10.53.1.15/24 dev clients0
addr add 10.53.1.16/24 dev clients0
addr add 10.53.1.17/24 dev clients0
addr add 10.53.0.2/24 dev upstream0
addr add 10.53.0.3/24 dev upstream0
addr add 10.53.0.9/24 dev upstream0
addr add fd00:53::2/64 dev upstream0 nodad
link set clients0 up
link set upstream0 up
";

const INSIDE: &str = "link set lo up
addr add 10.53.1.1/24 dev clients
addr add 10.53.0.1/24 dev upstream
addr add fd00:53::1/64 dev upstream nodad
link set clients up
link set upstream up
";

/// How long a namespace may take.
const SOON: Duration = Duration::from_secs(5);

/// Where a row is measured.
pub(crate) enum Place {
    /// The process that holds the server's namespace; it ends with its input.
    Network(Child),
    Loopback,
}

/// The command that runs this program in namespaces of its own, or why there can be none.
pub(crate) fn namespace() -> Result<Vec<String>, String> {
    for tool in ["unshare", "nsenter", "ip"] {
        if find_program(tool).is_none() {
            return Err(format!("{tool} is not installed"));
        }
    }
    let ways = [&["unshare", "--net"][..], &["unshare", "--user", "--map-root-user", "--net"]];
    let works = |way: &&&[&str]| {
        let mut command = Command::new(tool(way[0]));
        command.args(&way[1..]).args(["--", "unshare", "--net", "--", "ip", "link", "set", "lo", "up"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let way = ways.iter().find(works).ok_or("the kernel gives this user no network namespace")?;
    Ok(way.iter().map(|word| (*word).to_owned()).chain(["--".to_owned()]).collect())
}

impl Place {
    /// Two namespaces of which this process is in the first.
    pub(crate) fn network() -> Result<Self, String> {
        let mut command = Command::new(tool("unshare"));
        command.args(["--net", "--", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let holder = command.spawn().map_err(|error| format!("unshare: {error}"))?;
        let pid = holder.id();
        let place = Self::Network(holder);
        let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let end = Instant::now() + SOON;
        while of(&pid.to_string()) == of("self") {
            if Instant::now() > end {
                return Err("no second network namespace".to_owned());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        batch(Command::new(tool("ip")), &OUTSIDE.replace("SERVER", &pid.to_string()))?;
        place.ip(INSIDE)?;
        Ok(place)
    }

    fn is_network(&self) -> bool {
        matches!(self, Self::Network(_))
    }

    fn ipv4(&self, network: [u8; 2], loopback: u8) -> IpAddr {
        let [third, last] = network;
        let address =
            if self.is_network() { Ipv4Addr::new(10, 53, third, last) } else { Ipv4Addr::new(127, 0, 0, loopback) };
        IpAddr::V4(address)
    }

    pub(crate) fn server(&self) -> IpAddr {
        self.ipv4([1, 1], 1)
    }

    pub(crate) fn client(&self) -> IpAddr {
        self.ipv4([1, 2], 1)
    }

    /// A client that floods.
    pub(crate) fn other_client(&self) -> IpAddr {
        self.ipv4([1, 9], 9)
    }

    /// Eight more clients.
    pub(crate) fn reader(&self, number: usize) -> IpAddr {
        let last = 10 + (number % 8) as u8;
        self.ipv4([1, last], last)
    }

    pub(crate) fn upstream(&self) -> IpAddr {
        self.ipv4([0, 2], 1)
    }

    pub(crate) fn second_upstream(&self) -> IpAddr {
        self.ipv4([0, 3], 1)
    }

    pub(crate) fn ipv6_upstream(&self) -> IpAddr {
        let address = Ipv6Addr::new(0xfd00, 0x53, 0, 0, 0, 0, 0, 2);
        IpAddr::V6(if self.is_network() { address } else { Ipv6Addr::LOCALHOST })
    }

    /// An address that is no upstream's.
    pub(crate) fn elsewhere(&self) -> IpAddr {
        self.ipv4([0, 9], 9)
    }

    /// What runs a program where the server is.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Network(holder) => {
                let mut command = Command::new(tool("nsenter"));
                command.arg(format!("--net=/proc/{}/ns/net", holder.id())).arg("--").arg(program);
                command
            }
            Self::Loopback => Command::new(program),
        }
    }

    /// Lines for `ip` where the server is.
    pub(crate) fn ip(&self, lines: &str) -> Result<(), String> {
        batch(self.command(tool("ip")), lines)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Network(holder) = self {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

/// A program of the system, which may be where PATH does not lead.
fn tool(name: &str) -> PathBuf {
    find_program(name).unwrap_or_else(|| PathBuf::from(name))
}

/// Gives `ip` its lines.
fn batch(mut ip: Command, lines: &str) -> Result<(), String> {
    ip.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = ip.spawn().map_err(|error| format!("ip: {error}"))?;
    let written = child.stdin.take().is_some_and(|mut stdin| stdin.write_all(lines.as_bytes()).is_ok());
    let output = child.wait_with_output().map_err(|error| format!("ip: {error}"))?;
    if written && output.status.success() {
        Ok(())
    } else {
        Err(format!("ip: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}
