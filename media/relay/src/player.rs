//! Players: announcements on their way to parties, a packet at a time.
//!
//! All memory is taken when the announcements are given. A player has one entry in the table of what is due, from its
//! start until that entry comes up after its end; only then its place is free. Players that start one after the other
//! send in different milliseconds of a packet time, so that however many there are, a shard has a few packets to send
//! each millisecond.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use moorline_control::{Codec, Play, Played};

use crate::address::Address;
use crate::announcement::Announcements;

/// The most announcements that a shard plays at once.
const MAX_PLAYERS: usize = 4096;

/// The longest packet: 60 ms of G.711 behind its RTP header.
pub(crate) const MAX_PACKET: usize = RTP_HEADER + 60 * OCTETS_PER_MS;

const RTP_HEADER: usize = 12;
const OCTETS_PER_MS: usize = 8;
const NANOS_PER_MS: u64 = 1_000_000;

/// What fills up the last packet: silence, as each law has it.
const SILENCE_PCMA: u8 = 0xd5;
const SILENCE_PCMU: u8 = 0xff;

/// A stream of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) slot: u32,
    pub(crate) leg: u8,
    pub(crate) stream: u8,
}

/// The players of a shard.
pub(crate) struct Players {
    library: Arc<Announcements>,
    players: Vec<Option<Player>>,
    free: Vec<u32>,
    due: BinaryHeap<Reverse<(u64, u32)>>,
    /// The state of SplitMix64.
    random: u64,
    started: u64,
    /// Started and ended, by announcement.
    counts: Vec<Announced>,
}

/// How often an announcement was played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Announced {
    /// Begun.
    pub started: u64,
    /// Played to the end.
    pub completed: u64,
}

struct Player {
    listener: Listener,
    announcement: usize,
    codec: Codec,
    payload_type: u8,
    packet_ms: u8,
    /// The next octet.
    at: usize,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// The next packet is the first one after nothing was sent.
    marker: bool,
    /// The local port and the party's address; to no address nothing is sent, and the announcement goes on.
    way: (u32, Address),
    packets: u32,
    /// Nobody listens any more: it goes when its entry comes up.
    stopped: bool,
}

/// What has become due.
pub(crate) enum Due {
    /// A packet of this length was written.
    Packet { from: u32, to: Address, length: usize },
    /// An announcement has come to its end.
    Ended { listener: Listener, player: u32, played: Played },
}

impl Players {
    /// No announcements, and nobody to play them.
    pub(crate) fn none() -> Players {
        Players::new(Arc::default(), 0, 0)
    }

    pub(crate) fn new(library: Arc<Announcements>, most: usize, seed: u64) -> Players {
        let known = library.iter().len();
        let most = if known == 0 { 0 } else { most.min(MAX_PLAYERS) };
        Players {
            counts: vec![Announced::default(); known],
            library,
            players: (0..most).map(|_| None).collect(),
            free: (0..most as u32).rev().collect(),
            due: BinaryHeap::with_capacity(most),
            random: seed,
            started: 0,
        }
    }

