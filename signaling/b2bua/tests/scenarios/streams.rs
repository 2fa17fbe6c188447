//! Streams that end in mid-call.

use moorline_b2bua::Input;
use moorline_sip::Transport;
use moorline_sip::transaction::Flow;

use crate::harness::*;
use crate::phones::*;

/// The stream that the caller has opened, from this port.
fn stream(port: u16) -> Flow {
    Flow::new(0, Transport::Tcp, ([192, 0, 2, 10], port).into())
}

fn receive(net: &mut Net, port: u16, text: &str) {
    let text = text.replace("SIP/2.0/UDP", "SIP/2.0/TCP").replace("Contact: <sip:2001@192.0.2.10:5060>", CONTACT);
    net.input(Input::Message { flow: stream(port), bytes: text.as_bytes() });
}

const CONTACT: &str = "Contact: <sip:2001@192.0.2.10:5060;transport=tcp>";
/// Where the caller speaks from.
const FROM: &str = "192.0.2.10:40001";

/// The callee's phone rings; the caller is connected from port 40001.
fn ringing(net: &mut Net) -> Message {
    receive(net, 40_001, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(FROM, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    net.expect(FROM, "SIP/2.0 180");
    out
}

fn up(net: &mut Net) -> Up {
    let invite = ringing(net);
    net.receive(CALLEE, &answer(&invite, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let tag = net.expect(FROM, "SIP/2.0 200").tag("To").to_owned();
    receive(net, 40_001, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLEE, "ACK");
    net.quiet();
    Up { tag, invite }
}

fn breaks(net: &mut Net, port: u16) {
    net.input(Input::Broken { flow: stream(port) });
}

#[test]
fn a_call_whose_stream_has_ended_is_hung_up_at_the_contact() {
    let mut net = Net::new();
    let up = up(&mut net);
    breaks(&mut net, 40_001);
    net.receive(CALLEE, &callee_request("BYE", 1, &up.invite, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 200");
    let bye = net.expect(CALLER, "BYE sip:2001@192.0.2.10:5060;transport=tcp");
    assert!(bye.header("Via").starts_with("SIP/2.0/TCP"), "{}", bye.0);
    receive(&mut net, 5060, &answer(&bye, "200 OK", "", CALLER, ""));
    net.nothing_left();
}

#[test]
fn what_was_sent_on_a_stream_that_has_ended_is_sent_again() {
    let mut net = Net::new();
    let up = up(&mut net);
    for (method, cseq) in [("INFO", 1), ("INVITE", 2), ("BYE", 3)] {
        receive(&mut net, 40_000 + cseq, &caller_request("OPTIONS", 10 + cseq as u32, "c1", &up.tag, ""));
        net.expect(CALLEE, "OPTIONS");
        let body = if method == "INVITE" { sdp("198.51.100.20", 6000) } else { String::new() };
        net.receive(CALLEE, &callee_request(method, cseq.into(), &up.invite, "bob", &body));
        let sent = net.expect(&format!("192.0.2.10:{}", 40_000 + cseq), method);
        breaks(&mut net, 40_000 + cseq);
        let again = net.expect(CALLER, method);
        assert_eq!(again.0, sent.0);
        net.take_sent();
        // There is no other way: whoever asked hears that.
        net.input(Input::Broken { flow: stream(5060) });
        if method != "BYE" {
            net.expect(CALLEE, "SIP/2.0 408");
        }
        net.take_sent();
    }
    net.nothing_left();
}

#[test]
fn a_stream_of_ours_that_ends_is_opened_again_once() {
    let mut policy = policy();
    policy.trunks[1].targets = vec![format!("sip:{CALLEE};transport=tcp").parse().unwrap()];
    let ours = Flow::new(1, Transport::Tcp, CALLEE.parse().unwrap());
    let mut net = Net::with(policy);
    let contact = "198.51.100.20:5060;transport=tcp";
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let invite = net.expect(CALLEE, "INVITE");
    let ok = answer(&invite, "200 OK", "bob", contact, &sdp("198.51.100.20", 6000));
    net.input(Input::Message { flow: ours, bytes: ok.as_bytes() });
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLEE, "ACK");
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &tag, &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    // It was closed for being idle, say, when that was on its way.
    net.input(Input::Broken { flow: ours });
    assert_eq!(net.expect(CALLEE, "INVITE").0, sent.0);
    net.quiet();
    net.input(Input::Broken { flow: ours });
    net.expect(CALLER, "SIP/2.0 408");
    net.quiet();
}

#[test]
fn the_answer_finds_a_caller_whose_stream_has_ended() {
    let mut net = Net::new();
    let out = ringing(&mut net);
    breaks(&mut net, 40_001);
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    receive(&mut net, 40_002, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLEE, "ACK");
    receive(&mut net, 40_002, &caller_request("BYE", 2, "c1", &tag, ""));
    net.expect("192.0.2.10:40002", "SIP/2.0 200");
    net.expect(CALLEE, "BYE");
    net.nothing_left();
}

#[test]
fn a_caller_that_connects_anew_is_spoken_to_there() {
    let mut net = Net::new();
    let up = up(&mut net);
    breaks(&mut net, 40_001);
    receive(&mut net, 40_002, &caller_request("INFO", 2, "c1", &up.tag, ""));
    let info = net.expect(CALLEE, "INFO");
    net.receive(CALLEE, &answer(&info, "200 OK", "", CALLEE, ""));
    net.expect("192.0.2.10:40002", "SIP/2.0 200");
    net.receive(CALLEE, &callee_request("BYE", 1, &up.invite, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 200");
    net.expect("192.0.2.10:40002", "BYE");
}

#[test]
fn a_restart_ends_all_streams() {
    let mut net = Net::new();
    let up = up(&mut net);
    net.restart_signaling(policy());
    net.receive(CALLEE, &callee_request("BYE", 1, &up.invite, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 200");
    net.expect(CALLER, "BYE");
    net.nothing_left();
}

/// A telephone's stream from this port.
fn phone_stream(port: u16) -> Flow {
    Flow::new(1, Transport::Tcp, ([203, 0, 113, 60], port).into())
}

fn phone_says(net: &mut Net, port: u16, text: &str) {
    let text = text.replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    net.input(Input::Message { flow: phone_stream(port), bytes: text.as_bytes() });
}

fn phone_registers(net: &mut Net, alice: &mut Phone, port: u16) {
    let at = phone_stream(port).remote.to_string();
    let text = alice.register_text(600);
    phone_says(net, port, &text);
    let challenge = net.expect(&at, "SIP/2.0 401");
    alice.challenged(&challenge);
    let plain = alice.register_text(600);
    let text = alice.authorized(&plain);
    phone_says(net, port, &text);
    net.expect(&at, "SIP/2.0 200");
}

#[test]
fn a_telephone_that_has_registered_over_another_stream_is_hung_up_there() {
    for restarted in [false, true] {
        let mut net = Net::with(with_phones());
        let mut alice = phone("6000", "1234", PHONE);
        alice.contact = "sip:6000@10.0.0.6:5060;transport=tcp".into();
        phone_registers(&mut net, &mut alice, 41_000);
        let plain = alice.request("INVITE", 2, "02187654321", "", &sdp("203.0.113.60", 4000));
        let text = alice.authorized(&plain);
        phone_says(&mut net, 41_000, &text);
        net.expect("203.0.113.60:41000", "SIP/2.0 100");
        let invite = net.expect(CALLEE, "INVITE");
        net.receive(CALLEE, &answer(&invite, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
        let tag = net.expect("203.0.113.60:41000", "SIP/2.0 200").tag("To").to_owned();
        phone_says(&mut net, 41_000, &alice.request("ACK", 2, "02187654321", &tag, ""));
        net.expect(CALLEE, "ACK");
        match restarted {
            true => net.restart_signaling(with_phones()),
            false => net.input(Input::Broken { flow: phone_stream(41_000) }),
        }
        phone_registers(&mut net, &mut alice, 42_000);
        net.receive(CALLEE, &callee_request("BYE", 1, &invite, "bob", ""));
        net.expect(CALLEE, "SIP/2.0 200");
        let bye = net.expect("203.0.113.60:41000", "BYE");
        // Nobody takes connections there.
        net.input(Input::Broken { flow: phone_stream(41_000) });
        assert_eq!(net.expect("203.0.113.60:42000", "BYE").0, bye.0);
        phone_says(&mut net, 42_000, &answer(&bye, "200 OK", "", PHONE, ""));
        net.quiet();
        assert_eq!(net.counters().calls_active, 0);
    }
}
