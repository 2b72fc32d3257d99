//! A fake Azure DNS: UDP and TCP on one port of 127.0.0.1, scripted per name and type, every query written down.
//!
//! It answers as 168.63.129.16 was seen to: an OPT record of size 1224 where the query had one, the client's cookie
//! echoed, owner names compressed against the question. A [`Play`] is what happens to one query: any number of
//! messages, each with its delay, so that lies can come before the truth. Names that no script knows get NXDOMAIN.

mod answer;
mod script;

pub(crate) use answer::Answer;
pub(crate) use script::{Play, Script};

use super::dns::{self, Message, Question};
use script::Delivery;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// One query as it arrived.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) transport: Transport,
    pub(crate) source: SocketAddr,
    pub(crate) message: Message,
}

impl Seen {
    pub(crate) fn question(&self) -> &Question {
        &self.message.questions[0]
    }

    pub(crate) fn id(&self) -> u16 {
        self.message.id
    }

    /// The EDNS options, none where there is no OPT record.
    pub(crate) fn options(&self) -> &[(u16, Vec<u8>)] {
        self.message.opt.as_ref().map_or(&[], |opt| &opt.options)
    }
}

/// What happens to a query that no script is for; nothing where the usual happens.
type Otherwise = Arc<dyn Fn(&Question) -> Option<Play> + Send + Sync>;

#[derive(Default)]
struct State {
    scripts: HashMap<(Vec<u8>, Option<u16>), Script>,
    otherwise: Option<Otherwise>,
    seen: Vec<Seen>,
    /// How often each question came by each transport.
    counts: HashMap<(Vec<u8>, u16, Transport), usize>,
}

struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
    silent: AtomicBool,
    stopped: AtomicBool,
    udp: UdpSocket,
    elsewhere: UdpSocket,
}

pub(crate) struct FakeAzureDns {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl FakeAzureDns {
    pub(crate) fn start() -> Self {
        let (udp, tcp) = one_port(Ipv4Addr::LOCALHOST.into());
        Self::run(udp, Some(tcp))
    }

    /// On ::1, where the machine has it.
    pub(crate) fn start_on_ipv6() -> Option<Self> {
        let ip = IpAddr::V6(Ipv6Addr::LOCALHOST);
        UdpSocket::bind((ip, 0)).ok()?;
        let (udp, tcp) = one_port(ip);
        Some(Self::run(udp, Some(tcp)))
    }

    /// Nobody listens on TCP: connections are refused.
    pub(crate) fn start_without_tcp() -> Self {
        let (udp, tcp) = one_port(Ipv4Addr::LOCALHOST.into());
        drop(tcp);
        Self::run(udp, None)
    }

