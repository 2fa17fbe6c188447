//! What is learned of the parties beside the counting of ordinary packets. All of it is off the usual path of a packet.

use moorline_control::Profile;
use moorline_rtp::{Rtcp, Rtp};

use super::Relay;
use crate::session::{Stream, other_leg};
use crate::statistics::Heard;

impl Relay {
    /// Takes in an accepted RTP packet that is not the usual next one.
    #[cold]
    pub(super) fn observe_rtp(&mut self, now: u64, endpoint: u32, rtp: &Rtp<'_>, length: usize) {
        let Some((slot, leg, index)) = self.flows.get(endpoint).map(|flow| (flow.session, flow.leg, flow.stream))
        else {
            return;
        };
        let session = self.sessions.get(slot as usize).and_then(Option::as_deref);
        let other = self.heard(session.and_then(|session| session.stream(other_leg(leg)?, index)));
        let session = self.sessions.get_mut(slot as usize).and_then(Option::as_deref_mut);
        let stream = session.and_then(|session| session.stream_mut(leg, index));
        if let (Some(flow), Some(stream)) = (self.flows.get_mut(endpoint), stream) {
            if !stream.one_ssrc && flow.is_beside(now, rtp, &mut stream.statistics) {
                flow.count_datagram(now, length);
                return;
            }
            flow.count_unusual(now, rtp, length, &mut stream.statistics, other);
        }
    }

    /// Takes in an accepted RTCP compound of one of a session's streams.
    pub(super) fn observe_rtcp(&mut self, now: u64, stream: (u32, u8, u8), compound: &Rtcp<'_>, passed_on: bool) {
        let (slot, leg, index) = stream;
        let Some(session) = self.session_mut(slot) else { return };
        let other = other_leg(leg).and_then(|leg| session.stream(leg, index));
        let other = other.and_then(|other| other.statistics.as_sender());
        if let Some(stream) = session.stream_mut(leg, index) {
            stream.statistics.rtcp(now, compound, other.as_ref(), passed_on);
        }
    }

    /// When a party was heard.
    pub(super) fn heard(&self, stream: Option<&Stream>) -> Heard {
        let Some(stream) = stream else { return Heard::default() };
        let last = stream.ends.and_then(|ends| self.flows.get(ends.rtp)).map_or(0, |flow| flow.last_seen);
        Heard { since: stream.statistics.heard_since(), last }
    }

    /// Works out whether packets are expected on the streams at one position, whose specifications may have changed.
    pub(super) fn expect(&mut self, now: u64, slot: u32, index: u8) {
        for leg in 0..2 {
            // Both are worked out before either changes: a pause that ends now is measured by the other party too.
            let Some(session) = self.session(slot) else { return };
            let other = other_leg(leg).and_then(|leg| session.stream(leg, index));
            let Some(stream) = session.stream(leg, index) else { continue };
            let expected = is_expected(stream, other);
            let (last, in_dtx) = self.last_of(stream);
            let other = self.heard(other);
            if let Some(stream) = self.session_mut(slot).and_then(|session| session.stream_mut(leg, index)) {
                stream.statistics.expect(now, expected, last, in_dtx, other);
            }
        }
    }

    /// The ports of a stream are about to go: what they know of its silence is counted. What is heard of the other party
    /// is not asked for, so no audio is taken for one-way.
    pub(super) fn settle_silence(&self, now: u64, stream: &mut Stream) {
        let (last, in_dtx) = self.last_of(stream);
        stream.statistics.begin_anew(now, last, in_dtx, Heard::default());
    }

    /// When a stream's port last heard its party, and whether that announced silence.
    pub(super) fn last_of(&self, stream: &Stream) -> (u64, bool) {
        let flow = stream.ends.and_then(|ends| self.flows.get(ends.rtp));
        flow.map_or((0, false), |flow| (flow.last_seen, flow.is_in_dtx(&stream.statistics)))
    }
}

/// Whether packets are to come from a party: both have said where they are, and neither is to be quiet.
fn is_expected(stream: &Stream, other: Option<&Stream>) -> bool {
    let answered = |stream: &Stream| stream.told_rtp.is_some() && stream.ends.is_some();
    stream.profile == Profile::Rtp
        && !stream.quiet
        && answered(stream)
        && other.is_some_and(|other| answered(other) && !other.held)
}
