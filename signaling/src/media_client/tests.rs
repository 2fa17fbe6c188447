use std::future::poll_fn;

use moorline_control::connection::split;
use moorline_control::{Event, RefusalCode, SessionId, SessionSpec};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::clock::until;

const SESSION: SessionId = SessionId { node: 1, virtual_shard: 2, random: 3 };

/// A media process's end of the socket, driven by hand.
struct FakeMedia {
    directory: PathBuf,
    listener: UnixListener,
}

impl FakeMedia {
    fn new(test: &str) -> FakeMedia {
        let directory = std::env::temp_dir().join(format!("moorline-client-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let listener = UnixListener::bind(directory.join("media.sock")).expect("a socket");
        FakeMedia { directory, listener }
    }

    fn client(&self) -> MediaClient {
        MediaClient::new(self.directory.join("media.sock"), 30)
    }

    /// Accepts a connection and answers its hello.
    async fn accept(&self) -> (Sender, Receiver) {
        let (stream, _): (UnixStream, _) = self.listener.accept().await.expect("a connection");
        let (mut sender, mut receiver) = split(stream);
        let hello: ClientFrame = receiver.receive().await.expect("a hello");
        assert!(matches!(hello, ClientFrame::Hello(hello) if hello.lease_ms == 30_000 && hello.client == "signaling"));
        let server = ServerHello {
            version: moorline_control::VERSION,
            boot: 9,
            shards: 1,
            capacity: 10,
            datapath: "epoll".into(),
            ranges: Vec::new(),
            profiles: Vec::new(),
            announcements: Vec::new(),
        };
        sender.send(&ServerFrame::Hello(server)).await.expect("sent");
        (sender, receiver)
    }
}

impl Drop for FakeMedia {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The next event, as the event loop waits for it: what is due is written first.
async fn next(client: &mut MediaClient) -> MediaEvent {
    loop {
        poll_fn(|cx| {
            client.write(cx);
            Poll::Ready(())
        })
        .await;
        let due = client.next_timeout().map(until).unwrap_or(PATIENCE);
        if timeout(due, poll_fn(|cx| client.poll(cx))).await.is_ok() {
            return client.pop().expect("ready with an event");
        }
    }
}

/// Drives the client for as long as `peer` takes.
async fn meanwhile<T>(client: &mut MediaClient, peer: impl Future<Output = T>) -> T {
    tokio::select! {
        done = peer => done,
        event = next(client) => panic!("nothing was expected, got {event:?}"),
    }
}

/// A client that is connected, and the media process's ends.
async fn connected(media: &FakeMedia) -> (MediaClient, (Sender, Receiver)) {
    let mut client = media.client();
    let ends = reconnected(media, &mut client).await;
    (client, ends)
}

async fn reconnected(media: &FakeMedia, client: &mut MediaClient) -> (Sender, Receiver) {
    let (ends, event) = tokio::join!(media.accept(), next(client));
    assert!(matches!(event, MediaEvent::Connected(hello) if hello.boot == 9) && client.is_connected());
    ends
}

#[tokio::test]
async fn requests_go_out_in_order_and_replies_come_back() {
    let media = FakeMedia::new("order");
    let (mut client, (mut sender, mut receiver)) = connected(&media).await;
    for id in 0..100 {
        assert!(client.push(id, Request::Query { session: SESSION }));
    }
    let answer = async {
        for expected in 0..100 {
            let frame: ClientFrame = receiver.receive().await.expect("a request");
            assert_eq!(frame, ClientFrame::Request { id: expected, request: Request::Query { session: SESSION } });
        }
    };
    meanwhile(&mut client, answer).await;
    for id in 0..100 {
        sender.send(&ServerFrame::Reply { id, reply: Reply::Closed(None) }).await.expect("sent");
    }
    sender.send(&ServerFrame::Event(Event::MediaTimeout { session: SESSION })).await.expect("sent");
    for expected in 0..100 {
        assert!(matches!(next(&mut client).await, MediaEvent::Reply(id, Reply::Closed(None)) if id == expected));
    }
    assert!(matches!(next(&mut client).await, MediaEvent::Event(Event::MediaTimeout { session: SESSION })));
}

#[tokio::test]
async fn what_closes_a_session_goes_with_the_next_request() {
    let media = FakeMedia::new("company");
    let (mut client, (_sender, mut receiver)) = connected(&media).await;
    let before = now_ns();
    assert!(client.push(1, Request::Close { session: SESSION }));
    assert!(client.next_timeout().is_some_and(|at| at >= before + COMPANY_NS), "it waits");
    assert!(client.push(2, Request::Query { session: SESSION }));
    assert!(client.next_timeout().is_some_and(|at| at < before + PATIENCE_NS), "and is written with the other");
    let both = async {
        for expected in [1, 2] {
            let frame: ClientFrame = receiver.receive().await.expect("a request");
            assert!(matches!(frame, ClientFrame::Request { id, .. } if id == expected));
        }
    };
    meanwhile(&mut client, both).await;
}

#[tokio::test]
async fn what_closes_a_session_is_written_alone_after_a_while_and_at_the_end() {
    let media = FakeMedia::new("alone");
    let (mut client, (_sender, mut receiver)) = connected(&media).await;
    assert!(client.push(1, Request::Close { session: SESSION }));
    let frame: ClientFrame = meanwhile(&mut client, receiver.receive()).await.expect("a request");
    assert!(matches!(frame, ClientFrame::Request { id: 1, .. }));
    assert!(client.push(2, Request::Close { session: SESSION }));
    client.finish().await;
    let frame: ClientFrame = receiver.receive().await.expect("a request");
    assert!(matches!(frame, ClientFrame::Request { id: 2, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_media_process_that_says_nothing_is_let_go() {
    let media = FakeMedia::new("silent");
    let (mut client, (_sender, _receiver)) = connected(&media).await;
    let before = now_ns();
    assert!(client.push(1, Request::Query { session: SESSION }));
    poll_fn(|cx| {
        client.write(cx);
        Poll::Ready(())
    })
    .await;
    let patience = client.next_timeout().expect("a request waits");
    assert!((before + PATIENCE_NS..=now_ns() + PATIENCE_NS).contains(&patience));
    // The client's clock is the machine's: the request is made older.
    let State::Connected(connection) = &mut client.state else { panic!("connected was expected") };
    connection.heard_at -= PATIENCE_NS;
    assert!(matches!(next(&mut client).await, MediaEvent::Disconnected));
    assert!(!client.is_connected());
}

#[tokio::test]
async fn patience_begins_with_the_writing_of_a_request() {
    let media = FakeMedia::new("late");
    let (mut client, (_sender, mut receiver)) = connected(&media).await;
    assert!(client.push(1, Request::Query { session: SESSION }));
    // This process was held up before it could write.
    let State::Connected(connection) = &mut client.state else { panic!("connected was expected") };
    connection.heard_at -= 2 * PATIENCE_NS;
    let frame: ClientFrame = meanwhile(&mut client, receiver.receive()).await.expect("a request");
    assert!(matches!(frame, ClientFrame::Request { id: 1, .. }));
    assert!(client.is_connected() && client.next_timeout().is_some_and(|at| at > now_ns()));
}

#[tokio::test]
async fn a_lost_connection_is_made_again() {
    let media = FakeMedia::new("again");
    let mut client = media.client();
    for _ in 0..3 {
        drop(reconnected(&media, &mut client).await);
        assert!(matches!(next(&mut client).await, MediaEvent::Disconnected));
        assert!(client.push(1, Request::Query { session: SESSION }), "lost, as was told");
    }
}

#[tokio::test]
async fn no_more_is_asked_than_the_media_process_lets_wait() {
    let media = FakeMedia::new("full");
    let (mut client, (mut sender, mut receiver)) = connected(&media).await;
    let taken = (0..).take_while(|id| client.push(*id, Request::List { after: None })).count();
    assert_eq!(taken, REQUESTS);
    let all = async {
        for _ in 0..taken {
            receiver.receive::<ClientFrame>().await.expect("a request");
        }
    };
    meanwhile(&mut client, all).await;
    assert!(!client.push(9, Request::List { after: None }), "none is answered yet");
    sender.send(&ServerFrame::Reply { id: 0, reply: Reply::Closed(None) }).await.expect("sent");
    assert!(matches!(next(&mut client).await, MediaEvent::Reply(0, _)));
    assert!(client.push(9, Request::List { after: None }));
    assert!(!client.push(10, Request::List { after: None }));
}

#[tokio::test]
async fn a_request_too_long_for_a_frame_is_answered_here() {
    let media = FakeMedia::new("long");
    let (mut client, (_sender, mut receiver)) = connected(&media).await;
    let snapshot = vec![0; 2 * moorline_control::MAX_FRAME];
    let spec = SessionSpec { legs: Vec::new(), media_timeout_ms: 0, snapshot };
    assert!(client.push(1, Request::Open { session: SESSION, spec }));
    assert!(client.push(2, Request::Query { session: SESSION }));
    match next(&mut client).await {
        MediaEvent::Reply(1, Reply::Refused(refusal)) => assert_eq!(refusal.code, RefusalCode::Unacceptable),
        event => panic!("a refusal was expected, got {event:?}"),
    }
    let frame: ClientFrame = meanwhile(&mut client, receiver.receive()).await.expect("the next request");
    assert!(matches!(frame, ClientFrame::Request { id: 2, .. }));
}
