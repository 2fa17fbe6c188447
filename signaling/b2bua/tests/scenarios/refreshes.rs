//! Session timers (RFC 4028): what is agreed on each leg, who refreshes it, and what happens when nobody does.

use crate::harness::*;
use moorline_b2bua::policy::{Policy, SessionTimers};
use moorline_b2bua::{Observation, Outcome};
use moorline_control::Request;

const UPDATE: &str = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE\r\n";

fn outcome(net: &Net) -> Option<Outcome> {
    net.observed.iter().find_map(|o| match o {
        Observation::Ended { outcome, .. } => Some(*outcome),
        _ => None,
    })
}

/// A call whose INVITE and whose 200 have these headers besides; with it the 200 as the caller saw it.
fn establish_with(net: &mut Net, asked: &str, agreed: &str) -> (Up, Message) {
    net.receive(CALLER, &with(&invite("5551000", "c1", &sdp("192.0.2.10", 4000)), asked));
    net.expect(CALLER, "SIP/2.0 100");
    let invite = net.expect(CALLEE, "INVITE");
    let ok = answer(&invite, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000));
    net.receive(CALLEE, &with(&ok, agreed));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    let tag = ok.tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLEE, "ACK");
    net.quiet();
    (Up { tag, invite }, ok)
}

fn timers(change: impl Fn(&mut Option<SessionTimers>)) -> Policy {
    let mut changed = policy();
    changed.trunks.iter_mut().for_each(|trunk| change(&mut trunk.dialogs.session_timers));
    changed
}

#[test]
fn the_caller_refreshes_what_it_asked_for() {
    let mut net = Net::new();
    let asked = "Supported: timer\r\nSession-Expires: 600\r\n";
    let (up, ok) = establish_with(&mut net, asked, "");
    assert_eq!((ok.header("Session-Expires"), ok.header("Require")), ("600;refresher=uac", "timer"));
    // The other leg has its own: offered, and not taken.
    assert_eq!((up.invite.header("Session-Expires"), up.invite.header("Supported")), ("1800", "100rel, timer"));
    net.advance(300 * SECOND);
    let refresh = with(
        &caller_request("UPDATE", 2, "c1", &up.tag, ""),
        "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n",
    );
    net.receive(CALLER, &refresh);
    assert_eq!(net.expect(CALLER, "SIP/2.0 200").header("Session-Expires"), "600;refresher=uac");
    // A re-INVITE is as good.
    net.advance(500 * SECOND);
    let hold = with(&caller_request("INVITE", 3, "c1", &up.tag, &sdp("192.0.2.10", 4000)), asked);
    net.receive(CALLER, &hold);
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    assert_eq!(out.find("Session-Expires"), None, "there is no timer on that leg");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    assert_eq!(net.expect(CALLER, "SIP/2.0 200").header("Session-Expires"), "600;refresher=uac");
    net.receive(CALLER, &caller_request("ACK", 3, "c1", &up.tag, ""));
    net.expect(CALLEE, "ACK");
    // Then nothing comes: the call ends 32 s before the session does, on both legs.
    net.advance(567 * SECOND);
    net.quiet();
    net.advance(2 * SECOND);
    net.expect(CALLER, "BYE");
    net.expect(CALLEE, "BYE");
    assert_eq!(outcome(&net), Some(Outcome::Expired));
    net.nothing_left();
}

#[test]
fn moorline_refreshes_by_update_where_the_peer_takes_it() {
    let mut net = Net::new();
    let agreed = format!("{UPDATE}Require: timer\r\nSession-Expires: 300;refresher=uac\r\n");
    establish_with(&mut net, "", &agreed);
    for cseq in 2..5 {
        net.advance(150 * SECOND);
        let refresh = net.expect(CALLEE, "UPDATE sip:198.51.100.20:5060");
        assert_eq!((refresh.header("Session-Expires"), refresh.body()), ("300;refresher=uac", ""));
        assert_eq!(refresh.header("CSeq"), format!("{cseq} UPDATE"));
        let ok = answer(&refresh, "200 OK", "", CALLEE, "");
        net.receive(CALLEE, &with(&ok, "Session-Expires: 300;refresher=uac\r\n"));
        net.quiet();
    }
    assert_eq!(net.counters().calls_active, 1);
}

