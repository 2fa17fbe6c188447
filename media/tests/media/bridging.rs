//! Calls between IPv4 and IPv6, and forged packets, through both datapaths.

use std::net::SocketAddr;

use moorline_control::{Ceiling, Latch, Reply, Request, SessionSpec, StreamSpec};
use moorline_media::{DatapathChoice, Range};
use tokio::net::UdpSocket;

use crate::stage::{Media, Party, assert_silent, call, id, local, receive, rtcp, rtp};

crate::on_both_datapaths!(
    a_call_between_ipv4_and_ipv6_is_relayed_both_ways,
    an_ipv6_party_is_latched,
    a_forged_source_is_refused_and_counted,
    a_flood_is_cut_and_its_neighbour_hears_nothing_of_it,
);

/// A media process with a range of IPv6 loopback ports that no other test uses.
async fn start(datapath: DatapathChoice) -> Media {
    let change = |config: &mut moorline_media::Config| {
        let block = match config.admin {
            SocketAddr::V4(admin) => u16::from(admin.ip().octets()[2]),
            SocketAddr::V6(_) => 0,
        };
        let first_port = 20_000 + 640 * block;
        let six = Range {
            name: "six".into(),
            network: "::1/128".parse().unwrap(),
            first_port,
            last_port: first_port + 639,
            routed: true,
            ..Range::default()
        };
        config.ranges.push(six);
    };
    Media::start_with(datapath, change).await
}

async fn party6() -> Party {
    let bind = || UdpSocket::bind("[::1]:0");
    Party { rtp: bind().await.unwrap(), rtcp: bind().await.unwrap() }
}

fn bridged(a: &Party, b: &Party) -> SessionSpec {
    let rtcp = |party: &Party| Some(party.rtcp.local_addr().unwrap());
    let stream = |party: &Party| StreamSpec { remote_rtcp: rtcp(party), one_ssrc: true, ..party.stream() };
    let mut spec = call([stream(a), stream(b)]);
    spec.legs[1].range = "six".into();
    spec
}

async fn a_call_between_ipv4_and_ipv6_is_relayed_both_ways(datapath: DatapathChoice) {
    let media = start(datapath).await;
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, party6().await);
    let session = client.open(id(1), bridged(&a, &b)).await;
    let ((to_a, to_a_rtcp), (to_b, to_b_rtcp)) = (local(&session, 0), local(&session, 1));
    assert_eq!((to_a.is_ipv4(), to_b.is_ipv4()), (true, false));
    for sequence in 0..100 {
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
        assert_eq!((leg[0].packets, leg[0].lost, leg[0].rtcp_packets, leg[0].refused), (100, 0, 1, 0));
    }
}

async fn an_ipv6_party_is_latched(datapath: DatapathChoice) {
    let media = start(datapath).await;
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, party6().await);
    let mut spec = bridged(&a, &b);
    let natted = &mut spec.legs[1].streams[0];
    natted.remote_rtp = Some("[fd00::5]:30000".parse().unwrap());
    natted.latch = Some(Latch { sources: vec!["::1/128".parse().unwrap()], window_ms: 10_000 });
    let session = client.open(id(1), spec).await;
    let ((to_a, _), (to_b, _)) = (local(&session, 0), local(&session, 1));
    b.rtp.send_to(&rtp(2, 0), to_b).await.unwrap();
    assert_eq!(receive(&a.rtp).await, (rtp(2, 0), to_a));
    a.rtp.send_to(&rtp(1, 0), to_a).await.unwrap();
    assert_eq!(receive(&b.rtp).await, (rtp(1, 0), to_b), "where it was heard from");
}

async fn a_forged_source_is_refused_and_counted(datapath: DatapathChoice) {
    let media = start(datapath).await;
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, party6().await);
    let session = client.open(id(1), bridged(&a, &b)).await;
    let ((to_a, to_a_rtcp), _) = (local(&session, 0), local(&session, 1));
    for sequence in 0..100 {
        a.rtp.send_to(&rtp(1, sequence), to_a).await.unwrap();
        assert_eq!(receive(&b.rtp).await.0, rtp(1, sequence));
        // From the same address and port, as a forger would have it; the first come before the party is proved.
        if sequence > 1 {
            a.rtp.send_to(&rtp(666 + u32::from(sequence), sequence), to_a).await.unwrap();
        }
    }
    a.rtcp.send_to(&[0x81, 203, 0, 1, 0, 0, 2, 154], to_a_rtcp).await.unwrap();
    media.metric_becomes("moorline_media_dropped_total", &["reason=\"ssrc\""], 99).await;
    [&b.rtp, &b.rtcp].into_iter().for_each(assert_silent);
}

async fn a_flood_is_cut_and_its_neighbour_hears_nothing_of_it(datapath: DatapathChoice) {
    let media = start(datapath).await;
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, party6().await);
    let (c, d) = (media.party(3).await, media.party(4).await);
    let mut spec = bridged(&a, &b);
    spec.legs[0].streams[0].ceiling = Some(Ceiling { packets_per_s: 1, bytes_per_s: 2_048 });
    let flooded = client.open(id(1), spec).await;
    let calm = client.open(id(2), call([c.stream(), d.stream()])).await;
    for sequence in 0..200 {
        a.rtp.send_to(&rtp(1, sequence), local(&flooded, 0).0).await.unwrap();
        c.rtp.send_to(&rtp(2, sequence), local(&calm, 0).0).await.unwrap();
        assert_eq!(receive(&d.rtp).await.0, rtp(2, sequence));
    }
    let Reply::Closed(Some(report)) = client.ask(Request::Close { session: id(1) }).await else { panic!("no report") };
    let stream = report.legs[0][0];
    assert_eq!(stream.packets + stream.refused, 200);
    assert!(stream.packets >= 2 && stream.refused > 100, "{stream:?}");
    media.metric_becomes("moorline_media_dropped_total", &["reason=\"rate\""], stream.refused).await;
}
