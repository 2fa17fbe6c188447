//! Requests outside calls to registered endpoints: MESSAGE, OPTIONS, NOTIFY, SUBSCRIBE.

use crate::harness::*;
use crate::phones::*;

/// 6000 is registered, and so are two devices of 6001.
fn registered() -> (Net, Phone) {
    let mut net = Net::with(with_phones());
    let mut alice = phone("6000", "1234", PHONE);
    alice.register(&mut net, 3600);
    phone("6001", "4321", PHONE_1).register(&mut net, 3600);
    phone("6001", "4321", PHONE_2).register(&mut net, 3600);
    (net, alice)
}

/// A MESSAGE of 6000's.
fn message(net: &mut Net, alice: &mut Phone, called: &str) {
    let plain = alice.request("MESSAGE", 7, called, "", "Hello").replace("application/sdp", "text/plain");
    let text = alice.authorized(&plain);
    net.receive(PHONE, &text);
}

/// A request of the carrier's for an endpoint.
fn from_carrier(method: &str, called: &str, lines: &str) -> String {
    with(&invite(called, "outside", "").replace("INVITE", method).replace(CALLER, CALLEE), lines)
}

/// Nothing is under way any more.
#[track_caller]
fn idle(net: &mut Net) {
    net.advance(40 * SECOND);
    assert_eq!(net.counters().transactions_active, 0);
}

#[test]
fn a_message_reaches_all_devices_and_one_answer_is_enough() {
    let (mut net, mut alice) = registered();
    message(&mut net, &mut alice, "6001");
    let (one, two) =
        (net.expect(PHONE_1, "MESSAGE sip:6001@203.0.113.61:5060"), net.expect(PHONE_2, "MESSAGE sip:6001@"));
    for seen in [&one, &two] {
        assert_eq!((seen.body(), seen.header("Content-Type")), ("Hello", "text/plain"));
        assert_eq!(seen.find("Proxy-Authorization"), None);
        assert!(seen.header("From").starts_with("<sip:6000@198.51.100.1:5060>;tag="), "{}", seen.0);
    }
    assert_ne!(one.header("Call-ID"), two.header("Call-ID"));
    net.receive(PHONE_1, &answer(&one, "486 Busy Here", "one", PHONE_1, ""));
    net.quiet();
    net.receive(PHONE_2, &answer(&two, "202 Accepted", "two", PHONE_2, ""));
    net.expect(PHONE, "SIP/2.0 202 Accepted");
    idle(&mut net);
}

#[test]
fn what_comes_after_the_first_good_answer_stays_here() {
    let (mut net, mut alice) = registered();
    message(&mut net, &mut alice, "6001");
    let (one, two) = (net.expect(PHONE_1, "MESSAGE"), net.expect(PHONE_2, "MESSAGE"));
    net.receive(PHONE_1, &answer(&one, "200 OK", "one", PHONE_1, ""));
    net.expect(PHONE, "SIP/2.0 200");
    net.receive(PHONE_2, &answer(&two, "603 Decline", "two", PHONE_2, ""));
    net.quiet();
    idle(&mut net);
}

#[test]
fn when_no_device_takes_it_the_best_refusal_goes_back() {
    let (mut net, mut alice) = registered();
    message(&mut net, &mut alice, "6001");
    let (one, two) = (net.expect(PHONE_1, "MESSAGE"), net.expect(PHONE_2, "MESSAGE"));
    net.receive(PHONE_1, &answer(&one, "500 Server Internal Error", "one", PHONE_1, ""));
    net.receive(PHONE_2, &answer(&two, "415 Unsupported Media Type", "two", PHONE_2, ""));
    net.expect(PHONE, "SIP/2.0 415");

    // A device that keeps silent is waited for, and worth less than one that says something.
    alice.call_id = "another".into();
    let plain = alice.request("MESSAGE", 8, "6001", "", "").replace("Call-ID: call-6000", "Call-ID: again");
    let text = alice.authorized(&plain);
    net.receive(PHONE, &text);
    let one = net.expect(PHONE_1, "MESSAGE");
    net.receive(PHONE_1, &answer(&one, "486 Busy Here", "one", PHONE_1, ""));
    net.expect(PHONE_2, "MESSAGE");
    net.advance(33 * SECOND);
    let answers = net.take_sent();
    let back: Vec<&str> = answers.iter().filter(|(at, _)| *at == PHONE).map(|(_, answer)| answer.start()).collect();
    assert_eq!(back, ["SIP/2.0 486 Busy Here"]);
    idle(&mut net);
}

#[test]
fn a_message_to_who_is_not_there_goes_nowhere() {
    let mut net = Net::with(with_phones());
    let mut alice = phone("6000", "1234", PHONE);
    alice.register(&mut net, 3600);
    message(&mut net, &mut alice, "6001");
    assert_eq!(net.next(PHONE).start(), "SIP/2.0 480 Temporarily Unavailable - Not Registered");
    net.quiet();
}

#[test]
fn a_message_to_a_number_that_is_no_users_goes_by_the_routes() {
    let (mut net, mut alice) = registered();
    message(&mut net, &mut alice, "02187654321");
    net.expect(CALLEE, "MESSAGE sip:02187654321@198.51.100.20:5060");
}

