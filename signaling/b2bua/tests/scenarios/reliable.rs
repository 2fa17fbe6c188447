//! Provisional answers that are acknowledged by PRACK (RFC 3262), on either leg or both.

use crate::harness::*;
use moorline_b2bua::policy::{Policy, ReliableProvisional};
use moorline_b2bua::{Observation, Outcome};

const SUPPORTED: &str = "Supported: 100rel\r\nAllow: INVITE, ACK, BYE, CANCEL, PRACK, UPDATE\r\n";

/// The caller's INVITE, which takes reliable provisional answers.
fn able_invite(body: &str) -> String {
    with(&invite("5551000", "c1", body), SUPPORTED)
}

/// A reliable provisional answer of the callee.
fn reliable(request: &Message, status: &str, rseq: u32, body: &str) -> String {
    let text = answer(request, status, "bob", CALLEE, body);
    with(&text, &format!("Require: 100rel\r\nAllow: INVITE, ACK, BYE, CANCEL, PRACK, UPDATE\r\nRSeq: {rseq}\r\n"))
}

/// The caller's PRACK to an answer of Moorline's.
fn prack(to: &Message, cseq: u32, body: &str) -> String {
    let text = caller_request("PRACK", cseq, "c1", to.tag("To"), body);
    with(&text, &format!("RAck: {} 1 INVITE\r\n", to.header("RSeq")))
}

fn set(policy: ReliableProvisional) -> Policy {
    let mut set = crate::harness::policy();
    set.trunks.iter_mut().for_each(|trunk| trunk.dialogs.reliable_provisional = policy);
    set
}

/// INVITE, 100, and the INVITE as the callee sees it.
fn start(net: &mut Net, request: &str) -> Message {
    net.receive(CALLER, request);
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE")
}

fn outcome(net: &Net) -> Option<Outcome> {
    net.observed.iter().find_map(|o| match o {
        Observation::Ended { outcome, .. } => Some(*outcome),
        _ => None,
    })
}

