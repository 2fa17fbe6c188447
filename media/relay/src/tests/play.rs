//! Announcements: what is sent, when, where to, and what is said of it.

use std::sync::Arc;

use moorline_control::{Codec, Play, Played, RefusalCode};

use super::*;
use crate::{Announced, Announcement, Announcements, Outgoing};

/// 110 ms, so that the last of six packets of 20 ms is half full.
const LENGTH: usize = 880;

fn library() -> Arc<Announcements> {
    let pcma: Box<[u8]> = (0..LENGTH).map(|n| (n % 251) as u8).collect();
    let pcmu: Box<[u8]> = pcma.iter().map(|octet| !octet).collect();
    Arc::new(Announcements::new(vec![Announcement { name: "no-line".into(), pcma, pcmu }]))
}

fn world() -> World {
    let mut world = World::new();
    world.relay.announce(library(), 1);
    world
}

fn play() -> Play {
    Play { name: "no-line".into(), codec: Codec::Pcma, payload_type: 8, packet_ms: 20 }
}

/// Alice alone, to whom something is played.
fn announced(play: Option<Play>) -> SessionSpec {
    let mut spec = answered_call();
    spec.legs.truncate(1);
    spec.legs[0].streams[0].play = play;
    spec
}

/// A packet that was sent, with its time.
struct Sent {
    at: u64,
    outgoing: Outgoing,
    bytes: Vec<u8>,
}

impl Sent {
    fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    fn timestamp(&self) -> u32 {
        u32::from_be_bytes(self.bytes[4..8].try_into().unwrap())
    }

    fn ssrc(&self) -> &[u8] {
        &self.bytes[8..12]
    }
}

impl World {
    /// All that is due now.
    fn take_due(&mut self) -> Vec<Sent> {
        let mut room = [0; Relay::LONGEST_PLAYED];
        let mut sent = Vec::new();
        while let Some(outgoing) = self.relay.play(self.now, &mut room) {
            sent.push(Sent { at: self.now, outgoing, bytes: room[..outgoing.length].to_vec() });
        }
        sent
    }

    /// Lets time pass, with every packet at its time.
    fn listen(&mut self, time: u64) -> Vec<Sent> {
        let until = self.now + time;
        let mut sent = Vec::new();
        while let Some(due) = self.relay.next_play().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            sent.extend(self.take_due());
        }
        self.now = until;
        sent
    }
}

#[test]
fn an_announcement_is_sent_in_packets_of_its_time_once() {
    let mut world = world();
    let local = world.open(id(1), &announced(Some(play())));
    let sent = world.listen(SECOND);
    assert_eq!(sent.len(), 6);
    let own = local.legs[0][0].unwrap().rtp;
    for (n, packet) in (0u32..).zip(&sent) {
        assert_eq!((world.sockets.bound[&packet.outgoing.from], packet.outgoing.to), (own, address(ALICE)));
        assert_eq!(packet.outgoing.traffic, Traffic::Announcement);
        assert_eq!(packet.at, sent[0].at + u64::from(n) * 20 * MS);
        assert_eq!((packet.bytes[0], packet.bytes.len()), (0x80, 172));
        assert_eq!(packet.bytes[1], if n == 0 { 0x88 } else { 8 }, "the first one has the marker");
        assert_eq!(packet.sequence(), sent[0].sequence().wrapping_add(n as u16));
        assert_eq!(packet.timestamp(), sent[0].timestamp().wrapping_add(160 * n));
        assert_eq!(packet.ssrc(), sent[0].ssrc());
    }
    let heard: Vec<u8> = sent.iter().flat_map(|packet| packet.bytes[12..].to_vec()).collect();
    let expected: Vec<u8> = (0..LENGTH).map(|n| (n % 251) as u8).chain([0xd5; 80]).collect();
    assert_eq!(heard, expected);
    let over = Event::Played { session: id(1), leg: 0, stream: 0 };
    assert_eq!(world.events(), [(OWNER, over)]);
    let played = Played { packets: 6, played_ms: 110, complete: true };
    assert_eq!(world.report(id(1)).legs[0][0].played, Some(played));
    assert_eq!(world.relay.counters().relayed(Traffic::Announcement), Relayed { packets: 6, bytes: 6 * 172 });
    assert_eq!(world.relay.counters().relayed(Traffic::Rtp), Relayed::default());
    let counts = Announced { started: 1, completed: 1 };
    assert_eq!(world.relay.announced().collect::<Vec<_>>(), [("no-line", counts)]);
    // The same specification again asks for nothing new; another one does.
    world.update(id(1), &announced(Some(play())));
    assert_eq!(world.listen(SECOND).len(), 0);
    world.update(id(1), &announced(Some(Play { codec: Codec::Pcmu, payload_type: 0, packet_ms: 60, ..play() })));
    let again = world.listen(SECOND);
    assert_eq!(again.iter().map(|packet| packet.bytes.len()).collect::<Vec<_>>(), [12 + 480; 2]);
    assert_eq!((again[0].bytes[1], again[0].bytes[12], again[1].bytes[12 + 479]), (0x80, 0xff, 0xff));
    assert_ne!(again[0].ssrc(), sent[0].ssrc());
    world.close(id(1));
    assert_eq!(world.relay.next_play(), None);
}

