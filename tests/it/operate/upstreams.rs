//! What the log says of upstreams: the look at the start, and that one is down or back.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::server::{Server, ask, client, query};

const A: u16 = 1;
const SOA: u16 = 6;

/// An upstream without TCP that answers queries of one type for names that end so, while it is willing.
fn upstream(suffix: &'static str, rtype: u16, is_willing: Arc<AtomicBool>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut bytes = [0; 1500];
        while let Ok((len, peer)) = socket.recv_from(&mut bytes) {
            let end = 12 + bytes[12..len].iter().position(|byte| *byte == 0).unwrap();
            let name = bytes[12..end].to_ascii_lowercase();
            let is_asked = name.ends_with(suffix.as_bytes()) && bytes[end + 1..end + 3] == rtype.to_be_bytes();
            if !is_asked || !is_willing.load(Ordering::Relaxed) {
                continue;
            }
            let count = u8::from(rtype == A);
            let mut reply = [&bytes[..2], &[0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0], &bytes[12..end + 5]].concat();
            if rtype == A {
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
            }
            let _ = socket.send_to(&reply, peer);
        }
    });
    address
}

fn willing(is_willing: bool) -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(is_willing))
}

#[test]
fn the_look_at_the_start_asks_for_a_zone_of_the_rule_and_warns_of_what_never_answered() {
    // A server for internal zones knows no root, one that is picky no SOA, and one is dead.
    let corporate = upstream("corp", SOA, willing(true));
    let picky = upstream("picky", A, willing(true));
    let dead = upstream("", A, willing(false));
    let rule = |zone: &str, upstream| format!("[[forward]]\nzone = \"{zone}\"\nupstreams = [\"{upstream}\"]\n");
    let mut server = Server::start(&(rule("corp", corporate) + &rule("picky", picky) + &rule("dead", dead)));
    assert_eq!(ask(server.dns, "a.picky"), Some([192, 0, 2, 1]));
    let told = server.wait_for("upstream does not respond");
    assert_eq!((&told["upstream"], &told["level"]), (&dead.to_string().into(), &"WARN".into()));
    server.signal(15);
    assert!(server.wait_exit().success());
    let of = |upstream: SocketAddr| {
        let events = server.events().into_iter().filter(move |event| event["upstream"] == upstream.to_string());
        events.map(|event| event["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(of(corporate).iter().all(|said| said.starts_with("upstream responds over UDP but not TCP")));
    assert_eq!(of(corporate).len(), 1);
    assert_eq!(of(picky), Vec::<String>::new());
}

#[test]
fn that_an_upstream_is_down_and_that_it_is_back_is_logged_once() {
    let is_willing = willing(false);
    let address = upstream("example", A, is_willing.clone());
    let mut server = Server::start(&format!("[[forward]]\nzone = \".\"\nupstreams = [\"{address}\"]\n"));
    let client = client(server.dns);
    for number in 0..6 {
        client.send(&query(number, &format!("n{number}.example"))).unwrap();
    }
    let down = server.wait_for("upstream does not respond");
    assert_eq!((&down["upstream"], &down["level"]), (&address.to_string().into(), &"WARN".into()));
    is_willing.store(true, Ordering::Relaxed);
    client.send(&query(7, "new.example")).unwrap();
    let back = server.wait_for("upstream responds again");
    assert_eq!((&back["upstream"], &back["level"]), (&address.to_string().into(), &"INFO".into()));
    let said = |message: &str| server.events().iter().filter(|event| event["message"] == message).count();
    assert_eq!((said("upstream does not respond"), said("upstream responds again")), (1, 1));
    server.stop();
}
