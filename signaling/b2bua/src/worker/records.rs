//! The records of calls, kept up to date step by step, and marked where a crash must not lose the step.

use moorline_control::{LocalSession, SessionId, SessionReport};
use moorline_sip::transaction::{ClientId, Flow, IdMap, IdSet};
use moorline_sip::{Message, Uri};

use super::media::Asked;
use super::{Arrival, Due, Worker};
use crate::attempt::{Attempt, Destination};
use crate::call::Call;
use crate::cdr::{Mark, Party, Record, Stage, Time, Try, text};
use crate::leg::{Leg, Side};
use crate::media::Remote;
use crate::{Outcome, Output};

/// What a record says of a destination that said nothing.
const NO_ANSWER: &[u8] = b"no answer";

/// What is written down of the calls of the process before, until the media process has told which of them are up.
#[derive(Default)]
pub(super) struct Before {
    /// Records that did not end.
    begun: IdMap<SessionId, Box<Record>>,
    /// Calls whose record has ended.
    ended: IdSet<SessionId>,
    /// Its last sign of life.
    until: Time,
}

impl Before {
    pub(super) fn has_ended(&self, id: SessionId) -> bool {
        self.ended.contains(&id)
    }
}

impl Worker {
    fn time(&self, now: u64) -> Time {
        Time::from_unix_ns(self.wall.unix_ns(now))
    }

    /// The record of a new INVITE, whatever becomes of it.
    pub(super) fn new_record(&self, arrival: Arrival<'_>, id: SessionId, trunk: Option<usize>) -> Box<Record> {
        let invite = arrival.message;
        let trunk = trunk.and_then(|trunk| self.policy.trunks.get(trunk)).map(|trunk| trunk.name.clone());
        let trunk = trunk.unwrap_or_default();
        let user = arrival.user.map(text);
        Box::new(Record {
            id: id.to_string(),
            node: id.node,
            setup: self.time(arrival.now),
            caller_number: invite.from().map(|from| number(from.uri)).unwrap_or_default(),
            called_number: invite.request_uri().map(number).unwrap_or_default(),
            account: user.clone().unwrap_or_else(|| trunk.clone()),
            caller: Party {
                user,
                call_id: invite.call_id().map(text).unwrap_or_default(),
                ..self.party(trunk, arrival.flow)
            },
            ..Record::default()
        })
    }

    fn party(&self, trunk: String, flow: Flow) -> Party {
        let transport = flow.transport.param().to_owned();
        Party { trunk, signaling: Some(flow.remote), transport, ..Party::default() }
    }

    /// An INVITE was refused before there was a call.
    pub(super) fn record_rejected(&mut self, arrival: Arrival<'_>, id: SessionId, status: u16, reason: &[u8]) {
        if !self.policy.records.kept {
            return;
        }
        let trunk = self.policy.ingress(arrival.flow);
        let mut record = self.new_record(arrival, id, trunk);
        (record.caller.code, record.caller.reason) = (Some(status), Some(text(reason)));
        record.ended(self.time(arrival.now), Outcome::Rejected(status));
        self.outputs.push_back(Output::Record(Mark { stage: Stage::Ended, record }));
    }

    /// Marks how far the call has come.
    pub(super) fn mark(&mut self, id: SessionId, stage: Stage) {
        if !self.policy.records.kept {
            return;
        }
        let Some(call) = self.calls.get(&id) else { return };
        let record = call.record.clone();
        self.outputs.push_back(Output::Record(Mark { stage, record }));
    }

    /// The INVITE goes to a destination.
    pub(super) fn record_try(&mut self, now: u64, id: SessionId, destination: &Destination, call_id: SessionId) {
        let at = self.time(now);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let trunk = self.policy.trunks.get(call.leg(Side::Callee).trunk);
        let (caller, called) = sent_numbers(call);
        let withheld = call.withheld || trunk.is_some_and(|trunk| trunk.withhold_caller);
        let record = &mut call.record;
        record.caller_number_sent = if withheld { "anonymous".into() } else { caller };
        record.called_number_sent = called;
        record.tried(Try {
            trunk: trunk.map(|trunk| trunk.name.clone()).unwrap_or_default(),
            address: Some(destination.flow.remote),
            transport: destination.flow.transport.param().to_owned(),
            call_id: call_id.to_string(),
            at,
            code: None,
            reason: None,
        });
    }