#[test]
fn the_end_is_told_when_the_last_packet_has_been_heard() {
    let mut world = world();
    world.open(id(1), &announced(Some(play())));
    let sent = world.listen(115 * MS);
    assert_eq!((sent.len(), world.events()), (6, vec![]));
    world.listen(20 * MS);
    assert_eq!(world.events().len(), 1);
}

#[test]
fn what_ends_or_changes_early_sends_nothing_more() {
    let mut world = world();
    world.open(id(1), &announced(Some(play())));
    world.open(id(2), &announced(Some(play())));
    assert_eq!(world.listen(45 * MS).len(), 6);
    let report = world.close(id(1)).unwrap();
    assert_eq!(report.legs[0][0].played, Some(Played { packets: 3, played_ms: 60, complete: false }));
    world.update(id(2), &announced(None));
    assert_eq!((world.listen(SECOND).len(), world.events()), (0, vec![]));
    assert_eq!(world.report(id(2)).legs[0][0].played, None);
    assert_eq!(world.relay.next_play(), None);
    // A lease that ends takes the announcement along.
    world.open(id(3), &announced(Some(play())));
    world.relay.release(world.now, OWNER, 10 * MS);
    world.pass(30 * MS);
    assert_eq!((world.take_due().len(), world.sockets.bound.len()), (0, 0));
}

#[test]
fn an_end_that_was_not_told_is_not_told_of_the_next_one() {
    let mut world = world();
    world.open(id(1), &announced(Some(play())));
    world.listen(SECOND);
    world.update(id(1), &announced(Some(Play { packet_ms: 40, ..play() })));
    assert_eq!(world.events(), []);
    world.listen(SECOND);
    assert_eq!(world.events().len(), 1);
}

#[test]
fn a_party_on_hold_misses_what_is_played_meanwhile() {
    let mut world = world();
    world.open(id(1), &announced(Some(play())));
    assert_eq!(world.listen(25 * MS).len(), 2);
    let mut held = announced(Some(play()));
    held.legs[0].streams[0].remote_rtp = Some(address("0.0.0.0:4000"));
    world.update(id(1), &held);
    assert_eq!(world.listen(40 * MS).len(), 0);
    world.update(id(1), &announced(Some(play())));
    let rest = world.listen(SECOND);
    assert_eq!(rest.len(), 2);
    assert_eq!(rest[0].bytes[1], 0x88, "speech begins again");
    assert_eq!(rest[0].bytes[12..], (640..800).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    assert_eq!(world.report(id(1)).legs[0][0].played, Some(Played { packets: 4, played_ms: 110, complete: true }));
}

#[test]
fn a_party_behind_nat_is_played_to_where_it_speaks_from() {
    let mut world = world();
    let mut spec = announced(Some(play()));
    spec.legs[0].streams[0].latch = latch("198.51.100.0/24", 5_000);
    let local = world.open(id(1), &spec).legs[0][0].unwrap();
    let sent = world.listen(5 * MS);
    assert_eq!(sent[0].outgoing.to, address(ALICE));
    assert_eq!(world.packet("198.51.100.7:1111", local.rtp, &rtp(1)), Err(DropReason::NoDestination));
    assert_eq!(world.listen(20 * MS)[0].outgoing.to, address("198.51.100.7:1111"));
}

#[test]
fn whoever_hears_an_announcement_hears_nobody_else() {
    let mut world = world();
    let mut spec = answered_call();
    spec.legs[0].streams[0].play = Some(play());
    let (alice, bob) = sides(&world.open(id(1), &spec));
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(1)), Err(DropReason::NoDestination));
    assert!(world.packet(BOB, bob.rtcp, &rtcp()).is_err());
    assert!(world.packet(ALICE, alice.rtp, &rtp(1)).is_ok(), "Bob hears Alice all the same");
    assert_eq!(world.listen(SECOND).len(), 6);
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(2)), Ok((alice.rtp, address(ALICE))));
}

