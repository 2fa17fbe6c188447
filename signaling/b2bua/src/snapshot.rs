//! A call in a few hundred bytes: what the media process keeps for signaling, and what a restarted
//! signaling process makes the call of again.

use std::borrow::Cow;
use std::net::SocketAddr;

use minicbor::bytes::ByteSlice;
use minicbor::{Decode, Encode};
use moorline_control::{LocalSession, MAX_SNAPSHOT, SessionId};
use moorline_sip::transaction::Flow;
use moorline_sip::{Dialog, Transport};

use crate::call::{Call, Numbers, Phase};
use crate::cdr::{Kept, Record};
use crate::leg::{Leg, Side};
use crate::media::Remote;
use crate::policy::Policy;
use crate::policy::limit::{Counted, Direction, Seized, Seizure};
use crate::session_timer::SessionTimer;

/// The form of snapshot that this version writes.
const VERSION: u8 = 3;

/// The oldest that it reads. Form 2 knows nothing of session timers.
const OLDEST: u8 = 2;

/// Room for the snapshot of most calls.
const USUAL: usize = 1024;

/// How far CSeq numbers jump on a restore: requests that were sent after the snapshot was taken have used
/// some, and a number may be left out but never used twice (RFC 3261 12.2.1.1).
pub(crate) const CSEQ_JUMP: u32 = 1_000_000;

#[derive(Encode, Decode)]
#[cbor(map)]
struct CallForm<'a> {
    #[n(0)]
    version: u8,
    #[n(1)]
    answered_at: u64,
    #[b(2)]
    legs: Vec<LegForm<'a>>,
    /// Absent in snapshots of calls whose media are anchored.
    #[n(4)]
    bypassed: Option<bool>,
    /// Absent where the version before has written it, or there was no room.
    #[n(5)]
    record: Option<Kept>,
    /// The numbers: called and caller as received, as routed, as sent, and by the route's rules alone. Absent in snapshots of before.
    #[b(6)]
    numbers: Option<Vec<&'a ByteSlice>>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct LegForm<'a> {
    #[b(0)]
    trunk: &'a str,
    #[b(1)]
    listener: &'a str,
    #[n(2)]
    remote: SocketAddr,
    #[n(3)]
    tag: SessionId,
    #[n(4)]
    said: Option<Cow<'a, [Remote]>>,
    #[cbor(b(5), with = "minicbor::bytes")]
    call_id: &'a [u8],
    #[cbor(b(6), with = "minicbor::bytes")]
    remote_tag: &'a [u8],
    #[cbor(b(7), with = "minicbor::bytes")]
    local: &'a [u8],
    #[cbor(b(8), with = "minicbor::bytes")]
    remote_party: &'a [u8],
    #[n(9)]
    local_cseq: u32,
    #[n(10)]
    remote_cseq: Option<u32>,
    #[b(11)]
    route_set: Vec<&'a ByteSlice>,
    #[cbor(b(12), with = "minicbor::bytes")]
    remote_target: &'a [u8],
    #[n(13)]
    unacknowledged: Option<u32>,
    #[n(14)]
    relatch: u32,
    /// The transport's position in [`Transport::ALL`].
    #[n(15)]
    transport: u8,
    #[n(16)]
    timer: Option<TimerForm>,
    /// It takes UPDATE.
    #[n(17)]
    updates: Option<bool>,
    /// What a refresh by INVITE repeats.
    #[b(18)]
    sdp: Option<&'a ByteSlice>,
    #[n(19)]
    shortest_s: Option<u32>,
    /// Absent for dialogs that were not set up by a `sips` URI.
    #[n(20)]
    secure: Option<bool>,
    /// The direction in which it counts at its trunk, by [`Direction::index`]; its side's if absent.
    #[n(24)]
    direction: Option<u8>,
    /// The caller for whom it counts.
    #[b(25)]
    counts_for: Option<&'a ByteSlice>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct TimerForm {
    #[n(0)]
    interval_s: u32,
    #[n(1)]
    ours: bool,
    #[n(2)]
    expires_at: u64,
}

