use moorline_rtp::{Kind, Rtcp, Rtp, Stun, kind};

use super::content::{Carriage, LONGEST};
use super::*;

fn datagrams(content: Content, count: usize) -> Vec<(Vec<u8>, Carriage)> {
    let mut random = Random::new(3);
    let mut out = [0; LONGEST];
    let mut next = |index| {
        let forged = content.write(&mut random, 0, index, &mut out);
        (out[..forged.length].to_vec(), forged.carriage)
    };
    (0..count as u32).map(&mut next).collect()
}

#[test]
fn forged_rtp_is_proper_and_no_two_are_of_one_stream() {
    let packets = datagrams(Content::Rtp, 500);
    let mut sources: Vec<u32> = packets
        .iter()
        .map(|(packet, _)| {
            assert_eq!(kind(packet), Kind::Rtp);
            let rtp = Rtp::parse(packet).unwrap();
            assert_eq!(rtp.payload().len(), 160);
            rtp.ssrc()
        })
        .collect();
    sources.sort_unstable();
    sources.dedup();
    assert!(sources.len() > 490);
}

#[test]
fn a_forged_stream_is_consecutive() {
    let packets = datagrams(Content::Stream, 100);
    for pair in packets.windows(2) {
        let [one, next] = [&pair[0].0, &pair[1].0].map(|packet| Rtp::parse(packet).unwrap());
        assert_eq!(next.ssrc(), one.ssrc());
        assert_eq!(next.sequence(), one.sequence().wrapping_add(1));
        assert_eq!(next.timestamp(), one.timestamp().wrapping_add(160));
    }
    let mut out = [0; LONGEST];
    Content::Stream.write(&mut Random::new(3), 1, 0, &mut out);
    assert_ne!(Rtp::parse(&out[..172]).unwrap().ssrc(), Rtp::parse(&packets[0].0).unwrap().ssrc());
}

#[test]
fn forged_rtcp_is_proper_and_says_goodbye() {
    let packets = datagrams(Content::Rtcp, 200);
    let mut goodbyes = 0;
    for (packet, _) in &packets {
        assert_eq!(kind(packet), Kind::Rtcp);
        let types: Vec<u8> = packet.chunks_exact(4).map(|word| word[1]).collect();
        goodbyes += u32::from(types[0] == 203 || types.get(7) == Some(&203));
        Rtcp::parse(packet).unwrap();
    }
    assert!((50..150).contains(&goodbyes), "{goodbyes}");
}

#[test]
fn garbage_is_of_every_kind() {
    let packets = datagrams(Content::Garbage, 500);
    let count = |is: &dyn Fn(&[u8], Carriage) -> bool| packets.iter().filter(|(p, c)| is(p, *c)).count();
    assert!(count(&|packet, _| packet.is_empty()) > 0);
    assert!(count(&|packet, _| packet.len() == content::FULL) > 0);
    assert!(count(&|packet, _| Stun::parse(packet).is_ok()) > 0);
    assert!(count(&|packet, _| kind(packet) == Kind::Dtls) > 0);
    assert!(count(&|_, carriage| carriage == Carriage::Halves) > 0);
    assert!(count(&|_, carriage| carriage == Carriage::FirstHalf) > 0);
    assert!(count(&|packet, _| Rtp::parse(packet).is_ok()) > 0);
}

#[test]
fn what_is_long_enough_carries_the_mark() {
    for content in [Content::Rtp, Content::Stream, Content::Rtcp, Content::Garbage] {
        for (packet, _) in datagrams(content, 300) {
            let marked = packet.get(MARK_START..MARK_END) == Some(&MARK[..]);
            assert_eq!(marked, packet.len() >= MARK_END, "{content:?} of {} bytes", packet.len());
        }
    }
}

#[test]
fn what_a_relay_could_take_for_media_carries_the_mark() {
    for (packet, _) in datagrams(Content::Garbage, 500) {
        let is_media = Rtp::parse(&packet).is_ok() || Rtcp::parse(&packet).is_ok();
        assert!(!is_media || packet.len() >= MARK_END, "{packet:?}");
    }
}

#[test]
fn sources_are_as_planned() {
    let party: SocketAddrV4 = "198.51.100.20:40000".parse().unwrap();
    let target = Target { to: "47.103.169.70:16384".parse().unwrap(), party: Some(party) };
    let plan = |source| Plan {
        targets: vec![target],
        source,
        content: Content::Rtp,
        rate_per_s: 1,
        duration: Duration::from_secs(1),
        seed: 5,
    };
    let sources = |source| {
        let plan = plan(source);
        let mut forger = Forger { plan: &plan, random: Random::new(5), next: 0, round: 0 };
        (0..200).map(|_| forger.source(target)).collect::<Vec<_>>()
    };
    assert!(sources(Source::Party).iter().all(|source| *source == party));
    assert!(sources(Source::Neighbour).iter().all(|source| source.ip() == party.ip() && *source != party));
    let stranger = Ipv4Addr::new(198, 51, 100, 66);
    assert!(sources(Source::Stranger(stranger)).iter().all(|source| *source.ip() == stranger));
}

#[test]
fn plans_that_cannot_be_carried_out_are_refused() {
    let target = Target { to: "127.0.0.1:9".parse().unwrap(), party: None };
    let plan = Plan {
        targets: vec![target],
        source: Source::Party,
        content: Content::Rtp,
        rate_per_s: 10,
        duration: Duration::from_millis(1),
        seed: 1,
    };
    assert_eq!(run(&plan).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    let stranger = Source::Stranger(Ipv4Addr::LOCALHOST);
    assert!(check(&Plan { source: stranger, ..plan.clone() }).is_ok());
    assert!(check(&Plan { source: stranger, targets: Vec::new(), ..plan.clone() }).is_err());
    assert!(check(&Plan { source: stranger, rate_per_s: 0, ..plan }).is_err());
}
