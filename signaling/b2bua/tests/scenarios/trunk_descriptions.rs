//! What trunks let session descriptions say: codecs, and private addresses.

use moorline_b2bua::policy::{Codecs, MediaNat, Policy, PrivateMedia};

use crate::harness::*;

/// A description with these payload types.
fn audio(ip: &str, port: u16, formats: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP {formats}\r\n\
         a=rtpmap:97 iLBC/8000\r\na=fmtp:97 mode=20\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=x-kept\r\n"
    )
}

/// What stands in `m=audio` after the profile.
fn formats(message: &Message) -> String {
    let line = message.body().lines().find(|line| line.starts_with("m=audio")).unwrap().to_owned();
    line.split("RTP/AVP ").nth(1).unwrap().to_owned()
}

/// The customers' codecs and the carrier's.
fn allowed(inside: &[&str], outside: &[&str]) -> Policy {
    let mut policy = policy();
    for (trunk, names) in policy.trunks.iter_mut().zip([inside, outside]) {
        trunk.codecs = Codecs::new(names.iter().map(|name| name.parse().unwrap()).collect());
    }
    policy
}

#[test]
fn an_offer_holds_what_both_trunks_allow_in_the_order_of_who_gets_it() {
    let mut net = Net::with(allowed(&["pcmu", "pcma", "g729"], &["pcma", "pcmu"]));
    let offer = audio("192.0.2.10", 4000, "0 97 18 8 101 13");
    net.receive(CALLER, &invite("5551000", "c1", &offer));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    let expected = audio("198.51.100.1", 20_002, "8 0 101 13");
    assert_eq!(sent.body(), expected.replace("a=rtpmap:97 iLBC/8000\r\na=fmtp:97 mode=20\r\n", ""));
    // Early media, and then the answer: each in the order that the called party says.
    net.receive(CALLEE, &answer(&sent, "183 Session Progress", "bob", CALLEE, &audio("198.51.100.20", 6000, "0 101")));
    assert_eq!(formats(&net.expect(CALLER, "SIP/2.0 183")), "0 101");
    net.receive(CALLEE, &answer(&sent, "200 OK", "bob", CALLEE, &audio("198.51.100.20", 6000, "0 8 101")));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert_eq!(formats(&ok), "0 8 101");
    net.receive(CALLER, &caller_request("ACK", 1, "c1", ok.tag("To"), ""));
    net.expect(CALLEE, "ACK");
    // A new offer, of either party.
    net.receive(CALLEE, &callee_request("INVITE", 1, &sent, "bob", &audio("198.51.100.20", 6000, "8 97 0 101")));
    net.expect(CALLEE, "SIP/2.0 100");
    let sent = net.expect(CALLER, "INVITE");
    assert_eq!(formats(&sent), "0 8 101");
    net.receive(CALLER, &answer(&sent, "200 OK", "", CALLER, &audio("192.0.2.10", 4000, "0 101")));
    assert_eq!(formats(&net.expect(CALLEE, "SIP/2.0 200")), "0 101");
}

#[test]
fn where_no_codec_is_left_the_call_is_refused() {
    let mut net = Net::with(allowed(&[], &["pcma", "g729"]));
    net.receive(CALLER, &invite("5551000", "c1", &audio("192.0.2.10", 4000, "0 97 101")));
    let refused = net.expect(CALLER, "SIP/2.0 488 Not Acceptable Here - No Allowed Codec");
    net.receive(CALLER, &caller_request("ACK", 1, "c1", refused.tag("To"), ""));
    net.quiet();
    net.nothing_left();
}

#[test]
fn an_answer_with_a_codec_that_was_not_allowed_ends_the_call() {
    let mut net = Net::with(allowed(&[], &["pcma", "g729"]));
    net.receive(CALLER, &invite("5551000", "c1", &audio("192.0.2.10", 4000, "0 8 101")));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    assert_eq!(formats(&sent), "8 101");
    net.receive(CALLEE, &answer(&sent, "200 OK", "bob", CALLEE, &audio("198.51.100.20", 6000, "0 101")));
    net.expect(CALLER, "SIP/2.0 488");
    net.expect(CALLEE, "ACK");
    net.expect(CALLEE, "BYE");
    net.nothing_left();
}

#[test]
fn a_new_offer_without_an_allowed_codec_is_refused_and_the_call_goes_on() {
    for method in ["INVITE", "UPDATE"] {
        let mut net = Net::with(allowed(&[], &["pcma"]));
        let up = establish(&mut net);
        net.receive(CALLER, &caller_request(method, 2, "c1", &up.tag, &audio("192.0.2.10", 4000, "0 101")));
        net.expect(CALLER, "SIP/2.0 488");
        assert_eq!(net.counters().calls_active, 1);
    }
}

