//! A client of another make: hickory's own, over UDP and TCP.

use super::dns::{self, Message};
use hickory_net::client::{Client, ClientHandle};
use hickory_net::proto::rr::{DNSClass, Name, RecordType};
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::tcp::TcpClientStream;
use hickory_net::udp::UdpClientStream;
use std::net::SocketAddr;

/// Asks `name TYPE` with hickory's client over each transport: what hickory accepted, as the tests read it.
pub(crate) fn ask(server: SocketAddr, question: &str) -> [Message; 2] {
    let (name, kind) = question.split_once(' ').expect("name TYPE");
    let name = Name::from_ascii(format!("{name}.")).unwrap();
    let kind = RecordType::from(dns::rtype(kind));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let udp = UdpClientStream::builder(server, TokioRuntimeProvider::default()).build();
        let (mut client, background) = Client::<TokioRuntimeProvider>::from_sender(udp);
        tokio::spawn(background);
        let over_udp = query(&mut client, name.clone(), kind).await;
        let (connect, sender) = TcpClientStream::new(server, None, None, TokioRuntimeProvider::default());
        let stream = connect.await.expect("a connection");
        let (mut client, background) = Client::<TokioRuntimeProvider>::new(stream, sender);
        tokio::spawn(background);
        [over_udp, query(&mut client, name, kind).await]
    })
}

async fn query(client: &mut Client<TokioRuntimeProvider>, name: Name, kind: RecordType) -> Message {
    let response = client.query(name, DNSClass::IN, kind).await.expect("an answer that hickory takes");
    Message::parse(&response.into_buffer()).expect("an answer that we read as well")
}

#[cfg(test)]
mod tests {
    use super::ask;
    use crate::common::{Answer, FakeAzureDns};

    #[test]
    fn hickory_speaks_to_the_fake_over_both_transports() {
        let fake = FakeAzureDns::start();
        fake.answer("a.example A", &["a.example 60 IN A 192.0.2.1"]);
        fake.gives("none.example A", Answer::negative("NXDOMAIN", "example"));
        for message in ask(fake.address(), "a.example A") {
            assert_eq!((message.rcode(), message.answers.len()), (0, 1), "{message}");
        }
        for message in ask(fake.address(), "none.example A") {
            assert_eq!((message.rcode(), message.authorities.len()), (3, 1), "{message}");
        }
        assert_eq!(fake.seen("a.example A").len(), 2);
    }
}
