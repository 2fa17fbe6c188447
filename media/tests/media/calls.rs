//! Calls through both datapaths.

use std::time::Duration;

use moorline_control::{Event, Latch, Profile, Reply, Request, StreamSpec};
use moorline_media::DatapathChoice;

use crate::stage::{Media, assert_silent, call, id, local, receive, rtcp, rtp, udptl};

crate::on_both_datapaths!(
    a_call_is_relayed_both_ways,
    bursts_arrive_whole_and_in_order,
    many_calls_at_once_are_not_crossed,
    an_update_loses_no_packet,
    a_party_behind_nat_is_latched_and_its_owner_told,
    silence_is_told_once,
    a_call_changes_to_fax_and_back_while_packets_flow,
    fax_beside_audio_is_relayed_on_its_own_ports,
);

async fn a_call_is_relayed_both_ways(datapath: DatapathChoice) {
    let media = Media::start(datapath).await;
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    let session = client.open(id(1), call([a.stream(), b.stream()])).await;
    let ((to_a, to_a_rtcp), (to_b, to_b_rtcp)) = (local(&session, 0), local(&session, 1));
    assert_eq!((to_a.port() % 2, to_a_rtcp.port()), (0, to_a.port() + 1));
    for sequence in 0..50 {
        // What leg 0 receives leaves from leg 1's port, and the other way round.
        a.rtp.send_to(&rtp(1, sequence), to_a).await.unwrap();
        assert_eq!(receive(&b.rtp).await, (rtp(1, sequence), to_b));
        b.rtp.send_to(&rtp(2, sequence), to_b).await.unwrap();
        assert_eq!(receive(&a.rtp).await, (rtp(2, sequence), to_a));
    }
    a.rtcp.send_to(&rtcp(1), to_a_rtcp).await.unwrap();
    assert_eq!(receive(&b.rtcp).await, (rtcp(1), to_b_rtcp));
    b.rtcp.send_to(&rtcp(2), to_b_rtcp).await.unwrap();
    assert_eq!(receive(&a.rtcp).await, (rtcp(2), to_a_rtcp));

    let Reply::Closed(Some(report)) = client.ask(Request::Close { session: id(1) }).await else { panic!("no report") };
    for leg in &report.legs {
        assert_eq!((leg[0].packets, leg[0].lost, leg[0].rtcp_packets, leg[0].refused), (50, 0, 1, 0));
    }
    [&a.rtp, &b.rtp, &a.rtcp, &b.rtcp].into_iter().for_each(assert_silent);
}

async fn bursts_arrive_whole_and_in_order(datapath: DatapathChoice) {
    let media = Media::start(datapath).await;
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    let session = client.open(id(1), call([a.stream(), b.stream()])).await;
    let (to_a, _) = local(&session, 0);
    // As many as a socket's receive buffer surely holds; more than a datapath takes at once.
    for burst in 0..20u16 {
        for sequence in 0..100 {
            a.rtp.send_to(&rtp(1, burst * 100 + sequence), to_a).await.unwrap();
        }
        for sequence in 0..100 {
            assert_eq!(receive(&b.rtp).await.0, rtp(1, burst * 100 + sequence));
        }
    }
}

async fn many_calls_at_once_are_not_crossed(datapath: DatapathChoice) {
    let media = Media::start(datapath).await;
    let mut client = media.client().await;
    let mut calls = Vec::new();
    for n in 0..40u8 {
        let (a, b) = (media.party(2 * n).await, media.party(2 * n + 1).await);
        let session = client.open(id(u64::from(n)), call([a.stream(), b.stream()])).await;
        calls.push((a, b, local(&session, 0).0, local(&session, 1).0));
    }
    for sequence in 0..20 {
        for (n, (a, b, to_a, to_b)) in (0u32..).zip(&calls) {
            a.rtp.send_to(&rtp(n, sequence), to_a).await.unwrap();
            b.rtp.send_to(&rtp(1000 + n, sequence), to_b).await.unwrap();
        }
        for (n, (a, b, to_a, to_b)) in (0u32..).zip(&calls) {
            assert_eq!(receive(&b.rtp).await, (rtp(n, sequence), *to_b));
            assert_eq!(receive(&a.rtp).await, (rtp(1000 + n, sequence), *to_a));
        }
    }
    for (a, b, ..) in &calls {
        [&a.rtp, &b.rtp].into_iter().for_each(assert_silent);
    }
}