    fn run(udp: UdpSocket, tcp: Option<TcpListener>) -> Self {
        let address = udp.local_addr().unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            arrived: Condvar::new(),
            silent: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            elsewhere: UdpSocket::bind((address.ip(), 0)).unwrap(),
            udp,
        });
        let for_udp = Arc::clone(&shared);
        thread::spawn(move || serve_udp(&for_udp));
        if let Some(listener) = tcp {
            let for_tcp = Arc::clone(&shared);
            thread::spawn(move || serve_tcp(&for_tcp, &listener));
        }
        Self { shared, address }
    }

    /// Where it listens, as a rule's upstream is written.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The settings of one rule that leads here.
    pub(crate) fn rule(&self, zone: &str) -> String {
        format!("[[forward]]\nzone = \"{zone}\"\nupstreams = [\"{}\"]\n", self.address)
    }

    /// Scripts `name TYPE`, or `name *` for every type that has no script of its own.
    pub(crate) fn on(&self, question: &str, script: Script) -> &Self {
        let (name, kind) = question.split_once(' ').expect("name TYPE");
        let kind = (kind != "*").then(|| dns::rtype(kind));
        self.state().scripts.insert((dns::name(name).to_ascii_lowercase(), kind), script);
        self
    }

    pub(crate) fn answer(&self, question: &str, lines: &[&str]) -> &Self {
        self.on(question, Script::udp([Play::answers(lines)]))
    }

    /// Gives `name TYPE` one answer on both transports.
    pub(crate) fn gives(&self, question: &str, answer: Answer) -> &Self {
        self.on(question, Script::udp([Play::of(answer)]))
    }

    /// Scripts every question that has no script of its own by its name in lower case, but the look at the start (NS of the root, SOA
    /// of a zone).
    pub(crate) fn otherwise(&self, play: impl Fn(&str) -> Play + Send + Sync + 'static) -> &Self {
        let otherwise =
            move |asked: &Question| (!is_look(asked)).then(|| play(&dns::show_name(&asked.name.to_ascii_lowercase())));
        self.state().otherwise = Some(Arc::new(otherwise));
        self
    }

    /// How many queries came so far, but for the look at the start.
    pub(crate) fn asked(&self) -> usize {
        self.state().seen.iter().filter(|seen| !is_look(seen.question())).count()
    }

    /// Reads and writes down, but says nothing any more, or speaks again.
    pub(crate) fn be_silent(&self, silent: bool) {
        self.shared.silent.store(silent, Ordering::SeqCst);
    }

    /// The queries for `name TYPE` so far (`name *`: any type).
    pub(crate) fn seen(&self, question: &str) -> Vec<Seen> {
        let (name, kind) = question.split_once(' ').expect("name TYPE");
        let name = dns::name(name);
        self.state()
            .seen
            .iter()
            .filter(|seen| {
                let asked = seen.question();
                asked.name.eq_ignore_ascii_case(&name) && (kind == "*" || asked.qtype == dns::rtype(kind))
            })
            .cloned()
            .collect()
    }

    /// Waits until `name TYPE` was asked `count` times.
    pub(crate) fn wait_for(&self, question: &str, count: usize) -> Vec<Seen> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let seen = self.seen(question);
            if seen.len() >= count {
                return seen;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "upstream was asked {question} {} times, not {count}", seen.len());
            let step = left.min(Duration::from_millis(50));
            drop(self.shared.arrived.wait_timeout(self.state(), step).unwrap());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FakeAzureDns {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Both threads wait in the kernel: one packet and one connection let them see the flag.
        let _ = self.shared.elsewhere.send_to(&[], self.address);
        drop(TcpStream::connect(self.address));
    }
}

/// Whether the server asks this itself, when it starts.
fn is_look(asked: &Question) -> bool {
    asked.name == [0] || asked.qtype == dns::rtype("SOA")
}

/// A UDP socket and a TCP listener on one free port.
fn one_port(ip: IpAddr) -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let tcp = TcpListener::bind((ip, 0)).unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
    panic!("no port free for both transports");
}

/// An address where nobody listens; UDP to it is answered by an ICMP error at once.
pub(crate) fn dead_address() -> SocketAddr {
    let (udp, _tcp) = one_port(Ipv4Addr::LOCALHOST.into());
    udp.local_addr().unwrap()
}

impl Shared {
    /// Writes the query down and finds what happens to it.
    fn heard(&self, bytes: &[u8], source: SocketAddr, transport: Transport) -> Option<(Seen, Play)> {
        let message = Message::parse(bytes).ok().filter(|m| m.questions.len() == 1)?;
        let seen = Seen { at: Instant::now(), transport, source, message };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let question = seen.question();
        let name = question.name.to_ascii_lowercase();
        let counted = state.counts.entry((name.clone(), question.qtype, transport)).or_insert(0);
        let index = *counted;
        *counted += 1;
        let script = state
            .scripts
            .get(&(name.clone(), Some(question.qtype)))
            .or_else(|| state.scripts.get(&(name.clone(), None)));
        let usual = || Play::of(Answer::negative(if name == [0] { "NOERROR" } else { "NXDOMAIN" }, "."));
        let otherwise = || state.otherwise.as_ref()?(question);
        let play = script.map(|script| script.play(transport, index)).or_else(otherwise).unwrap_or_else(usual);
        state.seen.push(seen.clone());
        drop(state);
        self.arrived.notify_all();
        (!self.silent.load(Ordering::SeqCst)).then_some((seen, play))
    }
}

fn serve_udp(shared: &Arc<Shared>) {
    let mut buffer = [0; 65_535];
    while let Ok((length, source)) = shared.udp.recv_from(&mut buffer) {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Some((seen, play)) = shared.heard(&buffer[..length], source, Transport::Udp) else {
            continue;
        };
        if play.steps.iter().all(|step| step.after.is_zero()) {
            play_udp(shared, &seen, &play);
        } else {
            let shared = Arc::clone(shared);
            thread::spawn(move || play_udp(&shared, &seen, &play));
        }
    }
}

