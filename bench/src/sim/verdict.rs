//! Judging a run that is over: both ends agree, and nothing is left.

use moorline_b2bua::policy::ReliableProvisional;
use moorline_b2bua::{Observation, Outcome, Worker};

use super::party::{Party, Role};
use super::plan::Fault;
use super::world::World;

/// Adds what is wrong to the world's faults; answers how each call ended.
pub(super) fn judge(world: &mut World) -> Vec<&'static str> {
    let mut faults = Vec::new();
    nothing_is_left(world, &mut faults);
    let mut endings = Vec::new();
    for call in 0..world.plan.calls.len() {
        endings.push(ends_agree(world, call, &mut faults));
    }
    outcomes_agree(world, &mut faults);
    faults.into_iter().for_each(|fault| world.fault(fault));
    endings
}

fn nothing_is_left(world: &World, faults: &mut Vec<String>) {
    match world.worker.as_ref().map(Worker::counters) {
        None => faults.push("signaling did not come back".into()),
        Some(counters) => {
            if counters.calls_active != 0 {
                faults.push(format!("{} calls are left", counters.calls_active));
            }
            if counters.transactions_active != 0 {
                faults.push(format!("{} transactions are left", counters.transactions_active));
            }
            if counters.malformed + counters.bad_requests + counters.unknown_source > 0 {
                faults.push(format!("messages of the parties were not understood: {counters:?}"));
            }
        }
    }
    if world.worker.as_ref().and_then(Worker::next_timeout).is_some() {
        faults.push("a timer is left".into());
    }
    if world.media.sessions() != 0 {
        faults.push(format!("{} media sessions are left", world.media.sessions()));
    }
}

/// What each end of a call has been through agrees with the other's.
fn ends_agree(world: &World, call: usize, faults: &mut Vec<String>) -> &'static str {
    let mut fault = |what: String| faults.push(format!("call {call}: {what}"));
    let parties: Vec<&Party> = world.parties.iter().filter(|party| party.call == call).collect();
    let Some(caller) = parties.iter().find(|party| party.role == Role::Caller) else { return "never placed" };
    let callees: Vec<&&Party> = parties.iter().filter(|party| party.role != Role::Caller).collect();
    let gone = |party: &Party| party.vanishes_at.is_some_and(|at| at <= world.now);
    if world.disturbed[call] {
        return "disturbed";
    }
    let ending = ending(caller, &callees);
    let vanished = parties.iter().any(|party| gone(party));
    for party in parties.iter().filter(|party| !gone(party)) {
        if !party.is_over() || party.record.outlasted {
            fault(format!("{} is still in a call", party.name));
        }
        // Whose ACK depends on a party that vanished waits in vain, and Moorline's 408 to what it was asked to
        // carry there comes just too late.
        let depends = |what: &str| {
            ["no ACK", "INVITE", "UPDATE", "PRACK", "no PRACK", "INFO", "OPTIONS", "MESSAGE", "REFER", "NOTIFY", "what"]
                .iter()
                .any(|start| what.starts_with(start))
        };
        for unheard in party.record.unheard.iter().filter(|what| !vanished || !depends(what)) {
            fault(format!("{}: {unheard}", party.name));
        }
    }
    if vanished {
        return "somebody vanished";
    }
    let answered: Vec<&&&Party> = callees.iter().filter(|callee| callee.record.answered).collect();
    // Who was silent for too long may still answer: it is hung up.
    let given_up = world.plan.sides.iter().any(|side| side.failover > 0);
    if caller.record.answered && (answered.is_empty() || answered.len() > 1 && !given_up) {
        fault(format!("the caller was answered, by {} parties", answered.len()));
    }
    for callee in &answered {
        let (near, far) = (&caller.record, &callee.record);
        if !far.acknowledged && !far.heard_bye {
            fault(format!("{} was not acknowledged", callee.name));
        }
        if !far.heard_bye && !far.said_bye {
            fault(format!("{} was answered and never ended", callee.name));
        }
        if caller.record.answered {
            if near.said_bye && !near.heard_bye && !far.heard_bye && !far.said_bye {
                fault("the caller hung up, and the callee does not know".into());
            }
            if far.said_bye && !near.heard_bye && !near.said_bye {
                fault("the callee hung up, and the caller does not know".into());
            }
        } else if !far.heard_bye && !far.said_bye {
            fault(format!("{} answered, the caller was not told, and it was not ended", callee.name));
        }
    }
    if !caller.record.answered && caller.record.refused.is_none() {
        fault("the caller was not told how its call ended".into());
    }
    if let Some(status) = caller.record.refused {
        refusal_is_explained(world, caller, &callees, status, &mut fault);
    }
    ending
}