#[test]
fn moorline_refreshes_by_reinvite_where_the_peer_takes_no_update() {
    let mut net = Net::new();
    let (_, ok) = establish_with(&mut net, "Supported: timer\r\nSession-Expires: 300;refresher=uas\r\n", "");
    assert_eq!((ok.header("Session-Expires"), ok.find("Require")), ("300;refresher=uas", None));
    net.advance(150 * SECOND);
    let refresh = net.expect(CALLER, "INVITE sip:2001@192.0.2.10:5060");
    assert_eq!((refresh.body(), refresh.header("Session-Expires")), (ok.body(), "300;refresher=uac"));
    // The caller has moved its media meanwhile, and says so.
    let accepted = answer(&refresh, "200 OK", "alice", CALLER, &sdp("192.0.2.10", 4002));
    net.receive(CALLER, &with(&accepted, "Session-Expires: 300;refresher=uac\r\n"));
    let ack = net.expect(CALLER, "ACK");
    assert_eq!(ack.header("CSeq"), refresh.header("CSeq").replace("INVITE", "ACK"));
    net.receive(CALLER, &accepted);
    net.expect(CALLER, "ACK");
    net.quiet();
    assert_eq!(net.session().1.legs[0].streams[0].remote_rtp, Some("192.0.2.10:4002".parse().unwrap()));
    net.advance(150 * SECOND);
    net.expect(CALLER, "INVITE");
}

#[test]
fn what_was_agreed_before_the_answer_is_refreshed_too() {
    const ABLE: &str = "Supported: 100rel, timer\r\nAllow: INVITE, ACK, BYE, CANCEL, PRACK\r\n";
    let mut net = Net::new();
    let asked = format!("{ABLE}Session-Expires: 300;refresher=uas\r\n");
    net.receive(CALLER, &with(&invite("5551000", "c1", ""), &asked));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    let progress = answer(&out, "183 Session Progress", "bob", CALLEE, &sdp("198.51.100.20", 6000));
    net.receive(CALLEE, &with(&progress, &format!("{ABLE}Require: 100rel\r\nRSeq: 1\r\n")));
    let shown = net.expect(CALLER, "SIP/2.0 183");
    let prack = caller_request("PRACK", 2, "c1", shown.tag("To"), &sdp("192.0.2.10", 4000));
    net.receive(CALLER, &with(&prack, &format!("RAck: {} 1 INVITE\r\n", shown.header("RSeq"))));
    net.expect(CALLER, "SIP/2.0 200");
    let agreed = net.expect(CALLEE, "PRACK");
    net.receive(CALLEE, &answer(&agreed, "200 OK", "", CALLEE, ""));
    let ok = answer(&out, "200 OK", "bob", CALLEE, "");
    net.receive(CALLEE, &with(&ok, "Session-Expires: 300;refresher=uac\r\n"));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLEE, "ACK");
    net.advance(150 * SECOND);
    assert_eq!(net.expect(CALLEE, "INVITE").body(), agreed.body());
    assert_eq!(net.expect(CALLER, "INVITE").body(), shown.body());
}

#[test]
fn an_interval_that_is_too_short_is_refused() {
    let mut net = Net::new();
    let short = "Supported: timer\r\nSession-Expires: 60\r\n";
    net.receive(CALLER, &with(&invite("5551000", "c0", ""), short));
    assert_eq!(net.expect(CALLER, "SIP/2.0 422").header("Min-SE"), "90");
    net.quiet();
    let (up, _) = establish_with(&mut net, "Supported: timer\r\nSession-Expires: 120\r\n", "");
    net.receive(CALLER, &with(&caller_request("UPDATE", 2, "c1", &up.tag, ""), short));
    assert_eq!(net.expect(CALLER, "SIP/2.0 422").header("Min-SE"), "90");
    net.receive(CALLER, &with(&caller_request("INVITE", 3, "c1", &up.tag, ""), short));
    assert_eq!(net.expect(CALLER, "SIP/2.0 422").header("Min-SE"), "90");
    net.quiet();
}

