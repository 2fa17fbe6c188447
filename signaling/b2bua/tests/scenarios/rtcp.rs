//! Where RTCP goes: each party may have it on the RTP port (RFC 5761), whatever the other one does.

use crate::harness::*;

/// An SDP whose RTCP shares the RTP port.
fn muxed(ip: &str, port: u16) -> String {
    format!("{}a=rtcp-mux\r\n", sdp(ip, port))
}

/// Whether RTCP shares the RTP port of the caller and of the callee.
fn muxes(net: &Net) -> [bool; 2] {
    let (_, spec) = net.session();
    [0, 1].map(|leg: usize| spec.legs[leg].streams[0].rtcp_mux)
}

/// A call with that offer and answer; and the INVITE and the 200 as they came out.
fn call(net: &mut Net, offer: &str, reply: &str) -> (Up, Message) {
    net.receive(CALLER, &invite("5551000", "c1", offer));
    net.expect(CALLER, "SIP/2.0 100");
    let invite = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&invite, "200 OK", "bob", CALLEE, reply));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    let tag = ok.tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLEE, "ACK");
    (Up { tag, invite }, ok)
}

/// The caller offers anew, the callee answers; what each of them is shown.
fn reinvited(net: &mut Net, up: &Up, cseq: u32, offer: &str, reply: &str) -> [Message; 2] {
    net.receive(CALLER, &caller_request("INVITE", cseq, "c1", &up.tag, offer));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, reply));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &caller_request("ACK", cseq, "c1", &up.tag, ""));
    net.expect(CALLEE, "ACK");
    [out, ok]
}

#[test]
fn what_both_take_and_what_neither_wants_stays_as_it_is() {
    let mut net = Net::new();
    let (up, ok) = call(&mut net, &muxed("192.0.2.10", 4000), &muxed("198.51.100.20", 6000));
    assert_eq!(up.invite.body(), muxed("198.51.100.1", 20_002));
    assert_eq!(ok.body(), muxed("192.0.2.1", 20_000));
    assert_eq!(muxes(&net), [true, true]);

    let mut net = Net::new();
    let (up, ok) = call(&mut net, &sdp("192.0.2.10", 4000), &sdp("198.51.100.20", 6000));
    assert_eq!((up.invite.body(), ok.body()), (&sdp("198.51.100.1", 20_002)[..], &sdp("192.0.2.1", 20_000)[..]));
    assert_eq!(muxes(&net), [false, false]);
}

#[test]
fn a_caller_has_it_though_the_callee_does_not() {
    let mut net = Net::new();
    let (up, ok) = call(&mut net, &muxed("192.0.2.10", 4000), &sdp("198.51.100.20", 6000));
    assert_eq!(up.invite.body(), muxed("198.51.100.1", 20_002), "the callee is offered it");
    assert_eq!(ok.body(), muxed("192.0.2.1", 20_000), "the caller has what it offered");
    assert_eq!(muxes(&net), [true, false]);
    // A hold of either, and a refresh, change nothing in it. The callee is not offered again what it did not take.
    let held = |sdp: String| format!("{sdp}a=sendonly\r\n");
    let [out, ok] = reinvited(&mut net, &up, 2, &held(muxed("192.0.2.10", 4000)), &held(sdp("198.51.100.20", 6000)));
    assert_eq!(out.body(), held(sdp("198.51.100.1", 20_002)));
    assert_eq!(ok.body(), format!("{}a=rtcp-mux\r\n", held(sdp("192.0.2.1", 20_000))));
    assert_eq!(muxes(&net), [true, false]);

    net.receive(CALLEE, &callee_request("INVITE", 1, &up.invite, "bob", &sdp("198.51.100.20", 6000)));
    net.expect(CALLEE, "SIP/2.0 100");
    let out = net.expect(CALLER, "INVITE");
    assert_eq!(out.body(), muxed("192.0.2.1", 20_000), "offered to who has it");
    net.receive(CALLER, &answer(&out, "200 OK", "alice", CALLER, &muxed("192.0.2.10", 4000)));
    let ok = net.expect(CALLEE, "SIP/2.0 200");
    assert_eq!(ok.body(), sdp("198.51.100.1", 20_002), "who has not offered it is not told of it");
    assert_eq!(muxes(&net), [true, false]);
}

#[test]
fn early_media_have_it_too() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &muxed("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "183 Session Progress", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    assert_eq!(net.expect(CALLER, "SIP/2.0 183").body(), muxed("192.0.2.1", 20_000));
    assert_eq!(muxes(&net), [true, false]);
    // The branch that answers takes it.
    net.receive(CALLEE, &answer(&out, "200 OK", "carol", CALLEE, &muxed("198.51.100.20", 6000)));
    assert_eq!(net.expect(CALLER, "SIP/2.0 200").body(), muxed("192.0.2.1", 20_000));
    assert_eq!(muxes(&net), [true, true]);
}

#[test]
fn each_may_begin_with_it_later_and_leave_it_again() {
    let mut net = Net::new();
    let (up, _) = call(&mut net, &sdp("192.0.2.10", 4000), &sdp("198.51.100.20", 6000));
    let [out, ok] = reinvited(&mut net, &up, 2, &muxed("192.0.2.10", 4000), &sdp("198.51.100.20", 6000));
    assert_eq!((out.body(), ok.body()), (&sdp("198.51.100.1", 20_002)[..], &muxed("192.0.2.1", 20_000)[..]));
    assert_eq!(muxes(&net), [true, false]);
    net.restart_signaling(policy());
    let [_, ok] = reinvited(&mut net, &up, 3, &muxed("192.0.2.10", 4000), &sdp("198.51.100.20", 6000));
    assert_eq!(ok.body(), muxed("192.0.2.1", 20_000), "a restarted signaling knows of it");
    let [_, ok] = reinvited(&mut net, &up, 4, &sdp("192.0.2.10", 4000), &sdp("198.51.100.20", 6000));
    assert_eq!(ok.body(), sdp("192.0.2.1", 20_000));
    assert_eq!(muxes(&net), [false, false]);
}

#[test]
fn an_offer_that_comes_with_the_answer_is_agreed_with_each_too() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", ""));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &muxed("198.51.100.20", 6000)));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert!(ok.body().ends_with("a=rtcp-mux\r\n"), "{}", ok.body());
    let tag = ok.tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, &sdp("192.0.2.10", 4000)));
    let ack = net.expect(CALLEE, "ACK");
    assert!(ack.body().ends_with("a=rtcp-mux\r\n"), "{}", ack.body());
    assert_eq!(muxes(&net), [false, true]);
}

#[test]
fn who_insists_on_it_has_it_and_who_does_not_know_it_never_hears_of_it() {
    let only = |ip: &str, port: u16| format!("{}a=rtcp:{port}\r\na=rtcp-mux-only\r\n", muxed(ip, port));
    let mut net = Net::new();
    let (up, ok) = call(&mut net, &only("192.0.2.10", 4000), &sdp("198.51.100.20", 6000));
    assert_eq!(up.invite.body(), only("198.51.100.1", 20_002));
    assert_eq!(ok.body(), muxed("192.0.2.1", 20_000));
    assert_eq!(muxes(&net), [true, false]);
    let [out, _] = reinvited(&mut net, &up, 2, &only("192.0.2.10", 4000), &sdp("198.51.100.20", 6000));
    assert_eq!(out.body(), format!("{}a=rtcp:20003\r\n", sdp("198.51.100.1", 20_002)));
}
