//! TCP: connections used again, many queries at once, and everything that an upstream may do to them.

use std::time::{Duration, Instant};

use tokio::net::{TcpListener, UdpSocket};
use tokio::time::sleep;

use super::message::answer;
use super::server::Pldns;
use super::upstream::{Framed, Upstream, framed, until};

/// Before the deadline of a query whose upstreams do not respond, 4.5 s.
const AT_ONCE: Duration = Duration::from_secs(4);

async fn tcp_server(upstream: &Upstream) -> Pldns {
    Pldns::with_upstream(&format!("tcp://{}", upstream.address), &[]).await
}

#[tokio::test]
async fn one_connection_serves_many_queries() {
    let upstream = Upstream::start(None, |_, framed| framed.answer_all()).await;
    let server = tcp_server(&upstream).await;
    for number in 0..200 {
        server.must_answer(&format!("n{number}.example")).await;
    }
    assert_eq!(upstream.seen().len(), 200);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn answers_come_in_any_order() {
    const TOGETHER: usize = 20;
    let upstream = Upstream::start(None, |_, mut framed: Framed| async move {
        let mut queries = Vec::new();
        while let Some(query) = framed.read().await {
            queries.push(query);
            if queries.len() == TOGETHER {
                for query in queries.drain(..).rev() {
                    framed.write(&answer(&query)).await;
                }
            }
        }
    })
    .await;
    let server = tcp_server(&upstream).await;
    let names: Vec<String> = (0..TOGETHER).map(|number| format!("n{number}.example")).collect();
    let start = Instant::now();
    all(&server, &names).await;
    assert!(start.elapsed() < AT_ONCE);
    assert_eq!(upstream.seen().len(), TOGETHER);
    assert_eq!(upstream.connections(), 1, "none waited for another");
}

#[tokio::test]
async fn a_crowd_takes_two_connections_and_no_more() {
    let upstream = Upstream::start(None, |_, mut framed: Framed| async move {
        while let Some(query) = framed.read().await {
            sleep(Duration::from_millis(1)).await;
            framed.write(&answer(&query)).await;
        }
    })
    .await;
    let server = tcp_server(&upstream).await;
    let names: Vec<String> = (0..150).map(|number| format!("n{number}.example")).collect();
    all(&server, &names).await;
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn what_does_not_fit_a_datagram_shares_a_connection() {
    let (listener, socket) = loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()).await {
            break (listener, socket);
        }
    };
    let truncating = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let mut reply = answer(&buffer[..len]);
            reply[2] |= 2;
            reply[7] = 0;
            reply.truncate(reply.len() - 16);
            socket.send_to(&reply, from).await.unwrap();
        }
    });
    let upstream = Upstream::start_on(listener, None, |_, framed| framed.answer_all()).await;
    let server = Pldns::with_upstream(&upstream.address.to_string(), &[]).await;
    for number in 0..20 {
        server.must_answer(&format!("n{number}.example")).await;
    }
    assert_eq!(upstream.seen().len(), 20);
    assert_eq!(upstream.connections(), 1);
    truncating.abort();
}

#[tokio::test]
async fn a_connection_that_the_upstream_closed_while_idle_loses_nothing() {
    let upstream = Upstream::start(None, |_, mut framed: Framed| async move {
        for _ in 0..2 {
            let Some(query) = framed.read().await else { return };
            framed.write(&answer(&query)).await;
        }
        framed.close().await;
    })
    .await;
    let server = tcp_server(&upstream).await;
    for number in 0..20 {
        let took = server.must_answer(&format!("n{number}.example")).await;
        assert!(took < AT_ONCE, "{number}: {took:?}");
    }
    assert!(upstream.connections() >= 10);
}

