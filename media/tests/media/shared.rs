//! One socket for all ports of a shard, in a whole media process. Without the capabilities for it a test says that it
//! was skipped.

use std::fs::File;
use std::io::{Write, stderr};

use moorline_control::Request;
use moorline_media::{Config, DatapathChoice, MediaError, Sockets, run_until};
use tokio::net::UdpSocket;

use crate::stage::{Media, call, id, local, receive, rtcp, rtp};

/// A process with shared sockets, or `None` where this one may not have them, which it says.
async fn start(change: impl FnOnce(&mut Config)) -> Option<Media> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    let effective = u64::from_str_radix(effective, 16).unwrap();
    // CAP_NET_ADMIN, CAP_NET_RAW, and CAP_BPF or CAP_SYS_ADMIN.
    if effective & 0x3000 != 0x3000 || effective & (1 << 39 | 1 << 21) == 0 {
        let reason = "they need CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW";
        // Not by a macro, whose output is kept back where a test succeeds.
        let _ = writeln!(stderr(), "SKIPPED, shared sockets are not possible: {reason}");
        if let Some(path) = std::env::var_os("MOORLINE_SKIPPED") {
            let mut file = File::options().append(true).create(true).open(path).unwrap();
            writeln!(file, "tests of shared media sockets: {reason}").unwrap();
        }
        return None;
    }
    let own = |config: &mut Config| {
        config.sockets = Sockets::Shared;
        change(config);
    };
    Some(Media::start_with(DatapathChoice::IoUring, own).await)
}

#[tokio::test]
async fn calls_are_relayed_both_ways_and_their_ports_close_with_them() {
    let Some(media) = start(|_| ()).await else { return };
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    for n in 0..20 {
        let session = client.open(id(n), call([a.stream(), b.stream()])).await;
        let ((to_a, to_a_rtcp), (to_b, to_b_rtcp)) = (local(&session, 0), local(&session, 1));
        for sequence in 0..10 {
            a.rtp.send_to(&rtp(1, sequence), to_a).await.unwrap();
            assert_eq!(receive(&b.rtp).await, (rtp(1, sequence), to_b));
            b.rtp.send_to(&rtp(2, sequence), to_b).await.unwrap();
            assert_eq!(receive(&a.rtp).await, (rtp(2, sequence), to_a));
        }
        a.rtcp.send_to(&rtcp(1), to_a_rtcp).await.unwrap();
        assert_eq!(receive(&b.rtcp).await, (rtcp(1), to_b_rtcp));
        client.ask(Request::Close { session: id(n) }).await;
        // Nobody is there any more: the sender is told, as of any closed port.
        let asks = UdpSocket::bind((a.rtp.local_addr().unwrap().ip(), 0)).await.unwrap();
        asks.connect(to_a).await.unwrap();
        asks.send(&rtp(1, 99)).await.unwrap();
        let refused = asks.recv(&mut [0; 8]).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

#[tokio::test]
async fn a_second_process_on_the_same_ports_is_refused_whatever_it_asks_for() {
    let Some(media) = start(|_| ()).await else { return };
    let ways = [
        (DatapathChoice::IoUring, Sockets::Shared),
        (DatapathChoice::Auto, Sockets::Auto),
        (DatapathChoice::IoUring, Sockets::PerPort),
        (DatapathChoice::Epoll, Sockets::Auto),
    ];
    for (datapath, sockets) in ways {
        let mut config = Config { datapath, sockets, ..media.config.clone() };
        config.control = config.control.with_extension("second");
        config.admin.set_port(9062);
        let second = tokio::task::spawn_blocking(move || run_until(config, std::future::pending())).await.unwrap();
        assert!(matches!(second, Err(MediaError::PortsTaken(_))), "{second:?}");
    }
    let config = media.config.clone();
    media.stop().unwrap();
    start(|own| *own = config).await.unwrap().stop().unwrap();
}

#[tokio::test]
async fn a_flooded_port_is_counted_and_others_do_not_notice() {
    let Some(media) = start(|config| config.port_flood_pps = 1000).await else { return };
    let mut client = media.client().await;
    let (a, b, stranger) = (media.party(1).await, media.party(2).await, media.party(3).await);
    let flooded = client.open(id(1), call([stranger.stream(), stranger.stream()])).await;
    let session = client.open(id(2), call([a.stream(), b.stream()])).await;
    let (flooded, to_a) = (local(&flooded, 0).0, local(&session, 0).0);
    for sequence in 0..200u16 {
        for _ in 0..20 {
            stranger.rtcp.send_to(b"flood", flooded).await.unwrap();
        }
        a.rtp.send_to(&rtp(1, sequence), to_a).await.unwrap();
        assert_eq!(receive(&b.rtp).await.0, rtp(1, sequence));
    }
    assert!(media.metric("moorline_media_dropped_total", &["reason=\"port_flooded\""]).await > 0);
    assert_eq!(media.metric("moorline_media_dropped_total", &["reason=\"receive_buffer_full\""]).await, 0);
}