    /// The called side shows signs of life.
    pub(super) fn record_ringing(&mut self, now: u64, id: SessionId) {
        let at = self.time(now);
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.record.ring.is_none()) else { return };
        call.record.ring = Some(at);
        self.mark(id, Stage::Ringing);
    }

    /// A destination has said nothing for too long.
    pub(super) fn record_silence(&mut self, id: SessionId, client: ClientId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(attempt) = call.attempts.iter().find(|attempt| attempt.client == client) {
            given_up(&mut call.record, attempt);
        }
    }

    /// A destination has answered with a 2xx.
    pub(super) fn record_accepted(&mut self, now: u64, id: SessionId, call_id: SessionId, message: Message<'_>) {
        let at = self.time(now);
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.record.accepted(at, &call_id.to_string(), message.status(), message.reason().unwrap_or_default());
        call.record.callee.user = call.leg(Side::Callee).user.as_deref().map(text);
    }

    /// The caller is about to be sent this final answer to its INVITE.
    pub(super) fn told_caller(&mut self, id: SessionId, answer: &[u8]) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let mut parts = line.splitn(3, |byte| *byte == b' ').skip(1);
        let code = parts.next().and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
        (call.record.caller.code, call.record.caller.reason) = (code, parts.next().map(text));
    }

    /// The call is up, for both of its parties.
    pub(super) fn record_up(&mut self, now: u64, id: SessionId) {
        let at = self.time(now);
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.record.answer.get_or_insert(at);
        place(call);
        self.mark(id, Stage::Answered);
        self.set_interim(now, id);
    }

    /// The Reason of the BYE or CANCEL that ends the call.
    pub(super) fn record_reason(&mut self, id: SessionId, reason: Option<&[u8]>) {
        if let (Some(call), Some(reason)) = (self.calls.get_mut(&id), reason) {
            call.record.release_reason.get_or_insert_with(|| text(reason));
        }
    }

    /// The call has ended.
    pub(super) fn record_end(&mut self, now: u64, id: SessionId, outcome: Outcome) {
        let at = self.time(now);
        let Some(call) = self.calls.get_mut(&id) else { return };
        place(call);
        if call.record.cause.is_none() {
            call.record.ended(at, outcome);
            measure(now, call);
        }
        if let Some(at) = call.interim_at.take() {
            self.timers.cancel(at, Due::Interim(id));
        }
        self.mark(id, Stage::Ending);
    }

    /// The record is complete when its end was observed, and those called have said their last word.
    pub(super) fn complete_record(&mut self, id: SessionId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let waits = call.attempts.iter().any(|attempt| !attempt.given_up);
        if !call.recorded || call.record_complete || waits {
            return;
        }
        call.record_complete = true;
        self.mark(id, Stage::Ended);
    }

    /// What the process before has begun to record and not ended. Its calls come with the listing of the media process;
    /// those that do not are over.
    pub(super) fn begun(&mut self, records: Vec<Record>, ended: Vec<SessionId>, until: Time) {
        for record in records {
            if let Some(id) = record.id.parse().ok().filter(|id| self.place.owns(*id)) {
                self.before.begun.insert(id, Box::new(record));
            }
        }
        self.before.ended = ended.into_iter().filter(|id| self.place.owns(*id)).collect();
        self.before.until = until;
        if !self.media.is_restoring() {
            self.lose_begun();
        }
    }

    /// No more calls of the process before will come back.
    pub(super) fn lose_begun(&mut self) {
        let Before { begun, until, .. } = std::mem::take(&mut self.before);
        for (_, mut record) in begun {
            record.lost(until);
            if self.policy.records.kept {
                self.outputs.push_back(Output::Record(Mark { stage: Stage::Ended, record }));
            }
        }
    }

    /// A call came back: what was written down of it says more than its snapshot. True if it says that the call is over.
    pub(super) fn resume_record(&mut self, now: u64, id: SessionId) -> bool {
        let begun = self.before.begun.remove(&id);
        let parties = self.calls.get(&id).map(|call| call.legs.each_ref().map(|leg| self.party_of(leg)));
        let (Some(call), Some(parties)) = (self.calls.get_mut(&id), parties) else { return false };
        match begun {
            Some(begun) => call.record = begun,
            None => {
                (call.record.id, call.record.node) = (id.to_string(), id.node);
                [call.record.caller, call.record.callee] = parties;
            }
        }
        place(call);
        let over = call.record.cause.is_some();
        if !over {
            self.set_interim(now, id);
        }
        over
    }

    fn party_of(&self, leg: &Leg) -> Party {
        let trunk = self.policy.trunks.get(leg.trunk).map(|trunk| trunk.name.clone()).unwrap_or_default();
        let call_id = leg.dialog.as_ref().map(|dialog| text(&dialog.call_id)).unwrap_or_default();
        Party { call_id, user: leg.user.as_deref().map(text), code: Some(200), ..self.party(trunk, leg.flow) }
    }

    /// Two parties speak in a call that was made for a transfer: their legs are those of older calls.
    pub(super) fn record_joined(&mut self, now: u64, id: SessionId) {
        let Some(call) = self.calls.get(&id) else { return };
        let parties = call.legs.each_ref().map(|leg| self.party_of(leg));
        if let Some(call) = self.calls.get_mut(&id) {
            [call.record.caller, call.record.callee] = parties;
        }
        self.record_up(now, id);
    }

    /// A call is made for the transfer of another one, which a party of that has asked for.
    pub(super) fn record_transfer(&mut self, (of, by): (SessionId, Side), new: SessionId) {
        let Some(call) = self.calls.get_mut(&of) else { return };
        call.record.transferred_to = Some(new.to_string());
        let trunk = self.policy.trunks.get(call.leg(by).trunk).map(|trunk| trunk.name.clone());
        let account = call.user(by).map(text).or(trunk).unwrap_or_default();
        if let Some(call) = self.calls.get_mut(&new) {
            call.record.transferred_from = Some(of.to_string());
            call.record.account = account;
        }
    }

    fn set_interim(&mut self, now: u64, id: SessionId) {
        if self.policy.records.interim_ns == 0 {
            return;
        }
        let at = now.saturating_add(self.policy.records.interim_ns);
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(before) = call.interim_at.replace(at) {
            self.timers.cancel(before, Due::Interim(id));
        }
        self.timers.set(at, Due::Interim(id));
    }

    /// It is time to mark that the call is still up, with what was relayed so far.
    pub(super) fn interim_due(&mut self, now: u64, id: SessionId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.interim_at = None;
        }
        self.set_interim(now, id);
        if self.media.connected {
            self.ask(Asked::Query(id));
        } else {
            self.record_interim(now, id, None);
        }
    }

    /// What was relayed so far is known, or will not be.
    pub(super) fn record_interim(&mut self, now: u64, id: SessionId, report: Option<&SessionReport>) {
        let at = self.time(now);
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.outcome.is_none()) else { return };
        relayed(&mut call.record, report);
        call.record.duration_ms = call.record.talk_ms(at);
        measure(now, call);
        self.mark(id, Stage::Going);
    }
}