fn play_udp(shared: &Shared, seen: &Seen, play: &Play) {
    for step in &play.steps {
        thread::sleep(step.after);
        let socket = if step.elsewhere { &shared.elsewhere } else { &shared.udp };
        let _ = socket.send_to(&step.answer.bytes(seen), seen.source);
    }
}

fn serve_tcp(shared: &Arc<Shared>, listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || serve_connection(&shared, stream));
    }
}

fn serve_connection(shared: &Arc<Shared>, mut stream: TcpStream) {
    let Ok(source) = stream.peer_addr() else {
        return;
    };
    let writer = Arc::new(Mutex::new(stream.try_clone().unwrap()));
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut bytes).is_err() {
            return;
        }
        let Some((seen, play)) = shared.heard(&bytes, source, Transport::Tcp) else {
            continue;
        };
        let writer = Arc::clone(&writer);
        thread::spawn(move || play_tcp(&writer, &seen, &play));
    }
}

fn play_tcp(writer: &Mutex<TcpStream>, seen: &Seen, play: &Play) {
    for step in &play.steps {
        thread::sleep(step.after);
        let message = step.answer.bytes(seen);
        let framed = [&(message.len() as u16).to_be_bytes()[..], &message].concat();
        let mut stream = writer.lock().unwrap();
        let _ = match play.delivery {
            Delivery::Whole | Delivery::Closed => stream.write_all(&framed),
            Delivery::ByteByByte => framed.iter().try_for_each(|byte| {
                thread::sleep(Duration::from_millis(2));
                stream.write_all(&[*byte])
            }),
            Delivery::ClosedInTheMiddle => stream.write_all(&framed[..framed.len() / 2]),
        };
    }
    if matches!(play.delivery, Delivery::Closed | Delivery::ClosedInTheMiddle) {
        let _ = writer.lock().unwrap().shutdown(std::net::Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::super::ask::Query;
    use super::{Answer, FakeAzureDns, Play, Script, Transport};
    use std::time::Duration;

    #[test]
    fn it_answers_as_scripted_and_writes_down() {
        let fake = FakeAzureDns::start();
        fake.answer("acct.example A", &["acct.example 300 IN CNAME b.example", "b.example 60 IN A 192.0.2.1"]);
        let got = Query::new("Acct.example A").option(10, &[1; 8]).ask_at(fake.address());
        got.rcode("NOERROR").answers(&["acct.example 300 IN CNAME b.example", "b.example 60 IN A 192.0.2.1"]);
        assert_eq!(got.opt().size, 1224);
        assert_eq!(got.opt().options, [(10, vec![1; 8])]);
        let seen = fake.wait_for("acct.example A", 1);
        assert_eq!(seen[0].transport, Transport::Udp);
        Query::new("nobody.example A").ask_at(fake.address()).rcode("NXDOMAIN");
    }

    #[test]
    fn plays_follow_each_other_and_tcp_has_its_own() {
        let fake = FakeAzureDns::start();
        let truth = ["x.example 300 IN A 192.0.2.1"];
        let script = Script::udp([Play::silence(), Play::answers(&truth)])
            .tcp([Play::answers(&truth).byte_by_byte(), Play::closed()]);
        fake.on("x.example *", script);
        let udp = Query::new("x.example A").timeout(Duration::from_millis(200));
        assert!(udp.try_ask_at(fake.address()).is_none(), "the first play is silence");
        udp.ask_at(fake.address()).answers(&truth);
        Query::new("x.example A").tcp().ask_at(fake.address()).answers(&truth);
        assert!(Query::new("x.example A").tcp().try_ask_at(fake.address()).is_none(), "closed");
    }

    #[test]
    fn lies_are_lies() {
        let fake = FakeAzureDns::start();
        let truth = Answer::of(&["x.example 300 IN A 192.0.2.1"]);
        let query = Query::new("x.example A");
        for lie in
            [truth.clone().wrong_id(), truth.clone().wrong_case(), truth.clone().wrong_question(), truth.clone().cut(3)]
        {
            fake.gives("x.example A", lie);
            let bytes = query.send_at(fake.address()).expect("some answer");
            assert!(query.check(&bytes).is_err(), "not seen to be a lie: {bytes:02x?}");
        }
    }
}
