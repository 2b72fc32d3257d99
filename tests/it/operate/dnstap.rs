//! dnstap: what a collector gets, and that nothing waits for one.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hickory_proto::op::{Message, ResponseCode};

use super::server::{RECORDS, SOON, Scratch, Server, ask, client, query, settings};

const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";

/// A server with these settings of dnstap.
fn start(dir: &Arc<Scratch>, dnstap: &str) -> Server {
    dir.write("records/r.toml", RECORDS);
    dir.write("pldns.toml", &settings(&format!("[dnstap]\n{dnstap}\n")));
    Server::start_in(dir.clone(), |_| {})
}

/// Control frames as Frame Streams has them.
fn control(kind: u32) -> Vec<u8> {
    let mut body = kind.to_be_bytes().to_vec();
    if kind != 5 {
        body.extend_from_slice(&1u32.to_be_bytes());
        body.extend_from_slice(&(CONTENT_TYPE.len() as u32).to_be_bytes());
        body.extend_from_slice(CONTENT_TYPE);
    }
    [&[0; 4][..], &(body.len() as u32).to_be_bytes(), &body].concat()
}

/// A frame: a control frame's kind, or data.
#[derive(Debug)]
enum Frame {
    Control(u32),
    Data(Vec<u8>),
}

/// The next frame; `None` at the end.
fn frame(from: &mut impl Read) -> Option<Frame> {
    let number = |from: &mut dyn Read| {
        let mut bytes = [0; 4];
        from.read_exact(&mut bytes).ok()?;
        Some(u32::from_be_bytes(bytes) as usize)
    };
    let len = number(from)?;
    let is_control = len == 0;
    let len = if is_control { number(from)? } else { len };
    let mut bytes = vec![0; len];
    from.read_exact(&mut bytes).ok()?;
    if !is_control {
        return Some(Frame::Data(bytes));
    }
    let kind = u32::from_be_bytes(bytes[..4].try_into().unwrap());
    if kind != 3 {
        assert!(bytes.ends_with(CONTENT_TYPE), "{bytes:?}");
    }
    Some(Frame::Control(kind))
}

/// The fields of a message of Protocol Buffers: numbers, and bytes.
#[derive(Debug, Default)]
struct Fields {
    numbers: HashMap<u64, u64>,
    bytes: HashMap<u64, Vec<u8>>,
}

impl Fields {
    fn read(mut rest: &[u8]) -> Self {
        fn varint(rest: &mut &[u8]) -> u64 {
            let (mut value, mut shift) = (0, 0);
            loop {
                let (&byte, after) = rest.split_first().unwrap();
                *rest = after;
                value |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    return value;
                }
            }
        }
        let mut fields = Self::default();
        while !rest.is_empty() {
            let key = varint(&mut rest);
            let before = match key & 7 {
                0 => fields.numbers.insert(key >> 3, varint(&mut rest)).is_some(),
                5 => {
                    let (bytes, after) = rest.split_first_chunk::<4>().unwrap();
                    rest = after;
                    fields.numbers.insert(key >> 3, u32::from_le_bytes(*bytes).into()).is_some()
                }
                2 => {
                    let len = varint(&mut rest) as usize;
                    let (bytes, after) = rest.split_at(len);
                    rest = after;
                    fields.bytes.insert(key >> 3, bytes.to_vec()).is_some()
                }
                kind => panic!("kind {kind} of field {}", key >> 3),
            };
            assert!(!before, "a field twice");
        }
        fields
    }

    fn text(&self, field: u64) -> String {
        String::from_utf8(self.bytes[&field].clone()).unwrap()
    }
}

/// A message of dnstap: the outer fields, the message's, query and response.
struct Tapped {
    outer: Fields,
    message: Fields,
    query: Message,
    reply: Option<Message>,
}

impl Tapped {
    fn read(data: &[u8]) -> Self {
        let outer = Fields::read(data);
        assert_eq!(outer.numbers[&15], 1, "a message");
        let message = Fields::read(&outer.bytes[&14]);
        let query = Message::from_vec(&message.bytes[&10]).unwrap();
        let reply = message.bytes.get(&14).map(|reply| Message::from_vec(reply).unwrap());
        Self { outer, message, query, reply }
    }

