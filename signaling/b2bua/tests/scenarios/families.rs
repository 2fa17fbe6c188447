//! Calls between a side that speaks IPv4 and one that speaks IPv6.

use moorline_b2bua::Input;
use moorline_b2bua::policy::Policy;
use moorline_control::{Refusal, RefusalCode};

use crate::harness::*;

/// The carrier's media is IPv6.
fn policy6() -> Policy {
    let mut policy = policy();
    policy.trunks[1].media_range = "six".into();
    policy
}

fn sdp6(port: u16, attributes: &str) -> String {
    format!(
        "v=0\r\no=- 7 7 IN IP6 2001:db8::20\r\ns=-\r\nc=IN IP6 2001:db8::20\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\n\
         {attributes}"
    )
}

fn sdp4(port: u16, attributes: &str) -> String {
    format!("{}{attributes}", sdp("192.0.2.10", port))
}

#[test]
fn addresses_of_either_version_take_the_place_of_the_other() {
    let mut net = Net::with(policy6());
    net.receive(CALLER, &invite("5551000", "c1", &sdp4(4000, "a=rtcp:4009 IN IP4 192.0.2.11\r\n")));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    let lines = ["o=- 1 1 IN IP6 2001:db8::1", "c=IN IP6 2001:db8::1", "a=rtcp:20003 IN IP6 2001:db8::1"];
    for line in lines {
        assert!(out.body().contains(&format!("{line}\r\n")), "{line} in\n{}", out.body());
    }
    assert!(out.body().contains("m=audio 20002 RTP/AVP 8 101\r\n") && !out.body().contains("192.0.2."));
    let rtcp = "a=rtcp:6009 IN IP6 2001:db8::21\r\n";
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp6(6000, rtcp)));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    for line in ["o=- 7 7 IN IP4 192.0.2.1", "c=IN IP4 192.0.2.1", "a=rtcp:20001 IN IP4 192.0.2.1"] {
        assert!(ok.body().contains(&format!("{line}\r\n")), "{line} in\n{}", ok.body());
    }
    assert!(ok.body().contains("m=audio 20000 RTP/AVP 8\r\n") && !ok.body().contains("2001:db8"));
    let (_, spec) = net.session();
    let [inside, outside] = [&spec.legs[0].streams[0], &spec.legs[1].streams[0]];
    assert_eq!(inside.remote_rtp, Some("192.0.2.10:4000".parse().unwrap()));
    assert_eq!(inside.remote_rtcp, Some("192.0.2.11:4009".parse().unwrap()));
    assert_eq!(outside.remote_rtp, Some("[2001:db8::20]:6000".parse().unwrap()));
    assert_eq!(outside.remote_rtcp, Some("[2001:db8::21]:6009".parse().unwrap()));
}

#[test]
fn both_holds_of_either_version_cross() {
    let mut net = Net::with(policy6());
    net.receive(CALLER, &invite("5551000", "c1", &sdp4(4000, "")));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp6(6000, "")));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLEE, "ACK");
    let hold = sdp4(4000, "").replace("c=IN IP4 192.0.2.10", "c=IN IP4 0.0.0.0");
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &tag, &hold));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    assert!(out.body().contains("c=IN IP4 0.0.0.0\r\n"), "an address that holds is of no version: {}", out.body());
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp6(6000, "a=inactive\r\n")));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &caller_request("ACK", 2, "c1", &tag, ""));
    net.expect(CALLEE, "ACK");
    assert_eq!(net.session().1.media_timeout_ms, 0, "nobody expects media");
    net.receive(CALLER, &caller_request("INVITE", 3, "c1", &tag, &sdp4(4000, "")));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    assert!(out.body().contains("c=IN IP6 2001:db8::1\r\n"));
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp6(6000, "")));
    net.expect(CALLER, "SIP/2.0 200");
    assert_eq!(net.session().1.legs[1].streams[0].remote_rtp, Some("[2001:db8::20]:6000".parse().unwrap()));
}

#[test]
fn an_address_of_the_wrong_version_is_the_party_s_fault() {
    let mut net = Net::with(policy6());
    net.media.refuse = Some(Refusal::new(RefusalCode::Unacceptable, "of another IP version than the leg's range"));
    net.receive(CALLER, &invite("5551000", "c1", &sdp6(4000, "")));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLER, "SIP/2.0 488");
    net.input(Input::Timeout);
    net.quiet();
}
