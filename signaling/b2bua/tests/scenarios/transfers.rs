//! Transfers: REFER and its NOTIFYs (RFC 3515), and INVITEs that replace a dialog (RFC 3891).

use crate::harness::*;
use moorline_b2bua::policy::{Policy, Refer};
use moorline_b2bua::{Input, Place};

fn notify(up: &Up, cseq: u32, state: &str, id: Option<&str>, line: &str) -> String {
    let text = callee_request("NOTIFY", cseq, &up.invite, "bob", line)
        .replace("Content-Type: application/sdp", "Content-Type: message/sipfrag;version=2.0");
    let id = id.map(|id| format!(";id={id}")).unwrap_or_default();
    with(&text, &format!("Event: refer{id}\r\nSubscription-State: {state}\r\n"))
}

fn refer(up: &Up, cseq: u32, to: &str) -> String {
    with(&caller_request("REFER", cseq, "c1", &up.tag, ""), &format!("Refer-To: <{to}>\r\n"))
}

/// A call from the caller to a third party, at the carrier's second address: Moorline's tag towards the caller, and the
/// INVITE as the third party saw it.
fn consult(net: &mut Net) -> Up {
    net.receive(CALLER, &invite("5552000", "c2", &sdp("192.0.2.10", 4100)));
    net.expect(CALLER, "SIP/2.0 100");
    let invite = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&invite, "200 OK", "carol", CALLEE_2, &sdp("198.51.100.21", 6100)));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c2", &tag, ""));
    net.expect(CALLEE_2, "ACK");
    Up { tag, invite }
}

