//! Calls from and to registered endpoints.

use moorline_b2bua::Input;
use moorline_b2bua::policy::{EndpointMedia, Endpoints};
use moorline_sip::Transport;
use moorline_sip::transaction::Flow;

use crate::harness::*;
use crate::phones::*;

/// 6000 and 6001 are registered.
fn registered(endpoints: Endpoints) -> (Net, Phone, Phone) {
    let mut net = Net::with(with_endpoints(endpoints));
    let (mut alice, mut bob) = (phone("6000", "1234", PHONE), phone("6001", "4321", PHONE_1));
    alice.register(&mut net, 3600);
    bob.register(&mut net, 3600);
    (net, alice, bob)
}

/// A request of the called telephone, in the dialog that `invite` set up.
fn from_called(method: &str, cseq: u32, invite: &Message, at: &str, body: &str) -> String {
    callee_request(method, cseq, invite, "bob", body).replace(CALLEE, at)
}

#[test]
fn one_endpoint_calls_another() {
    let (mut net, mut alice, _) = registered(Endpoints::default());
    let offer = sdp("203.0.113.60", 4000);
    alice.call(&mut net, "6001", &offer);
    let invite = net.expect(PHONE_1, "INVITE sip:6001@203.0.113.61:5060 SIP/2.0");
    assert!(invite.header("From").starts_with("<sip:6000@198.51.100.1:5060>;tag="), "{}", invite.0);
    assert_eq!(invite.find("Proxy-Authorization"), None, "credentials for us go no further");
    // Media go from one to the other: the description is what it was, and the session has no streams.
    assert_eq!(invite.body(), offer);
    let (_, spec) = net.session();
    assert!(spec.legs.iter().all(|leg| leg.streams.is_empty()));

    net.receive(PHONE_1, &answer(&invite, "180 Ringing", "bob", PHONE_1, ""));
    net.expect(PHONE, "SIP/2.0 180");
    let answered = sdp("203.0.113.61", 6000);
    net.receive(PHONE_1, &answer(&invite, "200 OK", "bob", PHONE_1, &answered));
    let ok = net.expect(PHONE, "SIP/2.0 200");
    assert_eq!(ok.body(), answered);
    assert_eq!(ok.header("Contact"), "<sip:198.51.100.1:5060>", "the rest is hidden as ever");
    let tag = ok.tag("To").to_owned();
    net.receive(PHONE, &alice.request("ACK", 2, "6001", &tag, ""));
    net.expect(PHONE_1, "ACK sip:203.0.113.61:5060");
    assert_eq!(net.session().1.media_timeout_ms, 0, "nobody here hears whether they talk");

    // Hold and resume, by the other side; nobody in a dialog is asked for credentials.
    net.receive(PHONE_1, &from_called("INVITE", 1, &invite, PHONE_1, &answered));
    net.expect(PHONE_1, "SIP/2.0 100");
    let again = net.expect(PHONE, "INVITE");
    assert_eq!(again.body(), answered);
    net.receive(PHONE, &answer(&again, "200 OK", "", PHONE, &offer));
    assert_eq!(net.expect(PHONE_1, "SIP/2.0 200").body(), offer);
    net.receive(PHONE_1, &from_called("ACK", 1, &invite, PHONE_1, ""));
    net.expect(PHONE, "ACK");

    net.receive(PHONE_1, &from_called("BYE", 2, &invite, PHONE_1, ""));
    net.expect(PHONE_1, "SIP/2.0 200");
    let bye = net.expect(PHONE, "BYE");
    net.receive(PHONE, &answer(&bye, "200 OK", "", PHONE, ""));
    net.quiet();
    assert!(net.media.sessions.is_empty());
}

