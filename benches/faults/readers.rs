//! Clients that ask much by TCP and read nothing.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::place::Place;
use crate::upstream::large_query;

/// Queries of each.
const QUERIES: u16 = 100;

/// Opens so many connections and sends their queries; gives those that were opened.
pub(crate) fn open(place: &Place, server: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut queries = Vec::new();
    for number in 0..QUERIES {
        let query = large_query(number);
        queries.extend((query.len() as u16).to_be_bytes());
        queries.extend(query);
    }
    let connect = |number| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
        // So that answers wait in the server, and not in the kernel.
        socket.set_recv_buffer_size(4096).ok()?;
        socket.bind(&SocketAddr::new(place.reader(number), 0).into()).ok()?;
        socket.connect_timeout(&server.into(), Duration::from_millis(200)).ok()?;
        socket.set_write_timeout(Some(Duration::from_millis(20))).ok()?;
        let mut stream = TcpStream::from(socket);
        std::io::Write::write_all(&mut stream, &queries).ok()?;
        Some(stream)
    };
    (0..count).filter_map(connect).collect()
}
