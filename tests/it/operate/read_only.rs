//! Port 53 without being root, on a root file system that nobody can write.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::namespace;
use super::server::{RECORDS, SOON, Scratch, Server, ask, ask_until, request, settings};

/// What the inner test says when it has its first answer.
const FIRST: &str = "first answer";
/// Capability 10.
const NET_BIND_SERVICE: u64 = 1 << 10;

/// Makes every mount read-only.
const PREPARE: &str = r#"
mount --make-rprivate /
for place in $(cut -d' ' -f2 /proc/self/mounts | sort -ru); do
    mount -o remount,bind,ro "$place" 2>/dev/null || true
done
"#;

/// Becomes nobody, with the one capability.
const NOBODY: [&str; 7] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=-all,+net_bind_service",
    "--ambient-caps=-all,+net_bind_service",
    "--bounding-set=-all,+net_bind_service",
];

#[test]
fn port_53_as_nobody_on_a_read_only_root() {
    if let Some(place) = namespace::place() {
        return inside(place);
    }
    let dir = Scratch::new();
    dir.write("records/r.toml", RECORDS);
    let listen = "[listen]\ndns = [\"127.0.0.1:53\"]\nadmin = \"\"\nhealth = \"127.0.0.1:80\"\ndrain = \"0s\"\n";
    dir.write("pldns.toml", &settings(listen));
    // Where nobody can reach it.
    fs::copy(env!("CARGO_BIN_EXE_pldns"), dir.path().join("pldns")).unwrap();
    namespace::run("operate::read_only::port_53_as_nobody_on_a_read_only_root", &dir, PREPARE, |line| {
        if line.contains(FIRST) {
            // Out here it can be written.
            dir.write("records/r.toml", &RECORDS.replace("10.0.0.1", "10.0.0.2"));
        }
    });
}

fn inside(place: PathBuf) {
    for path in [&place, Path::new("/tmp"), Path::new("/var"), Path::new("/")] {
        let written = fs::write(path.join("written"), "");
        assert!(written.is_err_and(|error| error.kind() == std::io::ErrorKind::ReadOnlyFilesystem), "{path:?}");
    }
    let program = place.join("pldns");
    let dir = Arc::new(Scratch::at(place));
    let mut server = Server::start_in(dir, |command| {
        let mut nobody = Command::new(NOBODY[0]);
        nobody.args(&NOBODY[1..]).arg(&program).args(command.get_args());
        *command = nobody;
    });
    let dns = SocketAddr::from(([127, 0, 0, 1], 53));
    assert_eq!(server.dns, dns);
    assert_eq!(ask(dns, "a.example"), Some([10, 0, 0, 1]));
    assert!(TcpStream::connect_timeout(&dns, SOON).is_ok());
    assert_eq!(request(server.address("health"), "GET", "/readyz", &[]).status, 200);
    let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert!(field("Uid:").split_whitespace().all(|id| id == "65534"), "{status}");
    for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
        assert_eq!(u64::from_str_radix(&field(set), 16).unwrap(), NET_BIND_SERVICE, "{set} {status}");
    }
    println!("{FIRST}");
    server.wait_for("reloaded");
    ask_until(dns, "a.example", [10, 0, 0, 2]);
    server.stop();
}
