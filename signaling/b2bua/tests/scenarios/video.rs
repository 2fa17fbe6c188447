//! Which streams are carried, and what is let in on them.

use moorline_b2bua::policy::Policy;
use moorline_control::Ceiling;

use crate::harness::*;

/// Audio with video beside it.
fn both(ip: &str, audio: u16, video: u16) -> String {
    let lines = "a=rtpmap:99 H264/90000\r\na=fmtp:99 profile-level-id=42e01f\r\n";
    format!("{}m=video {video} RTP/AVP 99\r\n{lines}", sdp(ip, audio))
}

fn without_video(trunk: usize) -> Policy {
    let mut policy = policy();
    policy.trunks[trunk].dialogs.video = false;
    policy
}

/// A call with audio and, perhaps, video; the INVITE and the 200 as they came out.
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

#[test]
fn video_is_carried_beside_audio() {
    let mut net = Net::new();
    let (up, ok) = call(&mut net, &both("192.0.2.10", 4000, 4002), &both("198.51.100.20", 6000, 6002));
    assert!(up.invite.body().contains("m=video 20006 "), "{}", up.invite.body());
    assert!(ok.body().contains("m=video 20002 "), "{}", ok.body());
    for leg in net.session().1.legs {
        assert!(leg.streams[0].one_ssrc && !leg.streams[1].one_ssrc, "video may have retransmissions");
        assert_eq!(leg.streams[0].ceiling, Some(Ceiling { packets_per_s: 200, bytes_per_s: 22_400 }));
        assert_eq!(leg.streams[1].ceiling, Some(Ceiling { packets_per_s: 4_000, bytes_per_s: 1_000_000 }));
        assert!(!leg.streams[0].stun);
    }
}

#[test]
fn video_that_either_trunk_refuses_is_refused_by_port_0_and_the_audio_goes_on() {
    for trunk in [0, 1] {
        let mut net = Net::with(without_video(trunk));
        let (up, ok) = call(&mut net, &both("192.0.2.10", 4000, 4002), &both("198.51.100.20", 6000, 0));
        for body in [up.invite.body(), ok.body()] {
            assert!(body.contains("m=audio 2000") && body.contains("m=video 0 RTP/AVP 99\r\n"), "{body}");
        }
        for leg in net.session().1.legs {
            assert_eq!((leg.streams[0].active, leg.streams[1].active), (true, false));
        }
    }
}

#[test]
fn a_callee_that_takes_refused_video_all_the_same_gets_none() {
    let mut net = Net::with(without_video(1));
    let (_, ok) = call(&mut net, &both("192.0.2.10", 4000, 4002), &both("198.51.100.20", 6000, 6002));
    assert!(ok.body().contains("m=video 0 "), "{}", ok.body());
    assert!(net.session().1.legs.iter().all(|leg| !leg.streams[1].active));
}

#[test]
fn video_that_comes_later_is_refused_too_and_the_audio_stays() {
    let mut net = Net::with(without_video(1));
    let up = establish(&mut net);
    let before = net.session().1;
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, &both("192.0.2.10", 4000, 4002)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    assert!(out.body().contains("m=audio 20002 ") && out.body().contains("m=video 0 "), "{}", out.body());
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &both("198.51.100.20", 6000, 0)));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert!(ok.body().contains("m=audio 20000 ") && ok.body().contains("m=video 0 "), "{}", ok.body());
    net.receive(CALLER, &caller_request("ACK", 2, "c1", &up.tag, ""));
    net.expect(CALLEE, "ACK");
    let after = net.session().1;
    for (leg, was) in after.legs.iter().zip(&before.legs) {
        assert_eq!(leg.streams[0].remote_rtp, was.streams[0].remote_rtp);
        assert!(!leg.streams[1].active);
    }
    // A hold of the audio is a hold of the call, whatever is said of the video that is not there.
    let hold = both("192.0.2.10", 4000, 4002).replace("a=x-unknown:kept", "a=sendonly");
    net.receive(CALLER, &caller_request("INVITE", 3, "c1", &up.tag, &hold));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &both("198.51.100.20", 6000, 0)));
    net.expect(CALLER, "SIP/2.0 200");
    assert_eq!(net.session().1.media_timeout_ms, 0);
}

#[test]
fn what_is_no_media_of_ours_is_refused_by_port_0_and_the_audio_goes_on() {
    let with_chat = |ip: &str, audio: u16, chat: u16| {
        format!("{}m=message {chat} TCP/MSRP *\r\na=path:msrp://{ip}:{chat}/x;tcp\r\n", sdp(ip, audio))
    };
    let mut net = Net::new();
    let (up, ok) = call(&mut net, &with_chat("192.0.2.10", 4000, 4002), &with_chat("198.51.100.20", 6000, 0));
    for body in [up.invite.body(), ok.body()] {
        assert!(body.contains("m=audio 2000") && body.contains("m=message 0 TCP/MSRP *\r\n"), "{body}");
    }
    for leg in net.session().1.legs {
        assert_eq!((leg.streams[0].active, leg.streams[1].active), (true, false));
    }
}

#[test]
fn video_alone_is_refused_as_a_whole() {
    let alone =
        "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=video 4002 RTP/AVP 99\r\n";
    let mut net = Net::with(without_video(0));
    net.receive(CALLER, &invite("5551000", "c1", alone));
    let refused = net.expect(CALLER, "SIP/2.0 488");
    assert!(refused.start().contains("No Video Here"), "{}", refused.start());
    net.receive(CALLER, &caller_request("ACK", 1, "c1", refused.tag("To"), ""));
    net.nothing_left();
}

#[test]
fn stun_crosses_where_both_trunks_let_it() {
    for (inside, outside) in [(false, true), (true, false), (true, true)] {
        let mut policy = policy();
        (policy.trunks[0].dialogs.stun, policy.trunks[1].dialogs.stun) = (inside, outside);
        let mut net = Net::with(policy);
        establish(&mut net);
        assert!(net.session().1.legs.iter().all(|leg| leg.streams[0].stun == (inside && outside)));
    }
}

#[test]
fn a_restarted_signaling_knows_what_may_come_in() {
    let mut net = Net::new();
    call(&mut net, &both("192.0.2.10", 4000, 4002), &both("198.51.100.20", 6000, 6002));
    let before = net.session().1;
    net.restart_signaling(policy());
    let after = net.session().1;
    for (leg, was) in after.legs.iter().zip(&before.legs) {
        for (stream, was) in leg.streams.iter().zip(&was.streams) {
            assert_eq!((stream.ceiling, stream.one_ssrc), (was.ceiling, was.one_ssrc));
        }
    }
}