#[test]
fn what_cannot_be_played_is_refused_and_changes_nothing() {
    let mut world = world();
    let refused = |world: &mut World, play| world.try_open(id(1), &announced(Some(play))).unwrap_err().code;
    assert_eq!(refused(&mut world, Play { name: "none".into(), ..play() }), RefusalCode::NoSuchAnnouncement);
    for unplayable in [
        Play { codec: Codec::G729, ..play() },
        Play { packet_ms: 0, ..play() },
        Play { packet_ms: 25, ..play() },
        Play { packet_ms: 70, ..play() },
        Play { payload_type: 128, ..play() },
    ] {
        assert_eq!(refused(&mut world, unplayable), RefusalCode::Unplayable);
    }
    let mut fax = announced(Some(play()));
    fax.legs[0].streams[0].profile = moorline_control::Profile::Udptl;
    assert_eq!(world.try_open(id(1), &fax).unwrap_err().code, RefusalCode::Unplayable);
    assert_eq!((world.sockets.bound.len(), world.relay.next_play()), (0, None));
    // Without announcements there is none to play.
    let mut silent = World::new();
    assert_eq!(refused(&mut silent, play()), RefusalCode::NoSuchAnnouncement);
    // A stream that is not active plays nothing, whatever it says.
    let mut inactive = announced(Some(Play { name: "none".into(), ..play() }));
    inactive.legs[0].streams[0].active = false;
    world.open(id(2), &inactive);
    assert_eq!(world.relay.next_play(), None);
}

#[test]
fn a_shard_plays_so_many_at_once_and_then_again() {
    let mut world = World::with(Config { capacity: 3, ..config() });
    world.relay.announce(library(), 1);
    (1..=3).for_each(|n| drop(world.open(id(n), &announced(Some(play())))));
    let mut both = answered_call();
    both.legs.iter_mut().for_each(|leg| leg.streams[0].play = Some(play()));
    let refusal = world.relay.update(world.now, id(1), both.clone(), &mut world.sockets).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Capacity, "the one for Bob has no player");
    world.update(id(1), &announced(Some(play())));
    world.close(id(2));
    world.close(id(3));
    world.listen(20 * MS);
    world.update(id(1), &both);
    assert_eq!(world.listen(SECOND).len(), 4 + 6);
}

#[test]
fn many_are_spread_over_a_packet_time() {
    let mut world = world();
    for n in 0..100 {
        world.open(id(n), &announced(Some(play())));
    }
    let sent = world.listen(20 * MS - 1);
    assert_eq!(sent.len(), 100);
    for slot in 0..20 {
        let at = sent[0].at + slot * MS;
        assert_eq!(sent.iter().filter(|packet| packet.at == at).count(), 5, "in millisecond {slot}");
    }
    let mut ssrcs: Vec<_> = sent.iter().map(|packet| packet.ssrc().to_vec()).collect();
    ssrcs.sort();
    ssrcs.dedup();
    assert_eq!(ssrcs.len(), 100);
    assert!(
        sent.iter().any(|packet| packet.sequence() > 30_000) && sent.iter().any(|packet| packet.sequence() < 30_000)
    );
}

#[test]
fn a_shard_that_was_held_up_sends_no_burst() {
    let mut world = world();
    world.open(id(1), &announced(Some(play())));
    assert_eq!(world.listen(5 * MS).len(), 1);
    world.now += 70 * MS;
    assert_eq!(world.take_due().len(), 1, "one for all that was missed");
    assert_eq!(world.listen(5 * MS - 1).len(), 0);
    let rest = world.listen(SECOND);
    assert_eq!(rest.len(), 4, "nothing of the announcement is missing");
    assert!(rest.windows(2).all(|two| two[1].at - two[0].at == 20 * MS));
}

#[test]
fn many_stay_spread_when_a_shard_was_held_up() {
    let mut world = world();
    for n in 0..100 {
        world.open(id(n), &announced(Some(play())));
    }
    assert_eq!(world.listen(20 * MS).len(), 105, "the first five have had two");
    world.now += 500 * MS;
    assert_eq!(world.take_due().len(), 100, "one for each, for all that was missed");
    let sent = world.listen(20 * MS - 1);
    let mut turns: Vec<u64> = sent.iter().map(|packet| packet.at).collect();
    assert_eq!(turns.len(), 95, "the turn of five was just now");
    turns.dedup();
    assert_eq!(turns.len(), 19, "in milliseconds of their own, as before");
}