    fn name(&self) -> String {
        self.query.queries[0].name().to_string()
    }

    /// When the query came and when its response went.
    fn times(&self) -> [SystemTime; 2] {
        let number = |field: u64| self.message.numbers[&field];
        [[8, 9], [12, 13]].map(|[seconds, nanoseconds]| {
            SystemTime::UNIX_EPOCH + Duration::new(number(seconds), u32::try_from(number(nanoseconds)).unwrap())
        })
    }
}

/// Asks over TCP.
fn ask_tcp(server: &Server, name: &str) {
    let mut stream = TcpStream::connect(server.dns).unwrap();
    let message = query(9, name);
    stream.write_all(&[&(message.len() as u16).to_be_bytes()[..], &message].concat()).unwrap();
    let mut len = [0; 2];
    stream.read_exact(&mut len).unwrap();
    stream.read_exact(&mut vec![0; u16::from_be_bytes(len).into()]).unwrap();
}

fn lost_and_sent(server: &Server) -> [u64; 2] {
    let metrics = server.get("admin", "/metrics").body;
    ["dropped", "sent"].map(|word| {
        let begin = format!("pldns_dnstap_messages_total{{outcome=\"{word}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&*begin)?.parse().ok()).unwrap_or_else(|| panic!("{metrics}"))
    })
}

/// Accepts a server and shakes hands.
fn accept(listener: &UnixListener) -> UnixStream {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    assert!(matches!(frame(&mut stream), Some(Frame::Control(4))), "READY");
    stream.write_all(&control(1)).unwrap();
    assert!(matches!(frame(&mut stream), Some(Frame::Control(2))), "START");
    stream
}

fn data(stream: &mut UnixStream) -> Tapped {
    match frame(stream) {
        Some(Frame::Data(data)) => Tapped::read(&data),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_collector_gets_every_query_with_its_response_and_the_end() {
    let dir = Arc::new(Scratch::new());
    let listener = UnixListener::bind(dir.path().join("tap.sock")).unwrap();
    let before = SystemTime::now();
    let server = start(&dir, "socket = \"tap.sock\"\nidentity = \"ns1\"");
    let mut stream = accept(&listener);
    assert!(ask(server.dns, "A.Example").is_some());
    let record = data(&mut stream);
    assert_eq!((record.outer.text(1), record.outer.text(3)), ("ns1".to_owned(), "record".to_owned()));
    assert!(record.outer.text(2).starts_with("pldns "), "{}", record.outer.text(2));
    let number = |field: u64| record.message.numbers[&field];
    assert_eq!((number(1), number(2), number(3)), (6, 1, 1), "CLIENT_RESPONSE, INET, UDP");
    assert_eq!(record.message.bytes[&4], [127, 0, 0, 1]);
    assert_eq!((record.name(), record.query.metadata.id), ("A.Example.".to_owned(), 7));
    let reply = record.reply.as_ref().unwrap();
    assert_eq!((reply.metadata.id, reply.metadata.response_code), (7, ResponseCode::NoError));
    assert_eq!(reply.answers[0].data.to_string(), "10.0.0.1");
    let [came, went] = record.times();
    assert!(before <= came && came <= went && went <= SystemTime::now(), "{came:?} {went:?}");

    ask_tcp(&server, "a.example");
    let over_tcp = data(&mut stream);
    assert_eq!((over_tcp.message.numbers[&3], over_tcp.query.metadata.id), (2, 9));
    // The upstream refuses: SERVFAIL, and what became of it.
    ask(server.dns, "elsewhere.test");
    let failed = data(&mut stream);
    assert_eq!((failed.outer.text(3), failed.name()), ("failure".to_owned(), "elsewhere.test.".to_owned()));
    assert_eq!(failed.reply.unwrap().metadata.response_code, ResponseCode::ServFail);
    // Counted a moment after they were written.
    let deadline = Instant::now() + SOON;
    while lost_and_sent(&server) != [0, 3] {
        assert!(Instant::now() < deadline, "{:?}", lost_and_sent(&server));
    }

    // The end: STOP, which is acknowledged.
    let end = std::thread::spawn(move || {
        assert!(matches!(frame(&mut stream), Some(Frame::Control(3))), "STOP");
        stream.write_all(&control(5)).unwrap();
        assert!(frame(&mut stream).is_none());
    });
    server.stop();
    end.join().unwrap();
}

#[test]
fn a_file_has_a_share_of_the_queries() {
    let dir = Arc::new(Scratch::new());
    let server = start(&dir, "file = \"tap.fstrm\"\nsample = \"1/10\"");
    let socket = client(server.dns);
    let mut bytes = [0; 512];
    for id in 0..200 {
        socket.send(&query(id, "a.example")).unwrap();
        socket.recv(&mut bytes).unwrap();
    }
    server.stop();
    let mut file = std::fs::File::open(dir.path().join("tap.fstrm")).unwrap();
    let frames: Vec<_> = std::iter::from_fn(|| frame(&mut file)).collect();
    assert!(matches!(frames[0], Frame::Control(2)) && matches!(frames[frames.len() - 1], Frame::Control(3)));
    let tapped = frames.iter().filter_map(|frame| match frame {
        Frame::Data(data) => Some(Tapped::read(data)),
        Frame::Control(_) => None,
    });
    // One worker answers this socket, or each has its own count.
    let names: Vec<_> = tapped.map(|tapped| tapped.name()).collect();
    assert!((19..=21).contains(&names.len()), "{}", names.len());
    assert!(names.iter().all(|name| name == "a.example."));
}

#[test]
fn without_a_collector_and_with_one_that_does_not_read_queries_are_answered_and_messages_counted_as_lost() {
    let dir = Arc::new(Scratch::new());
    let server = start(&dir, "socket = \"tap.sock\"");
    let until_lost = |more: u64| {
        let end = Instant::now() + SOON;
        while lost_and_sent(&server)[0] < more {
            assert!(ask(server.dns, "a.example").is_some());
            assert!(Instant::now() < end, "{:?}", lost_and_sent(&server));
        }
    };
    until_lost(1);
    let said = || {
        let events = server.events();
        let messages = events.iter().filter_map(|event| event["message"].as_str());
        messages.filter(|said| said.starts_with("cannot write dnstap")).count()
    };
    let end = Instant::now() + SOON;
    while said() == 0 {
        assert!(Instant::now() < end, "{:#?}", server.events());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(said(), 1, "said once");
    // It comes later: from then on it gets them.
    let listener = UnixListener::bind(dir.path().join("tap.sock")).unwrap();
    let mut stream = accept(&listener);
    assert!(ask(server.dns, "a.example").is_some());
    assert_eq!(data(&mut stream).name(), "a.example.");
    // It reads nothing any more: its buffer, then the queue are full, and still each query is answered.
    let (socket, mut bytes) = (client(server.dns), [0; 512]);
    let lost = lost_and_sent(&server)[0];
    let end = Instant::now() + SOON * 3;
    while lost_and_sent(&server)[0] == lost {
        for id in 0..2000 {
            socket.send(&query(id, "a.example")).unwrap();
            socket.recv(&mut bytes).unwrap();
        }
        assert!(Instant::now() < end, "{:?}", lost_and_sent(&server));
    }
    server.stop();
}

#[test]
fn what_is_wrong_in_the_settings_is_told() {
    let dir = Arc::new(Scratch::new());
    dir.write("records/r.toml", RECORDS);
    for (dnstap, expected) in [
        ("socket = \"a\"\nfile = \"b\"", "`socket` and `file` exclude each other"),
        ("sample = \"10\"", "`sample` must be a fraction"),
        (&format!("identity = \"{}\"", "x".repeat(256)), "`identity` is 256 bytes long (maximum 255)"),
        ("sockets = \"a\"", "did you mean `socket`?"),
    ] {
        dir.write("pldns.toml", &settings(&format!("[dnstap]\n{dnstap}\n")));
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pldns"));
        let output = command.args(["check", "-c"]).arg(dir.path().join("pldns.toml")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(expected), "{expected}: {said}");
    }
}
