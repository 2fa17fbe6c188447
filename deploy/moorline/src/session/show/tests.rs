//! What operators read of a session.

use moorline_control::{Codec, Dtmf, FarEnd, LocalSession, Played, SessionId, Silence};

use super::*;

fn report() -> SessionReport {
    let quality = Some(Quality { r_tenths: 925, mos_hundredths: 440, delay_ms: 20 });
    let stream = StreamReport {
        packets: 990,
        bytes: 170_280,
        lost: 10,
        jitter_us: 1_300,
        rtcp_packets: 3,
        source: Some("192.0.2.7:4000".parse().unwrap()),
        sources: 1,
        ssrc: Some(0xbeef),
        payload_type: Some(8),
        codec: Codec::Pcma,
        gaps: 2,
        longest_gap_ms: 140,
        longest_gap_packets: 6,
        quality,
        far_end: Some(FarEnd {
            reports: 3,
            fraction_lost: 64,
            lost: -1,
            round_trip_us: Some(30_000),
            ..FarEnd::default()
        }),
        dtmf: Some(Dtmf { events: 2, total_ms: 200, last: Some(11) }),
        silence: Some(Silence { pauses: 1, total_ms: 1_500, longest_ms: 1_500, ..Silence::default() }),
        goodbyes: 1,
        played: Some(Played { packets: 50, played_ms: 1_000, complete: true }),
        ..StreamReport::default()
    };
    SessionReport { legs: vec![vec![stream], vec![StreamReport::default()]], open_ms: 20_000 }
}

#[test]
fn people_read_lines() {
    let expected = "open 20.0 s
leg 0 stream 0 from 192.0.2.7:4000, PCMA (8), SSRC 0000beef of 1
  received    990 packets, 170280 bytes; 0 refused
  lost        10 (1.00 %); 0 reordered, 0 repeated
  jitter      1.3 ms
  gaps        2; longest 6 packets, 140 ms
  quality     MOS 4.40, R 92.5, with 20 ms from mouth to ear
  silence     1 pauses, 1.5 s, longest 1.5 s; one-way 0.0 s; DTX 0.0 s
  DTMF        2 events, 200 ms; last #
  hears       -1 lost, 25.0 % lately; jitter 0.0 ms
  round trip  30.0 ms
  played      1.0 s, to its end, in 50 packets
  RTCP        3 packets; goodbye said
leg 1 stream 0
  received    0 packets, 0 bytes; 0 refused
  lost        0 (0.00 %); 0 reordered, 0 repeated
  jitter      0.0 ms
  RTCP        0 packets
";
    assert_eq!(text(&report()), expected);
}

#[test]
fn programs_read_every_field() {
    let json = json(&report());
    assert!(
        json.starts_with("{\"open_ms\":20000,\"legs\":[[{\"source\":\"192.0.2.7:4000\",\"codec\":\"PCMA\","),
        "{json}"
    );
    assert!(json.contains("\"quality\":{\"r_tenths\":925,\"mos_hundredths\":440,\"delay_ms\":20}"), "{json}");
    assert!(json.contains("\"round_trip_us\":30000,\"longest_round_trip_us\":null,\"quality\":null}"), "{json}");
    assert!(json.contains("\"dtmf\":{\"events\":2,\"total_ms\":200,\"last\":11}"), "{json}");
    assert!(json.contains("\"played\":{\"packets\":50,\"played_ms\":1000,\"complete\":true}"), "{json}");
    assert!(json.ends_with("\"dtmf\":null,\"silence\":null,\"played\":null}]]}\n"), "{json}");
    let depth = |open: char, close: char| json.matches(open).count() == json.matches(close).count();
    assert!(depth('{', '}') && depth('[', ']'));
}

#[test]
fn a_listing_is_a_line() {
    let rtp = "127.0.0.1:16384".parse().unwrap();
    let advertised = Some("192.0.2.1".parse().unwrap());
    let own = LocalAddresses { rtp, rtcp: "127.0.0.1:16385".parse().unwrap(), advertised };
    let session = SessionId { node: 1, virtual_shard: 2, random: 3 };
    let local = LocalSession { legs: vec![vec![Some(own)], vec![None]] };
    let listing = Listing { session, local, snapshot: Vec::new(), owned: true };
    assert_eq!(line(&listing), "0001020000000000000003 127.0.0.1:16384 - owned");
    let json = r#"{"session":"0001020000000000000003","legs":[[{"rtp":"127.0.0.1:16384","rtcp":"127.0.0.1:16385","advertised":"192.0.2.1"}],[null]],"owned":true}"#;
    assert_eq!(listing_json(&listing), json);
    let bare = LocalAddresses { advertised: None, ..own };
    assert!(local_json(bare).ends_with(r#""advertised":null}"#));
}
