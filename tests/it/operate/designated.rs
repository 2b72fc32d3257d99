//! Discovery of Designated Resolvers (RFC 9462): clients that ask port 53 find the encrypted listeners.

use std::sync::Arc;

use super::server::{RECORDS, Scratch, Server, named_port, query, settings};
use super::tls_client::Pair;

/// The reply to a question of a type by UDP.
fn ask(server: &Server, name: &str, rtype: u16) -> Vec<u8> {
    let mut message = query(1, name);
    let end = message.len();
    message[end - 3] = u8::try_from(rtype).unwrap();
    let socket = super::server::client(server.dns);
    socket.send(&message).unwrap();
    let mut bytes = [0; 1500];
    let len = socket.recv(&mut bytes).unwrap();
    bytes[..len].to_vec()
}

/// The data of a record of SVCB: priority, target, parameters in the order of their keys.
fn svcb(priority: u8, parameters: &[(u8, &[u8])]) -> Vec<u8> {
    let mut data = vec![0, priority];
    data.extend_from_slice(b"\x03dns\x07example\0");
    for (key, value) in parameters {
        data.extend_from_slice(&[0, *key, 0, value.len() as u8]);
        data.extend_from_slice(value);
    }
    data
}

fn start([tls, https, quic]: [u16; 3], more: &str) -> Server {
    let dir = Arc::new(Scratch::new());
    dir.write("records/r.toml", RECORDS);
    Pair::new(2090).write(&dir);
    let listen = format!(
        "[listen]\ndns = [\"127.0.0.1:0\"]\ntls = [\"127.0.0.1:{tls}\"]\nhttps = [\"0.0.0.0:{https}\"]\n\
         quic = [\"127.0.0.1:{quic}\"]\nadmin = \"127.0.0.1:0\"\ndrain = \"0s\"\n[tls]\ncertificate = \"chain.pem\"\nprivate_key = \"key.pem\"\n{more}"
    );
    dir.write("pldns.toml", &settings(&listen));
    Server::start_in(dir, |_| {})
}

const SVCB: u16 = 64;

#[test]
fn clients_are_told_of_the_listeners_by_the_name_of_the_settings() {
    let ports = [(); 3].map(|()| named_port());
    let server = start(ports, "name = \"dns.example\"\n");
    let [tls, https, quic] = ports.map(u16::to_be_bytes);
    let first = svcb(1, &[(1, b"\x03dot"), (3, &tls), (4, &[127, 0, 0, 1])]);
    let second = svcb(2, &[(1, b"\x02h2"), (3, &https), (7, b"/dns-query{?dns}")]);
    let third = svcb(3, &[(1, b"\x03doq"), (3, &quic), (4, &[127, 0, 0, 1])]);
    for name in ["_dns.resolver.arpa", "_dns.dns.example", "_DNS.Resolver.ARPA"] {
        let reply = ask(&server, name, SVCB);
        assert_eq!((reply[3] & 15, reply[7]), (0, 3), "{name}");
        for data in [&first, &second, &third] {
            assert!(reply.windows(data.len()).any(|window| window == *data), "{name}: {reply:?}");
        }
    }
    for (name, rtype) in [("_dns.resolver.arpa", 1), ("x._dns.resolver.arpa", SVCB), ("resolver.arpa", SVCB)] {
        let reply = ask(&server, name, rtype);
        assert_eq!((reply[3] & 15, reply[7], reply[9]), (0, 0, 1), "{name}: no data, and a record that says so");
    }
    server.stop();
}

#[test]
fn without_a_name_nobody_is_told_and_nothing_is_forwarded() {
    let server = start([(); 3].map(|()| named_port()), "");
    let reply = ask(&server, "_dns.resolver.arpa", SVCB);
    assert_eq!((reply[3] & 15, reply[7], reply[9]), (0, 0, 1));
    server.stop();
}