#[test]
fn a_bypassed_call_survives_a_restart_too() {
    let (mut net, mut alice, _) = registered(Endpoints::default());
    alice.call(&mut net, "6001", &sdp("203.0.113.60", 4000));
    let invite = net.expect(PHONE_1, "INVITE");
    net.receive(PHONE_1, &answer(&invite, "200 OK", "bob", PHONE_1, &sdp("203.0.113.61", 6000)));
    let tag = net.expect(PHONE, "SIP/2.0 200").tag("To").to_owned();
    net.receive(PHONE, &alice.request("ACK", 2, "6001", &tag, ""));
    net.expect(PHONE_1, "ACK");
    net.restart_signaling(with_phones());
    assert_eq!(net.counters().calls_active, 1);
    // It is still bypassed.
    net.receive(PHONE_1, &from_called("INVITE", 1, &invite, PHONE_1, &sdp("203.0.113.61", 6002)));
    net.expect(PHONE_1, "SIP/2.0 100");
    let again = net.expect(PHONE, "INVITE");
    assert_eq!(again.body(), sdp("203.0.113.61", 6002));
    net.receive(PHONE, &answer(&again, "200 OK", "", PHONE, &sdp("203.0.113.60", 4000)));
    assert_eq!(net.expect(PHONE_1, "SIP/2.0 200").body(), sdp("203.0.113.60", 4000));
    net.receive(PHONE_1, &from_called("ACK", 1, &invite, PHONE_1, ""));
    net.expect(PHONE, "ACK");
    net.receive(PHONE, &alice.request("BYE", 3, "6001", &tag, ""));
    net.expect(PHONE, "SIP/2.0 200");
    net.expect(PHONE_1, "BYE");
}

#[test]
fn media_are_anchored_where_the_policy_says_so_or_nat_is_between() {
    let anchor = Endpoints { media: EndpointMedia::Anchor, ..Endpoints::default() };
    let (mut net, mut alice, _) = registered(anchor);
    alice.call(&mut net, "6001", &sdp("203.0.113.60", 4000));
    assert_eq!(net.expect(PHONE_1, "INVITE").body(), sdp("198.51.100.1", 20_002));

    let (mut net, mut alice, mut bob) = registered(Endpoints::default());
    bob.contact = "sip:6001@10.0.0.7:5060".into();
    bob.register_with(&mut net, "Contact: *\r\nExpires: 0\r\n");
    bob.register(&mut net, 3600);
    alice.call(&mut net, "6001", &sdp("203.0.113.60", 4000));
    // The call finds its way through the NAT.
    let invite = net.expect(PHONE_1, "INVITE sip:6001@10.0.0.7:5060 SIP/2.0");
    assert_eq!(invite.body(), sdp("198.51.100.1", 20_002));
    net.receive(PHONE_1, &answer(&invite, "200 OK", "bob", "10.0.0.7:5060", &sdp("10.0.0.7", 6000)));
    let tag = net.expect(PHONE, "SIP/2.0 200").tag("To").to_owned();
    net.receive(PHONE, &alice.request("ACK", 2, "6001", &tag, ""));
    net.expect(PHONE_1, "ACK sip:10.0.0.7:5060");
}

#[test]
fn a_number_that_is_no_endpoint_goes_to_the_gateway() {
    let (mut net, mut alice, _) = registered(Endpoints::default());
    alice.call(&mut net, "02187654321", &sdp("203.0.113.60", 4000));
    let invite = net.expect(CALLEE, "INVITE sip:02187654321@198.51.100.20:5060 SIP/2.0");
    assert_eq!(invite.find("Proxy-Authorization"), None);
    assert_eq!(invite.body(), sdp("198.51.100.1", 20_002), "those media are anchored");
}

#[test]
fn the_gateway_calls_an_endpoint() {
    let (mut net, ..) = registered(Endpoints::default());
    let incoming = invite("6000", "in", &sdp("198.51.100.20", 6000)).replace(CALLER, CALLEE);
    net.receive(CALLEE, &incoming);
    net.expect(CALLEE, "SIP/2.0 100");
    assert_eq!(net.expect(PHONE, "INVITE sip:6000@203.0.113.60:5060").body(), sdp("198.51.100.1", 20_002));
}

