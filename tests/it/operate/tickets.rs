//! Sessions that are resumed: by the server that made them, and with keys of a file by every server that has it.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use data_encoding::BASE64;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};

use super::server::{RECORDS, Scratch, Server, query, settings};
use super::tls_client::{Pair, ask, connect};

const LISTEN: &str = "[listen]\ndns = [\"127.0.0.1:0\"]\ntls = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]\n\
                      admin = \"127.0.0.1:0\"\ndrain = \"0s\"\n";
const TLS: &str = "[tls]\ncertificate = \"chain.pem\"\nprivate_key = \"key.pem\"\n";

fn key(byte: u8) -> String {
    BASE64.encode(&[byte; 32]) + "\n"
}

/// A server with these ticket keys, and all of them with one certificate.
fn start(pair: &Pair, keys: Option<&str>) -> Server {
    let dir = Arc::new(Scratch::new());
    dir.write("records/r.toml", RECORDS);
    pair.write(&dir);
    let named = keys.map_or("", |_| "ticket_keys = \"tickets\"\n");
    if let Some(keys) = keys {
        write_keys(&dir, keys);
    }
    dir.write("pldns.toml", &settings(&format!("{LISTEN}{TLS}{named}")));
    Server::start_in(dir, |_| {})
}

fn write_keys(dir: &Scratch, keys: &str) {
    dir.write("tickets", keys);
    std::fs::set_permissions(dir.path().join("tickets"), PermissionsExt::from_mode(0o640)).unwrap();
}

/// A client that has no session yet.
fn client(pair: &Pair, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&pair.client(&[b"dot"], &[version]));
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}

/// Asks by a new connection; whether that took a session up.
fn is_resumed(to: SocketAddr, config: &Arc<ClientConfig>) -> bool {
    let mut stream = connect(to, config).unwrap();
    // What follows the handshake, tickets among it, is read with the answer.
    assert!(ask(&mut stream, &query(1, "a.example")).unwrap().ends_with(&[10, 0, 0, 1]));
    stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
}

#[test]
fn servers_with_the_same_file_resume_each_others_sessions() {
    let pair = Pair::new(2090);
    let same = [1, 1].map(|byte| start(&pair, Some(&key(byte))));
    let (other, own) = (start(&pair, Some(&key(2))), start(&pair, None));
    let [first, second, other, own] = [&same[0], &same[1], &other, &own].map(|server| server.address("tls"));
    for version in [&TLS12, &TLS13] {
        let begin = |at: SocketAddr| {
            let config = client(&pair, version);
            assert!(!is_resumed(at, &config), "it has no session yet");
            config
        };
        for (made, used, resumes) in [
            (first, first, true),
            (first, second, true),
            (second, first, true),
            (first, other, false),
            (first, own, false),
            (own, first, false),
            (own, own, true),
        ] {
            assert_eq!(is_resumed(used, &begin(made)), resumes, "{version:?}: {made} {used}");
        }
    }
}

#[test]
fn keys_are_rotated_by_a_reload() {
    let pair = Pair::new(2090);
    let (mut server, old) = (start(&pair, Some(&key(1))), start(&pair, Some(&key(1))));
    let (address, of_old) = (server.address("tls"), old.address("tls"));
    let session = || {
        let config = client(&pair, &TLS13);
        assert!(!is_resumed(of_old, &config));
        config
    };
    assert!(is_resumed(address, &session()));
    write_keys(&server.dir, &format!("# The new one, and the one before\n{}{}", key(2), key(1)));
    server.wait_for("reloaded");
    assert!(is_resumed(address, &session()), "what was sealed before is opened on");
    let of_new = client(&pair, &TLS13);
    assert!(!is_resumed(address, &of_new));
    assert!(!is_resumed(of_old, &of_new), "it seals with the new one");
    // A broken file keeps the keys before it, and says so.
    write_keys(&server.dir, "c2hvcnQ=\n");
    server.wait_for("reloaded");
    assert!(is_resumed(address, &session()));
    let ready = server.get("admin", "/readyz").json();
    let problems = ready["reload"]["problems"].to_string();
    assert!(problems.contains("line 1 has 5 bytes in Base64; a key must have 32"), "{ready}");
    write_keys(&server.dir, &key(2));
    server.wait_for("reloaded");
    assert!(!is_resumed(address, &session()), "the old one is gone");
}

#[test]
fn check_finds_what_is_wrong_with_the_file() {
    let (dir, pair) = (Scratch::new(), Pair::new(2090));
    dir.write("records/r.toml", RECORDS);
    pair.write(&dir);
    dir.write("pldns.toml", &settings(&format!("{LISTEN}{TLS}ticket_keys = \"tickets\"\n")));
    let check = || {
        let output =
            Command::new(env!("CARGO_BIN_EXE_pldns")).args(["check", "-c"]).arg(dir.path().join("pldns.toml")).output();
        let output = output.unwrap();
        let said = String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
        (output.status.success(), said)
    };
    let (well, said) = check();
    assert!(!well && said.contains(":10:15: error: \"tickets\" cannot be read: "), "{said}");
    write_keys(&dir, &format!("# today's\n{}\nc2hvcnQ=\n", key(1)));
    let (well, said) = check();
    assert!(
        !well && said.contains(":10:15: error: \"tickets\" line 4 has 5 bytes in Base64; a key must have 32"),
        "{said}"
    );
    assert!(!said.contains("c2hvcnQ"), "it is secret: {said}");
    write_keys(&dir, &key(1));
    let (well, said) = check();
    assert!(well && !said.contains("tickets"), "{said}");
    std::fs::set_permissions(dir.path().join("tickets"), PermissionsExt::from_mode(0o644)).unwrap();
    let (well, said) = check();
    assert!(well && said.contains("warning: \"tickets\" may be read or written by everybody"), "{said}");
}
