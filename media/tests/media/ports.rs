//! Ports: taken, given back, taken again, and what falls into them.

use moorline_control::{ClientFrame, LocalAddresses, RefusalCode, Reply, Request, SessionId, StreamSpec};
use moorline_media::DatapathChoice;
use tokio::net::UdpSocket;

use crate::stage::{Client, Media, call, id, local, receive, rtp};

crate::on_both_datapaths!(
    a_closed_session_gives_its_ports_back_to_the_system,
    a_port_used_again_carries_the_new_call_only,
    a_restarted_process_takes_the_same_ports_again,
    ports_that_a_dead_predecessor_still_holds_are_waited_for,
    a_restore_that_waits_for_its_ports_keeps_nobody_else_waiting,
    a_restore_whose_client_has_left_opens_nothing,
    the_call_after_the_last_port_is_refused_and_the_rest_live,
    all_ports_of_all_shards_are_used,
    what_is_not_media_is_counted_and_disturbs_nothing,
    a_port_that_another_process_holds_is_passed_over,
);

async fn close(client: &mut Client, session: SessionId) {
    assert!(matches!(client.ask(Request::Close { session }).await, Reply::Closed(Some(_))));
}

fn back_on(stream: StreamSpec, local: LocalAddresses) -> StreamSpec {
    StreamSpec { local: Some(local), ..stream }
}

async fn a_closed_session_gives_its_ports_back_to_the_system(datapath: DatapathChoice) {
    let media = Media::start(datapath).await;
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    for n in 0..20 {
        let session = client.open(id(n), call([a.stream(), b.stream()])).await;
        let ports = [local(&session, 0).0, local(&session, 0).1, local(&session, 1).0, local(&session, 1).1];
        for port in ports {
            assert!(UdpSocket::bind(port).await.is_err(), "{port} is in use");
        }
        close(&mut client, id(n)).await;
        for port in ports {
            UdpSocket::bind(port).await.unwrap_or_else(|error| panic!("{port} is free: {error}"));
        }
    }
    media.metric_becomes("moorline_media_ports", &["in_use"], 0).await;
    media.metric_becomes("moorline_media_ports", &["resting"], 80).await;
}

/// The sockets of one port follow each other while the old call's far end keeps sending.
async fn a_port_used_again_carries_the_new_call_only(datapath: DatapathChoice) {
    let media = Media::start(datapath).await;
    let mut client = media.client().await;
    let (old, a, b) = (media.party(1).await, media.party(2).await, media.party(3).await);
    let first = client.open(id(0), call([old.stream(), b.stream()])).await;
    let [at_a, at_b] = [first.legs[0][0].unwrap(), first.legs[1][0].unwrap()];
    for n in 1..60 {
        for sequence in 0..10 {
            old.rtp.send_to(&rtp(666, sequence), at_a.rtp).await.unwrap();
        }
        close(&mut client, id(n - 1)).await;
        let again = call([back_on(a.stream(), at_a), back_on(b.stream(), at_b)]);
        assert_eq!(client.open(id(n), again).await, first);
        old.rtp.send_to(&rtp(666, 0), at_a.rtp).await.unwrap();
        a.rtp.send_to(&rtp(n as u32, 1), at_a.rtp).await.unwrap();
        loop {
            let (packet, source) = receive(&b.rtp).await;
            assert_eq!(source, at_b.rtp);
            if packet == rtp(n as u32, 1) {
                break;
            }
            assert!(n == 1 && packet[8..12] == 666u32.to_be_bytes(), "only the first call was the old party's");
        }
    }
}

async fn a_restarted_process_takes_the_same_ports_again(datapath: DatapathChoice) {
    let media = Media::start(datapath).await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    let mut sessions = Vec::new();
    let mut client = media.client().await;
    for n in 0..10 {
        sessions.push(client.open(id(n), call([a.stream(), b.stream()])).await);
    }
    let boot = client.hello.boot;
    let config = media.config.clone();
    media.stop().unwrap();
    // The successor has another number of shards, where the machine allows: ports name theirs by themselves.
    let successor = Media::start_with(datapath, |c| {
        *c = config;
        c.cores = vec![0];
    })
    .await;
    let mut client = successor.client().await;
    assert_ne!(client.hello.boot, boot);
    assert_eq!(client.sessions().await, []);
    for (n, session) in (0u64..).zip(&sessions) {
        let again =
            [back_on(a.stream(), session.legs[0][0].unwrap()), back_on(b.stream(), session.legs[1][0].unwrap())];
        assert_eq!(client.open(id(n), call(again)).await, *session);
        a.rtp.send_to(&rtp(n as u32, 0), local(session, 0).0).await.unwrap();
        assert_eq!(receive(&b.rtp).await, (rtp(n as u32, 0), local(session, 1).0));
    }
}