#[test]
fn all_devices_ring_and_the_first_answer_wins() {
    let (mut net, mut alice, _) = registered(Endpoints::default());
    phone("6001", "4321", PHONE_2).register(&mut net, 3600);
    alice.call(&mut net, "6001", &sdp("203.0.113.60", 4000));
    let (one, two) = (net.expect(PHONE_1, "INVITE"), net.expect(PHONE_2, "INVITE"));
    assert_ne!(one.header("Call-ID"), two.header("Call-ID"));
    for (at, invite) in [(PHONE_1, &one), (PHONE_2, &two)] {
        net.receive(at, &answer(invite, "180 Ringing", "bob", at, ""));
        net.expect(PHONE, "SIP/2.0 180");
    }
    net.receive(PHONE_2, &answer(&two, "200 OK", "bob", PHONE_2, &sdp("203.0.113.62", 6000)));
    assert_eq!(net.expect(PHONE, "SIP/2.0 200").body(), sdp("203.0.113.62", 6000));
    let cancel = net.expect(PHONE_1, "CANCEL");
    assert!(cancel.header("Reason").contains("Call completed elsewhere"));
}

#[test]
fn one_device_that_is_busy_does_not_end_the_ringing_of_another() {
    let (mut net, mut alice, _) = registered(Endpoints::default());
    phone("6001", "4321", PHONE_2).register(&mut net, 3600);
    alice.call(&mut net, "6001", "");
    let (one, two) = (net.expect(PHONE_1, "INVITE"), net.expect(PHONE_2, "INVITE"));
    net.receive(PHONE_1, &answer(&one, "486 Busy Here", "bob", PHONE_1, ""));
    net.expect(PHONE_1, "ACK");
    net.quiet();
    net.receive(PHONE_2, &answer(&two, "603 Decline", "bob", PHONE_2, ""));
    net.expect(PHONE_2, "ACK");
    net.expect(PHONE, "SIP/2.0 603");
}

#[test]
fn a_user_who_is_not_there_is_unavailable_and_not_called_elsewhere() {
    let mut net = Net::with(with_phones());
    let mut alice = phone("6000", "1234", PHONE);
    alice.register(&mut net, 3600);
    alice.ask(&mut net, "6001", "");
    assert_eq!(net.expect(PHONE, "SIP/2.0 480").start(), "SIP/2.0 480 Temporarily Unavailable - Not Registered");
}

#[test]
fn who_calls_shows_credentials_and_its_own_number() {
    let (mut net, mut alice, _) = registered(Endpoints::default());
    net.advance(40 * SECOND);
    net.receive(PHONE, &alice.request("INVITE", 1, "6001", "", ""));
    let challenge = net.expect(PHONE, "SIP/2.0 407 Proxy Authentication Required");
    assert!(challenge.find("Proxy-Authenticate").is_some());
    assert_eq!(net.counters().transactions_active, 0, "a challenge leaves nothing behind");
    alice.challenged(&challenge);

    // Not in the name of another.
    let mut claim = |from: &str, cseq: u32| {
        let plain = alice.request("INVITE", cseq, "6001", "", "");
        let plain = plain.replace("From: <sip:6000@phones.example>", &format!("From: {from}"));
        let text = alice.authorized(&plain);
        net.receive(PHONE, &text);
        net.next(PHONE).start().to_owned()
    };
    assert_eq!(claim("<sip:6001@phones.example>", 2), "SIP/2.0 403 Forbidden - Not Your Number");
    assert_eq!(claim("<sip:phones.example>", 3), "SIP/2.0 403 Forbidden - Not Your Number");
    // One of its numbers will do, and so will nobody's.
    assert_eq!(claim("<sip:02112345678@phones.example>", 4), "SIP/2.0 100 Trying");
}

