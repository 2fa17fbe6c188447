//! SUBSCRIBE and NOTIFY (RFC 6665), REFER and PUBLISH outside calls.

use crate::harness::*;

/// A request of the caller outside a dialog.
fn outside(method: &str, call_id: &str, lines: &str) -> String {
    let text = invite("5551000", call_id, "").replace("INVITE", method);
    with(&text, lines)
}

/// A request of the notifier in the dialog of a SUBSCRIBE that it was sent.
fn notify(subscribe: &Message, cseq: u32, tag: &str, lines: &str, body: &str) -> String {
    let text = callee_request("NOTIFY", cseq, subscribe, tag, body).replace("application/sdp", "application/pidf+xml");
    with(&text, lines)
}

/// The subscriber's next request.
fn again(cseq: u32, tag: &str, lines: &str) -> String {
    with(&caller_request("SUBSCRIBE", cseq, "s1", tag, ""), lines)
}

const PRESENCE: &str = "Event: presence\r\nExpires: 600\r\n";

/// A subscription: Moorline's tag towards the subscriber, and the SUBSCRIBE as the notifier saw it.
fn subscribed(net: &mut Net) -> (String, Message) {
    net.receive(CALLER, &outside("SUBSCRIBE", "s1", PRESENCE));
    let out = net.expect(CALLEE, "SUBSCRIBE sip:5551000@198.51.100.20:5060");
    assert_eq!((out.header("Event"), out.header("Contact")), ("presence", "<sip:198.51.100.1:5060>"));
    assert!(!out.0.contains("192.0.2."), "{}", out.0);
    let ok = answer(&out, "200 OK", "bob", CALLEE, "");
    net.receive(CALLEE, &with(&ok, "Expires: 300\r\n"));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert_eq!((ok.header("Expires"), ok.header("Contact")), ("300", "<sip:192.0.2.1:5060>"));
    (ok.tag("To").to_owned(), out)
}

#[test]
fn a_subscription_lives_and_ends() {
    let mut net = Net::new();
    let (tag, out) = subscribed(&mut net);
    let state = "Event: presence\r\nSubscription-State: active;expires=300\r\n";
    net.receive(CALLEE, &notify(&out, 1, "bob", state, "<presence/>"));
    let told = net.expect(CALLER, "NOTIFY sip:2001@192.0.2.10:5060");
    assert_eq!((told.tag("From"), told.tag("To"), told.body()), (tag.as_str(), "alice", "<presence/>"));
    net.receive(CALLER, &answer(&told, "200 OK", "", CALLER, ""));
    net.expect(CALLEE, "SIP/2.0 200");
    // Refreshed within its time, it goes on.
    net.advance(290 * SECOND);
    net.receive(CALLER, &again(2, &tag, PRESENCE));
    let refresh = net.expect(CALLEE, "SUBSCRIBE sip:198.51.100.20:5060");
    assert_eq!((refresh.tag("To"), refresh.header("CSeq")), ("bob", "2 SUBSCRIBE"));
    net.receive(CALLEE, &with(&answer(&refresh, "200 OK", "", CALLEE, ""), "Expires: 600\r\n"));
    net.expect(CALLER, "SIP/2.0 200");
    net.advance(500 * SECOND);
    net.receive(CALLEE, &notify(&out, 2, "bob", state, "<presence/>"));
    let told = net.expect(CALLER, "NOTIFY");
    net.receive(CALLER, &answer(&told, "200 OK", "", CALLER, ""));
    net.expect(CALLEE, "SIP/2.0 200");
    // The last NOTIFY ends it.
    let last = "Event: presence\r\nSubscription-State: terminated;reason=noresource\r\n";
    net.receive(CALLEE, &notify(&out, 3, "bob", last, ""));
    let told = net.expect(CALLER, "NOTIFY");
    net.receive(CALLER, &answer(&told, "200 OK", "", CALLER, ""));
    net.expect(CALLEE, "SIP/2.0 200");
    net.receive(CALLER, &again(3, &tag, PRESENCE));
    net.expect(CALLER, "SIP/2.0 481");
    net.nothing_left();
}

#[test]
fn nobody_refreshes_and_it_is_forgotten() {
    let mut net = Net::new();
    let (tag, out) = subscribed(&mut net);
    net.advance(361 * SECOND);
    net.receive(CALLEE, &notify(&out, 1, "bob", "Event: presence\r\nSubscription-State: active\r\n", ""));
    net.expect(CALLEE, "SIP/2.0 481");
    net.receive(CALLER, &again(2, &tag, PRESENCE));
    net.expect(CALLER, "SIP/2.0 481");
    net.nothing_left();
}

#[test]
fn the_first_notify_may_come_before_the_answer() {
    let mut net = Net::new();
    net.receive(CALLER, &outside("SUBSCRIBE", "s1", PRESENCE));
    let out = net.expect(CALLEE, "SUBSCRIBE");
    let state = "Event: presence\r\nSubscription-State: active;expires=300\r\n";
    net.receive(CALLEE, &notify(&out, 1, "bob", state, "<presence/>"));
    let told = net.expect(CALLER, "NOTIFY");
    net.receive(CALLER, &answer(&told, "200 OK", "", CALLER, ""));
    net.expect(CALLEE, "SIP/2.0 200");
    // Another branch of a fork has no subscription here.
    net.receive(CALLEE, &notify(&out, 2, "carol", state, "<presence/>"));
    net.expect(CALLEE, "SIP/2.0 481");
    net.receive(CALLEE, &with(&answer(&out, "200 OK", "bob", CALLEE, ""), "Expires: 300\r\n"));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert_eq!(ok.tag("To"), told.tag("From"));
    net.receive(CALLER, &again(2, ok.tag("To"), PRESENCE));
    assert_eq!(net.expect(CALLEE, "SUBSCRIBE").header("CSeq"), "2 SUBSCRIBE");
}

