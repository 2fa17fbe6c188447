//! What a load does with borders of any make.

use moorline_sip::digest::{Challenger, Secret, Settings, Verdict};

use super::*;
use crate::load::message::{Message, Start};

/// A plan as `moorline load` makes it.
fn any_border(port: u16) -> Plan {
    Plan { verbatim: false, rtcp: false, calls: 6, talk: Duration::from_millis(300), ..plan(port) }
}

#[test]
fn calls_over_tcp_are_clean() {
    let plan = Plan { transport: Transport::Tcp, rate_per_s: 20.0, ..any_border(free_port()) };
    let report = run(&plan, &mut |_| {}).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.completed, report.reached, report.release.len()), (6, 6, 6));
    assert_eq!((report.post_dial.len(), report.answer_transit.len(), report.invite_transit.len()), (6, 6, 6));
}

#[test]
fn a_codec_is_what_the_packets_carry() {
    for codec in [Codec::Pcma, Codec::G722] {
        let report = run(&Plan { codec, ..any_border(free_port()) }, &mut |_| {}).unwrap();
        assert!(report.is_clean(), "{report:?}");
    }
}

#[test]
fn without_media_only_signaling_is_judged() {
    let report = run(&Plan { media: false, ..any_border(free_port()) }, &mut |_| {}).unwrap();
    assert!(report.is_clean() && !report.has_media, "{report:?}");
    assert_eq!((report.completed, report.packets_sent), (6, 0));
}

#[test]
fn no_more_calls_are_up_than_wanted() {
    let plan = Plan { concurrent: 2, rate_per_s: 1000.0, media: false, ..any_border(free_port()) };
    let report = run(&plan, &mut |progress| assert!(progress.active <= 2, "{progress:?}")).unwrap();
    assert_eq!((report.completed, report.waited), (6, 4), "{report:?}");
    assert!(report.most_active <= 2);
    assert!(report.placing >= Duration::from_millis(600), "{report:?}");
}

#[test]
fn the_series_adds_up_to_the_report() {
    let report = run(&any_border(free_port()), &mut |_| {}).unwrap();
    let sum = |of: fn(&Sample) -> u64| report.series.iter().map(of).sum::<u64>();
    assert_eq!(sum(|sample| sample.attempted.into()), 6);
    assert_eq!(sum(|sample| sample.completed.into()), 6);
    assert_eq!(sum(|sample| sample.setup.count), 6);
    assert_eq!(sum(|sample| sample.lost), report.lost);
    assert!(report.series.len() >= 2 && sum(|sample| sample.packets_sent) > 0, "{:?}", report.series);
    assert!(report.series.windows(2).all(|two| two[0].at < two[1].at));
}

#[test]
fn a_load_that_is_stopped_hangs_up() {
    // Five are up at the stop, some ring, and the rest is never placed.
    let plan = Plan { calls: 1000, rate_per_s: 20.0, talk: Duration::from_secs(60), ..any_border(free_port()) };
    let stop = AtomicBool::new(false);
    let sockets = Sockets::bind(&plan).unwrap();
    let report = run_watched(&plan, sockets, &stop, &mut |watch| {
        if watch.progress.active >= 5 {
            stop.store(true, Relaxed);
        }
    })
    .unwrap();
    assert!(report.completed >= 5 && report.failed.is_empty(), "{report:?}");
    assert_eq!(report.completed + report.cancelled, report.attempted, "{report:?}");
    assert!(report.attempted < 50 && report.lost == 0, "{report:?}");
}

#[test]
fn calls_that_ring_are_cancelled_at_a_stop() {
    let plan = Plan { ring: Duration::from_secs(60), ..any_border(free_port()) };
    let stop = AtomicBool::new(false);
    let sockets = Sockets::bind(&plan).unwrap();
    let report = run_watched(&plan, sockets, &stop, &mut |watch| {
        stop.store(watch.post_dial.len() == 6, Relaxed);
    })
    .unwrap();
    assert_eq!((report.cancelled, report.answered, report.failures()), (6, 0, 0), "{report:?}");
}