#[test]
fn a_caller_may_be_nobody() {
    let (mut net, mut alice, _) = registered(Endpoints::default());
    net.receive(PHONE, &alice.request("INVITE", 1, "6001", "", ""));
    let challenge = net.expect(PHONE, "SIP/2.0 407");
    alice.challenged(&challenge);
    let plain = alice.request("INVITE", 2, "6001", "", "");
    let plain = plain.replace("From: <sip:6000@phones.example>", "From: <sip:anonymous@anonymous.invalid>");
    let text = alice.authorized(&plain);
    net.receive(PHONE, &text);
    net.expect(PHONE, "SIP/2.0 100");
    net.expect(PHONE_1, "INVITE");
}

#[test]
fn credentials_serve_for_one_request_uri_only() {
    let (mut net, mut alice, _) = registered(Endpoints::default());
    net.receive(PHONE, &alice.request("INVITE", 1, "6001", "", ""));
    let challenge = net.expect(PHONE, "SIP/2.0 407");
    alice.challenged(&challenge);
    let plain = alice.request("INVITE", 2, "6001", "", "");
    let text = alice.authorized(&plain).replace("INVITE sip:6001@", "INVITE sip:0900123456@");
    net.receive(PHONE, &text);
    net.expect(PHONE, "SIP/2.0 403");
}

#[test]
fn a_client_may_answer_for_the_host_that_it_speaks_to() {
    let (mut net, mut alice, _) = registered(Endpoints::default());
    net.receive(PHONE, &alice.request("INVITE", 1, "6001", "", ""));
    let challenge = net.expect(PHONE, "SIP/2.0 407");
    alice.challenged(&challenge);
    for (host, cseq, expected) in [(OUTSIDE, 2, "SIP/2.0 100"), ("elsewhere.example", 3, "SIP/2.0 403")] {
        let plain = alice.request("INVITE", cseq, "6001", "", "");
        // What SIPp does.
        let bare = plain.replacen("INVITE sip:6001@phones.example", &format!("INVITE sip:{host}"), 1);
        let text = alice.authorized(&bare).replacen(&format!("INVITE sip:{host}"), "INVITE sip:6001@phones.example", 1);
        net.receive(PHONE, &text);
        net.expect(PHONE, expected);
    }
}

#[test]
fn a_dialog_belongs_to_where_its_party_speaks_from() {
    let (mut net, mut alice, _) = registered(Endpoints::default());
    alice.call(&mut net, "6001", &sdp("203.0.113.60", 4000));
    let invite = net.expect(PHONE_1, "INVITE");
    net.receive(PHONE_1, &answer(&invite, "200 OK", "bob", PHONE_1, &sdp("203.0.113.61", 6000)));
    let tag = net.expect(PHONE, "SIP/2.0 200").tag("To").to_owned();
    net.receive(PHONE, &alice.request("ACK", 2, "6001", &tag, ""));
    net.expect(PHONE_1, "ACK");
    // Somebody who knows the identifiers, elsewhere.
    let stolen = "203.0.113.99:5060";
    let bye = alice.request("BYE", 3, "6001", &tag, "");
    net.receive(stolen, &bye);
    let challenge = net.expect(stolen, "SIP/2.0 407");
    net.quiet();
    // The user itself, whose address has changed, can show that it is.
    alice.challenged(&challenge);
    let bye = alice.authorized(&bye).replace("z9hG4bK-BYE", "z9hG4bK-again");
    net.receive(stolen, &bye);
    net.expect(stolen, "SIP/2.0 200");
    net.expect(PHONE_1, "BYE");
}