/// Notes what was relayed.
pub(super) fn relayed(record: &mut Record, report: Option<&SessionReport>) {
    let legs = report.map_or(&[][..], |report| &report.legs);
    for (party, streams) in [&mut record.caller, &mut record.callee].into_iter().zip(legs) {
        party.media.received(streams);
    }
}

/// Notes that a destination was given up, or cannot be reached.
pub(super) fn given_up(record: &mut Record, attempt: &Attempt) {
    record.try_ended(&attempt.call_id.to_string(), None, NO_ANSWER);
}

/// Notes how long the call has been answered, by the clock that nobody sets: what the wall shows may leap meanwhile.
fn measure(now: u64, call: &mut Call) {
    if let (Some(_), Some(answered_at)) = (call.record.answer, call.answered_at) {
        call.record.duration_ms = now.saturating_sub(answered_at) / 1_000_000;
    }
}

/// Notes the addresses of media that are known by now.
fn place(call: &mut Call) {
    let Call { record, bypassed, said, local, .. } = call;
    place_in(record, *bypassed, said, local);
}

/// Notes in a record where the parties have said that their media is, and where it comes to.
pub(super) fn place_in(record: &mut Record, bypassed: bool, said: &[Option<Vec<Remote>>; 2], local: &LocalSession) {
    record.bypassed = bypassed;
    for side in Side::BOTH {
        let said = said[side.index()].as_ref().and_then(|streams| streams.iter().find_map(|stream| stream.rtp));
        let local = local.legs.get(side.index()).and_then(|streams| streams.iter().flatten().next());
        let party = if side == Side::Caller { &mut record.caller } else { &mut record.callee };
        party.media.placed(said, local);
    }
}

/// The numbers of caller and called as they are sent on.
fn sent_numbers(call: &Call) -> (String, String) {
    (text(&call.numbers.sent.caller), text(&call.numbers.sent.called))
}

/// The user part of a URI.
fn number(uri: &[u8]) -> String {
    Uri::parse(uri).ok().and_then(|uri| uri.user).map(text).unwrap_or_default()
}