#[test]
fn a_target_at_which_nobody_listens_is_known_at_once() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let port = free_port();
        let sbc = SocketAddr::from(([127, 0, 0, 1], port));
        let plan = Plan { sbc, transport, callee: "127.0.0.1:0".parse().unwrap(), ..any_border(port) };
        let mut last = Progress::default();
        let report = run(&plan, &mut |progress| last = *progress).unwrap();
        let reason = format!("{sbc} cannot be reached: nobody listens there");
        assert_eq!(report.failed.get(&Failure::from(reason)), Some(&6), "{report:?}");
        assert!(last.elapsed < Duration::from_secs(20), "before any timer gives up: {last:?}");
    }
}

/// Another party's user agent: answers everything, in its own words.
fn answer_elsewhere(
    socket: UdpSocket,
    stop: Arc<AtomicBool>,
    respond: impl FnMut(&Message) -> String + Send + 'static,
) -> JoinHandle<()> {
    let mut respond = respond;
    socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    std::thread::spawn(move || {
        let mut datagram = [0; 8192];
        while !stop.load(Relaxed) {
            let Ok((length, source)) = socket.recv_from(&mut datagram) else { continue };
            let message = Message::parse(&datagram[..length]).unwrap();
            let text = respond(&message);
            if !text.is_empty() {
                socket.send_to(text.as_bytes(), source).unwrap();
            }
        }
    })
}

fn response(request: &Message, status: &str, rest: &str) -> String {
    let [via, from, to, call_id, cseq] =
        ["Via", "From", "To", "Call-ID", "CSeq"].map(|name| request.header(name).unwrap().to_owned());
    let to = if to.contains("tag=") { to } else { format!("{to};tag=far") };
    format!(
        "SIP/2.0 {status}\r\nVia: {via}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n{rest}"
    )
}

fn method(message: &Message) -> String {
    match &message.start {
        Start::Request { method, .. } => method.clone(),
        Start::Response { .. } => String::new(),
    }
}

/// Answers 200 with media at a port.
fn accept(request: &Message, contact: SocketAddr, media: SocketAddr) -> String {
    let body = format!(
        "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio {1} RTP/AVP 0\r\n",
        media.ip(),
        media.port()
    );
    let headers = format!("Contact: <sip:far@{contact}>\r\nContent-Type: application/sdp\r\n");
    response(request, "200 OK", &format!("{headers}Content-Length: {}\r\n\r\n{body}", body.len()))
}

