//! Fax: a call that starts as audio and goes on as T.38 over UDPTL, or does not.

use crate::harness::*;
use moorline_b2bua::{Input, MediaInput};
use moorline_control::Profile;

const T38: &str = "a=T38FaxVersion:0\r\na=T38FaxMaxBuffer:400\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n";

/// An SDP with one fax stream.
fn fax(ip: &str, port: u16) -> String {
    format!("v=0\r\no=- 1 2 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=image {port} udptl t38\r\n{T38}")
}

/// The audio is put away, and a fax stream stands beside it.
fn beside(ip: &str, audio: u16, fax: u16) -> String {
    format!("{}m=image {fax} udptl t38\r\n{T38}", sdp(ip, audio))
}

fn reinvited(net: &mut Net, up: &Up, cseq: u32, body: &str) -> Message {
    net.receive(CALLER, &caller_request("INVITE", cseq, "c1", &up.tag, body));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE")
}

#[test]
fn the_audio_stream_becomes_a_fax_stream_and_audio_again() {
    let mut net = Net::new();
    let up = establish(&mut net);
    let out = reinvited(&mut net, &up, 2, &fax("192.0.2.10", 4100));
    assert_eq!(out.body(), fax("198.51.100.1", 20_002));
    // Until the answer, both may still send audio.
    assert!(net.session().1.legs.iter().all(|leg| leg.streams[0].profile == Profile::Rtp));
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &fax("198.51.100.20", 6100)));
    assert_eq!(net.expect(CALLER, "SIP/2.0 200").body(), fax("192.0.2.1", 20_000));
    net.receive(CALLER, &caller_request("ACK", 2, "c1", &up.tag, ""));
    net.expect(CALLEE, "ACK");
    let (_, spec) = net.session();
    assert!(spec.legs.iter().all(|leg| leg.streams[0].profile == Profile::Udptl && leg.streams[0].active));
    assert_eq!(spec.legs[0].streams[0].remote_rtp, Some("192.0.2.10:4100".parse().unwrap()));
    // A restarted signaling knows it for what it is.
    net.restart_signaling(policy());
    let out = reinvited(&mut net, &up, 3, &sdp("192.0.2.10", 4000));
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLER, "SIP/2.0 200");
    assert!(net.session().1.legs.iter().all(|leg| leg.streams[0].profile == Profile::Rtp));
}

#[test]
fn a_fax_stream_beside_the_audio() {
    let mut net = Net::new();
    let up = establish(&mut net);
    let out = reinvited(&mut net, &up, 2, &beside("192.0.2.10", 0, 4100));
    assert!(out.body().contains("m=audio 0 ") && out.body().contains("m=image 20006 udptl"), "{}", out.body());
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &beside("198.51.100.20", 0, 6100)));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert!(ok.body().contains("m=audio 0 ") && ok.body().contains("m=image 20004 udptl"), "{}", ok.body());
    let (_, spec) = net.session();
    for leg in &spec.legs {
        assert_eq!((leg.streams[0].active, leg.streams[1].active), (false, true));
        assert_eq!(leg.streams[1].profile, Profile::Udptl);
    }
}

#[test]
fn refused_with_488_fax_goes_on_as_audio() {
    let mut net = Net::new();
    let up = establish(&mut net);
    let before = net.session().1.legs;
    net.receive(CALLEE, &callee_request("INVITE", 1, &up.invite, "bob", &fax("198.51.100.20", 6100)));
    net.expect(CALLEE, "SIP/2.0 100");
    let out = net.expect(CALLER, "INVITE");
    net.receive(CALLER, &answer(&out, "488 Not Acceptable Here", "alice", CALLER, ""));
    net.expect(CALLER, "ACK");
    net.expect(CALLEE, "SIP/2.0 488");
    assert_eq!(net.session().1.legs, before);
    assert_eq!(net.counters().calls_active, 1);
    net.quiet();
}

#[test]
fn a_trunk_without_fax_or_a_media_process_that_relays_none_refuses_it() {
    let mut without = policy();
    without.trunks[1].dialogs.fax = false;
    let mut net = Net::with(without);
    net.receive(CALLER, &invite("5551000", "c0", &fax("192.0.2.10", 4100)));
    net.expect(CALLER, "SIP/2.0 488");
    let mut without = policy();
    without.trunks[1].dialogs.fax = false;
    let mut net = Net::with(without);
    let up = establish(&mut net);
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, &fax("192.0.2.10", 4100)));
    net.expect(CALLER, "SIP/2.0 488");
    // A fax stream that is refused already is none.
    reinvited(&mut net, &up, 3, &beside("192.0.2.10", 4000, 0));

    let mut net = Net::new();
    let mut older = hello(1);
    older.profiles.clear();
    net.input(Input::Media(MediaInput::Connected(older)));
    net.receive(CALLER, &invite("5551000", "c1", &fax("192.0.2.10", 4100)));
    net.expect(CALLER, "SIP/2.0 488");
    assert_eq!(net.counters().calls_active, 0);
}
