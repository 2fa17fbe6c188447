//! What trunks let session descriptions say: addresses that are private, and codecs.

use std::borrow::Cow;
use std::net::IpAddr;

use moorline_control::SessionId;
use moorline_sdp::{Session, keep_formats};
use moorline_sip::{Message, Method};

use super::Worker;
use super::setup::Refused;
use crate::call::Call;
use crate::codecs::{Stay, stay};
use crate::leg::Side;
use crate::media::{Remote, is_private};
use crate::policy::{Codecs, PrivateMedia};

impl Worker {
    /// A description that a party of `trunk`, whose signaling comes from `source`, has sent names no media address that
    /// the trunk refuses.
    pub(super) fn check_private(&self, trunk: usize, source: IpAddr, streams: &[Remote]) -> Result<(), Refused> {
        let refuses = self.policy.trunks[trunk].private_media == PrivateMedia::Refuse;
        let private = |stream: &Remote| stream.active && stream.rtp.is_some_and(|rtp| is_private(rtp.ip()));
        if refuses && !is_private(source) && streams.iter().any(private) {
            return Err(Refused::because(488, "Private IP Address"));
        }
        Ok(())
    }

    /// Refuses the streams of a description for which no codec is left between two trunks.
    ///
    /// # Errors
    /// None is left for any of its audio.
    pub(super) fn leave_out(&self, trunks: [usize; 2], sdp: &[u8], streams: &mut [Remote]) -> Result<(), Refused> {
        let lists = self.codecs(trunks);
        if lists.iter().all(|list| list.is_any()) {
            return Ok(());
        }
        let Ok(session) = Session::parse(sdp) else { return Ok(()) };
        let (mut left, mut lost) = (false, false);
        for (media, stream) in session.media().iter().zip(streams).filter(|(_, stream)| stream.active) {
            match stay(media, lists, false) {
                Stay::AsTheyAre => {}
                Stay::These(_) => left = true,
                Stay::Nothing => {
                    lost = true;
                    *stream = Remote::refused();
                }
            }
        }
        if lost && !left { Err(no_codec()) } else { Ok(()) }
    }

    /// The session description of a message for `to`, with the codecs that both trunks allow; a section for which none
    /// is left stays as it is, and is refused by its port.
    pub(super) fn with_allowed<'a>(
        &self,
        call: &Call,
        to: Side,
        message: Message<'_>,
        sdp: &'a [u8],
    ) -> Result<Cow<'a, [u8]>, Refused> {
        let lists = self.codecs([call.leg(to.other()).trunk, call.leg(to).trunk]);
        if lists.iter().all(|list| list.is_any()) {
            return Ok(Cow::Borrowed(sdp));
        }
        let unreadable = || Refused::because(488, "Session Description Not Understood");
        let session = Session::parse(sdp).map_err(|_| unreadable())?;
        let offer = is_offer(call, message);
        let stays: Vec<Stay> = session.media().iter().map(|media| stay(media, lists, offer)).collect();
        let left = stays.iter().any(|stay| matches!(stay, Stay::These(_)));
        // Past the relay nobody would refuse the port.
        if stays.contains(&Stay::Nothing) && (!left || call.bypassed) {
            return Err(no_codec());
        }
        let kept = stays.into_iter().map(|stay| match stay {
            Stay::These(payload_types) => Some(payload_types),
            Stay::AsTheyAre | Stay::Nothing => None,
        });
        Ok(Cow::Owned(keep_formats(&session, &kept.collect::<Vec<_>>())))
    }

    /// What an answer of `side` says of its streams, in a call that is there.
    pub(super) fn read_answer_of(&self, id: SessionId, side: Side, sdp: &[u8]) -> Result<Vec<Remote>, Refused> {
        let call = self.calls.get(&id).ok_or_else(|| Refused::new(481))?;
        self.read_answer(call, side, sdp)
    }

    fn codecs(&self, trunks: [usize; 2]) -> [&Codecs; 2] {
        trunks.map(|trunk| &self.policy.trunks[trunk].codecs)
    }
}

/// Whether the description of a message that crosses is an offer: in a request, unless that acknowledges one, and in the
/// answer to an INVITE that had none (RFC 3261 13.2.1).
fn is_offer(call: &Call, message: Message<'_>) -> bool {
    match message.method() {
        Some(Method::Ack) => false,
        Some(Method::Prack) => !call.late_offer,
        Some(_) => true,
        None => call.late_offer && message.cseq().is_ok_and(|cseq| cseq.method == Method::Invite),
    }
}

fn no_codec() -> Refused {
    Refused::because(488, "No Allowed Codec")
}