#[test]
fn a_refused_subscription_is_none() {
    let mut net = Net::new();
    net.receive(CALLER, &outside("SUBSCRIBE", "s1", PRESENCE));
    let out = net.expect(CALLEE, "SUBSCRIBE");
    net.receive(CALLEE, &answer(&out, "489 Bad Event", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 489");
    net.receive(CALLEE, &notify(&out, 1, "bob", "Event: presence\r\nSubscription-State: active\r\n", ""));
    net.expect(CALLEE, "SIP/2.0 481");
    net.nothing_left();
}

#[test]
fn only_so_many_are_kept() {
    let mut few = policy();
    few.limits.calls = 1;
    let mut net = Net::with(few);
    subscribed(&mut net);
    net.receive(CALLER, &outside("SUBSCRIBE", "s2", PRESENCE));
    net.expect(CALLER, "SIP/2.0 503");
    net.quiet();
}

#[test]
fn a_strangers_notify_does_not_cross() {
    let mut net = Net::new();
    let (tag, out) = subscribed(&mut net);
    // The subscriber's side cannot be spoken to from the notifier's.
    net.receive(CALLEE, &again(2, &tag, PRESENCE));
    net.expect(CALLEE, "SIP/2.0 481");
    let state = "Event: presence\r\nSubscription-State: active\r\n";
    net.receive(CALLEE, &notify(&out, 1, "mallory", state, ""));
    net.expect(CALLEE, "SIP/2.0 481");
    net.quiet();
}

#[test]
fn a_refer_outside_a_call_is_followed_by_its_notifys() {
    let mut net = Net::new();
    net.receive(CALLER, &outside("REFER", "s1", "Refer-To: <sip:3000@192.0.2.1:5060>\r\n"));
    let out = net.expect(CALLEE, "REFER");
    assert_eq!(out.header("Refer-To"), "<sip:3000@198.51.100.1:5060>");
    net.receive(CALLEE, &answer(&out, "202 Accepted", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 202");
    let state = "Event: refer\r\nSubscription-State: terminated;reason=noresource\r\n";
    net.receive(CALLEE, &notify(&out, 1, "bob", state, ""));
    let told = net.expect(CALLER, "NOTIFY");
    net.receive(CALLER, &answer(&told, "200 OK", "", CALLER, ""));
    net.expect(CALLEE, "SIP/2.0 200");
    net.nothing_left();
}

#[test]
fn publish_and_message_go_by_the_routes() {
    let mut net = Net::new();
    for method in ["PUBLISH", "MESSAGE", "NOTIFY"] {
        let lines = "Event: presence\r\nSIP-If-Match: x1\r\n";
        net.receive(CALLER, &outside(method, &format!("p-{method}"), lines));
        let out = net.expect(CALLEE, method);
        assert_eq!(out.header("SIP-If-Match"), "x1");
        net.receive(CALLEE, &with(&answer(&out, "200 OK", "bob", CALLEE, ""), "SIP-ETag: x2\r\n"));
        assert_eq!(net.expect(CALLER, "SIP/2.0 200").header("SIP-ETag"), "x2");
    }
    net.receive(CALLER, &outside("INFO", "p1", ""));
    net.expect(CALLER, "SIP/2.0 481");
    net.nothing_left();
}

#[test]
fn a_subscription_inside_a_call() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.receive(CALLER, &with(&caller_request("SUBSCRIBE", 2, "c1", &up.tag, ""), "Event: kpml\r\nExpires: 60\r\n"));
    let out = net.expect(CALLEE, "SUBSCRIBE");
    net.receive(CALLEE, &with(&answer(&out, "200 OK", "", CALLEE, ""), "Expires: 60\r\n"));
    net.expect(CALLER, "SIP/2.0 200");
    let state = "Event: kpml\r\nSubscription-State: active\r\n";
    net.receive(CALLEE, &with(&callee_request("NOTIFY", 1, &up.invite, "bob", ""), state));
    let told = net.expect(CALLER, "NOTIFY");
    assert_eq!(told.header("Event"), "kpml");
    net.receive(CALLER, &caller_request("BYE", 3, "c1", &up.tag, ""));
    net.nothing_left();
}

#[test]
fn a_restart_loses_subscriptions_and_both_sides_hear_so() {
    let mut net = Net::new();
    let (tag, out) = subscribed(&mut net);
    net.restart_signaling(policy());
    // RFC 6665 4.1.2.2: the subscriber subscribes anew; 4.2.2: the notifier ends it.
    net.receive(CALLER, &again(2, &tag, PRESENCE));
    net.expect(CALLER, "SIP/2.0 481");
    let state = "Event: presence\r\nSubscription-State: active;expires=300\r\n";
    net.receive(CALLEE, &notify(&out, 1, "bob", state, "<presence/>"));
    net.expect(CALLEE, "SIP/2.0 481");
    net.quiet();
}
