//! Calls that have gone on to another trunk: what the one before still says, and whose settings count.

use moorline_b2bua::policy::{
    AnswerMap, AnswerRule, At, Change, Codecs, Edit, Failover, Hunt, NumberRule, NumberRules, Policy, PrivateMedia,
    Redirects, SecretPrefix, Way,
};

use crate::harness::*;
use crate::hunts::{SECOND, SECOND_NS, answered, from_second, hunting, policy_with, refused};

/// A call whose first carrier was given up for its silence, and that is at the second: both INVITEs.
fn gone_on(policy: Policy) -> (Net, Message, Message) {
    let (mut net, first) = hunting(policy);
    net.advance(5 * SECOND_NS);
    let second = net.expect(SECOND, "INVITE");
    net.take_sent();
    (net, first, second)
}

#[test]
fn a_late_redirection_of_a_trunk_that_was_given_up_is_not_followed() {
    let mut policy = policy_with(Failover::default());
    policy.trunks.iter_mut().for_each(|trunk| trunk.redirects = Redirects::Follow);
    let (mut net, first, second) = gone_on(policy);
    net.receive(CALLEE, &answer(&first, "302 Moved", "a", CALLEE, "").replace("sip:198", "sip:5551000@198"));
    net.expect(CALLEE, "ACK");
    net.quiet();
    answered(&mut net, &second);
}

#[test]
fn a_late_422_of_a_trunk_that_was_given_up_is_not_followed_by_another_invite() {
    let (mut net, first, second) = gone_on(policy_with(Failover::default()));
    let short = with(&answer(&first, "422 Session Interval Too Small", "a", CALLEE, ""), "Min-SE: 3600\r\n");
    net.receive(CALLEE, &short);
    net.expect(CALLEE, "ACK");
    net.quiet();
    answered(&mut net, &second);
}

#[test]
fn a_late_422_of_a_trunk_that_was_given_up_says_nothing_to_the_caller() {
    let (mut net, first, second) = gone_on(policy_with(Failover { statuses: vec![404], ..Failover::default() }));
    let short = with(&answer(&first, "422 Session Interval Too Small", "a", CALLEE, ""), "Min-SE: 3600\r\n");
    net.receive(CALLEE, &short);
    net.expect(CALLEE, "ACK");
    from_second(&mut net, &answer(&second, "486 Busy Here", "b", SECOND, ""));
    net.expect(SECOND, "ACK");
    net.expect(CALLER, "SIP/2.0 486 Busy Here");
    net.nothing_left();
}

