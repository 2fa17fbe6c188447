//! Clients of the control socket, good and bad.

use std::time::Duration;

use moorline_control::connection::{ConnectionError, connect, split};
use moorline_control::{
    ClientFrame, ClientHello, Listed, MAX_FRAME, MAX_SNAPSHOT, RefusalCode, Reply, Request, ServerFrame, SessionId,
    VERSION,
};
use moorline_media::{DatapathChoice, MediaError, run_until};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use crate::stage::{Client, Media, Party, call, id, local, receive, rtp};

const ANY: DatapathChoice = DatapathChoice::Auto;

/// A call that is up, to see that it stays so.
struct Up {
    client: Client,
    a: Party,
    b: Party,
    to_a: std::net::SocketAddr,
}

impl Up {
    async fn new(media: &Media) -> Up {
        let mut client = media.client().await;
        let (a, b) = (media.party(1).await, media.party(2).await);
        let session = client.open(id(1), call([a.stream(), b.stream()])).await;
        Up { client, a, b, to_a: local(&session, 0).0 }
    }

    async fn still_lives(&mut self) {
        self.a.rtp.send_to(&rtp(1, 1), self.to_a).await.unwrap();
        assert_eq!(receive(&self.b.rtp).await.0, rtp(1, 1));
        assert!(matches!(self.client.ask(Request::Query { session: id(1) }).await, Reply::Report(_)));
    }
}