async fn an_update_loses_no_packet(datapath: DatapathChoice) {
    let media = Media::start(datapath).await;
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    let mut spec = call([a.stream(), b.stream()]);
    let session = client.open(id(1), spec.clone()).await;
    let (to_a, _) = local(&session, 0);
    const PACKETS: u16 = 400;
    let talk = async {
        for sequence in 0..PACKETS {
            a.rtp.send_to(&rtp(1, sequence), to_a).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let hear = async {
        for sequence in 0..PACKETS {
            assert_eq!(receive(&b.rtp).await.0, rtp(1, sequence));
        }
    };
    let change = async {
        for n in 0..200u8 {
            spec.snapshot = vec![n; usize::from(n)];
            spec.media_timeout_ms = 1000 * u32::from(n);
            let reply = client.ask(Request::Update { session: id(1), spec: spec.clone() }).await;
            assert_eq!(reply, Reply::Opened(session.clone()), "the ports stay");
        }
    };
    tokio::join!(talk, hear, change);
}

async fn a_party_behind_nat_is_latched_and_its_owner_told(datapath: DatapathChoice) {
    let media = Media::start(datapath).await;
    let (mut client, mut bystander) = (media.client().await, media.client().await);
    let (a, b, stranger) = (media.party(1).await, media.party(2).await, media.party(3).await);
    let source = a.rtp.local_addr().unwrap();
    let latch = Latch { sources: vec![source.ip().into()], window_ms: 10_000 };
    // Its SDP names an address that nobody can reach.
    let inside = StreamSpec { remote_rtp: Some("10.0.0.5:30000".parse().unwrap()), latch: Some(latch), ..a.stream() };
    let session = client.open(id(1), call([inside, b.stream()])).await;
    let ((to_a, _), (to_b, _)) = (local(&session, 0), local(&session, 1));
    stranger.rtp.send_to(&rtp(9, 0), to_a).await.unwrap();
    a.rtp.send_to(&rtp(1, 0), to_a).await.unwrap();
    assert_eq!(receive(&b.rtp).await.0, rtp(1, 0), "the first to come through is not the stranger's");
    assert_eq!(client.event().await, Event::Latched { session: id(1), leg: 0, stream: 0, source });
    b.rtp.send_to(&rtp(2, 0), to_b).await.unwrap();
    assert_eq!(receive(&a.rtp).await, (rtp(2, 0), to_a));
    media.metric_becomes("moorline_media_dropped_total", &["reason=\"source\""], 1).await;
    // The next that the bystander hears is the reply to its own request.
    assert_eq!(bystander.sessions().await, [id(1)]);
}

async fn silence_is_told_once(datapath: DatapathChoice) {
    let media = Media::start(datapath).await;
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    let mut spec = call([a.stream(), b.stream()]);
    spec.media_timeout_ms = 100;
    client.open(id(1), spec).await;
    assert_eq!(client.event().await, Event::MediaTimeout { session: id(1) });
    assert_eq!(client.sessions().await, [id(1)], "the session stays until it is closed");
    media.metric_becomes("moorline_media_timeouts_total", &[], 1).await;
}

async fn a_call_changes_to_fax_and_back_while_packets_flow(datapath: DatapathChoice) {
    let media = Media::start(datapath).await;
    let mut client = media.client().await;
    assert!(client.hello.relays(Profile::Udptl));
    let (a, b) = (media.party(1).await, media.party(2).await);
    let audio = call([a.stream(), b.stream()]);
    let fax = call([a.stream(), b.stream()].map(|stream| StreamSpec { profile: Profile::Udptl, ..stream }));
    let session = client.open(id(1), audio.clone()).await;
    let ((to_a, to_a_rtcp), (to_b, _)) = (local(&session, 0), local(&session, 1));
    for round in 0..5u16 {
        for n in 0..20 {
            let sequence = 1000 * round + n;
            a.rtp.send_to(&rtp(1, sequence), to_a).await.unwrap();
            assert_eq!(receive(&b.rtp).await, (rtp(1, sequence), to_b));
        }
        let reply = client.ask(Request::Update { session: id(1), spec: fax.clone() }).await;
        assert_eq!(reply, Reply::Opened(session.clone()), "the ports stay");
        a.rtcp.send_to(&rtcp(1), to_a_rtcp).await.unwrap();
        for n in 0..20 {
            a.rtp.send_to(&udptl(n), to_a).await.unwrap();
            assert_eq!(receive(&b.rtp).await, (udptl(n), to_b));
            b.rtp.send_to(&udptl(0x8000 + n), to_b).await.unwrap();
            assert_eq!(receive(&a.rtp).await, (udptl(0x8000 + n), to_a));
        }
        let reply = client.ask(Request::Update { session: id(1), spec: audio.clone() }).await;
        assert_eq!(reply, Reply::Opened(session.clone()), "the ports stay");
        // Fax that was on its way still; the next to be heard is audio.
        a.rtp.send_to(&udptl(20), to_a).await.unwrap();
    }
    media.metric_becomes("moorline_media_packets_total", &["kind=\"udptl\""], 200).await;
    media.metric_becomes("moorline_media_bytes_total", &["kind=\"udptl\""], 200 * udptl(0).len() as u64).await;
    media.metric_becomes("moorline_media_packets_total", &["kind=\"rtp\""], 100).await;
    media.metric_becomes("moorline_media_dropped_total", &["reason=\"unused_port\""], 5).await;
    media.metric_becomes("moorline_media_dropped_total", &["reason=\"not_rtp\""], 5).await;
    let Reply::Report(report) = client.ask(Request::Query { session: id(1) }).await else { panic!("no report") };
    let (of_a, of_b) = (report.legs[0][0], report.legs[1][0]);
    assert_eq!((of_a.packets, of_a.bytes, of_a.lost, of_a.refused), (200, 100 * (172 + 8), 0, 10));
    assert_eq!((of_b.packets, of_b.bytes, of_b.lost, of_b.jitter_us), (100, 100 * 8, 0, 0));
    [&a.rtcp, &b.rtcp].into_iter().for_each(assert_silent);
}

async fn fax_beside_audio_is_relayed_on_its_own_ports(datapath: DatapathChoice) {
    let media = Media::start(datapath).await;
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    let (a_fax, b_fax) = (media.party(3).await, media.party(4).await);
    let mut spec = call([a.stream(), b.stream()]);
    let session = client.open(id(1), spec.clone()).await;
    for (leg, party) in spec.legs.iter_mut().zip([&a_fax, &b_fax]) {
        leg.streams.push(StreamSpec { profile: Profile::Udptl, ..party.stream() });
    }
    let Reply::Opened(both) = client.ask(Request::Update { session: id(1), spec }).await else { panic!("refused") };
    assert_eq!((local(&both, 0), local(&both, 1)), (local(&session, 0), local(&session, 1)), "audio stays");
    let (to_a, to_b) = (local(&both, 0).0, local(&both, 1).0);
    let (to_a_fax, to_b_fax) = (both.legs[0][1].unwrap().rtp, both.legs[1][1].unwrap().rtp);
    for n in 0..50 {
        a.rtp.send_to(&rtp(1, n), to_a).await.unwrap();
        a_fax.rtp.send_to(&udptl(n), to_a_fax).await.unwrap();
        b_fax.rtp.send_to(&udptl(n), to_b_fax).await.unwrap();
        assert_eq!(receive(&b.rtp).await, (rtp(1, n), to_b));
        assert_eq!(receive(&b_fax.rtp).await, (udptl(n), to_b_fax));
        assert_eq!(receive(&a_fax.rtp).await, (udptl(n), to_a_fax));
    }
    let Reply::Closed(Some(report)) = client.ask(Request::Close { session: id(1) }).await else { panic!("no report") };
    let packets: Vec<u64> = report.legs.iter().flatten().map(|stream| stream.packets).collect();
    assert_eq!(packets, [50, 50, 0, 50]);
    [&a.rtp, &b.rtp, &a_fax.rtp, &b_fax.rtp].into_iter().for_each(assert_silent);
}
