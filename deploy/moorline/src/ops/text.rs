//! Answers as people read them.

use std::fmt::Write as _;

use moorline_signaling::ConfigurationReply;
use moorline_signaling::command::{CallDetail, CallsReply, DrainReply, StatusReply, StreamFigures, TrunkState};
use moorline_signaling::inspect::{CallState, HopReach, TrunkReach};
use moorline_signaling::{Party, Record, TakenOverBy};

pub(super) fn status(status: &StatusReply) -> String {
    let StatusReply { version, node, started, uptime_s, workers, calls, .. } = status;
    let mut text =
        format!("moorline {version}, node {node}, {workers} workers, up since {started} ({})\n", time(*uptime_s));
    let taken = match (status.draining, status.shut, status.media_connected) {
        (true, ..) => "no, draining: `moorline drain --off` takes them again",
        (_, true, _) => "no, they could not be written down",
        (.., false) => "no, there is no media process",
        _ => "yes",
    };
    // Writing into a string does not fail.
    _ = writeln!(text, "new calls     {taken}");
    _ = writeln!(text, "media process {}", if status.media_connected { "connected" } else { "not connected" });
    let ConfigurationReply { source, since, by } = &status.configuration;
    _ = match by {
        TakenOverBy::Start => writeln!(text, "configuration {source}, since the start"),
        TakenOverBy::Reload => writeln!(text, "configuration {source}, by a reload at {since}"),
        TakenOverBy::Rollback => writeln!(text, "configuration the one before, by a rollback at {since} ({source})"),
    };
    _ = writeln!(text, "calls         {} now, {} at most", calls.now, calls.peak);
    _ = writeln!(text, "attempts      {}, {} admitted, {} answered", calls.attempts, calls.admitted, calls.answered);
    let StatusReply { subscriptions, bindings, targets_resting, .. } = status;
    _ = writeln!(text, "besides       {subscriptions} subscriptions, {bindings} registered contacts");
    if *targets_resting > 0 {
        _ = writeln!(text, "targets       {targets_resting} tried last for now: see `moorline trunks`");
    }
    for listener in &status.listeners {
        _ = writeln!(text, "listener      {} {}", listener.listener, listener.bind);
    }
    match &status.records {
        None => text.push_str("records       not kept\n"),
        Some(records) => {
            let failing = if records.failing { "failing" } else { "well" };
            _ = writeln!(text, "records       journal {failing}, {} steps lost", records.lost);
            for sink in &records.sinks {
                let failing = if sink.failing { ", failing" } else { "" };
                _ = writeln!(text, "  {:<12}{} waiting{failing}", sink.sink, sink.waiting);
            }
        }
    }
    text
}

pub(super) fn drain(drain: &DrainReply) -> String {
    let taken = if drain.draining { "no new calls are taken" } else { "new calls are taken" };
    format!("{taken}; {} calls are left\n", drain.calls)
}

pub(super) fn trunks(trunks: &[TrunkState]) -> String {
    let mut rows = vec![["trunk", "listener", "in", "out", "state", "targets"].map(str::to_owned)];
    for trunk in trunks {
        let TrunkReach { trunk: name, listener, targets, .. } = &trunk.reach;
        let targets: Vec<String> = targets
            .iter()
            .map(|target| match target.hops.as_slice() {
                [] => format!("{} (no address)", target.target),
                [hop] if target.target == hop.address.to_string() => rested(hop),
                hops => format!("{} ({})", target.target, hops.iter().map(rested).collect::<Vec<_>>().join(", ")),
            })
            .collect();
        let (calls_in, calls_out) = (trunk.calls_in.to_string(), trunk.calls_out.to_string());
        rows.push([name.clone(), listener.clone(), calls_in, calls_out, standing(trunk), targets.join(", ")]);
    }
    table(&rows)
}

fn rested(hop: &HopReach) -> String {
    let rests = hop.rests_ms.map(|ms| format!(" rests {} s", ms.div_ceil(1000))).unwrap_or_default();
    format!("{}{rests}", hop.address)
}

/// What there is to be said of a trunk as a whole.
fn standing(trunk: &TrunkState) -> String {
    let mut hops = trunk.reach.targets.iter().flat_map(|target| &target.hops).peekable();
    let down = hops.peek().is_some() && hops.all(|hop| hop.rests_ms.is_some());
    let registered = trunk.reach.registration.as_ref().map(|registration| match registration.registered {
        true => "registered".to_owned(),
        false => format!("not registered, {} failures", registration.failures),
    });
    let leaving = trunk.leaving.then(|| "leaving: not configured any more".to_owned());
    let all = [
        leaving,
        registered,
        down.then(|| "no target answers".to_owned()),
        trunk.arrears.then(|| "in arrears".to_owned()),
        (trunk.users_in_arrears > 0).then(|| format!("{} users in arrears", trunk.users_in_arrears)),
    ];
    let all: Vec<String> = all.into_iter().flatten().collect();
    if all.is_empty() { "-".to_owned() } else { all.join(", ") }
}