/// A refusal comes from the callee, from the caller's own CANCEL, or from a limit.
fn refusal_is_explained(
    world: &World,
    caller: &Party,
    callees: &[&&Party],
    status: u16,
    fault: &mut impl FnMut(String),
) {
    // A target that was given up may still refuse, when the caller has long been told.
    let in_time = callees.iter().filter(|callee| callee.record.refused_at <= caller.record.refused_at);
    let statuses = in_time.filter_map(|callee| callee.record.refused).filter(|status| !matches!(status, 401 | 422));
    let refusals: Vec<u16> = statuses.collect();
    let crowded = world.plan.capacity < world.plan.calls.len() || !world.plan.faults.is_empty();
    let explained = match status {
        487 => caller.record.cancelled,
        _ if is_best(status, &refusals) => true,
        503 => crowded,
        // It rang for longer than it may.
        408 if caller.record.refused_at - caller.joined_at >= world.plan.limits.ring_ns => true,
        // The last of them is not there.
        408 => callees.last().is_none_or(|last| last.record.refused.is_none_or(|status| status / 100 == 3)),
        // What one requires and the other does not know.
        420 | 421 => world.plan.sides.iter().any(|side| side.reliable != ReliableProvisional::Supported),
        _ => false,
    };
    if !explained {
        fault(format!("the caller heard {status}, those called said {refusals:?}"));
    }
    if let Some(callee) = callees.last()
        && callee.record.answered
        && !caller.record.cancelled
        && !crowded
        && status != 408
    {
        fault(format!("{} answered, and the caller heard {status}", callee.name));
    }
}

/// Of all refusals the caller hears one of a 6xx, or else of the lowest class (RFC 3261 16.7, step 6). Redirections
/// that were followed are none.
fn is_best(status: u16, refusals: &[u16]) -> bool {
    let rank = |status: u16| if status >= 600 { 0 } else { status / 100 };
    let others = refusals.iter().filter(|other| *other / 100 != 3);
    refusals.contains(&status)
        && (status / 100 == 3 || others.map(|other| rank(*other)).all(|other| rank(status) <= other))
}

fn ending(caller: &Party, callees: &[&&Party]) -> &'static str {
    let record = &caller.record;
    match (record.answered, record.refused) {
        (true, _) if record.said_bye && record.heard_bye => "both hung up",
        (true, _) if record.said_bye => "caller hung up",
        (true, _) if callees.iter().any(|callee| callee.record.said_bye) => "callee hung up",
        (true, _) => "ended by Moorline",
        (false, Some(487)) => "cancelled",
        (false, Some(408)) => "not answered",
        (false, Some(503)) => "no room",
        (false, Some(302)) => "redirected",
        (false, Some(_)) => "refused",
        (false, None) => "never ended",
    }
}

/// What the worker says of its calls is what the parties have seen.
fn outcomes_agree(world: &World, faults: &mut Vec<String>) {
    let restarted = world.plan.faults.iter().any(|(_, fault)| matches!(fault, Fault::SignalingRestart { .. }));
    let vanished = world.parties.iter().any(|party| party.vanishes_at.is_some_and(|at| at <= world.now));
    if restarted || vanished || world.disturbed.contains(&true) {
        return;
    }
    let mut outcomes: Vec<Outcome> = world
        .observations
        .iter()
        .filter_map(|observation| match observation {
            Observation::Ended { outcome, .. } => Some(*outcome),
            _ => None,
        })
        .collect();
    // Each INVITE is an attempt of its own, also one that was told how long a session must be, and came again.
    for _ in 0..world.parties.iter().map(|party| party.record.called_again).sum::<usize>() {
        if let Some(told) = outcomes.iter().position(|outcome| *outcome == Outcome::Rejected(422)) {
            outcomes.remove(told);
        }
    }
    if outcomes.len() != world.plan.calls.len() {
        return faults.push(format!("{} calls, and these outcomes: {outcomes:?}", world.plan.calls.len()));
    }
    let calls: Vec<usize> = (0..world.plan.calls.len()).collect();
    if !can_match(&calls, &outcomes, &|call, outcome| fits(world, call, outcome)) {
        faults.push(format!("outcomes that the parties did not see: {outcomes:?}"));
    }
}

/// Each call can be given an outcome of its own.
fn can_match(calls: &[usize], outcomes: &[Outcome], fits: &dyn Fn(usize, Outcome) -> bool) -> bool {
    let Some((call, others)) = calls.split_first() else { return true };
    (0..outcomes.len()).any(|chosen| {
        let mut left = outcomes.to_vec();
        let outcome = left.remove(chosen);
        fits(*call, outcome) && can_match(others, &left, fits)
    })
}

fn fits(world: &World, call: usize, outcome: Outcome) -> bool {
    let parties = || world.parties.iter().filter(move |party| party.call == call);
    let Some(caller) = parties().find(|party| party.role == Role::Caller).map(|party| &party.record) else {
        return false;
    };
    let mut callees = parties().filter(|party| party.role != Role::Caller).map(|party| &party.record);
    let answered = caller.answered;
    match outcome {
        Outcome::CallerHungUp => answered && caller.said_bye,
        Outcome::CalleeHungUp => callees.any(|callee| callee.said_bye),
        Outcome::MediaTimeout | Outcome::TooLong | Outcome::MediaLost => {
            answered && caller.heard_bye || caller.said_bye
        }
        // The network is not so bad, nobody's transfers are carried out here, and there is no operator.
        Outcome::NoAck | Outcome::Transferred | Outcome::OperatorHungUp | Outcome::OperatorCancelled => false,
        Outcome::Expired => parties().any(|party| party.record.lapsed),
        Outcome::Cancelled => caller.cancelled,
        Outcome::Refused(status) | Outcome::Rejected(status) => caller.refused == Some(status),
    }
}