/// The kernel closes the sockets of a killed process some time after the process is gone.
async fn ports_that_a_dead_predecessor_still_holds_are_waited_for(datapath: DatapathChoice) {
    let media = Media::start_with(datapath, |config| config.cores = vec![0]).await;
    let address = media.config.ranges[0].network.hosts().next().unwrap();
    let at = |port| LocalAddresses { rtp: (address, port).into(), rtcp: (address, port + 1).into(), advertised: None };
    let held = UdpSocket::bind((address, 20_001)).await.unwrap();
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    let spec = call([back_on(a.stream(), at(20_000)), back_on(b.stream(), at(20_002))]);
    let let_go = async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        drop(held);
    };
    let (session, ()) = tokio::join!(client.open(id(1), spec), let_go);
    a.rtp.send_to(&rtp(1, 0), local(&session, 0).0).await.unwrap();
    assert_eq!(receive(&b.rtp).await, (rtp(1, 0), at(20_002).rtp));

    // One that is never let go of is refused in the end, and nothing is kept.
    let _held = UdpSocket::bind((address, 20_005)).await.unwrap();
    let spec = call([back_on(a.stream(), at(20_006)), back_on(b.stream(), at(20_004))]);
    match client.ask(Request::Open { session: id(2), spec }).await {
        Reply::Refused(refusal) => assert_eq!(refusal.code, RefusalCode::PortTaken),
        other => panic!("{other:?}"),
    }
    UdpSocket::bind((address, 20_006)).await.expect("nothing is kept");
    assert_eq!(client.sessions().await, [id(1)]);
}

/// The first address of the range at an even port.
fn at(media: &Media, port: u16) -> LocalAddresses {
    let address = media.config.ranges[0].network.hosts().next().unwrap();
    LocalAddresses { rtp: (address, port).into(), rtcp: (address, port + 1).into(), advertised: None }
}

async fn a_restore_that_waits_for_its_ports_keeps_nobody_else_waiting(datapath: DatapathChoice) {
    let media = Media::start_with(datapath, |config| config.cores = vec![0]).await;
    let held = UdpSocket::bind(at(&media, 20_000).rtcp).await.unwrap();
    let (mut restoring, mut other) = (media.client().await, media.client().await);
    let (a, b) = (media.party(1).await, media.party(2).await);
    let restore = [back_on(a.stream(), at(&media, 20_000)), back_on(b.stream(), at(&media, 20_002))];
    let mut restored = Box::pin(restoring.open(id(1), call(restore.clone())));
    tokio::select! {
        biased;
        _ = &mut restored => panic!("the port is held"),
        () = async {
            // A new call, a listing, and restores that no waiting can help.
            other.open(id(2), call([a.stream(), b.stream()])).await;
            assert_eq!(other.sessions().await, [id(2)]);
            let outside = LocalAddresses { rtp: "127.0.0.9:20000".parse().unwrap(), ..at(&media, 20_000) };
            let mispaired = LocalAddresses { rtcp: at(&media, 20_008).rtp, ..at(&media, 20_006) };
            for hopeless in [outside, mispaired] {
                let spec = call([back_on(a.stream(), hopeless), b.stream()]);
                match other.ask(Request::Open { session: id(3), spec }).await {
                    Reply::Refused(refusal) => assert_eq!(refusal.code, RefusalCode::PortTaken),
                    reply => panic!("{reply:?}"),
                }
            }
        } => {}
    }
    drop(held);
    let session = restored.await;
    a.rtp.send_to(&rtp(1, 0), local(&session, 0).0).await.unwrap();
    assert_eq!(receive(&b.rtp).await, (rtp(1, 0), at(&media, 20_002).rtp));
    assert_eq!(other.sessions().await, [id(1), id(2)]);
}

async fn a_restore_whose_client_has_left_opens_nothing(datapath: DatapathChoice) {
    let media = Media::start_with(datapath, |config| config.cores = vec![0]).await;
    let held = UdpSocket::bind(at(&media, 20_000).rtcp).await.unwrap();
    let mut restoring = media.client().await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    let restore = || call([back_on(a.stream(), at(&media, 20_000)), back_on(b.stream(), at(&media, 20_002))]);
    let open = ClientFrame::Request { id: 1, request: Request::Open { session: id(1), spec: restore() } };
    restoring.sender.send(&open).await.unwrap();
    let mut other = media.client().await;
    assert_eq!(other.sessions().await, []);
    drop(restoring);
    drop(other);
    let mut other = media.client().await;
    other.open(id(2), call([a.stream(), b.stream()])).await;
    drop(held);
    // Its owner would be a connection that is gone already, and the session would never end.
    other.open(id(1), restore()).await;
    assert_eq!(other.sessions().await, [id(1), id(2)]);
}