#[test]
fn a_late_refusal_is_mapped_by_the_trunk_that_it_comes_from() {
    let rule =
        |to| AnswerRule { statuses: 486..=486, reason: None, to_status: Some(to), to_reason: None, announcement: None };
    let mut policy = policy_with(Failover::default());
    policy.trunks[1].answers.received = AnswerMap(vec![rule(404)]);
    policy.trunks[2].answers.received = AnswerMap(vec![rule(603)]);
    policy.routes = routes(Way::Trunks(Hunt::in_order([1, 2])));
    let (mut net, first, second) = gone_on(policy);
    net.receive(CALLEE, &answer(&first, "486 Busy Here", "a", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    net.quiet();
    from_second(&mut net, &answer(&second, "503 Full", "b", SECOND, ""));
    net.expect(SECOND, "ACK");
    net.expect(CALLER, "SIP/2.0 404 Not Found");
    net.nothing_left();
}

#[test]
fn a_late_sign_of_life_of_one_trunk_is_none_of_the_next() {
    let (mut net, first, _) = gone_on(policy_with(Failover::default()));
    net.receive(CALLEE, &answer(&first, "100 Trying", "", CALLEE, ""));
    net.take_sent();
    net.advance(5 * SECOND_NS);
    net.expect("198.51.100.50:5060", "INVITE");
}

#[test]
fn what_the_next_trunk_cannot_be_sent_is_refused_at_once() {
    let mut policy = policy_with(Failover::default());
    policy.routes = routes(Way::Trunks(Hunt::in_order([1, 2])));
    policy.trunks[0].relay.inbound = false;
    policy.trunks[2].relay.outbound = false;
    policy.trunks[2].codecs = Codecs::new(vec!["PCMA".parse().unwrap()]);
    // Media past us are of both streams or none, and this trunk takes one of them only.
    let offer = sdp("192.0.2.10", 4000) + "m=audio 4002 RTP/AVP 18\r\n";
    let mut net = Net::with(policy);
    net.receive(CALLER, &invite("5551000", "c1", &offer));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE");
    net.advance(5 * SECOND_NS);
    net.expect(CALLER, "SIP/2.0 488");
}

#[test]
fn whether_media_go_past_us_is_decided_anew_for_each_trunk() {
    for past in [1, 2] {
        let mut policy = policy_with(Failover::default());
        policy.trunks[0].relay.inbound = false;
        policy.trunks[past].relay.outbound = false;
        let (mut net, first) = hunting(policy.clone());
        let second = refused(&mut net, &first, "503 Gone");
        for (trunk, sent, ours) in [(1, &first, "198.51.100.1"), (2, &second, "203.0.113.1")] {
            let at = if trunk == past { "192.0.2.10" } else { ours };
            assert!(sent.body().contains(&format!("c=IN IP4 {at}\r\n")), "{trunk} of {past}: {}", sent.body());
        }
        let streams = |net: &Net| net.session().1.legs.iter().map(|leg| leg.streams.len()).sum::<usize>();
        assert_eq!(streams(&net), if past == 2 { 0 } else { 2 });
        from_second(&mut net, &answer(&second, "200 OK", "carol", SECOND, &sdp("198.51.100.40", 6000)));
        let at = if past == 2 { "198.51.100.40" } else { "192.0.2.1" };
        let ok = net.expect(CALLER, "SIP/2.0 200");
        assert!(ok.body().contains(&format!("c=IN IP4 {at}\r\n")), "{}", ok.body());
        net.receive(CALLER, &caller_request("ACK", 1, "c1", ok.tag("To"), ""));
        net.expect(SECOND, "ACK");
        net.restart_signaling(policy);
        assert_eq!(streams(&net), if past == 2 { 0 } else { 2 });
        net.receive(CALLER, &caller_request("BYE", 2, "c1", ok.tag("To"), ""));
        net.expect(SECOND, "BYE");
    }
}

#[test]
fn each_trunk_sees_its_own_secret_numbers_and_codecs() {
    let mut policy = policy_with(Failover::default());
    let secret = |text| Some(SecretPrefix::new(text).unwrap());
    policy.trunks[1].secret_prefix.sent = secret("7711");
    policy.trunks[2].secret_prefix.sent = secret("8822");
    policy.trunks[1].codecs = Codecs::new(vec!["PCMU".parse().unwrap()]);
    policy.trunks[2].private_media = PrivateMedia::Refuse;
    let edit = Edit { at: At::Start(0), delete: 0, insert: b"0".to_vec() };
    let rule = NumberRule { prefix: Vec::new(), length: 0..=64, change: Change::Edits(vec![edit]) };
    policy.trunks[2].numbers.called_out = NumberRules(vec![rule]);
    let mut net = Net::with(policy.clone());
    let offer = sdp("192.0.2.10", 4000).replace("RTP/AVP 8 101", "RTP/AVP 8 0 101");
    net.receive(CALLER, &invite("5551000", "c1", &offer));
    net.expect(CALLER, "SIP/2.0 100");
    let first = net.expect(CALLEE, "INVITE sip:77115551000@");
    assert!(first.body().contains("RTP/AVP 0 101\r\n"), "{}", first.body());
    net.advance(5 * SECOND_NS);
    let second = net.expect(SECOND, "INVITE sip:882205551000@");
    assert!(second.body().contains("RTP/AVP 8 0 101\r\n"), "{}", second.body());
    assert!(!second.0.contains("7711"));
    net.take_sent();
    net.receive(CALLEE, &answer(&first, "100 Trying", "", CALLEE, ""));
    let cancel = net.expect(CALLEE, "CANCEL sip:77115551000@");
    assert!(!cancel.0.contains("8822") && cancel.header("To").contains(":77115551000@"));
    net.receive(CALLEE, &answer(&first, "487 Request Terminated", "a", CALLEE, ""));
    let ack = net.expect(CALLEE, "ACK sip:77115551000@");
    assert!(!ack.0.contains("8822"));
    net.take_sent();
    // An answer that its trunk's settings forbid ends the call with both.
    from_second(&mut net, &answer(&second, "200 OK", "carol", SECOND, &sdp("10.0.0.4", 6000)));
    net.expect(SECOND, "ACK");
    net.expect(SECOND, "BYE");
    let told = net.expect(CALLER, "SIP/2.0 488");
    assert!(!told.0.contains("8822") && !told.0.contains("7711"), "{}", told.0);
}
