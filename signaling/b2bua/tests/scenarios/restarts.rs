//! Signaling restarted in mid-call, the media process restarted in mid-call.

use crate::harness::*;
use moorline_b2bua::{Input, MediaInput, Observation, Outcome, Place};
use moorline_control::{
    EndReason, Ended, Event, MediaRange, Refusal, RefusalCode, Request, SessionReport, SessionSpec,
};

#[test]
fn a_restarted_signaling_takes_its_calls_back_and_the_caller_hangs_up() {
    let mut net = Net::new();
    let up = establish(&mut net);
    let (session, _) = net.session();
    net.restart_signaling(policy());
    assert!(net.observed.contains(&Observation::Restored { call: session }));
    assert!(net.media.log.contains(&Request::Claim { session }));
    assert_eq!((net.counters().restored, net.counters().calls_active), (1, 1));

    net.receive(CALLER, &caller_request("BYE", 2, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    let bye = net.expect(CALLEE, "BYE sip:198.51.100.20:5060");
    assert_eq!((bye.header("Call-ID"), bye.tag("To")), (up.invite.header("Call-ID"), "bob"));
    assert_eq!(bye.tag("From"), up.invite.tag("From"));
    let cseq: u32 = bye.header("CSeq").split(' ').next().unwrap().parse().unwrap();
    assert!(cseq > 1, "CSeq went back to {cseq}");
    net.nothing_left();
}

#[test]
fn cseq_numbers_go_up_however_often_signaling_is_restarted() {
    let mut net = Net::new();
    let up = establish(&mut net);
    let mut last = 0;
    for cseq in 2..5 {
        net.restart_signaling(policy());
        net.receive(CALLER, &caller_request("INFO", cseq, "c1", &up.tag, ""));
        let out = net.expect(CALLEE, "INFO");
        let number: u32 = out.header("CSeq").split(' ').next().unwrap().parse().unwrap();
        assert!(number > last, "CSeq {number} after {last}");
        last = number;
    }
}

#[test]
fn a_restarted_signaling_lets_the_callee_hang_up() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.restart_signaling(policy());
    net.receive(CALLEE, &callee_request("BYE", 1, &up.invite, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 200");
    let bye = net.expect(CALLER, "BYE sip:2001@192.0.2.10:5060");
    assert_eq!((bye.tag("To"), bye.tag("From")), ("alice", up.tag.as_str()));
    net.nothing_left();
}

#[test]
fn a_bye_that_comes_before_the_listing_is_answered_when_repeated() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.media.paused = true;
    net.restart_signaling(policy());
    let bye = caller_request("BYE", 2, "c1", &up.tag, "");
    net.receive(CALLER, &bye);
    net.quiet();
    net.resume_media();
    net.receive(CALLER, &bye);
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLEE, "BYE");
    net.nothing_left();
}

#[test]
fn many_calls_come_back_page_by_page() {
    let mut net = Net::new();
    for n in 0..7 {
        let call_id = format!("m{n}");
        net.receive(CALLER, &invite("5551000", &call_id, &sdp("192.0.2.10", 4000)));
        net.expect(CALLER, "SIP/2.0 100");
        let out = net.expect(CALLEE, "INVITE");
        net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
        let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
        net.receive(CALLER, &caller_request("ACK", 1, &call_id, &tag, ""));
        net.expect(CALLEE, "ACK");
    }
    net.restart_signaling(policy());
    assert_eq!((net.counters().restored, net.counters().calls_active), (7, 7));
}

#[test]
fn a_call_killed_between_200_and_ack_is_acknowledged_after_the_restart() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    let ok = answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000));
    net.receive(CALLEE, &ok);
    net.expect(CALLER, "SIP/2.0 200");
    net.restart_signaling(policy());
    net.receive(CALLEE, &ok);
    let ack = net.expect(CALLEE, "ACK");
    assert_eq!((ack.header("CSeq"), ack.tag("To")), ("1 ACK", "bob"));
    net.receive(CALLEE, &ok);
    net.expect(CALLEE, "ACK");
    assert_eq!(net.counters().calls_active, 1);
}

#[test]
fn what_was_not_answered_is_closed_by_a_restart() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLEE, "INVITE");
    net.restart_signaling(policy());
    assert!(net.observed.iter().any(|o| matches!(o, Observation::NotRestored { .. })));
    assert_eq!(net.counters().calls_active, 0);
    net.nothing_left();
}