async fn the_call_after_the_last_port_is_refused_and_the_rest_live(datapath: DatapathChoice) {
    let media = Media::start_with(datapath, |config| {
        config.cores = vec![0];
        config.ranges[0].network = config.ranges[0].network.hosts().next().unwrap().into();
        (config.ranges[0].first_port, config.ranges[0].last_port) = (20_000, 20_011);
    })
    .await;
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    let mut sessions = Vec::new();
    for n in 0..3 {
        sessions.push(client.open(id(n), call([a.stream(), b.stream()])).await);
    }
    let Reply::Refused(refusal) =
        client.ask(Request::Open { session: id(3), spec: call([a.stream(), b.stream()]) }).await
    else {
        panic!("opened without ports")
    };
    assert_eq!(refusal.code, RefusalCode::OutOfPorts);
    assert!(refusal.is_capacity());
    assert!(matches!(
        client.ask(Request::Query { session: id(3) }).await,
        Reply::Refused(refusal) if refusal.code == RefusalCode::NoSuchSession
    ));
    for (n, session) in (0u32..).zip(&sessions) {
        a.rtp.send_to(&rtp(n, 0), local(session, 0).0).await.unwrap();
        assert_eq!(receive(&b.rtp).await.0, rtp(n, 0));
    }
}

/// Each shard has ports of its own, and none may run out of them while others have some.
async fn all_ports_of_all_shards_are_used(datapath: DatapathChoice) {
    let media = Media::start_with(datapath, |config| {
        config.ranges[0].network = format!("{}/32", config.ranges[0].network.hosts().next().unwrap()).parse().unwrap();
        (config.ranges[0].first_port, config.ranges[0].last_port) = (20_000, 20_255);
    })
    .await;
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    for n in 0..64 {
        client.open(id(n), call([a.stream(), b.stream()])).await;
    }
    media.metric_becomes("moorline_media_ports", &["in_use"], 256).await;
}

async fn what_is_not_media_is_counted_and_disturbs_nothing(datapath: DatapathChoice) {
    let media = Media::start(datapath).await;
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    let session = client.open(id(1), call([a.stream(), b.stream()])).await;
    let (to_a, to_a_rtcp) = local(&session, 0);
    let stun = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    let garbage: [&[u8]; 6] = [&[], &[0x80], &[0xff; 40], b"INVITE sip:x SIP/2.0\r\n\r\n", &stun, &[0x80; 1500]];
    for packet in garbage {
        a.rtp.send_to(packet, to_a).await.unwrap();
        a.rtcp.send_to(packet, to_a_rtcp).await.unwrap();
    }
    // Longer than any media packet, and than a buffer.
    a.rtp.send_to(&[&rtp(1, 0)[..], &[0; 4000]].concat(), to_a).await.unwrap();
    a.rtp.send_to(&rtp(1, 1), to_a).await.unwrap();
    // 1,500 bytes that begin like RTP are RTP; all else before the last packet was dropped.
    let mut heard = receive(&b.rtp).await.0;
    if heard.len() == 1500 {
        heard = receive(&b.rtp).await.0;
    }
    assert_eq!(heard, rtp(1, 1));
    media.metric_becomes("moorline_media_dropped_total", &["reason=\"truncated\""], 1).await;
    let refused = media.metric("moorline_media_dropped_total", &["reason=\"not_rtp\""]).await
        + media.metric("moorline_media_dropped_total", &["reason=\"malformed\""]).await;
    assert!((8..=10).contains(&refused), "{refused} packets of garbage counted");
    assert_eq!(media.metric("moorline_media_dropped_total", &["reason=\"stun\""]).await, 2);
}

async fn a_port_that_another_process_holds_is_passed_over(datapath: DatapathChoice) {
    let media = Media::start_with(datapath, |config| {
        config.cores = vec![0];
        config.ranges[0].network = config.ranges[0].network.hosts().next().unwrap().into();
        (config.ranges[0].first_port, config.ranges[0].last_port) = (20_000, 20_015);
    })
    .await;
    let address = media.config.ranges[0].network.addr();
    let squatters =
        [UdpSocket::bind((address, 20_004)).await.unwrap(), UdpSocket::bind((address, 20_009)).await.unwrap()];
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    for n in 0..3 {
        let session = client.open(id(n), call([a.stream(), b.stream()])).await;
        for leg in 0..2 {
            let (rtp_port, rtcp_port) = local(&session, leg);
            assert!(squatters.iter().all(|s| ![rtp_port, rtcp_port].contains(&s.local_addr().unwrap())));
        }
    }
    media.metric_becomes("moorline_media_ports", &["in_use"], 12).await;
}