#[test]
fn the_caller_alone_knows_prack() {
    let mut net = Net::new();
    let out = start(&mut net, &able_invite(&sdp("192.0.2.10", 4000)));
    net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    let ringing = net.expect(CALLER, "SIP/2.0 180");
    assert_eq!(ringing.header("Require"), "100rel");
    // Not acknowledged: again after 0.5 s, 1 s, 2 s.
    for wait in [1, 2, 4] {
        net.advance(wait * SECOND / 2);
        assert_eq!(net.expect(CALLER, "SIP/2.0 180").0, ringing.0);
    }
    net.quiet();
    // The next one waits for the PRACK of the first.
    net.receive(CALLEE, &answer(&out, "183 Session Progress", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.quiet();
    net.receive(CALLER, &prack(&ringing, 2, ""));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert_eq!(ok.header("CSeq"), "2 PRACK");
    let progress = net.expect(CALLER, "SIP/2.0 183");
    let number = |message: &Message| message.header("RSeq").parse::<u32>().unwrap();
    assert_eq!(number(&progress), number(&ringing) + 1);
    assert_eq!(progress.body(), sdp("192.0.2.1", 20_000));
    // The 200 waits too: the answer in the 183 is not acknowledged.
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.quiet();
    net.receive(CALLER, &prack(&progress, 3, ""));
    net.expect(CALLER, "SIP/2.0 200");
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert_eq!((ok.header("CSeq"), ok.find("RSeq")), ("1 INVITE", None));
    net.receive(CALLER, &caller_request("ACK", 1, "c1", ok.tag("To"), ""));
    net.expect(CALLEE, "ACK");
    net.quiet();
    net.receive(CALLER, &caller_request("BYE", 4, "c1", ok.tag("To"), ""));
    net.nothing_left();
}

#[test]
fn the_callee_alone_knows_prack() {
    let mut net = Net::new();
    let out = start(&mut net, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    assert_eq!(out.header("Supported"), "100rel, timer");
    let progress = reliable(&out, "183 Session Progress", 77, &sdp("198.51.100.20", 6000));
    net.receive(CALLEE, &progress);
    let prack = net.expect(CALLEE, "PRACK sip:198.51.100.20:5060");
    assert_eq!((prack.header("RAck"), prack.header("CSeq"), prack.tag("To")), ("77 1 INVITE", "2 PRACK", "bob"));
    let shown = net.expect(CALLER, "SIP/2.0 183");
    assert_eq!((shown.find("RSeq"), shown.find("Require")), (None, None));
    // Repeated, or one that overtook another: no second PRACK, and nothing to the caller.
    net.receive(CALLEE, &progress);
    net.receive(CALLEE, &reliable(&out, "180 Ringing", 79, ""));
    net.quiet();
    net.receive(CALLEE, &answer(&prack, "200 OK", "", CALLEE, ""));
    net.receive(CALLEE, &reliable(&out, "180 Ringing", 78, ""));
    assert_eq!(net.expect(CALLEE, "PRACK").header("RAck"), "78 1 INVITE");
    net.expect(CALLER, "SIP/2.0 180");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, ""));
    // The callee has given its answer for good; the caller has not had it for good yet.
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert_eq!((ok.body(), ok.header("Content-Type")), (&sdp("192.0.2.1", 20_000)[..], "application/sdp"));
    net.receive(CALLER, &caller_request("ACK", 1, "c1", ok.tag("To"), ""));
    assert_eq!(net.expect(CALLEE, "ACK").header("CSeq"), "1 ACK");
    net.receive(CALLER, &caller_request("BYE", 2, "c1", ok.tag("To"), ""));
    assert_eq!(net.expect(CALLEE, "BYE").header("CSeq"), "4 BYE");
    net.nothing_left();
}

#[test]
fn without_a_prack_the_call_is_refused() {
    let mut net = Net::new();
    let out = start(&mut net, &able_invite(&sdp("192.0.2.10", 4000)));
    net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    net.advance(32 * SECOND);
    let sent = net.take_sent();
    let starts = |text: &str| sent.iter().filter(|(_, m)| m.start().starts_with(text)).count();
    // At 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s.
    assert_eq!((starts("SIP/2.0 180"), starts("SIP/2.0 504"), starts("CANCEL")), (7, 1, 1));
    assert_eq!(outcome(&net), Some(Outcome::Rejected(504)));
    net.receive(CALLEE, &answer(&out, "487 Request Terminated", "bob", CALLEE, ""));
    net.nothing_left();
}

#[test]
fn a_held_answer_is_given_up_without_a_prack() {
    let mut net = Net::new();
    let out = start(&mut net, &able_invite(&sdp("192.0.2.10", 4000)));
    net.receive(CALLEE, &answer(&out, "183 Session Progress", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.advance(33 * SECOND);
    let sent = net.take_sent();
    let starts = |text: &str| sent.iter().any(|(_, m)| m.start().starts_with(text));
    assert!(starts("SIP/2.0 504") && starts("ACK") && starts("BYE") && !starts("SIP/2.0 200"));
    net.nothing_left();
}

#[test]
fn a_prack_that_fits_nothing_is_refused() {
    let mut net = Net::new();
    let out = start(&mut net, &able_invite(&sdp("192.0.2.10", 4000)));
    net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    let ringing = net.expect(CALLER, "SIP/2.0 180");
    let wrong = |from: &str, to: &str| prack(&ringing, 2, "").replace(from, to);
    net.receive(CALLER, &wrong(" 1 INVITE", " 2 INVITE"));
    net.expect(CALLER, "SIP/2.0 481");
    net.receive(CALLER, &prack(&ringing, 3, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &prack(&ringing, 4, ""));
    net.expect(CALLER, "SIP/2.0 481");
    // After the final answer a PRACK that was on its way is welcome, once.
    net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    let again = net.expect(CALLER, "SIP/2.0 180");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &prack(&again, 5, ""));
    assert_eq!(net.expect(CALLER, "SIP/2.0 200").header("CSeq"), "5 PRACK");
    net.receive(CALLER, &prack(&again, 6, ""));
    net.expect(CALLER, "SIP/2.0 481");
    net.quiet();
}

#[test]
fn who_requires_what_is_off_or_lacks_what_is_required_is_refused() {
    let mut net = Net::with(set(ReliableProvisional::Off));
    net.receive(CALLER, &with(&invite("5551000", "c1", ""), "Require: 100rel\r\n"));
    assert_eq!(net.expect(CALLER, "SIP/2.0 420").header("Unsupported"), "100rel");
    let out = start(&mut net, &with(&invite("5551000", "c2", &sdp("192.0.2.10", 4000)), SUPPORTED));
    assert_eq!((out.header("Supported"), out.find("Require")), ("timer", None));
    net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    assert_eq!(net.expect(CALLER, "SIP/2.0 180").find("RSeq"), None);

    let mut net = Net::with(set(ReliableProvisional::Required));
    net.receive(CALLER, &invite("5551000", "c1", ""));
    assert_eq!(net.expect(CALLER, "SIP/2.0 421").header("Require"), "100rel");
    let required = with(&invite("5551000", "c2", &sdp("192.0.2.10", 4000)), "Require: 100rel\r\n");
    assert_eq!(start(&mut net, &required).header("Require"), "100rel");
}

#[test]
fn an_offer_in_a_reliable_183_is_answered_in_the_prack() {
    let mut net = Net::new();
    let out = start(&mut net, &able_invite(""));
    assert_eq!((out.header("Supported"), out.body()), ("100rel, timer", ""));
    let progress = reliable(&out, "183 Session Progress", 5, &sdp("198.51.100.20", 6000));
    net.receive(CALLEE, &progress);
    // Its PRACK waits for the caller's answer.
    let shown = net.expect(CALLER, "SIP/2.0 183");
    assert_eq!(shown.body(), sdp("192.0.2.1", 20_000));
    net.receive(CALLEE, &progress);
    net.quiet();
    net.receive(CALLER, &prack(&shown, 2, &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 200");
    let acknowledged = net.expect(CALLEE, "PRACK");
    assert_eq!(acknowledged.body(), sdp("198.51.100.1", 20_002));
    assert_eq!(acknowledged.header("RAck"), "5 1 INVITE");
    let (_, mut spec) = net.session();
    assert_eq!(spec.legs[0].streams[0].remote_rtp, Some("192.0.2.10:4000".parse().unwrap()));
    assert_eq!(spec.legs[1].streams[0].remote_rtp, Some("198.51.100.20:6000".parse().unwrap()));
    net.receive(CALLEE, &answer(&acknowledged, "200 OK", "", CALLEE, ""));
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, ""));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert_eq!(ok.body(), "");
    net.receive(CALLER, &caller_request("ACK", 1, "c1", ok.tag("To"), ""));
    net.expect(CALLEE, "ACK");
    for stream in spec.legs.iter_mut().flat_map(|leg| &mut leg.streams) {
        assert!(stream.quiet, "nobody need speak before the answer");
        stream.quiet = false;
    }
    assert_eq!(net.session().1.legs, spec.legs);
    net.quiet();
}

#[test]
fn without_an_offer_100rel_is_offered_only_for_a_caller_that_knows_it() {
    let mut net = Net::new();
    let out = start(&mut net, &invite("5551000", "c1", ""));
    assert_eq!(out.header("Supported"), "timer");
}

#[test]
fn an_offer_in_a_prack_goes_on_as_an_update() {
    let mut net = Net::new();
    let out = start(&mut net, &able_invite(&sdp("192.0.2.10", 4000)));
    net.receive(CALLEE, &reliable(&out, "183 Session Progress", 5, &sdp("198.51.100.20", 6000)));
    let acknowledged = net.expect(CALLEE, "PRACK");
    net.receive(CALLEE, &answer(&acknowledged, "200 OK", "", CALLEE, ""));
    let shown = net.expect(CALLER, "SIP/2.0 183");
    net.receive(CALLER, &prack(&shown, 2, &sdp("192.0.2.10", 4010)));
    let update = net.expect(CALLEE, "UPDATE sip:198.51.100.20:5060");
    assert_eq!((update.body(), update.find("RAck")), (sdp("198.51.100.1", 20_002).as_str(), None));
    // The 200 to the INVITE waits until the caller has its answer.
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, ""));
    net.quiet();
    net.receive(CALLEE, &answer(&update, "200 OK", "", CALLEE, &sdp("198.51.100.20", 6010)));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert_eq!((ok.header("CSeq"), ok.body()), ("2 PRACK", sdp("192.0.2.1", 20_000).as_str()));
    assert_eq!(net.expect(CALLER, "SIP/2.0 200").header("CSeq"), "1 INVITE");
    let (_, spec) = net.session();
    assert_eq!(spec.legs[0].streams[0].remote_rtp, Some("192.0.2.10:4010".parse().unwrap()));
    assert_eq!(spec.legs[1].streams[0].remote_rtp, Some("198.51.100.20:6010".parse().unwrap()));
}

#[test]
fn an_offer_in_a_prack_that_cannot_go_on_is_refused() {
    let mut net = Net::new();
    let out = start(&mut net, &able_invite(&sdp("192.0.2.10", 4000)));
    let no_update = reliable(&out, "183 Session Progress", 5, &sdp("198.51.100.20", 6000)).replace(", UPDATE", "");
    net.receive(CALLEE, &no_update);
    net.expect(CALLEE, "PRACK");
    let shown = net.expect(CALLER, "SIP/2.0 183");
    net.receive(CALLER, &prack(&shown, 2, &sdp("192.0.2.10", 4010)));
    net.expect(CALLER, "SIP/2.0 488");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 200");
}

#[test]
fn each_branch_of_a_fork_has_its_own_numbers() {
    let mut net = Net::new();
    let out = start(&mut net, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.receive(CALLEE, &reliable(&out, "180 Ringing", 5, ""));
    net.expect(CALLEE, "PRACK");
    net.receive(CALLEE, &reliable(&out, "180 Ringing", 900, "").replace("tag=bob", "tag=carol"));
    let prack = net.expect(CALLEE, "PRACK");
    assert_eq!((prack.header("RAck"), prack.tag("To"), prack.header("CSeq")), ("900 1 INVITE", "carol", "2 PRACK"));
}

#[test]
fn early_media_from_one_branch_and_the_answer_from_another() {
    let mut net = Net::new();
    let out = start(&mut net, &able_invite(&sdp("192.0.2.10", 4000)));
    let announcement = reliable(&out, "183 Session Progress", 5, &sdp("198.51.100.22", 6100));
    net.receive(CALLEE, &announcement.replace("tag=bob", "tag=announcer"));
    assert_eq!(net.expect(CALLEE, "PRACK").tag("To"), "announcer");
    let progress = net.expect(CALLER, "SIP/2.0 183");
    net.receive(CALLEE, &reliable(&out, "180 Ringing", 31, ""));
    assert_eq!(net.expect(CALLEE, "PRACK").tag("To"), "bob");
    net.receive(CALLER, &prack(&progress, 2, ""));
    net.expect(CALLER, "SIP/2.0 200");
    let ringing = net.expect(CALLER, "SIP/2.0 180");
    net.receive(CALLER, &prack(&ringing, 3, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert_eq!((ok.tag("To"), ok.body()), (progress.tag("To"), sdp("192.0.2.1", 20_000).as_str()));
    assert_eq!(net.session().1.legs[1].streams[0].remote_rtp, Some("198.51.100.20:6000".parse().unwrap()));
    net.receive(CALLER, &caller_request("ACK", 1, "c1", ok.tag("To"), ""));
    assert_eq!(net.expect(CALLEE, "ACK").tag("To"), "bob");
    net.quiet();
}

#[test]
fn a_cancel_ends_the_repetition() {
    let mut net = Net::new();
    let out = start(&mut net, &able_invite(&sdp("192.0.2.10", 4000)));
    net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 180");
    net.receive(CALLER, &invite("5551000", "c1", "").replace("INVITE", "CANCEL"));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
    net.expect(CALLEE, "CANCEL");
    net.receive(CALLEE, &answer(&out, "487 Request Terminated", "bob", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    net.advance(40 * SECOND);
    assert!(!net.take_sent().iter().any(|(_, m)| m.start().contains(" 180 ")));
    net.nothing_left();
}

#[test]
fn a_bye_ends_a_call_whose_answer_is_held() {
    let mut net = Net::new();
    let out = start(&mut net, &able_invite(&sdp("192.0.2.10", 4000)));
    net.receive(CALLEE, &answer(&out, "183 Session Progress", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLER, "SIP/2.0 183");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.receive(CALLEE, &callee_request("BYE", 1, &out, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
    net.quiet();
    net.nothing_left();
}

#[test]
fn provisional_answers_without_end_are_bounded() {
    let mut net = Net::new();
    let out = start(&mut net, &able_invite(&sdp("192.0.2.10", 4000)));
    for _ in 0..50 {
        net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    }
    // The first is out, eight wait for it, the rest is left out.
    let mut shown = 0;
    for cseq in 2.. {
        let Some((_, ringing)) = net.take_sent().into_iter().find(|(_, m)| m.start().contains("180")) else { break };
        shown += 1;
        net.receive(CALLER, &prack(&ringing, cseq, ""));
    }
    assert_eq!(shown, 9);
}

#[test]
fn the_answer_of_the_branch_that_picks_up_counts() {
    let mut net = Net::new();
    let out = start(&mut net, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.receive(CALLEE, &reliable(&out, "183 Session Progress", 5, &sdp("198.51.100.20", 6000)));
    net.expect(CALLEE, "PRACK");
    let carol = reliable(&out, "183 Session Progress", 7, &sdp("198.51.100.20", 7000)).replace("tag=bob", "tag=carol");
    net.receive(CALLEE, &carol);
    net.expect(CALLEE, "PRACK");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, ""));
    let (_, spec) = net.session();
    assert_eq!(spec.legs[1].streams[0].remote_rtp, Some("198.51.100.20:6000".parse().unwrap()));
}

#[test]
fn a_branch_that_answers_too_is_ended_with_a_number_of_its_own() {
    let mut net = Net::new();
    let out = start(&mut net, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.receive(CALLEE, &reliable(&out, "180 Ringing", 9, "").replace("tag=bob", "tag=carol"));
    assert_eq!(net.expect(CALLEE, "PRACK").header("CSeq"), "2 PRACK");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.receive(CALLEE, &answer(&out, "200 OK", "carol", CALLEE, &sdp("198.51.100.20", 7000)));
    assert_eq!(net.expect(CALLEE, "ACK").tag("To"), "carol");
    assert_eq!(net.expect(CALLEE, "BYE").header("CSeq"), "3 BYE");
}

#[test]
fn an_answer_that_makes_no_offer_is_not_reliable_where_one_is_due() {
    let mut net = Net::new();
    let out = start(&mut net, &able_invite(""));
    net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    let ringing = net.expect(CALLER, "SIP/2.0 180");
    assert_eq!((ringing.find("RSeq"), ringing.find("Require")), (None, None));
    net.advance(10 * SECOND);
    net.quiet();

    // A caller who would not take that hears nothing of it.
    let mut net = Net::new();
    let out = start(&mut net, &with(&invite("5551000", "c1", ""), "Require: 100rel\r\n"));
    net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    net.quiet();
}

#[test]
fn who_is_refused_for_an_extension_is_a_call_that_was_tried() {
    let mut net = Net::with(set(ReliableProvisional::Required));
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 421");
    assert_eq!(outcome(&net), Some(Outcome::Rejected(421)));
    let mut net = Net::with(set(ReliableProvisional::Off));
    net.receive(CALLER, &with(&invite("5551000", "c1", ""), "Require: 100rel\r\n"));
    net.expect(CALLER, "SIP/2.0 420");
    assert_eq!(outcome(&net), Some(Outcome::Rejected(420)));
}