fn refusal_of(reply: Reply) -> RefusalCode {
    match reply {
        Reply::Refused(refusal) => refusal.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn requests_are_idempotent() {
    let media = Media::start(ANY).await;
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    let first = client.open(id(1), call([a.stream(), b.stream()])).await;
    assert_eq!(client.open(id(1), call([a.stream(), b.stream()])).await, first);
    assert_eq!(client.ask(Request::Claim { session: id(1) }).await, Reply::Opened(first));
    assert!(matches!(client.ask(Request::Close { session: id(1) }).await, Reply::Closed(Some(_))));
    assert_eq!(client.ask(Request::Close { session: id(1) }).await, Reply::Closed(None));
    for request in [Request::Query { session: id(1) }, Request::Claim { session: id(1) }] {
        assert_eq!(refusal_of(client.ask(request).await), RefusalCode::NoSuchSession);
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let media = Media::start(ANY).await;
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    for n in 0..100u32 {
        let session = id(u64::from(n / 2));
        let request = match n % 2 {
            0 => Request::Open { session, spec: call([a.stream(), b.stream()]) },
            _ => Request::Close { session },
        };
        client.sender.feed(&ClientFrame::Request { id: n, request }).await.unwrap();
    }
    client.sender.flush().await.unwrap();
    for n in 0..100 {
        match client.frame().await {
            ServerFrame::Reply { id, reply: Reply::Opened(_) } if n % 2 == 0 => assert_eq!(id, n),
            ServerFrame::Reply { id, reply: Reply::Closed(Some(_)) } if n % 2 == 1 => assert_eq!(id, n),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(client.sessions().await, []);
}

#[tokio::test]
async fn a_session_outlives_its_client_for_the_lease_and_is_claimed() {
    let media = Media::start(ANY).await;
    let mut gone = media.client_with_lease(600_000).await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    let mut spec = call([a.stream(), b.stream()]);
    spec.snapshot = b"the call".to_vec();
    let session = gone.open(id(1), spec).await;
    let mut successor = media.client().await;
    assert_eq!(refusal_of(successor.ask(Request::Claim { session: id(1) }).await), RefusalCode::Owned);
    drop(gone);

    let listing = loop {
        match successor.ask(Request::List { after: None }).await {
            Reply::Listed(Listed { mut sessions, .. }) if !sessions[0].owned => break sessions.remove(0),
            Reply::Listed(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((listing.session, &listing.local, &listing.snapshot[..]), (id(1), &session, &b"the call"[..]));
    a.rtp.send_to(&rtp(1, 1), local(&session, 0).0).await.unwrap();
    assert_eq!(receive(&b.rtp).await.0, rtp(1, 1), "media goes on without an owner");
    assert_eq!(successor.ask(Request::Claim { session: id(1) }).await, Reply::Opened(session));
    assert!(matches!(successor.ask(Request::Close { session: id(1) }).await, Reply::Closed(Some(_))));
}

#[tokio::test]
async fn a_session_that_nobody_claims_ends_with_the_lease() {
    let media = Media::start(ANY).await;
    let mut gone = media.client_with_lease(50).await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    for n in 0..20 {
        gone.open(id(n), call([a.stream(), b.stream()])).await;
    }
    drop(gone);
    media.metric_becomes("moorline_media_leases_expired_total", &[], 20).await;
    media.metric_becomes("moorline_media_ports", &["in_use"], 0).await;
    let mut client = media.client().await;
    assert_eq!(client.sessions().await, []);
    client.open(id(3), call([a.stream(), b.stream()])).await;
}

#[tokio::test]
async fn another_version_is_refused_by_name() {
    let media = Media::start(ANY).await;
    let mut up = Up::new(&media).await;
    let hello = ClientHello { version: VERSION + 1, client: "test".into(), lease_ms: 1 };
    match connect(&media.socket(), hello).await {
        Err(ConnectionError::Refused(refusal)) => assert_eq!(refusal.code, RefusalCode::Version),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("another version was accepted"),
    }
    up.still_lives().await;
}

#[tokio::test]
async fn frames_that_are_none_close_their_connection_and_no_other() {
    let media = Media::start(ANY).await;
    let mut up = Up::new(&media).await;
    let too_long = (MAX_FRAME as u32 + 1).to_be_bytes().to_vec();
    let garbage = [&5u32.to_be_bytes()[..], b"\xff\xff\xff\xff\xff"].concat();
    for bytes in [too_long, u32::MAX.to_be_bytes().to_vec(), garbage, vec![0; 4]] {
        // Before the hello, and after it.
        for greeted in [false, true] {
            let mut stream = UnixStream::connect(media.socket()).await.unwrap();
            if greeted {
                let hello = ClientHello { version: VERSION, client: "test".into(), lease_ms: 1 };
                let body = moorline_control::codec::encode(&ClientFrame::Hello(hello)).unwrap();
                stream.write_all(&(body.len() as u32).to_be_bytes()).await.unwrap();
                stream.write_all(&body).await.unwrap();
            }
            stream.write_all(&bytes).await.unwrap();
            let (_sender, mut receiver) = split(stream);
            if greeted {
                assert!(matches!(receiver.receive().await, Ok(ServerFrame::Hello(_))));
            }
            match receiver.receive().await {
                Ok(ServerFrame::Refused(refusal)) => assert_eq!(refusal.code, RefusalCode::Malformed),
                other => panic!("{other:?}"),
            }
            assert!(matches!(receiver.receive::<ServerFrame>().await, Err(ConnectionError::Closed)));
        }
    }
    up.still_lives().await;
}

#[tokio::test]
async fn a_client_that_dies_in_the_middle_of_a_frame_takes_nothing_with_it() {
    let media = Media::start(ANY).await;
    let mut up = Up::new(&media).await;
    for len in [1, 3, 4, 20] {
        let mut stream = UnixStream::connect(media.socket()).await.unwrap();
        let bytes = [&1000u32.to_be_bytes()[..], &[0; 16]].concat();
        stream.write_all(&bytes[..len]).await.unwrap();
        drop(stream);
    }
    up.still_lives().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let media = Media::start(ANY).await;
    let mut up = Up::new(&media).await;
    let mut deaf = media.client().await;
    // Far more than the queues and the socket hold; the write fails once the other side has closed.
    let cut_off = async {
        for n in 0.. {
            let request = Request::Query { session: id(1) };
            if deaf.sender.send(&ClientFrame::Request { id: n, request }).await.is_err() {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), cut_off).await.expect("cut off");
    up.still_lives().await;
}

#[tokio::test]
async fn listings_of_all_shards_come_in_pages_and_in_order() {
    let media = Media::start(ANY).await;
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    let mut spec = call([a.stream(), b.stream()]);
    spec.snapshot = vec![7; MAX_SNAPSHOT];
    // Not in order of id.
    let mut expected: Vec<SessionId> = (0..45).map(|n| id(n * 7919 % 1009)).collect();
    for session in &expected {
        client.open(*session, spec.clone()).await;
    }
    expected.sort_unstable();
    let (mut found, mut pages, mut after) = (Vec::new(), 0, None);
    loop {
        let Reply::Listed(page) = client.ask(Request::List { after }).await else { panic!("no listing") };
        assert!(page.sessions.iter().all(|listing| listing.snapshot == spec.snapshot && listing.owned));
        found.extend(page.sessions.iter().map(|listing| listing.session));
        (pages, after) = (pages + 1, found.last().copied());
        if !page.more {
            break;
        }
    }
    assert_eq!(found, expected);
    assert!(pages > 2, "{pages} pages");
}

#[tokio::test]
async fn the_session_after_the_last_is_refused() {
    let media = Media::start_with(ANY, |config| config.capacity = 3).await;
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    assert_eq!(client.hello.capacity, 3);
    for n in 0..3 {
        client.open(id(n), call([a.stream(), b.stream()])).await;
    }
    let open = Request::Open { session: id(3), spec: call([a.stream(), b.stream()]) };
    assert_eq!(refusal_of(client.ask(open.clone()).await), RefusalCode::Capacity);
    client.ask(Request::Close { session: id(0) }).await;
    assert!(matches!(client.ask(open).await, Reply::Opened(_)));
}

#[tokio::test]
async fn two_processes_do_not_share_a_socket_and_the_last_removes_it() {
    let media = Media::start(ANY).await;
    let mut up = Up::new(&media).await;
    let mut config = media.config.clone();
    config.admin.set_port(9062);
    let second = tokio::task::spawn_blocking(move || run_until(config, std::future::pending())).await.unwrap();
    match second {
        Err(MediaError::Control(reason)) => assert!(reason.contains("another process is listening"), "{reason}"),
        other => panic!("{other:?}"),
    }
    up.still_lives().await;
    let path = media.socket();
    media.stop().unwrap();
    assert!(!path.exists());
    tokio::net::UdpSocket::bind(up.to_a).await.expect("the ports are free");
}

#[tokio::test]
async fn settings_that_this_host_cannot_meet_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let config = moorline_media::Config { control: directory.path().join("media.sock"), ..Default::default() };
    let run = |change: fn(&mut moorline_media::Config)| {
        let mut config = config.clone();
        change(&mut config);
        tokio::task::spawn_blocking(move || run_until(config, std::future::ready(())).unwrap_err().to_string())
    };
    let error = run(|c| c.cores = vec![4095]).await.unwrap();
    assert!(error.contains("4095"), "{error}");
    let error = run(|c| c.ranges[0].interface = Some("none0".into())).await.unwrap();
    assert!(error.contains("none0") && error.contains("edge"), "{error}");
    let error = run(|c| c.control_users = vec!["nobody-of-this-name".into()]).await.unwrap();
    assert!(error.contains("nobody-of-this-name"), "{error}");
    let error = run(|c| c.capacity = 0).await.unwrap();
    assert!(error.contains("media.capacity"), "{error}");
    // A file table of the kernel holds 2^20 sockets; one for all ports of a shard would have room.
    let error = run(|c| (c.capacity, c.cores, c.sockets) = (1_000_000, vec![0], moorline_media::Sockets::PerPort));
    let error = error.await.unwrap();
    assert!(error.contains("capacity = 1000000") && error.contains("open files"), "{error}");
}

#[tokio::test]
async fn a_process_that_looks_for_packets_before_it_sleeps_relays_and_answers() {
    for datapath in [DatapathChoice::Auto, DatapathChoice::Epoll] {
        let media = Media::start_with(datapath, |config| config.busy_poll_us = 2_000).await;
        let mut up = Up::new(&media).await;
        up.still_lives().await;
        media.stop().unwrap();
    }
}