#[test]
fn who_picks_up_after_the_restart_is_not_left_alone() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    let out = net.expect(CALLEE, "INVITE");
    net.restart_signaling(policy());
    net.take_sent();
    let ok = answer(&out, "200 OK", "bob", "198.51.100.22:5060", &sdp("198.51.100.20", 6000));
    net.receive(CALLEE, &ok);
    let ack = net.expect("198.51.100.22:5060", "ACK sip:198.51.100.22:5060");
    assert_eq!((ack.header("CSeq"), ack.tag("To"), ack.tag("From")), ("1 ACK", "bob", out.tag("From")));
    assert_eq!(net.expect("198.51.100.22:5060", "BYE").header("CSeq"), "1000002 BYE");
    // What this host has not sent is none of its business.
    net.receive(CALLEE, &ok.replace(out.tag("From"), "somebody"));
    net.receive(CALLEE, &ok.replace("1 INVITE", "1 OPTIONS"));
    net.quiet();
    net.nothing_left();
}

#[test]
fn copies_of_an_answer_after_the_restart_are_acknowledged_and_the_dialog_is_ended_once() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    let out = net.expect(CALLEE, "INVITE");
    let ok = answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000));
    net.restart_signaling(policy());
    net.take_sent();
    net.receive(CALLEE, &ok);
    net.expect(CALLEE, "ACK");
    let bye = net.expect(CALLEE, "BYE");
    net.receive(CALLEE, &ok);
    net.expect(CALLEE, "ACK");
    net.quiet();
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
    net.advance(20 * SECOND);
    net.receive(CALLEE, &ok);
    net.expect(CALLEE, "ACK");
    net.quiet();
    // Another branch of the same INVITE has a dialog of its own.
    net.receive(CALLEE, &answer(&out, "200 OK", "carol", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLEE, "ACK");
    let other = net.expect(CALLEE, "BYE");
    assert_ne!(other.branch(), bye.branch());
    // The next process says the same again.
    net.restart_signaling(policy());
    net.take_sent();
    net.receive(CALLEE, &ok);
    net.expect(CALLEE, "ACK");
    assert_eq!(net.expect(CALLEE, "BYE").0, bye.0);
    net.nothing_left();
}

#[test]
fn a_call_whose_trunk_is_gone_from_the_configuration_is_closed() {
    let mut net = Net::new();
    establish(&mut net);
    let mut renamed = policy();
    renamed.trunks[1].name = "another".into();
    net.restart_signaling(renamed);
    let reason = net.observed.iter().find_map(|o| match o {
        Observation::NotRestored { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(reason.as_deref(), Some("no trunk is named \"carrier\" any more"));
    net.nothing_left();
}

#[test]
fn a_restarted_media_process_gets_every_session_back_on_its_ports() {
    let mut net = Net::new();
    let up = establish(&mut net);
    let (session, _) = net.session();
    let before = net.media.sessions[&session].1.clone();
    net.input(Input::Media(MediaInput::Disconnected));
    net.media.sessions.clear();
    net.input(Input::Media(MediaInput::Connected(hello(2))));
    assert_eq!(net.media.sessions[&session].1, before);
    let (_, spec) = net.session();
    assert_eq!(spec.legs[0].streams[0].local, before.legs[0][0]);
    assert_eq!(spec.legs[1].streams[0].remote_rtp, Some("198.51.100.20:6000".parse().unwrap()));
    net.receive(CALLER, &caller_request("BYE", 2, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLEE, "BYE");
    net.nothing_left();
}

#[test]
fn a_call_that_ends_while_the_media_process_is_away_leaves_no_session() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.input(Input::Media(MediaInput::Disconnected));
    net.receive(CALLER, &caller_request("BYE", 2, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLEE, "BYE");
    assert!(net.observed.iter().any(|o| matches!(o, Observation::Ended { report: None, .. })));
    // Only the connection was lost: the session is still there, and closed now.
    net.input(Input::Media(MediaInput::Connected(hello(1))));
    net.nothing_left();
}

#[test]
fn a_session_that_the_media_process_ended_ends_its_call() {
    let mut net = Net::new();
    establish(&mut net);
    let (session, _) = net.session();
    net.media.sessions.clear();
    let ended = Ended { session, reason: EndReason::LeaseExpired, report: SessionReport::default() };
    net.media_event(Event::Ended(ended));
    net.expect(CALLER, "BYE");
    net.expect(CALLEE, "BYE");
    net.nothing_left();
    assert!(net.observed.iter().any(|o| matches!(o, Observation::Ended { outcome: Outcome::MediaLost, .. })));
}

#[test]
fn a_restored_call_takes_reinvites() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.restart_signaling(policy());
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, &sdp("192.0.2.10", 4010)));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE");
}

#[test]
fn the_snapshot_follows_a_moved_contact() {
    let mut net = Net::new();
    let up = establish(&mut net);
    let moved = caller_request("INVITE", 2, "c1", &up.tag, &sdp("192.0.2.10", 4000))
        .replace("Contact: <sip:2001@192.0.2.10:5060>", "Contact: <sip:2001@192.0.2.10:5099>");
    net.receive(CALLER, &moved);
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLER, "SIP/2.0 200");
    net.restart_signaling(policy());
    net.receive(CALLEE, &callee_request("BYE", 9, &up.invite, "bob", ""));
    net.expect("192.0.2.10:5099", "BYE");
}