#[test]
fn a_late_offer_is_filtered_and_ordered_too() {
    let mut net = Net::with(allowed(&["pcmu", "pcma"], &["g729", "pcma", "pcmu"]));
    net.receive(CALLER, &invite("5551000", "c1", ""));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&sent, "200 OK", "bob", CALLEE, &audio("198.51.100.20", 6000, "18 97 8 0 101")));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert_eq!(formats(&ok), "0 8 101");
    net.receive(CALLER, &caller_request("ACK", 1, "c1", ok.tag("To"), &audio("192.0.2.10", 4000, "8 0 101")));
    assert_eq!(formats(&net.expect(CALLEE, "ACK")), "8 0 101");
}

#[test]
fn one_of_two_audio_streams_is_refused_by_its_port_where_no_codec_is_left_for_it() {
    let two =
        |ip: &str, port: u16| format!("{}m=audio {} RTP/AVP 97\r\na=rtpmap:97 iLBC/8000\r\n", sdp(ip, port), port + 2);
    let mut net = Net::with(allowed(&[], &["pcma"]));
    net.receive(CALLER, &invite("5551000", "c1", &two("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    assert!(sent.body().contains("m=audio 20002 RTP/AVP 8 101\r\n"), "{}", sent.body());
    assert!(sent.body().contains("m=audio 0 RTP/AVP 97\r\n"), "{}", sent.body());
}

#[test]
fn fax_and_video_are_not_touched() {
    let fax = "v=0\r\no=- 1 2 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=image 4000 udptl t38\r\n";
    let video =
        "m=video 4002 RTP/AVP 99 97\r\na=rtpmap:99 H264/90000\r\na=rtpmap:97 VP8/90000\r\na=rtcp-fb:97 nack\r\n";
    let mut net = Net::with(allowed(&["pcma"], &["pcma"]));
    let up = establish(&mut net);
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, fax));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    assert!(sent.body().ends_with(" udptl t38\r\n"), "{}", sent.body());

    let mut net = Net::with(allowed(&["pcma"], &["pcma"]));
    net.receive(CALLER, &invite("5551000", "c1", &format!("{}{video}", sdp("192.0.2.10", 4000))));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    assert!(sent.body().ends_with(&video.replace("4002", "20006")), "{}", sent.body());
}

fn private(trunk: usize, policy: PrivateMedia) -> Policy {
    let mut made = crate::harness::policy();
    made.trunks[trunk].private_media = policy;
    made
}

#[test]
fn a_private_media_address_from_a_public_source_is_refused_by_policy() {
    for address in ["10.1.2.3", "192.168.1.5", "172.16.0.1", "100.64.0.1"] {
        let mut net = Net::with(private(0, PrivateMedia::Refuse));
        net.receive(CALLER, &invite("5551000", "c1", &sdp(address, 4000)));
        net.expect(CALLER, "SIP/2.0 488 Not Acceptable Here - Private IP Address");
    }
    let mut net = Net::with(private(0, PrivateMedia::Refuse));
    establish(&mut net);
}

#[test]
fn a_private_media_address_in_an_answer_ends_the_call() {
    let mut net = Net::with(private(1, PrivateMedia::Refuse));
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    // Early media from there is left out; ringing goes on.
    net.receive(CALLEE, &answer(&sent, "183 Session Progress", "bob", CALLEE, &sdp("10.0.0.9", 6000)));
    assert_eq!(net.expect(CALLER, "SIP/2.0 183").body(), "");
    net.receive(CALLEE, &answer(&sent, "200 OK", "bob", CALLEE, &sdp("10.0.0.9", 6000)));
    net.expect(CALLER, "SIP/2.0 488 Not Acceptable Here - Private IP Address");
    net.expect(CALLEE, "ACK");
    net.expect(CALLEE, "BYE");
    net.nothing_left();
}

#[test]
fn a_private_address_of_a_party_that_is_private_itself_is_none() {
    let mut policy = private(1, PrivateMedia::Refuse);
    policy.trunks[1].targets = vec!["10.0.0.5:5060".parse().unwrap()];
    let mut net = Net::with(policy);
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect("10.0.0.5:5060", "INVITE");
    net.receive("10.0.0.5:5060", &answer(&sent, "200 OK", "bob", "10.0.0.5:5060", &sdp("10.0.0.9", 6000)));
    net.expect(CALLER, "SIP/2.0 200");
}

#[test]
fn a_private_address_latches_or_is_believed() {
    for (policy, nat, latches) in [
        (PrivateMedia::Latch, MediaNat::Auto, true),
        (PrivateMedia::Allow, MediaNat::Auto, false),
        (PrivateMedia::Allow, MediaNat::Always, true),
        (PrivateMedia::Latch, MediaNat::Off, false),
    ] {
        let mut policy = private(0, policy);
        policy.trunks[0].media_nat = nat;
        let mut net = Net::with(policy);
        net.receive(CALLER, &invite("5551000", "c1", &sdp("10.1.2.3", 4000)));
        net.expect(CALLER, "SIP/2.0 100");
        net.expect(CALLEE, "INVITE");
        assert_eq!(net.session().1.legs[0].streams[0].latch.is_some(), latches);
    }
}