#[test]
fn another_users_password_does_not_speak_for_who_was_called() {
    let (mut net, mut alice, mut bob) = registered(Endpoints::default());
    alice.call(&mut net, "6001", &sdp("203.0.113.60", 4000));
    let invite = net.expect(PHONE_1, "INVITE");
    net.receive(PHONE_1, &answer(&invite, "200 OK", "bob", PHONE_1, &sdp("203.0.113.61", 6000)));
    let tag = net.expect(PHONE, "SIP/2.0 200").tag("To").to_owned();
    net.receive(PHONE, &alice.request("ACK", 2, "6001", &tag, ""));
    net.expect(PHONE_1, "ACK");
    let elsewhere = "203.0.113.99:5060";
    let bye = from_called("BYE", 1, &invite, elsewhere, "");
    net.receive(elsewhere, &bye);
    let challenge = net.expect(elsewhere, "SIP/2.0 407");
    alice.challenged(&challenge);
    net.receive(elsewhere, &alice.authorized(&bye).replace("z9hG4bK-BYE", "z9hG4bK-alice"));
    net.expect(elsewhere, "SIP/2.0 481");
    net.receive(elsewhere, &bye.replace("z9hG4bK-BYE", "z9hG4bK-bob"));
    let challenge = net.expect(elsewhere, "SIP/2.0 407");
    bob.challenged(&challenge);
    net.receive(elsewhere, &bob.authorized(&bye).replace("z9hG4bK-BYE", "z9hG4bK-bob-again"));
    net.expect(elsewhere, "SIP/2.0 200");
    net.expect(PHONE, "BYE");
}

/// The telephone at 203.0.113.60 on a stream that it has opened.
fn over_tcp(net: &mut Net, text: &str) {
    let flow = Flow::new(1, Transport::Tcp, ([203, 0, 113, 60], 41_000).into());
    net.input(Input::Message { flow, bytes: text.replace("SIP/2.0/UDP", "SIP/2.0/TCP").as_bytes() });
}

const STREAM: &str = "203.0.113.60:41000";

