//! The simulator is a measuring instrument: what it must do is checked here, `--self-test`.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::azure::{Azure, Limiter, Verdict};
use crate::clients::{Clients, Group, Outcome, Stream};
use crate::dns::{A, Seen, address_of, query};
use crate::figures::percentile;
use crate::names::{BenchName, Kind, facts};
use crate::scenario::{Picker, Scenario};

/// Runs every check; panics where one fails.
pub(crate) fn run() {
    let checks: [(&str, fn()); 7] = [
        ("rate limit", rate_limit),
        ("pending limit", pending_limit),
        ("names", names),
        ("answers", answers),
        ("silence", silence),
        ("clients' patience", patience),
        ("shares and percentiles", shares),
    ];
    for (name, check) in checks {
        check();
        println!("{name}: well");
    }
}

fn rate_limit() {
    let start = Instant::now();
    let mut limiter = Limiter::default();
    let mut taken = 0;
    for micros in (0..3_000_000).step_by(500) {
        if limiter.query(start + Duration::from_micros(micros)) == Verdict::Taken {
            taken += 1;
            limiter.answered();
        }
    }
    assert_eq!(taken, 3000, "2,000 a second were asked, 1,000 taken");
}

fn pending_limit() {
    let now = Instant::now();
    let mut limiter = Limiter::default();
    let verdicts: Vec<Verdict> = (0..201).map(|_| limiter.query(now)).collect();
    assert!(verdicts[..200].iter().all(|verdict| *verdict == Verdict::Taken));
    assert_eq!(verdicts[200], Verdict::OverPending);
    limiter.answered();
    assert_eq!(limiter.query(now), Verdict::Taken);
}

fn names() {
    let private = BenchName { kind: Kind::Known, number: 13 };
    let text = private.text();
    let known = facts(&text);
    let [(target, 300)] = &known.aliases[..] else { panic!("{text} is one alias: {known:?}") };
    assert_eq!(known.address, Some((private.address(), 10)));
    assert_eq!(facts(target), crate::names::Facts { is_slow: false, aliases: Vec::new(), address: known.address });
    assert_eq!(facts("www.elsewhere.test").address, None);
    assert!(facts(&BenchName { kind: Kind::Slow, number: 1 }.text()).is_slow);
    assert_ne!(address_of("n1"), address_of("n2"));
}

fn client(azure: &Azure) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
    socket.connect(azure.address).expect("loopback can be reached");
    socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a time limit can be set");
    socket
}

fn ask(socket: &UdpSocket, name: &str) -> Option<Seen> {
    socket.send(&query(7, name, A)).ok()?;
    let mut buffer = [0; 1500];
    let len = socket.recv(&mut buffer).ok()?;
    Seen::parse(&buffer[..len])
}

fn answers() {
    let azure = Azure::start().expect("the simulated Azure DNS starts");
    azure.reset(Instant::now());
    azure.limit();
    let socket = client(&azure);
    let name = BenchName { kind: Kind::Known, number: 13 };
    let begin = Instant::now();
    let seen = ask(&socket, &name.text()).expect("an answer");
    let took = begin.elapsed();
    assert_eq!((seen.rcode, seen.address), (0, Some(name.address())));
    assert!((Duration::from_millis(2)..Duration::from_millis(100)).contains(&took), "{took:?}");
    assert_eq!(ask(&socket, "elsewhere.test").expect("an answer").address, None::<Ipv4Addr>);
    assert_eq!(ask(&socket, "s1.slow.example"), None, "a slow name is not answered at once");
    let tally = azure.read();
    assert_eq!((tally.answered, tally.seconds.iter().sum::<u32>()), (2, 3));
}

fn silence() {
    let azure = Azure::start().expect("the simulated Azure DNS starts");
    azure.reset(Instant::now());
    azure.limit();
    let socket = client(&azure);
    for number in 0..1500 {
        let _ = socket.send(&query(number, &format!("s{number}.slow.example"), A));
    }
    std::thread::sleep(Duration::from_millis(200));
    let tally = azure.read();
    assert!(tally.over_pending >= 1000, "{tally:?}");
    azure.set_dead(true);
    assert_eq!(ask(&client(&azure), "n2.contoso.example"), None);
}

fn patience() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = silent.local_addr().expect("a bound socket has an address");
    let picker = Picker::New(0);
    let mut streams = [Stream { group: Group::Noisy, rate: 20.0, hosts: 0..1, picker }];
    let mut clients = Clients::new(1, 2, address, 1).expect("sockets can be bound");
    let begin = Instant::now();
    let seen = clients.run(begin, &mut streams, Duration::from_millis(300), |_| {});
    assert!(!seen.lookups.is_empty());
    for lookup in &seen.lookups {
        assert_eq!(lookup.outcome, Outcome::Failed);
        assert!((10_000_000..10_300_000).contains(&lookup.took), "{lookup:?}");
    }
    silent.set_nonblocking(true).expect("a socket can be made not to block");
    let mut from = Vec::new();
    let mut buffer = [0; 1500];
    while let Ok((_, port)) = silent.recv_from(&mut buffer) {
        from.push(port);
    }
    assert_eq!(from.len(), 2 * seen.lookups.len(), "two attempts each");
}

fn shares() {
    let mut rng = StdRng::seed_from_u64(3);
    let mut plan = Scenario::Steady.plan(None, 100);
    let picks: Vec<BenchName> = (0..100_000).map(|_| plan.streams[0].picker.pick(&mut rng)).collect();
    let new = picks.iter().filter(|name| name.kind == Kind::New).count();
    assert!((3_700..4_300).contains(&new), "{new} of 100,000 are new");
    let first = picks.iter().filter(|name| name.kind == Kind::Known && name.number == 0).count();
    assert!((8_500..9_900).contains(&first), "{first} of 96,000 are the most popular");
    assert!(picks.iter().filter(|name| name.kind == Kind::Known).all(|name| name.number < 20_000));
    let values: Vec<u32> = (1..=1000).collect();
    assert_eq!([50.0, 99.0, 99.9].map(|percent| percentile(&values, percent)), [500, 990, 999]);
}
