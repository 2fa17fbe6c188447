//! Announcements to the parties of sessions.

use std::sync::Arc;

use moorline_control::{Codec, Play, Played, Profile, Refusal, RefusalCode, SessionSpec};

use super::Relay;
use crate::player::{Due, Listener, Players};
use crate::session::{Playing, Session, Stream};
use crate::{Announced, Announcements, EndpointId, Outgoing, Traffic};

impl Relay {
    /// The bytes of the longest packet that [`play`](Self::play) makes.
    pub const LONGEST_PLAYED: usize = crate::player::MAX_PACKET;

    /// From now on these can be played. `seed` is random: it makes the numbers that streams of RTP begin with. All
    /// memory that playing takes is taken here; before any session is opened.
    pub fn announce(&mut self, announcements: Arc<Announcements>, seed: u64) {
        self.players = Players::new(announcements, self.capacity, seed);
    }

    /// When [`play`](Self::play) has something to do.
    pub fn next_play(&self) -> Option<u64> {
        self.players.next_due()
    }

    /// Writes the next packet that is due at `now` into `room`, which has [`LONGEST_PLAYED`](Self::LONGEST_PLAYED)
    /// bytes; `None` where no more is due now. Allocates nothing.
    pub fn play(&mut self, now: u64, room: &mut [u8]) -> Option<Outgoing> {
        loop {
            match self.players.next(now, room)? {
                Due::Packet { from, to, length } => {
                    let Some(to) = to.get() else { continue };
                    let traffic = Traffic::Announcement;
                    let relayed = &mut self.counters.relayed[traffic.index()];
                    relayed.packets += 1;
                    relayed.bytes += length as u64;
                    return Some(Outgoing { from: EndpointId(from), to, length, traffic });
                }
                Due::Ended { listener, player, played } => self.play_ended(listener, player, played),
            }
        }
    }

    /// How often each announcement was played, by name.
    pub fn announced(&self) -> impl Iterator<Item = (&str, Announced)> {
        self.players.counts()
    }

    /// Whether all that is to be played can be.
    pub(super) fn check_plays(&self, session: Option<&Session>, spec: &SessionSpec) -> Result<(), Refusal> {
        let mut begin = 0;
        for (leg, leg_spec) in (0u8..).zip(&spec.legs) {
            for (index, stream) in (0u8..).zip(&leg_spec.streams) {
                let Some(play) = stream.play.as_ref().filter(|_| stream.active) else { continue };
                self.check_play(play, stream.profile)?;
                let known = session.and_then(|session| session.stream(leg, index)?.playing.as_ref());
                begin += usize::from(known.is_none_or(|known| known.play != *play));
            }
        }
        if begin > self.players.room() {
            let detail = "as many announcements are played on this shard as it has room for";
            return Err(Refusal::new(RefusalCode::Capacity, detail));
        }
        Ok(())
    }

    fn check_play(&self, play: &Play, profile: Profile) -> Result<(), Refusal> {
        if self.players.find(&play.name).is_none() {
            let detail = format!("there is no announcement {:?}", play.name);
            return Err(Refusal::new(RefusalCode::NoSuchAnnouncement, detail));
        }
        let problem = if !matches!(play.codec, Codec::Pcma | Codec::Pcmu) {
            format!("announcements are played by PCMA or PCMU, not by {}", play.codec.as_str())
        } else if !Play::is_packet_time(play.packet_ms.into()) {
            format!("packets of {} ms", play.packet_ms)
        } else if play.payload_type > 127 {
            format!("the payload type {}", play.payload_type)
        } else if profile != Profile::Rtp {
            "announcements are played by RTP".to_owned()
        } else {
            return Ok(());
        };
        Err(Refusal::new(RefusalCode::Unplayable, problem))
    }

    /// Plays to a stream what its client says now; what it said before goes on. True where that is another.
    pub(super) fn set_play(&mut self, now: u64, listener: Listener, stream: &mut Stream, play: Option<Play>) -> bool {
        if stream.playing.as_ref().map(|playing| &playing.play) == play.as_ref() {
            return false;
        }
        self.stop_playing(stream);
        stream.playing = play.map(|play| {
            let player = self.players.start(now, listener, &play);
            Box::new(Playing { play, player, played: Played::default() })
        });
        true
    }

    pub(super) fn stop_playing(&mut self, stream: &mut Stream) {
        if let Some(player) = stream.player() {
            self.players.stop(player);
        }
    }

    /// What the party of a stream was played.
    pub(super) fn played(&self, stream: &Stream) -> Option<Played> {
        let playing = stream.playing.as_ref()?;
        Some(playing.player.and_then(|player| self.players.played(player)).unwrap_or(playing.played))
    }

    fn play_ended(&mut self, listener: Listener, player: u32, played: Played) {
        let Listener { slot, leg, stream: index } = listener;
        let Some(session) = self.session_mut(slot) else { return };
        let playing = session.stream_mut(leg, index).and_then(|stream| stream.playing.as_mut());
        let Some(playing) = playing.filter(|playing| playing.player == Some(player)) else { return };
        (playing.player, playing.played) = (None, played);
        session.untold_plays |= 1 << (u32::from(leg) * 8 + u32::from(index));
        // What the other leg says can be heard again.
        self.wire(slot, index);
        self.tell(slot);
    }
}