#[test]
fn the_called_side_gets_the_interval_it_asks_for() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    let short = answer(&out, "422 Session Interval Too Small", "bob", CALLEE, "");
    net.receive(CALLEE, &with(&short, "Min-SE: 3600\r\n"));
    net.expect(CALLEE, "ACK");
    // The same call at the same place, once more.
    let again = net.expect(CALLEE, "INVITE");
    assert_eq!((again.header("Session-Expires"), again.header("Min-SE")), ("3600", "3600"));
    assert_eq!((again.header("CSeq"), again.header("Call-ID")), ("2 INVITE", out.header("Call-ID")));
    assert_eq!(again.tag("From"), out.tag("From"));
    // It does not go on for ever, and is nothing that the caller could mend.
    let short = answer(&again, "422 Session Interval Too Small", "bob", CALLEE, "");
    net.receive(CALLEE, &with(&short, "Min-SE: 3600\r\n"));
    net.expect(CALLEE, "ACK");
    let refusal = net.expect(CALLER, "SIP/2.0 502 Bad Gateway - Session Interval Refused");
    assert_eq!(refusal.find("Min-SE"), None);
    net.nothing_left();
}

#[test]
fn a_422_inside_the_call_is_mended_too() {
    let mut net = Net::new();
    let agreed = format!("{UPDATE}Session-Expires: 300;refresher=uac\r\n");
    let (up, _) = establish_with(&mut net, "", &agreed);
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    let short = with(&answer(&out, "422 Session Interval Too Small", "bob", CALLEE, ""), "Min-SE: 600\r\n");
    net.receive(CALLEE, &short);
    net.expect(CALLEE, "ACK");
    let again = net.expect(CALLEE, "INVITE");
    assert_eq!((again.header("Session-Expires"), again.header("Min-SE")), ("600;refresher=uac", "600"));
    let ok = answer(&again, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000));
    net.receive(CALLEE, &with(&ok, "Session-Expires: 600;refresher=uac\r\n"));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &caller_request("ACK", 2, "c1", &up.tag, ""));
    net.expect(CALLEE, "ACK");
    net.advance(300 * SECOND);
    net.expect(CALLEE, "UPDATE");
}

#[test]
fn a_422_that_cannot_be_mended_is_none_of_the_other_party() {
    for method in ["INVITE", "UPDATE"] {
        let mut net = Net::new();
        let (up, _) = establish_with(&mut net, UPDATE, UPDATE);
        net.receive(CALLER, &caller_request(method, 2, "c1", &up.tag, &sdp("192.0.2.11", 4000)));
        let out = net.expect(CALLEE, method);
        net.take_sent();
        // Without the interval that it would take.
        net.receive(CALLEE, &answer(&out, "422 Session Interval Too Small", "bob", CALLEE, ""));
        net.expect(CALLER, "SIP/2.0 502 Bad Gateway - Session Interval Refused");
        net.take_sent();
        // The call goes on.
        net.receive(CALLER, &caller_request("BYE", 3, "c1", &up.tag, ""));
        net.expect(CALLEE, "BYE");
    }
}

#[test]
fn a_refresh_that_fails_for_good_ends_the_call() {
    for status in ["481 Call/Transaction Does Not Exist", "408 Request Timeout", ""] {
        let mut net = Net::new();
        let agreed = format!("{UPDATE}Session-Expires: 300;refresher=uac\r\n");
        establish_with(&mut net, "", &agreed);
        net.advance(150 * SECOND);
        let refresh = net.expect(CALLEE, "UPDATE");
        if status.is_empty() {
            net.advance(32 * SECOND);
            net.take_sent();
        } else {
            net.receive(CALLEE, &answer(&refresh, status, "", CALLEE, ""));
            net.expect(CALLER, "BYE");
            net.expect(CALLEE, "BYE");
        }
        assert_eq!(outcome(&net), Some(Outcome::Expired), "{status}");
        net.nothing_left();
    }
}

#[test]
fn a_refresh_that_meets_another_request_comes_again() {
    let mut net = Net::new();
    let agreed = format!("{UPDATE}Session-Expires: 300;refresher=uac\r\n");
    establish_with(&mut net, "", &agreed);
    net.advance(150 * SECOND);
    let refresh = net.expect(CALLEE, "UPDATE");
    net.receive(CALLEE, &answer(&refresh, "491 Request Pending", "", CALLEE, ""));
    // The Call-ID is ours: 2.1 to 4 s.
    net.advance(2_099_999_999);
    net.quiet();
    net.advance(2 * SECOND);
    let refresh = net.expect(CALLEE, "UPDATE");
    // It may have been sent again meanwhile.
    net.take_sent();
    net.receive(CALLEE, &with(&answer(&refresh, "500 Busy", "", CALLEE, ""), "Retry-After: 9\r\n"));
    net.advance(8 * SECOND);
    net.quiet();
    net.advance(SECOND);
    let refresh = net.expect(CALLEE, "UPDATE");
    let ok = with(&answer(&refresh, "200 OK", "", CALLEE, ""), "Session-Expires: 300;refresher=uac\r\n");
    net.receive(CALLEE, &ok);
    net.advance(149 * SECOND);
    net.quiet();
    // Towards the caller, whose Call-ID it is: 0 to 2 s.
    let mut net = Net::new();
    establish_with(&mut net, "Supported: timer\r\nSession-Expires: 300;refresher=uas\r\n", "");
    net.advance(150 * SECOND);
    let refresh = net.expect(CALLER, "INVITE");
    net.receive(CALLER, &answer(&refresh, "491 Request Pending", "alice", CALLER, ""));
    net.expect(CALLER, "ACK");
    net.advance(2 * SECOND);
    net.expect(CALLER, "INVITE");
}