pub(super) fn calls(page: &CallsReply) -> String {
    let mut rows = vec![["call", "state", "age", "from", "to", "caller", "called"].map(str::to_owned)];
    rows.extend(page.calls.iter().map(|call| {
        let called = match call.called_sent.as_str() {
            "" => call.called.clone(),
            sent if sent == call.called => call.called.clone(),
            sent => format!("{} as {sent}", call.called),
        };
        let (to, age) = (if call.to.is_empty() { "-" } else { &call.to }, time(call.seconds));
        let state = state(call.state).to_owned();
        [call.call.clone(), state, age, call.from.clone(), to.to_owned(), call.caller.clone(), called]
    }));
    table(&rows)
}

pub(super) fn call(call: &CallDetail) -> String {
    let record = &call.record;
    let mut text = format!("{} {}, for {}\n", record.id, state(call.state), time(call.seconds));
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            // Writing into a string does not fail.
            _ = writeln!(text, "  {name:<12}{value}");
        }
    };
    let Record { setup, ring, answer, .. } = record;
    line("set up", setup.to_string());
    line("rings since", ring.map(|at| at.to_string()).unwrap_or_default());
    line("answered", answer.map(|at| at.to_string()).unwrap_or_default());
    line("ends within", call.ends_in_s.map(time).unwrap_or_default());
    line("account", record.account.clone());
    line("caller", changed(&record.caller_number, &record.caller_number_sent));
    line("called", changed(&record.called_number, &record.called_number_sent));
    line("media", if record.bypassed { "past this host".to_owned() } else { String::new() });
    line("made of", record.transferred_from.clone().unwrap_or_default());
    line("became", record.transferred_to.clone().unwrap_or_default());
    for attempt in record.tries.iter().rev().skip(1).rev() {
        let came = attempt.code.map(|code| code.to_string());
        let came = [came, attempt.reason.clone()].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let address = attempt.address.map(|address| address.to_string()).unwrap_or_default();
        line("tried", format!("{} {address}: {came}", attempt.trunk));
    }
    let sessions = [call.caller_session_s, call.callee_session_s];
    let parties = [("caller's leg", &record.caller), ("called leg", &record.callee)];
    for (index, ((name, party), session_s)) in parties.into_iter().zip(sessions).enumerate() {
        let streams = call.media.as_ref().and_then(|legs| legs.get(index)).map_or(&[][..], Vec::as_slice);
        leg(&mut text, name, party, session_s, streams);
    }
    if let Some(fault) = &call.media_fault {
        _ = writeln!(text, "media process: {fault}");
    }
    text
}

fn leg(text: &mut String, name: &str, party: &Party, session_s: Option<u32>, streams: &[StreamFigures]) {
    if party.trunk.is_empty() {
        return;
    }
    let user = party.user.as_ref().map(|user| format!(", user {user}")).unwrap_or_default();
    let at = party.signaling.map(|at| format!(" at {at} over {}", party.transport)).unwrap_or_default();
    _ = writeln!(text, "{name}: trunk {}{user}{at}", party.trunk);
    _ = writeln!(text, "  {:<12}{}", "Call-ID", party.call_id);
    if let Some(session_s) = session_s {
        _ = writeln!(text, "  {:<12}refreshed every {session_s} s or sooner", "session");
    }
    let media = |address: Option<std::net::SocketAddr>| address.map_or("-".to_owned(), |address| address.to_string());
    let (theirs, ours) = (media(party.media.media), media(party.media.local_media));
    _ = writeln!(text, "  {:<12}{theirs}, here {ours}", "media");
    for stream in streams {
        let codec = stream.codec.as_deref().unwrap_or("nothing yet");
        let mos = stream.mos.map(|mos| format!(", MOS {mos:.2}")).unwrap_or_default();
        let StreamFigures { packets, bytes, lost, refused, jitter_us, .. } = stream;
        let jitter = f64::from(*jitter_us) / 1e3;
        _ = writeln!(
            text,
            "  {:<12}{codec}, {packets} packets, {bytes} bytes, {lost} lost, {refused} refused, jitter {jitter:.1} ms{mos}",
            "received"
        );
    }
}

fn changed(came: &str, sent: &str) -> String {
    if sent.is_empty() || came == sent { came.to_owned() } else { format!("{came}, sent as {sent}") }
}

fn state(state: CallState) -> &'static str {
    match state {
        CallState::Connecting => "connecting",
        CallState::Ringing => "ringing",
        CallState::Announcing => "announcing",
        CallState::Up => "up",
        CallState::Ending => "ending",
    }
}

/// A length of time.
fn time(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{:02}", seconds % 60)
    } else {
        format!("{minutes}:{:02}", seconds % 60)
    }
}

/// Columns as wide as their widest cell.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default());
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "b"], ["long one", "x"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "a         b\nlong one  x\n");
    }

    #[test]
    fn times_are_told_by_the_clock() {
        assert_eq!([0, 59, 61, 3_661].map(time), ["0:00", "0:59", "1:01", "1:01:01"]);
    }
}