#[tokio::test]
async fn a_query_that_a_used_connection_loses_is_asked_again_at_once() {
    // Read, and the connection is closed: by a FIN, by half an answer and a FIN, by half a length and a FIN.
    for bytes in [0, 1, 20] {
        let upstream = Upstream::start(None, move |number, mut connection: Framed| async move {
            let Some(first) = connection.read().await else { return };
            connection.write(&answer(&first)).await;
            if number > 0 {
                return connection.answer_all().await;
            }
            let Some(second) = connection.read().await else { return };
            connection.write_raw(&framed(&answer(&second))[..bytes]).await;
            connection.close().await;
        })
        .await;
        let server = tcp_server(&upstream).await;
        server.must_answer("first.example").await;
        let took = server.must_answer("second.example").await;
        assert!(took < AT_ONCE, "{bytes}: {took:?}");
        let expected = [(0, "first.example."), (0, "second.example."), (1, "second.example.")];
        let seen = upstream.seen();
        assert!(seen.iter().map(|(number, name)| (*number, name.as_str())).eq(expected), "{seen:?}");
    }
}

#[tokio::test]
async fn all_queries_that_a_used_connection_loses_are_asked_again_on_a_few() {
    // As many as a connection takes before there is a second one.
    const LOST: usize = 32;
    let upstream = Upstream::start(None, |number, mut framed: Framed| async move {
        let Some(first) = framed.read().await else { return };
        framed.write(&answer(&first)).await;
        if number > 0 {
            return framed.answer_all().await;
        }
        for _ in 0..LOST {
            framed.read().await;
        }
        framed.close().await;
    })
    .await;
    let server = tcp_server(&upstream).await;
    server.must_answer("first.example").await;
    let names: Vec<String> = (0..LOST).map(|number| format!("n{number}.example")).collect();
    let start = Instant::now();
    all(&server, &names).await;
    assert!(start.elapsed() < AT_ONCE);
    // The first, one that is shared, and 16 with one query each.
    assert_eq!(upstream.connections(), 18);
    assert_eq!(upstream.seen().len(), 1 + 2 * LOST);
    server.must_answer("last.example").await;
    assert_eq!(upstream.connections(), 18, "the shared one is kept");
}

#[tokio::test]
async fn an_upstream_that_answers_one_query_per_connection_answers_all() {
    let upstream = Upstream::start(None, |_, mut framed: Framed| async move {
        let Some(query) = framed.read().await else { return };
        framed.write(&answer(&query)).await;
        framed.close().await;
    })
    .await;
    let server = tcp_server(&upstream).await;
    let names: Vec<String> = (0..10).map(|number| format!("n{number}.example")).collect();
    let start = Instant::now();
    all(&server, &names).await;
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert_eq!(upstream.seen().len(), upstream.connections());
}