#[test]
fn a_refresh_waits_for_an_offer_that_is_about_to_go_on() {
    for method in ["INVITE", "UPDATE"] {
        let mut net = Net::new();
        let (up, _) = establish_with(&mut net, "", "Session-Expires: 300;refresher=uac\r\n");
        net.advance(149 * SECOND);
        net.media.paused = true;
        net.receive(CALLER, &caller_request(method, 2, "c1", &up.tag, &sdp("192.0.2.10", 4010)));
        if method == "INVITE" {
            net.expect(CALLER, "SIP/2.0 100");
        }
        net.advance(2 * SECOND);
        net.quiet();
        net.resume_media();
        let sent = net.expect(CALLEE, "INVITE");
        net.advance(5 * SECOND);
        let ok = answer(&sent, "200 OK", "", CALLEE, &sdp("198.51.100.20", 6000));
        net.take_sent();
        net.receive(CALLEE, &with(&ok, "Session-Expires: 300;refresher=uac\r\n"));
        net.expect(CALLER, "SIP/2.0 200");
        assert_eq!(net.counters().calls_active, 1);
    }
}

#[test]
fn a_reinvite_of_the_peer_that_meets_our_refresh_is_pending() {
    let mut net = Net::new();
    let (up, _) = establish_with(&mut net, "Supported: timer\r\nSession-Expires: 300;refresher=uas\r\n", "");
    net.advance(150 * SECOND);
    net.expect(CALLER, "INVITE");
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 491");
    net.receive(CALLEE, &callee_request("INVITE", 1, &up.invite, "bob", &sdp("198.51.100.20", 6000)));
    net.expect(CALLEE, "SIP/2.0 491");
    net.quiet();
}

#[test]
fn a_peer_that_turns_out_to_take_no_update_lets_the_session_end() {
    let mut net = Net::new();
    let agreed = format!("{UPDATE}Session-Expires: 300;refresher=uac\r\n");
    establish_with(&mut net, "", &agreed);
    net.advance(150 * SECOND);
    let refresh = net.expect(CALLEE, "UPDATE");
    net.receive(CALLEE, &answer(&refresh, "405 Method Not Allowed", "", CALLEE, ""));
    net.advance(117 * SECOND);
    net.quiet();
    net.advance(SECOND);
    net.expect(CALLEE, "BYE");
    assert_eq!(outcome(&net), Some(Outcome::Expired));
}

#[test]
fn a_trunk_without_timers_neither_offers_nor_takes_them() {
    let mut net = Net::with(timers(|timers| *timers = None));
    net.receive(CALLER, &with(&invite("5551000", "c0", ""), "Require: timer\r\n"));
    assert_eq!(net.expect(CALLER, "SIP/2.0 420").header("Unsupported"), "timer");
    let mut net = Net::with(timers(|timers| *timers = None));
    let asked = "Supported: timer\r\nSession-Expires: 60\r\n";
    let (up, ok) = establish_with(&mut net, asked, "Session-Expires: 300;refresher=uac\r\n");
    assert_eq!((ok.find("Session-Expires"), up.invite.find("Session-Expires")), (None, None));
    net.advance(3600 * SECOND);
    net.quiet();
}

#[test]
fn a_trunk_has_its_own_intervals() {
    let mut net = Net::with(timers(|timers| *timers = Some(SessionTimers { refresh_s: 400, min_s: 200 })));
    net.receive(CALLER, &with(&invite("5551000", "c0", ""), "Supported: timer\r\nSession-Expires: 100\r\n"));
    assert_eq!(net.expect(CALLER, "SIP/2.0 422").header("Min-SE"), "200");
    let (up, ok) = establish_with(&mut net, "Supported: timer\r\nSession-Expires: 9000\r\n", "");
    assert_eq!(ok.header("Session-Expires"), "400;refresher=uac");
    assert_eq!((up.invite.header("Session-Expires"), up.invite.header("Min-SE")), ("400", "200"));
}

