//! Clients that want the server to themselves: who pays for a flood of connections, and what an outsider is told.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::server::{SOON, Server, query};
use super::tls_client;

/// A connection from an address of loopback.
fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(IpAddr::from(from), 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// The reply to a question for a.example over a connection; nothing where it is closed.
fn ask(mut stream: &TcpStream) -> Option<Vec<u8>> {
    tls_client::ask(&mut stream, &query(1, "a.example")).ok()
}

fn is_open(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    stream.read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

fn metric(server: &Server, line: &str) -> u64 {
    let page = server.get("admin", "/metrics").body;
    let value = page.lines().find_map(|known| known.strip_prefix(line)).unwrap_or_else(|| panic!("{line} in {page}"));
    value.trim().parse::<f64>().unwrap() as u64
}

const FEW: &str = "[listen]\ndns = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\nhealth = \"127.0.0.1:0\"\ndrain = \"0s\"\n\
                   connections = 64\n[access]\nallow = [\"127.0.0.1/32\", \"127.0.2.0/24\"]\n";

#[test]
fn connections_of_clients_that_are_not_allowed_take_no_place() {
    let server = Server::start(FEW);
    let strangers: Vec<_> = (0..300).map(|number| connect([127, 0, 1, number as u8], server.dns)).collect();
    let stranger = connect([127, 0, 3, 1], server.dns);
    assert_eq!(ask(&stranger).map(|reply| reply[3] & 15), Some(5), "REFUSED, once");
    assert_eq!((&stranger).read(&mut [0]).unwrap(), 0, "and then it is closed");
    let honest = connect([127, 0, 0, 1], server.dns);
    assert_eq!(ask(&honest).map(|reply| reply[3] & 15), Some(0));
    assert!(metric(&server, "pldns_connections_refused_total{reason=\"not_allowed\"}") > 300);
    drop(strangers);
    server.stop();
}

#[test]
fn whoever_holds_most_connections_loses_one_to_a_newcomer() {
    let server = Server::start(FEW);
    let flood: Vec<_> = (0..64).map(|number| connect([127, 0, 2, number], server.dns)).collect();
    // The last of them is answered, so all were taken in.
    let end = Instant::now() + SOON;
    while metric(&server, "pldns_connections ") < 64 {
        assert!(Instant::now() < end, "the flood is not complete");
    }
    let honest = connect([127, 0, 0, 1], server.dns);
    assert_eq!(ask(&honest).map(|reply| reply[3] & 15), Some(0));
    assert_eq!(metric(&server, "pldns_connections_refused_total{reason=\"replaced\"}"), 1);
    assert_eq!((&flood[0]).read(&mut [0]).unwrap(), 0, "the oldest of the largest network went");
    drop(flood);
    drop(honest);
    server.stop();
}

#[test]
fn the_health_listener_answers_in_a_flood_of_it() {
    let server = Server::start("");
    let health = server.address("health");
    // More than there are places for, which say nothing.
    let flood: Vec<_> = (0..200).map(|number| connect([127, 0, 1, number], health)).collect();
    for path in ["/healthz", "/readyz"] {
        let mut probe = connect([127, 0, 0, 1], health);
        write!(probe, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut status = [0; 12];
        probe.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
    }
    // Not because the flood had ended by itself.
    assert!(flood.iter().filter(|stream| is_open(stream)).count() > 100);
    drop(flood);
    server.stop();
}

#[test]
fn outsiders_see_states_and_counts_and_no_texts() {
    let mut server = Server::start("");
    server.dir.write("records/secret.toml", "[[record]]\nname = \"b.example\"\ntype = \"A\"\ndata = \"x\"\n");
    server.wait_for("reload rejected");
    let (open, own) = (server.get("health", "/readyz"), server.get("admin", "/readyz"));
    assert_eq!((open.status, own.status), (200, 200));
    assert!(own.body.contains("secret.toml") && own.json()["upstreams"].is_array(), "{own:?}");
    assert!(!open.body.contains("secret"), "{open:?}");
    let open = open.json();
    assert_eq!(open["reload"]["state"], "rejected");
    assert_eq!(open["reload"]["problem_count"], 1);
    assert!(open["reload"].get("problems").is_none(), "{open}");
    assert!(open["upstreams"]["up"].is_u64() && open["upstreams"]["down"].is_u64(), "{open}");
    server.stop();
}

#[test]
fn sigint_ends_without_the_drain_time_and_counts_what_is_left() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    silent.set_read_timeout(Some(SOON)).unwrap();
    let forward = format!("[[forward]]\nzone = \".\"\nupstreams = [\"{}\"]\n", silent.local_addr().unwrap());
    let listen = "[listen]\ndns = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\nhealth = \"\"\ndrain = \"1h\"\n";
    let mut server = Server::start(&(listen.to_owned() + &forward));
    let client = super::server::client(server.dns);
    for id in 0..3 {
        client.send(&query(id, "waits.example")).unwrap();
    }
    let end = Instant::now() + SOON;
    while metric(&server, "pldns_queries_received_total{transport=\"udp\"}") < 3 {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(10));
    }
    server.signal(2);
    let stopped = server.wait_for("stopped");
    assert!(server.wait_exit().success());
    let count = |name: &str| stopped[name].as_u64().unwrap();
    assert_eq!((count("received"), count("dropped"), count("left")), (3, 3, 3), "{stopped}");
    assert_eq!(stopped["by_name"], "shutdown=3");
}