#[test]
fn a_long_request_over_tcp_does_not_change_the_way_to_a_telephone_behind_nat() {
    let (mut net, mut alice, _) = registered(Endpoints::default());
    alice.contact = "sip:6000@10.0.0.6:5060".into();
    let offer = sdp("10.0.0.6", 4000);
    alice.call(&mut net, "02187654321", &offer);
    let invite = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&invite, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let tag = net.expect(PHONE, "SIP/2.0 200").tag("To").to_owned();
    net.receive(PHONE, &alice.request("ACK", 2, "02187654321", &tag, ""));
    net.expect(CALLEE, "ACK");
    over_tcp(&mut net, &alice.request("INVITE", 3, "02187654321", &tag, &offer));
    net.expect(STREAM, "SIP/2.0 100");
    let again = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&again, "200 OK", "", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(STREAM, "SIP/2.0 200");
    net.receive(PHONE, &alice.request("ACK", 3, "02187654321", &tag, ""));
    net.expect(CALLEE, "ACK");
    // The stream may be gone by now.
    net.receive(CALLEE, &callee_request("BYE", 1, &invite, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 200");
    let bye = net.expect(PHONE, "BYE");
    assert!(bye.header("Via").starts_with("SIP/2.0/UDP"), "{}", bye.0);
}

#[test]
fn a_telephone_that_calls_over_tcp_for_length_alone_is_spoken_to_as_it_goes_on() {
    let (mut net, mut alice, _) = registered(Endpoints::default());
    alice.contact = "sip:6000@10.0.0.6:5060".into();
    let offer = sdp("10.0.0.6", 4000);
    net.receive(PHONE, &alice.request("INVITE", 1, "02187654321", "", &offer));
    let challenge = net.expect(PHONE, "SIP/2.0 407");
    alice.challenged(&challenge);
    let plain = alice.request("INVITE", 2, "02187654321", "", &offer);
    let text = alice.authorized(&plain);
    over_tcp(&mut net, &text);
    net.expect(STREAM, "SIP/2.0 100");
    let invite = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&invite, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let tag = net.expect(STREAM, "SIP/2.0 200").tag("To").to_owned();
    net.receive(PHONE, &alice.request("ACK", 2, "02187654321", &tag, ""));
    net.expect(CALLEE, "ACK");
    net.receive(CALLEE, &callee_request("BYE", 1, &invite, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 200");
    let bye = net.expect(PHONE, "BYE");
    assert!(bye.header("Via").starts_with("SIP/2.0/UDP"), "{}", bye.0);
}

#[test]
fn answers_to_nothing_from_somebody_who_is_not_registered_cost_no_state() {
    let (mut net, ..) = registered(Endpoints::default());
    net.receive(CALLER, &invite("6000", "c1", ""));
    net.take_sent();
    net.receive(CALLER, &invite("5551000", "c2", ""));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    net.advance(300 * SECOND);
    net.take_sent();
    let stray = answer(&sent, "200 OK", "x", "203.0.113.99:5060", "");
    // A telephone may have picked up after all.
    net.receive(PHONE, &stray);
    net.expect(PHONE, "ACK");
    let bye = net.expect(PHONE, "BYE");
    net.receive(PHONE, &answer(&bye, "200 OK", "", PHONE, ""));
    net.quiet();
    // Identifiers are easily made up.
    let before = net.counters().transactions_active;
    for made_up in 0..100 {
        net.receive("203.0.113.99:5060", &answer(&sent, "200 OK", &format!("y{made_up}"), "203.0.113.99:5060", ""));
    }
    assert_eq!(net.counters().transactions_active, before);
    net.quiet();
}

/// 302 to another contact.
fn moved(request: &Message, at: &str, contact: &str) -> String {
    answer(request, "302 Moved Temporarily", "bob", at, "").replace(&format!("<sip:{at}>"), &format!("<{contact}>"))
}

#[test]
fn a_telephone_that_redirects_is_followed_while_another_rings() {
    let (mut net, mut alice, _) = registered(Endpoints::default());
    phone("6001", "4321", PHONE_2).register(&mut net, 3600);
    alice.call(&mut net, "6001", "");
    let (one, two) = (net.expect(PHONE_1, "INVITE"), net.expect(PHONE_2, "INVITE"));
    net.receive(PHONE_2, &answer(&two, "180 Ringing", "bob", PHONE_2, ""));
    net.expect(PHONE, "SIP/2.0 180");
    net.receive(PHONE_1, &moved(&one, PHONE_1, "sip:6001@203.0.113.63:5060"));
    net.expect(PHONE_1, "ACK");
    net.receive(PHONE_2, &answer(&two, "486 Busy Here", "bob", PHONE_2, ""));
    net.expect(PHONE_2, "ACK");
    let third = "203.0.113.63:5060";
    let sent = net.expect(third, "INVITE sip:6001@203.0.113.63:5060");
    net.quiet();
    net.receive(third, &answer(&sent, "200 OK", "carol", third, &sdp("203.0.113.63", 6000)));
    net.expect(PHONE, "SIP/2.0 200");
}

#[test]
fn a_telephone_redirects_nobody_to_where_it_is_not_reached_itself() {
    for hidden in ["127.0.0.1:5080", "10.0.0.1:5060", "224.0.0.1:5060"] {
        let (mut net, mut alice, _) = registered(Endpoints::default());
        alice.call(&mut net, "6001", "");
        let sent = net.expect(PHONE_1, "INVITE");
        net.receive(PHONE_1, &moved(&sent, PHONE_1, &format!("sip:x@{hidden}")));
        net.expect(PHONE_1, "ACK");
        net.expect(PHONE, "SIP/2.0 302");
        net.quiet();
    }
}

#[test]
fn a_long_invite_finds_a_telephone_behind_nat_over_udp() {
    let (mut net, mut alice, mut bob) = registered(Endpoints::default());
    let offer = format!("{}a=x:{}\r\n", sdp("203.0.113.60", 4000), "y".repeat(1400));
    // One that can be connected to is sent it over TCP (RFC 3261 18.1.1).
    alice.call(&mut net, "6001", &offer);
    assert!(net.expect(PHONE_1, "INVITE").header("Via").starts_with("SIP/2.0/TCP"));
    // Through a NAT nobody can.
    let (mut net, mut alice, _) = registered(Endpoints::default());
    bob.contact = "sip:6001@10.0.0.7:5060".into();
    bob.register_with(&mut net, "Contact: *\r\nExpires: 0\r\n");
    bob.register(&mut net, 3600);
    alice.call(&mut net, "6001", &offer);
    assert!(net.expect(PHONE_1, "INVITE").header("Via").starts_with("SIP/2.0/UDP"));
}