/// The plan against a far end of which the media is treated by `media`: what it returns is sent back.
fn against_far_end(media: fn(&[u8]) -> Option<Vec<u8>>) -> Report {
    let (sip, rtp) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let (contact, rtp_address) = (sip.local_addr().unwrap(), rtp.local_addr().unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let answering = answer_elsewhere(sip, stop.clone(), move |message| match method(message).as_str() {
        "INVITE" => accept(message, contact, rtp_address),
        "ACK" => String::new(),
        _ => response(message, "200 OK", "Content-Length: 0\r\n\r\n"),
    });
    rtp.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let stopped = stop.clone();
    let echoing = std::thread::spawn(move || {
        let mut packet = [0; 2048];
        while !stopped.load(Relaxed) {
            let Ok((length, source)) = rtp.recv_from(&mut packet) else { continue };
            if let Some(bytes) = media(&packet[..length]) {
                rtp.send_to(&bytes, source).unwrap();
            }
        }
    });
    let plan = Plan { sbc: contact, uac_only: true, ..any_border(contact.port()) };
    let report = run(&plan, &mut |_| {}).unwrap();
    stop.store(true, Relaxed);
    answering.join().unwrap();
    echoing.join().unwrap();
    report
}

#[test]
fn a_far_end_that_echoes_is_verified() {
    let report = against_far_end(|packet| Some(packet.to_vec()));
    assert!(report.is_clean() && report.is_verified, "{report:?}");
    assert_eq!((report.completed, report.foreign), (6, 0));
    assert!(report.packets_sent >= 6 * 14 && report.one_way.len() == report.packets_sent, "{report:?}");
}

#[test]
fn a_far_end_with_media_of_its_own_is_counted() {
    let report = against_far_end(|packet| Some(packet.iter().map(|byte| !byte).collect()));
    assert!(!report.is_verified && report.foreign > 0, "{report:?}");
    assert_eq!((report.completed, report.lost, report.corrupted), (6, 0, 0));
}

#[test]
fn a_far_end_without_media_is_no_loss() {
    let report = against_far_end(|_| None);
    assert_eq!((report.completed, report.lost, report.packets_received, report.foreign), (6, 0, 0, 0), "{report:?}");
    assert!(!report.is_verified && report.packets_sent > 0);
}

#[test]
fn challenges_are_answered() {
    let sip = UdpSocket::bind("127.0.0.1:0").unwrap();
    let contact = sip.local_addr().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let challenger = Challenger::new(b"load.example", &[7; 32], Settings::default());
    let challenge = move |message: &Message| {
        let Start::Request { method, uri } = &message.start else { return None };
        let values = message.all("Proxy-Authorization").map(str::as_bytes);
        let secret = |_: &_| Some(Secret::Password(b"open sesame"));
        let verdict = challenger.verify(1, contact.ip(), (method.as_bytes(), uri.as_bytes()), values, secret);
        if matches!(&verdict, Verdict::Accepted { user } if **user == *b"load") {
            return None;
        }
        let values = challenger.challenge(1, contact.ip(), false);
        let lines = values.iter().map(|value| format!("Proxy-Authenticate: {}\r\n", String::from_utf8_lossy(value)));
        Some(response(message, "407 Proxy Authentication Required", &(lines.collect::<String>() + "\r\n")))
    };
    let answering = answer_elsewhere(sip, stop.clone(), move |message| match method(message).as_str() {
        "ACK" => String::new(),
        "INVITE" => challenge(message).unwrap_or_else(|| accept(message, contact, contact)),
        _ => challenge(message).unwrap_or_else(|| response(message, "200 OK", "\r\n")),
    });
    let credentials = |password: &str| Some(Credentials { user: "load".into(), password: password.into() });
    let with = |password| Plan {
        sbc: contact,
        uac_only: true,
        media: false,
        credentials: credentials(password),
        seed: u64::from(std::process::id()) + password.len() as u64,
        ..any_border(contact.port())
    };
    let right = run(&with("open sesame"), &mut |_| {}).unwrap();
    let wrong = run(&with("close sesame"), &mut |_| {}).unwrap();
    stop.store(true, Relaxed);
    answering.join().unwrap();
    assert_eq!((right.completed, right.challenged), (6, 6), "{right:?}");
    let refused = Failure::refused(407, "Proxy Authentication Required");
    assert_eq!(wrong.failed.get(&refused), Some(&6), "{wrong:?}");
}

#[test]
fn redirections_are_failures_by_their_status() {
    let (sip, stop) = (UdpSocket::bind("127.0.0.1:0").unwrap(), Arc::new(AtomicBool::new(false)));
    let contact = sip.local_addr().unwrap();
    let answering = answer_elsewhere(sip, stop.clone(), move |message| {
        response(message, "302 Moved Temporarily", "Contact: <sip:1@192.0.2.1>\r\n\r\n")
    });
    let plan = Plan { sbc: contact, callee: "127.0.0.1:0".parse().unwrap(), ..any_border(1) };
    let report = run(&plan, &mut |_| {}).unwrap();
    stop.store(true, Relaxed);
    answering.join().unwrap();
    assert_eq!(report.failed.get(&Failure::refused(302, "Moved Temporarily")), Some(&6), "{report:?}");
    assert_eq!((report.reached, report.completed), (0, 0));
}