/// The snapshot of a call; empty while there is nothing to restore: before the answer the parties' own
/// transactions are what the call is, and those die with the process.
pub(crate) fn encode(call: &Call, policy: &Policy) -> Vec<u8> {
    let Some(answered_at) = call.answered_at else { return Vec::new() };
    if call.phase != Phase::Answered {
        return Vec::new();
    }
    let Some(legs) = Side::BOTH.iter().map(|side| leg_form(call, *side, policy)).collect() else {
        return Vec::new();
    };
    let record = Some(Kept::from(&*call.record));
    let numbers = Some(call.numbers.kept().map(Into::into).collect());
    let bypassed = call.bypassed.then_some(true);
    let mut form = CallForm { version: VERSION, answered_at, legs, bypassed, record, numbers };
    // What is too long for the media process is not worth losing the call.
    let bytes = written(&form);
    if bytes.len() <= MAX_SNAPSHOT {
        return bytes;
    }
    form.legs.iter_mut().for_each(|leg| leg.sdp = None);
    let bytes = written(&form);
    if bytes.len() <= MAX_SNAPSHOT {
        return bytes;
    }
    form.record = None;
    Some(written(&form)).filter(|bytes| bytes.len() <= MAX_SNAPSHOT).unwrap_or_default()
}

fn written(form: &CallForm<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL);
    // Writing into a vector does not fail.
    match minicbor::encode(form, &mut bytes) {
        Ok(()) => bytes,
        Err(_) => Vec::new(),
    }
}

fn leg_form<'a>(call: &'a Call, side: Side, policy: &'a Policy) -> Option<LegForm<'a>> {
    let leg = call.leg(side);
    let dialog = leg.dialog.as_ref()?;
    let counted = call.seized.of(side).map(Seizure::counted);
    Some(LegForm {
        trunk: &policy.trunks.get(leg.trunk)?.name,
        listener: &policy.listeners.get(leg.flow.listener)?.name,
        remote: leg.flow.remote,
        tag: leg.tag,
        said: call.said[side.index()].as_deref().map(Cow::Borrowed),
        call_id: &dialog.call_id,
        remote_tag: &dialog.remote_tag,
        local: &dialog.local,
        remote_party: &dialog.remote,
        local_cseq: dialog.local_cseq,
        remote_cseq: dialog.remote_cseq,
        route_set: dialog.route_set.iter().map(|route| route.as_slice().into()).collect(),
        remote_target: &dialog.remote_target,
        unacknowledged: leg.unacknowledged.or(leg.perhaps_unacknowledged),
        relatch: leg.relatch,
        transport: leg.flow.transport as u8,
        timer: leg.timer.map(|timer| TimerForm {
            interval_s: timer.interval_s,
            ours: timer.ours,
            expires_at: timer.expires_at,
        }),
        updates: Some(leg.updates),
        sdp: leg.sdp.as_deref().map(Into::into),
        shortest_s: Some(leg.shortest_s),
        secure: dialog.secure.then_some(true),
        direction: counted.map(|(direction, _)| direction as u8),
        counts_for: counted.and_then(|(_, caller)| caller).map(Into::into),
    })
}