#[tokio::test]
async fn a_query_that_closes_every_connection_is_not_asked_for_ever() {
    let upstream = Upstream::start(None, |_, mut framed: Framed| async move {
        while let Some(query) = framed.read().await {
            if super::message::name_of(&query) == "poison.example." {
                return framed.close().await;
            }
            framed.write(&answer(&query)).await;
        }
    })
    .await;
    let server = tcp_server(&upstream).await;
    server.must_answer("first.example").await;
    let reply = server.ask("poison.example").await;
    reply.rcode("SERVFAIL");
    let poison = upstream.seen().iter().filter(|(_, name)| name == "poison.example.").count();
    assert!((2..=8).contains(&poison), "one try on the used connection, one again, the repeats of the rules: {poison}");
    server.must_answer("last.example").await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_ten_seconds() {
    let (tell, closed) = tokio::sync::oneshot::channel();
    let tell = std::sync::Mutex::new(Some(tell));
    let upstream = Upstream::start(None, move |_, mut framed: Framed| {
        let tell = tell.lock().unwrap().take();
        async move {
            let mut last = Instant::now();
            while let Some(query) = framed.read().await {
                framed.write(&answer(&query)).await;
                last = Instant::now();
            }
            if let Some(tell) = tell {
                tell.send(last.elapsed()).unwrap();
            }
        }
    })
    .await;
    let server = tcp_server(&upstream).await;
    server.must_answer("first.example").await;
    sleep(Duration::from_secs(2)).await;
    server.must_answer("second.example").await;
    let idle = closed.await.unwrap();
    assert!((9.5..12.0).contains(&idle.as_secs_f64()), "{idle:?}");
    server.must_answer("third.example").await;
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn answers_byte_by_byte() {
    let upstream = Upstream::start(None, |_, mut connection: Framed| async move {
        while let Some(query) = connection.read().await {
            for byte in framed(&answer(&query)) {
                connection.write_raw(&[byte]).await;
                sleep(Duration::from_millis(2)).await;
            }
        }
    })
    .await;
    let server = tcp_server(&upstream).await;
    for number in 0..3 {
        server.must_answer(&format!("n{number}.example")).await;
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_silent_connection_is_replaced_and_holds_nobody_up() {
    let silent = Upstream::start(None, |number, framed: Framed| async move {
        if number == 0 { framed.say_nothing().await } else { framed.answer_all().await }
    })
    .await;
    let quick = Upstream::start(None, |_, framed| framed.answer_all()).await;
    let settings = format!(
        "[[forward]]\nzone = \".\"\nupstreams = [\"tcp://{}\"]\n[[forward]]\nzone = \"quick.example\"\nupstreams = [\"tcp://{}\"]\n",
        silent.address, quick.address
    );
    let server = Pldns::start(&settings, &[]).await;
    let others = async {
        until(|| !silent.seen().is_empty()).await;
        for number in 0..20 {
            let took = server.must_answer(&format!("n{number}.quick.example")).await;
            assert!(took < AT_ONCE, "{took:?}");
        }
    };
    let (took, ()) = tokio::join!(server.must_answer("lost.example"), others);
    assert!(took < Duration::from_secs(2), "{took:?}");
    let took = server.must_answer("next.example").await;
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(silent.connections(), 2);
}

#[tokio::test]
async fn a_reused_connection_that_falls_silent_is_replaced() {
    // As when a firewall between forgot the connection: no FIN, no RST.
    let upstream = Upstream::start(None, |number, mut framed: Framed| async move {
        if number > 0 {
            return framed.answer_all().await;
        }
        let Some(query) = framed.read().await else { return };
        framed.write(&answer(&query)).await;
        framed.say_nothing().await;
    })
    .await;
    let server = tcp_server(&upstream).await;
    server.must_answer("first.example").await;
    let took = server.must_answer("second.example").await;
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn answers_that_are_nobodys_are_passed_over() {
    let upstream = Upstream::start(None, |_, mut framed: Framed| async move {
        while let Some(query) = framed.read().await {
            let right = answer(&query);
            let mut other_id = right.clone();
            other_id[0] ^= 0x55;
            let mut other_question = right.clone();
            other_question[13] ^= 1;
            for message in [&other_id, &other_question, &right[..12].to_vec(), &right, &right] {
                framed.write(message).await;
            }
        }
    })
    .await;
    let server = tcp_server(&upstream).await;
    for number in 0..20 {
        let took = server.must_answer(&format!("n{number}.example")).await;
        assert!(took < AT_ONCE, "{took:?}");
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn an_upstream_that_refuses_is_told_of_once_and_back_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let server = Pldns::with_upstream(&format!("tcp://{address}"), &[]).await;
    let reply = server.ask("first.example").await;
    reply.rcode("SERVFAIL");
    server.logged("upstream query failed").await;
    assert_eq!(server.lines("upstream query failed").len(), 1, "{:#?}", server.lines(""));
    let listener = TcpListener::bind(address).await.unwrap();
    let upstream = Upstream::start_on(listener, None, |_, framed| framed.answer_all()).await;
    let took = server.must_answer("second.example").await;
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(upstream.connections(), 1);
}

/// Asks for all names at once; each must be answered.
async fn all(server: &Pldns, names: &[String]) {
    let answered = names.iter().map(|name| server.must_answer(name));
    join_all(answered).await;
}

async fn join_all(futures: impl Iterator<Item = impl Future<Output = Duration>>) {
    let mut pending: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(move |context| {
        pending.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if pending.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