#[test]
fn the_carrier_tells_all_devices_of_waiting_messages_and_asks_what_one_can_do() {
    let (mut net, _) = registered();
    net.receive(CALLEE, &from_carrier("NOTIFY", "6001", "Event: message-summary\r\nSubscription-State: active\r\n"));
    for at in [PHONE_1, PHONE_2] {
        let told = net.expect(at, "NOTIFY sip:6001@");
        assert_eq!(told.header("Event"), "message-summary");
        net.receive(at, &answer(&told, "200 OK", "x", at, ""));
    }
    net.expect(CALLEE, "SIP/2.0 200");
    net.quiet();
    net.receive(CALLEE, &from_carrier("OPTIONS", "6000", "").replace("outside", "o1"));
    let asked = net.expect(PHONE, "OPTIONS sip:6000@203.0.113.60:5060");
    net.receive(PHONE, &with(&answer(&asked, "200 OK", "x", PHONE, ""), "Accept-Language: en\r\n"));
    assert_eq!(net.expect(CALLEE, "SIP/2.0 200").header("Accept-Language"), "en");
    idle(&mut net);
}

#[test]
fn a_subscription_is_one_devices_even_behind_nat() {
    let mut net = Net::with(with_phones());
    let mut alice = phone("6000", "1234", PHONE);
    alice.contact = "sip:6000@10.0.0.7:5060".into();
    alice.register(&mut net, 3600);
    let lines = "Event: dialog\r\nExpires: 600\r\n";
    net.receive(CALLEE, &from_carrier("SUBSCRIBE", "6000", lines));
    let out = net.expect(PHONE, "SUBSCRIBE sip:6000@10.0.0.7:5060");
    net.receive(PHONE, &with(&answer(&out, "200 OK", "alice", "10.0.0.7:5060", ""), "Expires: 600\r\n"));
    let ok = net.expect(CALLEE, "SIP/2.0 200");
    let state = "Event: dialog\r\nSubscription-State: active;expires=600\r\n";
    let notify = callee_request("NOTIFY", 1, &out, "alice", "").replace(CALLEE, "10.0.0.7:5060");
    net.receive(PHONE, &with(&notify, state));
    let told = net.expect(CALLEE, "NOTIFY");
    net.receive(CALLEE, &answer(&told, "200 OK", "", CALLEE, ""));
    net.expect(PHONE, "SIP/2.0 200");

    // It is refreshed through the NAT.
    let again = with(&caller_request("SUBSCRIBE", 2, "outside", ok.tag("To"), ""), lines).replace(CALLER, CALLEE);
    net.receive(CALLEE, &again);
    let again = net.expect(PHONE, "SUBSCRIBE sip:10.0.0.7:5060");
    net.receive(PHONE, &with(&answer(&again, "200 OK", "", "10.0.0.7:5060", ""), "Expires: 600\r\n"));
    net.expect(CALLEE, "SIP/2.0 200");
    assert_eq!(net.counters().subscriptions_active, 1);
}

#[test]
fn of_two_devices_the_most_wanted_is_subscribed_to() {
    let mut net = Net::with(with_phones());
    let (mut one, mut two) = (phone("6001", "4321", PHONE_1), phone("6001", "4321", PHONE_2));
    one.params = ";q=0.5".into();
    two.params = ";q=0.7".into();
    one.register(&mut net, 3600);
    two.register(&mut net, 3600);
    net.receive(CALLEE, &from_carrier("SUBSCRIBE", "6001", "Event: dialog\r\nExpires: 600\r\n"));
    net.expect(PHONE_2, "SUBSCRIBE sip:6001@203.0.113.62:5060");
    net.quiet();
}

#[test]
fn a_subscription_belongs_to_where_its_party_speaks_from() {
    let (mut net, mut alice) = registered();
    let subscribe = |alice: &mut Phone, cseq: u32, tag: &str| {
        let plain = alice.request("SUBSCRIBE", cseq, "02187654321", tag, "");
        with(&plain, "Event: presence\r\nExpires: 600\r\n")
    };
    let plain = subscribe(&mut alice, 1, "");
    let text = alice.authorized(&plain);
    net.receive(PHONE, &text);
    let out = net.expect(CALLEE, "SUBSCRIBE");
    net.receive(CALLEE, &with(&answer(&out, "200 OK", "bob", CALLEE, ""), "Expires: 600\r\n"));
    let tag = net.expect(PHONE, "SIP/2.0 200").tag("To").to_owned();
    // The party itself is not asked again.
    net.receive(PHONE, &subscribe(&mut alice, 2, &tag));
    let out = net.expect(CALLEE, "SUBSCRIBE");
    net.receive(CALLEE, &with(&answer(&out, "200 OK", "", CALLEE, ""), "Expires: 600\r\n"));
    net.expect(PHONE, "SIP/2.0 200");

    // Somebody who knows the identifiers, elsewhere.
    let elsewhere = "203.0.113.99:5060";
    let plain = subscribe(&mut alice, 3, &tag);
    net.receive(elsewhere, &plain);
    let challenge = net.expect(elsewhere, "SIP/2.0 407");
    net.quiet();
    // The user itself, whose address has changed, can show that it is.
    alice.challenged(&challenge);
    let text = alice.authorized(&plain).replace("z9hG4bK-SUBSCRIBE", "z9hG4bK-again");
    net.receive(elsewhere, &text);
    net.expect(CALLEE, "SUBSCRIBE");
}

#[test]
fn a_request_to_a_sips_uri_reaches_devices_over_tls_alone() {
    let (mut net, mut alice) = registered();
    let plain = alice.request("MESSAGE", 7, "6001", "", "Hello").replace("application/sdp", "text/plain");
    let plain = plain.replacen("MESSAGE sip:", "MESSAGE sips:", 1);
    let text = alice.authorized(&plain);
    net.receive(PHONE, &text);
    net.expect(PHONE, "SIP/2.0 480 Temporarily Unavailable - Not Registered Over TLS");
    net.quiet();
}