/// Makes a call of its snapshot, and tells what its parties count as at their trunks.
///
/// # Errors
/// A sentence for the log: not answered yet, another version, a trunk or listener that the configuration
/// no longer has.
pub(crate) fn restore(
    id: SessionId,
    snapshot: &[u8],
    local: LocalSession,
    now: u64,
    policy: &Policy,
) -> Result<(Call, [Counted; 2]), String> {
    if snapshot.is_empty() {
        return Err("the call was not answered yet".into());
    }
    let form: CallForm<'_> = minicbor::decode(snapshot).map_err(|error| format!("unreadable snapshot: {error}"))?;
    if !(OLDEST..=VERSION).contains(&form.version) {
        return Err(format!("a snapshot of version {}, this one reads {OLDEST} to {VERSION}", form.version));
    }
    let Ok([caller, callee]) = <[LegForm<'_>; 2]>::try_from(form.legs) else {
        return Err("a snapshot without two legs".into());
    };
    let said = [&caller, &callee].map(|leg| leg.said.as_deref().map(<[Remote]>::to_vec));
    // The clock of a host that was restarted begins anew.
    let answered_at = form.answered_at.min(now);
    let counted = [(&caller, Direction::Inbound), (&callee, Direction::Outbound)].map(|(leg, usual)| {
        let direction = leg.direction.and_then(|at| Direction::BOTH.get(usize::from(at)).copied());
        (direction.unwrap_or(usual), leg.counts_for.map(|caller| caller.to_vec().into()))
    });
    let legs = [leg(caller, now, policy)?, leg(callee, now, policy)?];
    let numbers: Vec<&[u8]> = form.numbers.iter().flatten().map(|number| &number[..]).collect();
    let call = Call {
        id,
        numbers: Numbers::restored(&numbers, &policy.trunks[legs[1].trunk]),
        phase: Phase::Answered,
        announcing: None,
        tags: legs.iter().map(|leg| leg.tag).collect(),
        legs,
        invite: None,
        attempts: Vec::new(),
        bypassed: form.bypassed.unwrap_or_default(),
        withheld: false,
        early: None,
        usages: Vec::new(),
        transferring: None,
        transfer: None,
        lingers_until: None,
        said,
        late_offer: false,
        offer: None,
        local,
        waiting: Vec::new(),
        media_request: 0,
        deadline: None,
        answered_at: Some(answered_at),
        ended_at: None,
        outcome: None,
        clients: 0,
        media_closed: false,
        report: None,
        recorded: false,
        record: Box::new(form.record.map_or_else(Record::default, Kept::into_record)),
        record_complete: false,
        interim_at: None,
        declined: Vec::new(),
        branches: Vec::new(),
        seized: Seized::default(),
    };
    Ok((call, counted))
}

fn leg(form: LegForm<'_>, now: u64, policy: &Policy) -> Result<Leg, String> {
    let trunk = policy.named(form.trunk);
    let trunk = trunk.ok_or_else(|| format!("no trunk is named {:?} any more", form.trunk))?;
    let listener = policy.listeners.iter().position(|listener| listener.name == form.listener);
    let listener = listener.ok_or_else(|| format!("no listener is named {:?} any more", form.listener))?;
    let transport = Transport::ALL.get(usize::from(form.transport)).copied();
    let transport = transport.ok_or_else(|| format!("no transport has the number {}", form.transport))?;
    let flow = Flow { listener, ..policy.trunks[trunk].flow(transport, form.remote) };
    let mut leg = Leg::new(trunk, flow, form.tag);
    leg.endpoint = policy.trunks[trunk].endpoints.is_some();
    leg.perhaps_unacknowledged = form.unacknowledged;
    leg.confirmed = true;
    leg.relatch = form.relatch;
    leg.timer = form.timer.map(|timer| SessionTimer::restored(now, timer.interval_s, timer.ours, timer.expires_at));
    leg.updates = form.updates.unwrap_or_default();
    leg.sdp = form.sdp.map(|sdp| sdp.to_vec());
    leg.shortest_s = form.shortest_s.unwrap_or_default();
    leg.dialog = Some(Dialog {
        secure: form.secure.unwrap_or_default(),
        call_id: form.call_id.to_vec(),
        local_tag: form.tag.to_string().into_bytes(),
        remote_tag: form.remote_tag.to_vec(),
        local: form.local.to_vec(),
        remote: form.remote_party.to_vec(),
        local_cseq: form.local_cseq.saturating_add(CSEQ_JUMP),
        remote_cseq: form.remote_cseq,
        route_set: form.route_set.into_iter().map(|route| route.to_vec()).collect(),
        remote_target: form.remote_target.to_vec(),
    });
    Ok(leg)
}