#[test]
fn cseq_never_goes_back_however_much_was_said_before_the_restart() {
    let mut net = Net::new();
    let up = establish(&mut net);
    let mut last = 0;
    for n in 2..1_500 {
        net.receive(CALLER, &caller_request("OPTIONS", n, "c1", &up.tag, ""));
        let carried = net.expect(CALLEE, "OPTIONS");
        last = carried.header("CSeq").split(' ').next().unwrap().parse::<u32>().unwrap();
        net.receive(CALLEE, &answer(&carried, "200 OK", "", CALLEE, ""));
        net.advance(8 * SECOND);
        net.take_sent();
    }
    net.restart_signaling(policy());
    net.receive(CALLER, &caller_request("BYE", 5_000, "c1", &up.tag, ""));
    let bye = net.expect(CALLEE, "BYE");
    assert!(bye.header("CSeq").split(' ').next().unwrap().parse::<u32>().unwrap() > last);
}

#[test]
fn a_media_process_that_is_busy_is_asked_again() {
    let mut net = Net::new();
    let up = establish(&mut net);
    // Listing, then claiming.
    net.media.busy_on_return = 1;
    net.restart_signaling(policy());
    net.advance(SECOND);
    assert_eq!(net.counters().calls_active, 1);
    net.media.log.clear();
    net.restart_signaling(policy());
    net.media.busy_on_return = 1;
    net.advance(SECOND);
    // Opening again.
    net.input(Input::Media(MediaInput::Disconnected));
    net.media.sessions.clear();
    net.media.refuse = Some(Refusal::new(RefusalCode::Busy, "mailbox full"));
    net.input(Input::Media(MediaInput::Connected(hello(2))));
    assert!(net.media.sessions.is_empty());
    net.advance(SECOND);
    net.quiet();
    net.session();
    net.receive(CALLER, &caller_request("BYE", 2, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLEE, "BYE");
    net.nothing_left();
}

#[test]
fn a_claim_that_finds_no_room_is_made_again() {
    let mut net = Net::new();
    establish(&mut net);
    net.media.paused = true;
    net.restart_signaling(policy());
    net.media.log.clear();
    net.media.busy_on_return = 0;
    net.resume_listing_then_busy();
    let claims = |net: &Net| net.media.log.iter().filter(|r| matches!(r, Request::Claim { .. })).count();
    assert_eq!(claims(&net), 1);
    net.advance(SECOND);
    assert_eq!(claims(&net), 2);
    assert_eq!(net.counters().calls_active, 1);
}

#[test]
fn thousands_of_calls_come_back_a_window_at_a_time() {
    let mut net = Net::new();
    for n in 0..1_000 {
        net.receive(CALLER, &invite("5551000", &format!("m{n}"), &sdp("192.0.2.10", 4000)));
        let out = net.expect(CALLEE, "INVITE");
        net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
        net.take_sent();
    }
    net.input(Input::Media(MediaInput::Disconnected));
    net.media.sessions.clear();
    net.media.log.clear();
    net.media.paused = true;
    net.input(Input::Media(MediaInput::Connected(hello(2))));
    assert_eq!(net.media.log.len(), 256, "the connection's queue is shared with new calls");
    net.resume_media();
    assert_eq!(net.media.sessions.len(), 1_000);
}

/// Whether each stream in use has its ports.
fn has_ports(spec: &SessionSpec) -> bool {
    let mut streams = spec.legs.iter().flat_map(|leg| &leg.streams).filter(|stream| stream.active);
    streams.all(|stream| stream.local.is_some())
}

/// What the media process was asked to open, in order: whether it knew the ports.
fn opened(net: &Net) -> Vec<bool> {
    let specs = net.media.log.iter().filter_map(|request| match request {
        Request::Open { spec, .. } => Some(has_ports(spec)),
        _ => None,
    });
    specs.collect()
}

#[test]
fn calls_that_have_ports_get_them_back_before_others_get_new_ones() {
    let mut net = Net::new();
    let mut late = Vec::new();
    for n in 0..20 {
        let offer = if n % 2 == 0 { sdp("192.0.2.10", 4000) } else { String::new() };
        net.receive(CALLER, &invite("5551000", &format!("m{n}"), &offer));
        let out = net.expect(CALLEE, "INVITE");
        let ok = answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000));
        if n % 2 == 0 {
            net.receive(CALLEE, &ok);
        } else {
            late.push(ok);
        }
        net.take_sent();
    }
    net.input(Input::Media(MediaInput::Disconnected));
    net.media.sessions.clear();
    for ok in late {
        net.receive(CALLEE, &ok);
    }
    net.media.log.clear();
    net.input(Input::Media(MediaInput::Connected(hello(2))));
    assert_eq!(opened(&net), [[true; 10], [false; 10]].concat());
}