    /// The place of an announcement.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.library.find(name)
    }

    /// How many more can play.
    pub(crate) fn room(&self) -> usize {
        self.free.len()
    }

    /// How often each was played.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&str, Announced)> {
        self.library.iter().zip(&self.counts).map(|(announcement, counts)| (announcement.name.as_str(), *counts))
    }

    /// Begins; there is room, and the announcement is known.
    pub(crate) fn start(&mut self, now: u64, listener: Listener, play: &Play) -> Option<u32> {
        let announcement = self.find(&play.name)?;
        let number = self.free.pop()?;
        // RFC 3550 section 5.1: all three begin anywhere.
        let (ssrc, rest) = (self.draw() as u32, self.draw());
        let player = Player {
            listener,
            announcement,
            codec: play.codec,
            payload_type: play.payload_type,
            packet_ms: play.packet_ms,
            at: 0,
            ssrc,
            sequence: rest as u16,
            timestamp: (rest >> 32) as u32,
            marker: true,
            way: (0, Address::NONE),
            packets: 0,
            stopped: false,
        };
        let turn = self.started % u64::from(play.packet_ms.max(1));
        let first = now.div_ceil(NANOS_PER_MS).saturating_add(turn).saturating_mul(NANOS_PER_MS);
        self.started = self.started.wrapping_add(1);
        *self.players.get_mut(number as usize)? = Some(player);
        self.due.push(Reverse((first, number)));
        if let Some(counts) = self.counts.get_mut(announcement) {
            counts.started += 1;
        }
        Some(number)
    }

    /// Nobody listens any more.
    pub(crate) fn stop(&mut self, number: u32) {
        if let Some(player) = self.get_mut(number) {
            player.stopped = true;
        }
    }

    /// Where to send from now on.
    pub(crate) fn set_way(&mut self, number: u32, way: (u32, Address)) {
        if let Some(player) = self.get_mut(number) {
            player.way = way;
        }
    }

    /// How far it has come.
    pub(crate) fn played(&self, number: u32) -> Option<Played> {
        let player = self.players.get(number as usize)?.as_ref()?;
        let length = self.library.get(player.announcement).map_or(0, |announcement| announcement.pcma.len());
        Some(player.played(length))
    }

    /// When there is something to do.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// The next thing that is due; a packet is written into `room`, which has space for the longest one. Whatever is
    /// due at `now` comes up once: what follows it is due later.
    pub(crate) fn next(&mut self, now: u64, room: &mut [u8]) -> Option<Due> {
        loop {
            let Reverse((due, number)) = *self.due.peek().filter(|Reverse((due, _))| *due <= now)?;
            self.due.pop();
            let library = &self.library;
            let place = self.players.get_mut(number as usize)?;
            let player = place.as_mut().filter(|player| !player.stopped);
            let playing = player.and_then(|player| Some((library.get(player.announcement)?, player)));
            let Some((announcement, player)) = playing else {
                *place = None;
                self.free.push(number);
                continue;
            };
            let octets = if player.codec == Codec::Pcma { &announcement.pcma } else { &announcement.pcmu };
            if player.at >= octets.len() {
                let (listener, played) = (player.listener, player.played(octets.len()));
                if let Some(counts) = self.counts.get_mut(player.announcement) {
                    counts.completed += 1;
                }
                *place = None;
                self.free.push(number);
                return Some(Due::Ended { listener, player: number, played });
            }
            let written = player.write(octets, room);
            let packet_ns = u64::from(player.packet_ms) * NANOS_PER_MS;
            // A shard that was held up does not send in a burst what it has missed. Each player goes on in its own
            // millisecond: else all that were held up would send in the same one from then on.
            let missed = (now - due).checked_div(packet_ns).unwrap_or(0);
            self.due.push(Reverse((due.saturating_add((missed + 1).saturating_mul(packet_ns)), number)));
            let (from, to) = player.way;
            if let Some(length) = written {
                return Some(Due::Packet { from, to, length });
            }
        }
    }

    fn get_mut(&mut self, number: u32) -> Option<&mut Player> {
        self.players.get_mut(number as usize)?.as_mut()
    }

    /// SplitMix64.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Player {
    /// Writes the next packet (RFC 3550 section 5.1) and goes on to the one after it; `None` where nothing is sent.
    fn write(&mut self, octets: &[u8], room: &mut [u8]) -> Option<usize> {
        let wanted = usize::from(self.packet_ms) * OCTETS_PER_MS;
        let (sequence, timestamp) = (self.sequence, self.timestamp);
        let rest = octets.get(self.at..).unwrap_or_default();
        let speech = &rest[..rest.len().min(wanted)];
        self.at += wanted;
        // What is not sent takes its time, but is not missing.
        self.timestamp = timestamp.wrapping_add(wanted as u32);
        let length = RTP_HEADER + wanted;
        let packet = room.get_mut(..length).filter(|_| self.way.1.is_some());
        let Some(packet) = packet else {
            self.marker = true;
            return None;
        };
        let (header, payload) = packet.split_at_mut(RTP_HEADER);
        header[0] = 0x80;
        // The first packet of a talkspurt is marked (RFC 3551 section 4.1).
        header[1] = self.payload_type & 0x7f | if std::mem::take(&mut self.marker) { 0x80 } else { 0 };
        header[2..4].copy_from_slice(&sequence.to_be_bytes());
        header[4..8].copy_from_slice(&timestamp.to_be_bytes());
        header[8..].copy_from_slice(&self.ssrc.to_be_bytes());
        payload[..speech.len()].copy_from_slice(speech);
        payload[speech.len()..].fill(if self.codec == Codec::Pcma { SILENCE_PCMA } else { SILENCE_PCMU });
        self.sequence = sequence.wrapping_add(1);
        self.packets = self.packets.saturating_add(1);
        Some(length)
    }

    fn played(&self, length: usize) -> Played {
        let at = self.at.min(length);
        let played_ms = u32::try_from(at / OCTETS_PER_MS).unwrap_or(u32::MAX);
        Played { packets: self.packets, played_ms, complete: at == length }
    }
}
