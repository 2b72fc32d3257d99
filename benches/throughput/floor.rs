//! What servers are compared with besides each other, started as child processes of the benchmark: a responder that does
//! nothing but echo, and hickory-server's own UDP server over its in-memory zone.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record};
use hickory_server::Server;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use mio::{Events, Interest, Poll, Token};

use crate::dns::address_of;
use crate::mmsg::{BATCH, Mmsg};
use crate::work::{ZONE, record_name};

/// Bytes of the question's end and of an OPT record without options.
const OPT: usize = 11;

/// Answers every query with one address: the least that a DNS server over UDP can do.
pub(crate) fn respond(port: u16) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
    socket.set_nonblocking(true)?;
    let mut source = mio::net::UdpSocket::from_std(socket.try_clone()?);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut source, Token(0), Interest::READABLE)?;
    let (mut events, mut batch) = (Events::with_capacity(4), Mmsg::new());
    loop {
        let count = batch.receive(socket.as_fd());
        for index in 0..count {
            batch.write(index, |bytes, len| {
                bytes[2] |= 0x84;
                bytes[3] = 0x80;
                bytes[7] = 1;
                // The answer goes between the question and the OPT record that ends every query of this benchmark.
                let end = len.saturating_sub(OPT).max(12);
                bytes.copy_within(end..end + OPT, end + 16);
                bytes[end..end + 16].copy_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 1]);
                len + 16
            });
        }
        if count > 0 {
            batch.send(socket.as_fd(), count, true);
        }
        // A batch that is not full has emptied the queue.
        if count < BATCH {
            poll.poll(&mut events, Some(Duration::from_secs(1)))?;
        }
    }
}

/// Serves the records with hickory-server on a runtime of one thread.
pub(crate) fn serve_hickory(port: u16, records: u32) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let origin = Name::from_ascii(format!("{ZONE}."))?;
        let mut zone: InMemoryZoneHandler =
            InMemoryZoneHandler::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny);
        let soa = SOA::new(origin.clone(), origin.clone(), 1, 3600, 600, 86400, 60);
        zone.upsert_mut(Record::from_rdata(origin.clone(), 60, RData::SOA(soa)), 1);
        for number in 0..records {
            let name = Name::from_ascii(format!("{}.", record_name(number)))?;
            let address = A(address_of(&format!("r{number}")));
            zone.upsert_mut(Record::from_rdata(name, 60, RData::A(address)), 1);
        }
        let mut catalog = Catalog::new();
        catalog.upsert(origin.into(), vec![Arc::new(zone)]);
        let mut server = Server::new(catalog);
        server.register_socket(tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).await?);
        server.block_until_done().await?;
        Ok(())
    })
}
