use moorline_control::connection::{Receiver, Sender, split};
use moorline_control::{ClientFrame, Event, RefusalCode, SessionId, SessionSpec};
use tokio::net::{UnixListener, UnixStream};

use super::*;

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

    fn client(&self) -> mpsc::Receiver<MediaEvent> {
        start(self.directory.join("media.sock"), 30)
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

async fn connected(events: &mut mpsc::Receiver<MediaEvent>) -> RequestQueue {
    match events.recv().await.expect("an event") {
        MediaEvent::Connected(hello, queue) => {
            assert_eq!(hello.boot, 9);
            queue
        }
        _ => panic!("connected was expected"),
    }
}

#[tokio::test]
async fn requests_go_out_in_order_and_replies_come_back() {
    let media = FakeMedia::new("order");
    let mut events = media.client();
    let (mut sender, mut receiver) = media.accept().await;
    let queue = connected(&mut events).await;
    for id in 0..100 {
        assert!(queue.push(id, Request::Close { session: SESSION }));
    }
    for expected in 0..100 {
        let frame: ClientFrame = receiver.receive().await.expect("a request");
        assert_eq!(frame, ClientFrame::Request { id: expected, request: Request::Close { session: SESSION } });
        sender.send(&ServerFrame::Reply { id: expected, reply: Reply::Closed(None) }).await.expect("sent");
    }
    sender.send(&ServerFrame::Event(Event::MediaTimeout { session: SESSION })).await.expect("sent");
    for expected in 0..100 {
        assert!(matches!(events.recv().await, Some(MediaEvent::Reply(id, Reply::Closed(None))) if id == expected));
    }
    assert!(matches!(events.recv().await, Some(MediaEvent::Event(Event::MediaTimeout { session: SESSION }))));
}

#[tokio::test]
async fn a_lost_connection_is_made_again() {
    let media = FakeMedia::new("again");
    let mut events = media.client();
    for _ in 0..3 {
        let ends = media.accept().await;
        let _queue = connected(&mut events).await;
        drop(ends);
        assert!(matches!(events.recv().await, Some(MediaEvent::Disconnected)));
    }
}

#[tokio::test]
async fn a_full_queue_says_so_and_letting_go_ends_the_connection() {
    let media = FakeMedia::new("full");
    let mut events = media.client();
    let (_sender, mut receiver) = media.accept().await;
    let queue = connected(&mut events).await;
    // Nothing yields to the writing task between these, so the queue itself must hold or refuse them.
    let taken = (0..).take_while(|id| queue.push(*id, Request::List { after: None })).count();
    assert_eq!(taken, REQUESTS);
    drop(queue);
    assert!(matches!(events.recv().await, Some(MediaEvent::Disconnected)));
    let drained = async { while receiver.receive::<ClientFrame>().await.is_ok() {} };
    tokio::join!(drained, async { drop(media.accept().await) });
    let _queue = connected(&mut events).await;
}

#[tokio::test]
async fn a_request_too_long_for_a_frame_is_answered_here() {
    let media = FakeMedia::new("long");
    let mut events = media.client();
    let (_sender, mut receiver) = media.accept().await;
    let queue = connected(&mut events).await;
    let snapshot = vec![0; 2 * moorline_control::MAX_FRAME];
    let spec = SessionSpec { legs: Vec::new(), media_timeout_ms: 0, snapshot };
    assert!(queue.push(1, Request::Open { session: SESSION, spec }));
    assert!(queue.push(2, Request::Query { session: SESSION }));
    match events.recv().await {
        Some(MediaEvent::Reply(1, Reply::Refused(refusal))) => assert_eq!(refusal.code, RefusalCode::Unacceptable),
        _ => panic!("a refusal was expected"),
    }
    let frame: ClientFrame = receiver.receive().await.expect("the next request");
    assert!(matches!(frame, ClientFrame::Request { id: 2, .. }));
}
