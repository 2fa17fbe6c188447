//! How calls get through, and how they end: as planned, by a failure, or because the load is stopped.

use super::super::Failure;
use super::super::call::{GIVE_UP_NS, Phase, Side};
use super::super::{callee, caller};
use super::{Event, Signaling};
use crate::clock;
use crate::media::{Command, Ends};

/// Between the last packet sent and the BYE, so that it does not overtake the packet.
const DRAIN_NS: u64 = 200_000_000;

/// After the timers of the BYE itself.
const AFTER_BYE_NS: u64 = GIVE_UP_NS + 100_000_000;

impl Signaling<'_> {
    /// Both sides are through: media starts.
    pub(crate) fn through(&mut self, number: u32, now: u64) {
        let (uac_only, is_stopped) = (self.plan.uac_only, self.stopped.is_some());
        let Some(call) = self.calls.get_mut(number as usize) else { return };
        if call.phase != Phase::Setup {
            return;
        }
        let [near, far] = [&call.legs[0], &call.legs[1]].map(|leg| leg.far);
        // Who answers elsewhere gets our media, and perhaps sends it back.
        let far = if uac_only { near } else { far };
        let (Some(a), Some(b), false) = (near, far, is_stopped) else {
            // Without media there is nothing to wait for: end the call, so that nothing of it stays.
            call.phase = Phase::Draining;
            self.at(now, Event::HangUp, number);
            return;
        };
        call.phase = Phase::Talking;
        self.talking += 1;
        self.outcome.most_active = self.outcome.most_active.max(self.talking);
        let ends = Ends { a_far: a.rtp, b_far: b.rtp, a_far_rtcp: a.rtcp, b_far_rtcp: b.rtcp };
        self.tell_media(Command::Start { call: number, ends });
        self.at(now + clock::nanos(self.plan.talk), Event::StopMedia, number);
    }

    /// Ends a call for good; `reason` if it failed.
    pub(crate) fn finish(&mut self, number: u32, reason: Option<Failure>) {
        let is_stopped = self.stopped.is_some();
        let Some(call) = self.calls.get_mut(number as usize) else { return };
        let before = call.phase;
        if before == Phase::Over {
            return;
        }
        call.phase = Phase::Over;
        let reason = reason.or(call.fault.take());
        self.over += 1;
        if before == Phase::Talking {
            self.talking -= 1;
            self.tell_media(Command::Stop { call: number });
        }
        match reason {
            None => self.outcome.completed += 1,
            // Stopped before it was through: that was to be expected.
            Some(_) if is_stopped && before == Phase::Setup => {
                self.outcome.cancelled += 1;
                self.abandon(number);
            }
            Some(reason) => {
                *self.outcome.failed.entry(reason).or_default() += 1;
                self.abandon(number);
            }
        }
        if let Some(call) = self.calls.get_mut(number as usize) {
            call.legs.iter_mut().for_each(|leg| leg.pending = None);
        }
    }

    /// Leaves nothing of a failed call behind at the SBC, as far as one message to each side can do that.
    pub(crate) fn abandon(&mut self, number: u32) {
        callee::refuse(self, number, (480, "Temporarily Unavailable"));
        for side in [Side::Caller, Side::Callee] {
            let seed = self.plan.seed;
            let Some(call) = self.calls.get_mut(number as usize) else { return };
            let is_up = match side {
                Side::Caller => call.answered,
                Side::Callee => call.picked_up_at.is_some(),
            };
            if !is_up {
                if side == Side::Caller && call.leg(side).pending.is_some() {
                    caller::cancel(self, number);
                }
                continue;
            }
            let leg = call.leg(side);
            let Some(dialog) = leg.dialog.as_mut().filter(|_| !leg.ended) else { continue };
            dialog.cseq += 1;
            let bytes = dialog.request("BYE", dialog.cseq, &format!("{seed:x}.{number}.end"), "", "");
            let to = dialog.destination();
            self.send(side, &bytes, to);
        }
    }

    /// A BYE has been answered or received on `side`; the call is over when both sides know.
    pub(super) fn side_ended(&mut self, number: u32, side: Side) {
        let Some(call) = self.calls.get_mut(number as usize) else { return };
        call.leg(side).ended = true;
        if call.phase == Phase::Ending && call.legs.iter().all(|leg| leg.ended) {
            self.finish(number, None);
        }
    }

    pub(super) fn stop_media(&mut self, number: u32, now: u64) {
        let Some(call) = self.calls.get_mut(number as usize) else { return };
        if call.phase == Phase::Talking {
            call.phase = Phase::Draining;
            self.talking -= 1;
            self.tell_media(Command::Stop { call: number });
            let drain = if self.plan.media { DRAIN_NS } else { 0 };
            self.at(now + drain, Event::HangUp, number);
        }
    }

    pub(super) fn hang_up(&mut self, number: u32, now: u64) {
        let by_caller = self.plan.uac_only || number.is_multiple_of(2);
        let side = if by_caller { Side::Caller } else { Side::Callee };
        let Some(call) = self.calls.get_mut(number as usize) else { return };
        if call.phase != Phase::Draining {
            return;
        }
        call.phase = Phase::Ending;
        call.bye_at = now;
        self.send_bye(number, side, now);
        self.at(now + AFTER_BYE_NS, Event::Overdue, number);
    }

    /// Sends a BYE, with credentials if the caller was asked for some.
    pub(super) fn send_bye(&mut self, number: u32, side: Side, now: u64) {
        let plan = self.plan;
        let Some(call) = self.calls.get_mut(number as usize) else { return };
        let challenged = call.challenged.as_mut().filter(|_| side == Side::Caller);
        let Some(dialog) = &mut call.legs[side.index()].dialog else { return };
        let authorization = match (challenged, &plan.credentials) {
            (Some(answer), Some(credentials)) => answer.header(credentials, "BYE", &dialog.target),
            _ => String::new(),
        };
        dialog.cseq += 1;
        let branch = format!("{:x}.{number}.bye{}", plan.seed, dialog.cseq);
        let bytes = dialog.request("BYE", dialog.cseq, &branch, &authorization, "");
        let to = dialog.destination();
        self.send_until_answered(number, side, bytes, to, "BYE", now);
    }

    /// The other side has had its time.
    pub(super) fn overdue(&mut self, number: u32) {
        let Some(call) = self.calls.get(number as usize) else { return };
        let reason = match call.phase {
            Phase::Setup if call.legs[1].dialog.is_none() => "answered, but not by the callee",
            Phase::Setup => "the callee got no ACK",
            Phase::Ending => "the BYE did not reach the other side",
            _ => return,
        };
        self.finish(number, Some(reason.into()));
    }

    /// The load is stopped: calls that are up are hung up, those that are not are taken back.
    pub(super) fn stop_all(&mut self, now: u64) {
        self.waiting.clear();
        for number in 0..self.plan.calls {
            match self.calls.get_mut(number as usize).map(|call| call.phase) {
                Some(Phase::Planned) => {
                    if let Some(call) = self.calls.get_mut(number as usize) {
                        call.phase = Phase::Over;
                    }
                    self.over += 1;
                }
                Some(Phase::Setup) => caller::cancel(self, number),
                Some(Phase::Talking) => self.stop_media(number, now),
                _ => {}
            }
        }
    }

    pub(super) fn give_up_all(&mut self) {
        for number in 0..self.plan.calls {
            self.finish(number, Some("not over in time".into()));
        }
    }

    fn tell_media(&self, command: Command) {
        if let Some(media) = &self.engine {
            // The media thread is gone only if it panicked, which its join reports.
            let _ = media.commands.send(command);
        }
    }
}