/// The callee calls out.
pub(crate) fn callee_invite(call_id: &str, lines: &str) -> String {
    let text = format!(
        "INVITE sip:5552000@{OUTSIDE} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLEE};branch=z9hG4bK-{call_id}\r\nMax-Forwards: 70\r\n\
         From: <sip:5551000@198.51.100.20>;tag=bob2\r\nTo: <sip:5552000@198.51.100.1>\r\nCall-ID: {call_id}\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:{CALLEE}>\r\n{lines}"
    );
    let body = sdp("198.51.100.20", 6200);
    format!("{text}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn a_blind_transfer_and_its_progress() {
    let mut net = Net::new();
    let up = establish(&mut net);
    let request =
        with(&refer(&up, 2, "sip:3000@192.0.2.1:5060;transport=udp"), "Referred-By: <sip:2001@192.0.2.10>\r\n");
    net.receive(CALLER, &request);
    let referred = net.expect(CALLEE, "REFER sip:198.51.100.20:5060");
    assert_eq!(referred.header("Refer-To"), "<sip:3000@198.51.100.1:5060>");
    assert_eq!(referred.header("Referred-By"), "<sip:2001@198.51.100.1:5060>");
    assert!(!referred.0.contains("192.0.2."), "{}", referred.0);
    net.receive(CALLEE, &answer(&referred, "202 Accepted", "", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 202");
    net.receive(CALLEE, &notify(&up, 1, "active;expires=60", None, "SIP/2.0 100 Trying\r\n"));
    let told = net.expect(CALLER, "NOTIFY sip:2001@192.0.2.10:5060");
    assert_eq!((told.header("Event"), told.header("Subscription-State")), ("refer", "active;expires=60"));
    assert_eq!((told.header("Content-Type"), told.body()), ("message/sipfrag;version=2.0", "SIP/2.0 100 Trying\r\n"));
    net.receive(CALLER, &answer(&told, "200 OK", "", CALLER, ""));
    net.expect(CALLEE, "SIP/2.0 200");
    // What else the fragment tells of the new call stays behind.
    let whole = "SIP/2.0 200 OK\r\nContact: <sip:198.51.100.99>\r\n";
    net.receive(CALLEE, &notify(&up, 2, "terminated;reason=noresource", None, whole));
    let told = net.expect(CALLER, "NOTIFY");
    assert_eq!(told.body(), "SIP/2.0 200 OK\r\n");
    net.receive(CALLER, &answer(&told, "200 OK", "", CALLER, ""));
    net.expect(CALLEE, "SIP/2.0 200");
    net.receive(CALLER, &caller_request("BYE", 3, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLEE, "BYE");
    net.nothing_left();
}

#[test]
fn a_last_report_that_was_overtaken_comes_again() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.receive(CALLER, &refer(&up, 7, "sip:3000@192.0.2.1:5060"));
    let referred = net.expect(CALLEE, "REFER");
    let asked = referred.header("CSeq").split(' ').next().unwrap().to_owned();
    net.receive(CALLEE, &answer(&referred, "202 Accepted", "", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 202");
    for (cseq, status) in [(1, "500 Server Internal Error"), (2, "200 OK")] {
        let last = notify(&up, cseq, "terminated;reason=noresource", Some(&asked), "SIP/2.0 200 OK\r\n");
        net.receive(CALLEE, &last);
        let told = net.expect(CALLER, "NOTIFY");
        assert_eq!(told.header("Event"), "refer;id=7");
        net.receive(CALLER, &answer(&told, status, "", CALLER, ""));
        net.expect(CALLEE, &format!("SIP/2.0 {status}"));
    }
    net.receive(CALLER, &caller_request("BYE", 8, "c1", &up.tag, ""));
    net.nothing_left();
}

#[test]
fn the_transferors_bye_comes_early() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.receive(CALLER, &refer(&up, 2, "sip:3000@192.0.2.1:5060"));
    let referred = net.expect(CALLEE, "REFER");
    net.receive(CALLEE, &answer(&referred, "202 Accepted", "", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 202");
    net.receive(CALLER, &caller_request("BYE", 3, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    let bye = net.expect(CALLEE, "BYE");
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
    net.advance(40 * SECOND);
    assert_eq!(net.counters().calls_active, 0, "the call itself is over");
    net.receive(CALLEE, &notify(&up, 1, "active", None, "SIP/2.0 180 Ringing\r\n"));
    let told = net.expect(CALLER, "NOTIFY");
    net.receive(CALLER, &answer(&told, "200 OK", "", CALLER, ""));
    net.expect(CALLEE, "SIP/2.0 200");
    // Nothing else goes on in it.
    net.receive(CALLEE, &callee_request("INFO", 2, &up.invite, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 481");
    net.receive(CALLEE, &notify(&up, 3, "terminated;reason=noresource", None, "SIP/2.0 200 OK\r\n"));
    let told = net.expect(CALLER, "NOTIFY");
    net.receive(CALLER, &answer(&told, "200 OK", "", CALLER, ""));
    net.expect(CALLEE, "SIP/2.0 200");
    // And after its end, not even that.
    net.receive(CALLEE, &notify(&up, 4, "active", None, ""));
    net.expect(CALLEE, "SIP/2.0 481");
    net.nothing_left();
}

#[test]
fn a_call_is_not_kept_for_ever_for_a_transfer() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.receive(CALLER, &refer(&up, 2, "sip:3000@192.0.2.1:5060"));
    let referred = net.expect(CALLEE, "REFER");
    net.receive(CALLEE, &answer(&referred, "202 Accepted", "", CALLEE, ""));
    net.receive(CALLER, &caller_request("BYE", 3, "c1", &up.tag, ""));
    net.advance(61 * SECOND);
    net.take_sent();
    net.receive(CALLEE, &notify(&up, 1, "active", None, ""));
    net.expect(CALLEE, "SIP/2.0 481");
    net.nothing_left();
}

#[test]
fn two_transfers_are_told_apart_on_each_leg() {
    let mut net = Net::new();
    let up = establish(&mut net);
    for cseq in [12, 13] {
        net.receive(CALLER, &refer(&up, cseq, "sip:3000@192.0.2.1:5060"));
        let referred = net.expect(CALLEE, "REFER");
        net.receive(CALLEE, &answer(&referred, "202 Accepted", "", CALLEE, ""));
        net.expect(CALLER, "SIP/2.0 202");
    }
    // Towards the callee they were numbers 2 and 3.
    net.receive(CALLEE, &notify(&up, 1, "active", Some("3"), "SIP/2.0 100 Trying\r\n"));
    assert_eq!(net.expect(CALLER, "NOTIFY").header("Event"), "refer;id=13");
    net.receive(CALLEE, &notify(&up, 2, "active", Some("2"), "SIP/2.0 100 Trying\r\n"));
    assert_eq!(net.expect(CALLER, "NOTIFY").header("Event"), "refer;id=12");
    let refresh = with(&caller_request("SUBSCRIBE", 14, "c1", &up.tag, ""), "Event: refer;id=12\r\nExpires: 0\r\n");
    net.receive(CALLER, &refresh);
    assert_eq!(net.expect(CALLEE, "SUBSCRIBE").header("Event"), "refer;id=2");
}

#[test]
fn a_transfer_may_be_refused_by_the_party_or_by_policy() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.receive(CALLER, &refer(&up, 2, "sip:3000@192.0.2.1:5060"));
    let referred = net.expect(CALLEE, "REFER");
    net.receive(CALLEE, &answer(&referred, "603 Decline", "", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 603");
    net.receive(CALLER, &caller_request("REFER", 3, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 400");
    net.receive(CALLER, &caller_request("BYE", 4, "c1", &up.tag, ""));
    net.take_sent();
    net.advance(40 * SECOND);
    net.receive(CALLEE, &notify(&up, 1, "active", None, ""));
    assert!(net.take_sent().iter().any(|(to, m)| to == CALLEE && m.start().contains("481")), "nothing is kept for it");

    let mut refusing = policy();
    refusing.trunks[1].dialogs.refer = Refer::Refuse;
    let mut net = Net::with(refusing);
    let up = establish(&mut net);
    net.receive(CALLER, &refer(&up, 2, "sip:3000@192.0.2.1:5060"));
    net.expect(CALLER, "SIP/2.0 403");
    net.quiet();
}

#[test]
fn an_attended_transfer_joins_the_two_who_were_called() {
    let mut net = Net::new();
    let first = establish(&mut net);
    let second = consult(&mut net);
    let replaces = format!("c2%40192.0.2.10%3Bto-tag%3D{}%3Bfrom-tag%3Dalice", second.tag);
    net.receive(CALLER, &refer(&first, 2, &format!("sip:5552000@192.0.2.1:5060?Replaces={replaces}")));
    let referred = net.expect(CALLEE, "REFER");
    let (call_id, ours) = (second.invite.header("Call-ID"), second.invite.tag("From"));
    assert_eq!(
        referred.header("Refer-To"),
        format!("<sip:5552000@198.51.100.1:5060?Replaces={call_id}%3Bto-tag%3Dcarol%3Bfrom-tag%3D{ours}>")
    );
    assert!(!referred.0.contains("192.0.2."), "{}", referred.0);
    net.receive(CALLEE, &answer(&referred, "202 Accepted", "", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 202");

    // The callee calls as it was told.
    let named = format!("{call_id};to-tag=carol;from-tag={ours}");
    net.receive(CALLEE, &callee_invite("b1", &format!("Replaces: {named}\r\nRequire: replaces\r\n")));
    net.expect(CALLEE, "SIP/2.0 100");
    let joined = net.expect(CALLEE_2, "INVITE sip:198.51.100.21:5060");
    assert_eq!((joined.header("Replaces"), joined.header("Require")), (named.as_str(), "replaces"));
    net.receive(CALLEE_2, &answer(&joined, "200 OK", "carol2", CALLEE_2, &sdp("198.51.100.21", 6300)));
    net.expect(CALLEE, "SIP/2.0 200");
    // The third party ends the call that was replaced.
    let bye = callee_request("BYE", 1, &second.invite, "carol", "");
    net.receive(CALLEE_2, &bye);
    net.expect(CALLEE_2, "SIP/2.0 200");
    assert_eq!(net.expect(CALLER, "BYE").header("Call-ID"), "c2@192.0.2.10");
}

#[test]
fn an_invite_that_replaces_our_dialog_goes_to_the_other_party() {
    let mut net = Net::new();
    let up = establish(&mut net);
    // Somebody was told by the caller itself which dialog to replace.
    let replaces = format!("Replaces: c1@192.0.2.10;to-tag={};from-tag=alice\r\n", up.tag);
    let other = invite("5559999", "n1", &sdp("192.0.2.77", 4300)).replace("tag=alice", "tag=dora");
    net.receive("192.0.2.77:5060", &with(&other, &replaces));
    net.expect("192.0.2.77:5060", "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE sip:198.51.100.20:5060");
    assert_eq!(
        out.header("Replaces"),
        format!("{};to-tag=bob;from-tag={}", up.invite.header("Call-ID"), up.invite.tag("From"))
    );
    assert!(!out.0.contains("c1@"), "{}", out.0);
}

#[test]
fn replaces_that_cannot_be_followed() {
    let mut net = Net::new();
    let up = establish(&mut net);
    let replaces = |call_id: &str, rest: &str| {
        let line = format!("Replaces: c1@192.0.2.10;to-tag={};from-tag=alice{rest}\r\n", up.tag);
        with(&invite("5551000", call_id, "").replace("tag=alice", "tag=dora"), &line)
    };
    net.receive(CALLER, &replaces("n1", ";early-only"));
    net.expect(CALLER, "SIP/2.0 486");
    net.receive(CALLER, &replaces("n2", ";to-tag=2"));
    net.expect(CALLER, "SIP/2.0 400");
    // One that names none of our dialogs is the business of whoever is called.
    net.receive(CALLER, &replaces("n3", "").replace("from-tag=alice", "from-tag=mallory"));
    net.expect(CALLER, "SIP/2.0 100");
    assert!(net.expect(CALLEE, "INVITE").header("Replaces").contains("mallory"));
    net.receive(CALLER, &caller_request("BYE", 2, "c1", &up.tag, ""));
    net.take_sent();
    net.receive(CALLER, &replaces("n4", ""));
    net.expect(CALLER, "SIP/2.0 603");
}

#[test]
fn unknown_methods_cross_a_call_where_both_trunks_let_them() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.receive(CALLER, &caller_request("FROB", 2, "c1", &up.tag, ""));
    let carried = net.expect(CALLEE, "FROB sip:198.51.100.20:5060");
    net.receive(CALLEE, &answer(&carried, "200 OK", "", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &invite("5551000", "f1", "").replace("INVITE", "FROB"));
    net.expect(CALLER, "SIP/2.0 501");

    let mut refusing = policy();
    refusing.trunks[0].dialogs.unknown_methods = false;
    let mut net = Net::with(refusing);
    let up = establish(&mut net);
    net.receive(CALLER, &caller_request("FROB", 2, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 501");
    net.quiet();
}

/// Two workers of one process.
fn two(policy: &Policy) -> (Net, Net) {
    let place = |index| Place { index, of: 2, ..Place::alone(1) };
    (Net::at(place(0), policy.clone()), Net::at(place(1), policy.clone()))
}

/// What one has told reaches the other.
fn tell(from: &mut Net, to: &mut Net) {
    for news in std::mem::take(&mut from.told) {
        to.input(Input::News(news));
    }
}

/// The REFER by which the caller joins a call of one worker with a call of another.
fn joining(first: &Up, second: &Up) -> String {
    let replaces = format!("c2%40192.0.2.10%3Bto-tag%3D{}%3Bfrom-tag%3Dalice", second.tag);
    refer(first, 2, &format!("sip:5552000@192.0.2.1:5060?Replaces={replaces}"))
}

#[test]
fn a_dialog_of_another_worker_is_named_as_its_other_side_knows_it() {
    let (mut one, mut other) = two(&policy());
    let (first, second) = (establish(&mut one), consult(&mut other));
    one.receive(CALLER, &joining(&first, &second));
    one.quiet();
    tell(&mut one, &mut other);
    tell(&mut other, &mut one);
    let referred = one.expect(CALLEE, "REFER");
    let (call_id, ours) = (second.invite.header("Call-ID"), second.invite.tag("From"));
    assert_eq!(
        referred.header("Refer-To"),
        format!("<sip:5552000@198.51.100.1:5060?Replaces={call_id}%3Bto-tag%3Dcarol%3Bfrom-tag%3D{ours}>")
    );
    one.receive(CALLEE, &answer(&referred, "202 Accepted", "", CALLEE, ""));
    one.expect(CALLER, "SIP/2.0 202");
}

#[test]
fn a_dialog_that_no_worker_knows_shows_nowhere() {
    let (mut one, mut other) = two(&policy());
    let (first, second) = (establish(&mut one), consult(&mut other));
    // Nobody answers.
    one.receive(CALLER, &joining(&first, &second));
    one.advance(SECOND);
    one.expect(CALLER, "SIP/2.0 603");
    one.quiet();
    // It is over there.
    other.receive(CALLER, &caller_request("BYE", 2, "c2", &second.tag, ""));
    one.told.clear();
    one.receive(CALLER, &joining(&first, &second).replace("CSeq: 2", "CSeq: 3").replace("REFER-2", "REFER-3"));
    tell(&mut one, &mut other);
    tell(&mut other, &mut one);
    one.expect(CALLER, "SIP/2.0 603");
    one.quiet();
}

#[test]
fn a_party_in_a_call_of_another_worker_is_asked_to_leave_it() {
    let mut handling = policy();
    handling.trunks[0].dialogs.refer = Refer::Handle;
    let (mut one, mut other) = two(&handling);
    let (first, second) = (establish(&mut one), consult(&mut other));
    one.receive(CALLER, &joining(&first, &second));
    tell(&mut one, &mut other);
    tell(&mut other, &mut one);
    one.expect(CALLER, "SIP/2.0 202");
    one.expect(CALLER, "NOTIFY");
    let asked = one.expect(CALLEE_2, "INVITE sip:198.51.100.21:5060");
    let named = format!("{};to-tag=carol;from-tag={}", second.invite.header("Call-ID"), second.invite.tag("From"));
    assert_eq!((asked.header("Replaces"), asked.header("Require")), (&*named, "replaces"));
    one.receive(CALLEE_2, &answer(&asked, "200 OK", "carol2", CALLEE_2, &sdp("198.51.100.21", 6300)));
    one.expect(CALLEE_2, "ACK");
    let again = one.expect(CALLEE, "INVITE sip:198.51.100.20:5060");
    one.receive(CALLEE, &answer(&again, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6002)));
    one.expect(CALLEE, "ACK");
    assert_eq!(one.expect(CALLER, "NOTIFY").body(), "SIP/2.0 200 OK\r\n");
}

#[test]
fn a_refer_that_waits_for_another_worker_does_not_outlive_its_call() {
    let (mut one, mut other) = two(&policy());
    let (first, second) = (establish(&mut one), consult(&mut other));
    one.receive(CALLER, &joining(&first, &second));
    one.receive(CALLER, &caller_request("BYE", 3, "c1", &first.tag, ""));
    one.expect(CALLER, "SIP/2.0 200");
    one.expect(CALLEE, "BYE");
    tell(&mut one, &mut other);
    tell(&mut other, &mut one);
    one.expect(CALLER, "SIP/2.0 603");
    one.quiet();
    one.nothing_left();
}