#[test]
fn a_new_call_takes_no_ports_before_those_that_return_have_theirs() {
    let mut net = Net::new();
    for n in 0..300 {
        net.receive(CALLER, &invite("5551000", &format!("m{n}"), &sdp("192.0.2.10", 4000)));
        net.expect(CALLEE, "INVITE");
        net.take_sent();
    }
    net.input(Input::Media(MediaInput::Disconnected));
    net.media.sessions.clear();
    net.media.log.clear();
    net.media.paused = true;
    net.input(Input::Media(MediaInput::Connected(hello(2))));
    net.receive(CALLER, &invite("5551000", "new", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    net.quiet();
    net.resume_media();
    net.expect(CALLEE, "INVITE");
    assert_eq!(opened(&net), [&[true; 300][..], &[false]].concat());
}

#[test]
fn who_picks_up_after_a_restart_is_ended_with_a_number_that_was_not_used() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    let ringing = with(&answer(&out, "180 Ringing", "bob", CALLEE, ""), "Require: 100rel\r\nRSeq: 1\r\n");
    net.receive(CALLEE, &ringing);
    assert_eq!(net.expect(CALLEE, "PRACK").header("CSeq"), "2 PRACK");
    net.restart_signaling(policy());
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    assert_eq!(net.expect(CALLEE, "ACK").header("CSeq"), "1 ACK");
    let number: u32 = net.expect(CALLEE, "BYE").header("CSeq").split(' ').next().unwrap().parse().unwrap();
    assert!(number > 2, "CSeq {number} again");
}

#[test]
fn what_a_media_process_does_not_serve_is_said_when_it_connects() {
    let mut net = Net::new();
    net.observed.clear();
    let range = |name: &str| MediaRange {
        name: name.into(),
        network: "192.0.2.0/24".parse().unwrap(),
        first_port: 20_000,
        last_port: 30_000,
        advertised: None,
    };
    let mut other = hello(2);
    other.ranges = vec![range("customers"), range("elsewhere")];
    other.profiles.clear();
    net.input(Input::Media(MediaInput::Connected(other.clone())));
    let unserved = vec![("carrier".to_owned(), "carrier".to_owned())];
    assert_eq!(net.observed, [Observation::MediaServes { unserved, without_fax: true }]);
    // A second worker of the process has nothing to add.
    let second = Place { index: 1, of: 2, ..Place::alone(1) };
    let mut net = Net::at(second, policy());
    net.input(Input::Media(MediaInput::Connected(other)));
    assert_eq!(net.observed, []);
}

#[test]
fn a_restart_loses_calls_that_ring_and_both_sides_hear_so() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    let tag = net.expect(CALLER, "SIP/2.0 180").tag("To").to_owned();
    net.restart_signaling(policy());
    assert!(net.media.sessions.is_empty(), "its ports are free");
    net.receive(CALLER, &invite("5551000", "c1", "").replace("INVITE", "CANCEL"));
    net.expect(CALLER, "SIP/2.0 481");
    net.receive(CALLER, &caller_request("INFO", 2, "c1", &tag, ""));
    net.expect(CALLER, "SIP/2.0 481");
    net.receive(CALLEE, &callee_request("INFO", 1, &out, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 481");
    // Who picks up is not left with nobody.
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLEE, "ACK");
    let bye = net.expect(CALLEE, "BYE");
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
    net.quiet();
    net.nothing_left();
}
