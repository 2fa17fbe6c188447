//! What a scrape shows.

use std::sync::Arc;
use std::time::Duration;

use moorline_control::{Request, StreamSpec};
use moorline_media::DatapathChoice;

use crate::stage::{Media, call, id, local, receive, rtcp, rtp};

crate::on_both_datapaths!(
    a_scrape_shows_the_packets_on_the_datapath_that_carried_them,
    what_could_not_be_sent_is_not_counted_as_relayed,
    what_the_kernel_had_no_room_for_is_counted,
    a_call_that_has_ended_shows_its_disorder_and_what_the_far_end_said,
);

async fn a_scrape_shows_the_packets_on_the_datapath_that_carried_them(datapath: DatapathChoice) {
    let media = Media::start(datapath).await;
    let mut client = media.client().await;
    let name = match datapath {
        DatapathChoice::IoUring => "io_uring",
        DatapathChoice::Epoll => "epoll",
        DatapathChoice::AfXdp => "af_xdp",
        DatapathChoice::Auto => panic!("the test names its datapath"),
    };
    assert_eq!(client.hello.datapath, name);
    let on = format!("datapath=\"{name}\"");
    let (a, b) = (media.party(1).await, media.party(2).await);
    let session = client.open(id(1), call([a.stream(), b.stream()])).await;
    for sequence in 0..25 {
        a.rtp.send_to(&rtp(1, sequence), local(&session, 0).0).await.unwrap();
        receive(&b.rtp).await;
    }
    a.rtcp.send_to(&rtcp(1), local(&session, 0).1).await.unwrap();
    receive(&b.rtcp).await;

    media.metric_becomes("moorline_media_packets_total", &[&on, "kind=\"rtp\""], 25).await;
    media.metric_becomes("moorline_media_packets_total", &[&on, "kind=\"rtcp\""], 1).await;
    media.metric_becomes("moorline_media_bytes_total", &[&on, "kind=\"rtp\""], 25 * 172).await;
    media.metric_becomes("moorline_media_residence_seconds_count", &[&on], 26).await;
    media.metric_becomes("moorline_media_residence_seconds_bucket", &[&on, "le=\"+Inf\""], 26).await;
    media.metric_becomes("moorline_media_sessions", &[], 1).await;
    media.metric_becomes("moorline_media_ports", &["in_use"], 4).await;
    media.metric_becomes("moorline_media_info", &[&on, "version="], 1).await;
    assert!(media.metric("moorline_media_wakeups_total", &[]).await > 0);

    client.ask(Request::Close { session: id(1) }).await;
    media.metric_becomes("moorline_media_sessions", &[], 0).await;
    media.metric_becomes("moorline_media_sessions_opened_total", &[], 1).await;
    media.metric_becomes("moorline_media_sessions_closed_total", &[], 1).await;

    let text = media.get("/metrics").await.unwrap();
    assert!(text.ends_with("# EOF\n"), "complete OpenMetrics text");
    for bound in ["0.000001", "0.000002", "0.000005", "0.00001", "0.001", "0.1", "+Inf"] {
        assert!(text.contains(&format!("le=\"{bound}\"")), "{bound} in\n{text}");
    }
    assert!(media.get("/nothing").await.is_none());
}

async fn what_could_not_be_sent_is_not_counted_as_relayed(datapath: DatapathChoice) {
    let media = Media::start_with(datapath, |config| config.cores = vec![0]).await;
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    // A broadcast address: the kernel refuses to send to it.
    let nowhere = StreamSpec { remote_rtp: Some("127.255.255.255:40000".parse().unwrap()), ..b.stream() };
    let session = client.open(id(1), call([a.stream(), nowhere])).await;
    for sequence in 0..100 {
        a.rtp.send_to(&rtp(1, sequence), local(&session, 0).0).await.unwrap();
    }
    media.metric_becomes("moorline_media_dropped_total", &["reason=\"send_filtered\""], 100).await;
    assert_eq!(media.metric("moorline_media_packets_total", &["kind=\"rtp\""]).await, 0);
    assert_eq!(media.metric("moorline_media_bytes_total", &["kind=\"rtp\""]).await, 0);
    assert_eq!(media.metric("moorline_media_residence_seconds_count", &[]).await, 0);
}

async fn what_the_kernel_had_no_room_for_is_counted(datapath: DatapathChoice) {
    let media = Media::start_with(datapath, |config| config.cores = vec![0]).await;
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    let session = client.open(id(1), call([a.stream(), b.stream()])).await;
    let to_a = local(&session, 0).0;
    let reason = ["reason=\"receive_buffer_full\""];
    assert_eq!(media.metric("moorline_media_dropped_total", &reason).await, 0);
    // Faster than the shard can relay, until it has been too late once.
    let a = Arc::new(a.rtp.into_std().unwrap());
    a.set_nonblocking(false).unwrap();
    let mut sent = 0;
    while media.metric("moorline_media_dropped_total", &reason).await == 0 {
        assert!(sent < 5_000_000, "nothing was ever too much");
        let floods: Vec<_> = (0..3)
            .map(|_| {
                let a = Arc::clone(&a);
                std::thread::spawn(move || {
                    (0..20_000).for_each(|n| {
                        a.send_to(&rtp(1, n), to_a).unwrap();
                    })
                })
            })
            .collect();
        floods.into_iter().for_each(|flood| flood.join().unwrap());
        sent += 60_000;
        // The packet with which the loss is said, if the last ones were lost.
        tokio::time::sleep(Duration::from_millis(20)).await;
        a.send_to(&rtp(1, 0), to_a).unwrap();
        sent += 1;
    }
    let relayed = media.metric("moorline_media_packets_total", &["kind=\"rtp\""]).await;
    let lost = media.metric("moorline_media_dropped_total", &[]).await;
    assert!(relayed > 0 && relayed + lost <= sent, "{relayed} relayed and {lost} lost of {sent}");
}

async fn a_call_that_has_ended_shows_its_disorder_and_what_the_far_end_said(datapath: DatapathChoice) {
    let media = Media::start(datapath).await;
    let mut client = media.client().await;
    let (a, b) = (media.party(1).await, media.party(2).await);
    let session = client.open(id(1), call([a.stream(), b.stream()])).await;
    // 5 and 6 change places, and 9 comes twice.
    for sequence in [0, 1, 2, 3, 4, 6, 5, 7, 8, 9, 9] {
        a.rtp.send_to(&rtp(1, sequence), local(&session, 0).0).await.unwrap();
        receive(&b.rtp).await;
    }
    // Who hears it says that one packet was lost.
    let mut report = vec![0x81, 201, 0, 7];
    report.extend(2u32.to_be_bytes());
    report.extend(1u32.to_be_bytes());
    report.extend([20, 0, 0, 1]);
    report.extend([0; 16]);
    b.rtcp.send_to(&report, local(&session, 1).1).await.unwrap();
    receive(&a.rtcp).await;
    let names = ["reordered_packets_total", "duplicate_packets_total", "gaps_total", "far_end_loss_ratio_count"];
    for name in names {
        assert_eq!(media.metric(&format!("moorline_media_{name}"), &[]).await, 0, "{name}, before the call has ended");
    }
    client.ask(Request::Close { session: id(1) }).await;
    for name in names {
        media.metric_becomes(&format!("moorline_media_{name}"), &[], 1).await;
    }
    // One of eleven.
    media.metric_becomes("moorline_media_far_end_loss_ratio_bucket", &["le=\"0.05\""], 0).await;
    media.metric_becomes("moorline_media_far_end_loss_ratio_bucket", &["le=\"0.1\""], 1).await;
}
