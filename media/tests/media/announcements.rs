//! Announcements, from a file to the party that hears them.

use moorline_control::{Codec, Event, LegSpec, Play, Played, RefusalCode, Reply, Request, SessionSpec};
use moorline_media::{Config, DatapathChoice, MediaError, Sockets, run_until};

use crate::stage::{Media, Party, assert_silent, id, local, receive, rtp};

crate::on_both_datapaths!(
    a_party_hears_the_octets_of_the_file_once,
    many_hear_it_at_once_each_at_its_own_pace,
    what_is_not_there_is_refused,
);

const NAME: &str = "no-line";

/// Half a second in which no two packets are alike.
fn speech() -> Vec<u8> {
    (0..4_000u32).map(|n| (n * n / 7) as u8).collect()
}

async fn media(datapath: DatapathChoice, sockets: Sockets) -> (Media, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(format!("{NAME}.al")), speech()).unwrap();
    let announcements = Some(directory.path().to_owned());
    let media = Media::start_with(datapath, |config| {
        (config.announcements, config.sockets) = (announcements, sockets);
    });
    (media.await, directory)
}

fn play() -> Play {
    Play { name: NAME.into(), codec: Codec::Pcma, payload_type: 8, packet_ms: 20 }
}

/// One leg, to which something is played.
fn announced(party: &Party, play: Play) -> SessionSpec {
    let mut stream = party.stream();
    stream.play = Some(play);
    SessionSpec {
        legs: vec![LegSpec { range: "edge".into(), streams: vec![stream] }],
        media_timeout_ms: 0,
        snapshot: Vec::new(),
    }
}

async fn a_party_hears_the_octets_of_the_file_once(datapath: DatapathChoice) {
    heard_once(media(datapath, Sockets::PerPort).await.0).await;
}

/// Where this host lets the process have shared sockets; else by a socket for each port.
#[tokio::test]
async fn a_party_hears_them_from_a_shared_socket_too() {
    heard_once(media(DatapathChoice::IoUring, Sockets::Auto).await.0).await;
}

async fn heard_once(media: Media) {
    let mut client = media.client().await;
    let told = client.hello.announcements.iter().find(|told| told.name == NAME).expect("the hello names it");
    assert_eq!(told.length_ms, 500);
    assert!(client.hello.announcements.iter().any(|told| told.name == "call-restricted"), "a built-in one");
    let party = media.party(1).await;
    let session = client.open(id(1), announced(&party, play())).await;
    let (from, _) = local(&session, 0);
    let mut heard = Vec::new();
    let mut first = None;
    for n in 0..25u16 {
        let (packet, source) = receive(&party.rtp).await;
        assert_eq!((source, packet.len(), packet[1]), (from, 172, if n == 0 { 0x88 } else { 8 }));
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        assert_eq!(sequence, first.get_or_insert(sequence).wrapping_add(n));
        heard.extend_from_slice(&packet[12..]);
    }
    assert_eq!(heard, speech());
    assert_eq!(client.event().await, Event::Played { session: id(1), leg: 0, stream: 0 });
    assert_silent(&party.rtp);
    // What the party says meanwhile has nobody to hear it, and is counted for it.
    party.rtp.send_to(&rtp(1, 0), from).await.unwrap();
    media.metric_becomes("moorline_media_dropped_total", &["no_destination"], 1).await;
    let Reply::Closed(Some(report)) = client.ask(Request::Close { session: id(1) }).await else { panic!("no report") };
    assert_eq!(report.legs[0][0].played, Some(Played { packets: 25, played_ms: 500, complete: true }));
    assert_eq!(report.legs[0][0].packets, 1);
    media.metric_becomes("moorline_media_packets_total", &["kind=\"announcement\""], 25).await;
    let labels = ["name=\"no-line\"", "state=\"completed\""];
    media.metric_becomes("moorline_media_announcements_total", &labels, 1).await;
}

async fn many_hear_it_at_once_each_at_its_own_pace(datapath: DatapathChoice) {
    const MANY: u8 = 40;
    let (media, _directory) = media(datapath, Sockets::PerPort).await;
    let mut client = media.client().await;
    let mut parties = Vec::new();
    for n in 0..MANY {
        let party = media.party(n + 1).await;
        client.open(id(n.into()), announced(&party, Play { codec: Codec::Pcmu, payload_type: 0, ..play() })).await;
        parties.push(party);
    }
    for _ in 0..MANY {
        assert!(matches!(client.event().await, Event::Played { leg: 0, stream: 0, .. }));
    }
    for party in &parties {
        for n in 0..25 {
            let (packet, _) = receive(&party.rtp).await;
            assert_eq!((packet.len(), packet[1] & 0x7f), (172, 0), "packet {n}");
        }
        assert_silent(&party.rtp);
    }
    let labels = ["name=\"no-line\"", "state=\"started\""];
    assert_eq!(media.metric("moorline_media_announcements_total", &labels).await, u64::from(MANY));
}

async fn what_is_not_there_is_refused(datapath: DatapathChoice) {
    let (media, _directory) = media(datapath, Sockets::PerPort).await;
    let mut client = media.client().await;
    let party = media.party(1).await;
    for (play, code) in [
        (Play { name: "nothing".into(), ..play() }, RefusalCode::NoSuchAnnouncement),
        (Play { codec: Codec::Opus, ..play() }, RefusalCode::Unplayable),
    ] {
        let spec = announced(&party, play);
        let Reply::Refused(refusal) = client.ask(Request::Open { session: id(1), spec }).await else {
            panic!("opened")
        };
        assert_eq!(refusal.code, code);
    }
    assert_eq!(client.sessions().await, []);
    // A session that its client leaves alone ends with its lease, and the announcement with it.
    let mut leaving = media.client_with_lease(50).await;
    leaving.open(id(2), announced(&party, play())).await;
    drop(leaving);
    media.metric_becomes("moorline_media_leases_expired_total", &[], 1).await;
    assert_eq!(media.metric("moorline_media_announcements_total", &["state=\"completed\""]).await, 0);
}

#[test]
fn a_file_that_cannot_be_played_keeps_the_process_from_starting() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("no-line.wav"), b"not this").unwrap();
    let config = Config {
        control: directory.path().join("media.sock"),
        announcements: Some(directory.path().to_owned()),
        datapath: DatapathChoice::Epoll,
        ..Config::default()
    };
    // The socket is no announcement either, but is not made before these are read.
    let error = run_until(config, std::future::pending()).unwrap_err();
    assert!(matches!(error, MediaError::Announcements(_)), "{error}");
    assert!(error.to_string().contains("no-line.wav: not a WAV file"), "{error}");
}