#[test]
fn a_restored_call_keeps_its_timers() {
    let mut net = Net::new();
    let asked = "Supported: timer\r\nSession-Expires: 300;refresher=uas\r\n";
    let (up, ok) = establish_with(&mut net, asked, "Session-Expires: 900;refresher=uas\r\n");
    net.advance(100 * SECOND);
    net.restart_signaling(policy());
    net.advance(49 * SECOND);
    net.quiet();
    net.advance(SECOND);
    let refresh = net.expect(CALLER, "INVITE");
    assert_eq!(refresh.body(), ok.body(), "the description that was sent before the restart");
    let accepted = answer(&refresh, "200 OK", "alice", CALLER, &sdp("192.0.2.10", 4000));
    net.receive(CALLER, &with(&accepted, "Session-Expires: 3000;refresher=uac\r\n"));
    net.expect(CALLER, "ACK");
    // And the callee never refreshes.
    net.advance(718 * SECOND);
    net.expect(CALLEE, "BYE");
    net.expect(CALLER, "BYE");
    assert_eq!((outcome(&net), up.tag.is_empty()), (Some(Outcome::Expired), false));
    net.nothing_left();
}

#[test]
fn a_snapshot_knows_when_the_session_was_refreshed() {
    let mut net = Net::new();
    let asked = "Supported: timer\r\nSession-Expires: 600\r\n";
    let (up, _) = establish_with(&mut net, asked, "");
    net.advance(500 * SECOND);
    net.receive(CALLER, &with(&caller_request("UPDATE", 2, "c1", &up.tag, ""), asked));
    net.expect(CALLER, "SIP/2.0 200");
    net.restart_signaling(policy());
    net.advance(560 * SECOND);
    assert_eq!(net.counters().calls_active, 1);
    net.advance(10 * SECOND);
    assert_eq!(net.counters().calls_active, 0);
}

#[test]
fn a_snapshot_of_the_form_before_still_restores() {
    // What this form has added, the one before did not have.
    let mut net = Net::new();
    let asked = format!("{UPDATE}Supported: timer\r\nSession-Expires: 600\r\n");
    let (up, _) = establish_with(&mut net, &asked, "");
    let (_, mut spec) = net.session();
    let snapshot = older(&spec.snapshot);
    spec.snapshot = snapshot;
    let session = net.session().0;
    net.media.sessions.get_mut(&session).unwrap().0 = spec;
    net.restart_signaling(policy());
    assert!(net.media.log.contains(&Request::Claim { session }));
    assert_eq!(net.counters().calls_active, 1);
    net.advance(900 * SECOND);
    net.quiet();
    net.receive(CALLER, &caller_request("BYE", 2, "c1", &up.tag, ""));
    net.expect(CALLEE, "BYE");
}

/// A snapshot as the form before wrote it: version 2, no field of the call above 2, and none of a leg above 15.
fn older(snapshot: &[u8]) -> Vec<u8> {
    use minicbor::{Decoder, Encoder};
    let mut out = Vec::new();
    let mut write = Encoder::new(&mut out);
    let mut read = Decoder::new(snapshot);
    assert!(read.map().unwrap().is_some_and(|fields| fields >= 3));
    write.map(3).unwrap();
    assert_eq!((read.u8().unwrap(), read.u8().unwrap()), (0, 3));
    write.u8(0).unwrap().u8(2).unwrap();
    assert_eq!(read.u8().unwrap(), 1);
    write.u8(1).unwrap().u64(read.u64().unwrap()).unwrap();
    assert_eq!((read.u8().unwrap(), read.array().unwrap()), (2, Some(2)));
    write.u8(2).unwrap().array(2).unwrap();
    for _ in 0..2 {
        let fields = read.map().unwrap().unwrap();
        let mut kept = Vec::new();
        for _ in 0..fields {
            let field = read.u8().unwrap();
            let start = read.position();
            read.skip().unwrap();
            kept.extend((field <= 15).then(|| (field, &snapshot[start..read.position()])));
        }
        write.map(kept.len() as u64).unwrap();
        for (field, value) in kept {
            write.u8(field).unwrap();
            write.writer_mut().extend_from_slice(value);
        }
    }
    out
}
