//! The side that sends requests.

use super::*;

#[test]
fn an_invite_is_repeated_at_doubled_intervals_until_timer_b() {
    let mut side = Side::new(UDP);
    let id = side.request(Method::Invite);
    side.run_until(40 * S);
    let times: Vec<_> = side.take_times().into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    assert_eq!(side.take_events(), [(32_000, Event::TimedOut(id)), (32_000, Event::ClientEnded(id))]);
    side.assert_idle();
}

#[test]
fn repetitions_are_the_same_bytes_and_say_so() {
    let mut side = Side::new(UDP);
    side.request(Method::Invite);
    side.run_until(S);
    let sent: Vec<_> = side.sent.iter().map(|(_, transmit)| transmit).collect();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].bytes, sent[1].bytes);
    assert!(!sent[0].retransmission && sent[1].retransmission);
}

#[test]
fn an_invite_over_tcp_is_sent_once_and_still_times_out() {
    let mut side = Side::new(TCP);
    let id = side.request(Method::Invite);
    side.run_until(40 * S);
    assert_eq!(side.take_times().len(), 1);
    assert_eq!(side.take_events(), [(32_000, Event::TimedOut(id)), (32_000, Event::ClientEnded(id))]);
}

#[test]
fn a_100_stops_the_repetitions_and_the_wait() {
    let mut side = Side::new(UDP);
    let id = side.request(Method::Invite);
    side.run_until(100 * MS);
    let invite = request(Method::Invite, "z9hG4bKone");
    assert_eq!(side.receive(&response(&invite, 100, b"")), Received::Response(id));
    side.run_until(100 * S);
    assert_eq!(side.take_times(), [(0, "INVITE".to_owned())]);
    assert_eq!(side.take_events(), []);
    assert_eq!(side.receive(&response(&invite, 180, b"b")), Received::Response(id));
    assert_eq!(side.layer.len(), 1);
}

#[test]
fn every_2xx_goes_to_the_user_until_timer_m() {
    let mut side = Side::new(UDP);
    let id = side.request(Method::Invite);
    let invite = request(Method::Invite, "z9hG4bKone");
    let ok = response(&invite, 200, b"b");
    assert_eq!(side.receive(&ok), Received::Response(id));
    assert_eq!(side.receive(&ok), Received::Response(id), "its ACK was lost");
    assert_eq!(side.receive(&response(&invite, 200, b"c")), Received::Response(id), "another branch");
    assert_eq!(side.receive(&response(&invite, 180, b"d")), Received::Absorbed);
    assert_eq!(side.receive(&response(&invite, 486, b"d")), Received::Absorbed);
    side.run_until(40 * S);
    assert_eq!(side.take_times().len(), 1, "the layer sends no ACK to a 2xx");
    assert_eq!(side.take_events(), [(32_000, Event::ClientEnded(id))]);
    assert_eq!(side.receive(&ok), Received::Stray);
    side.assert_idle();
}

#[test]
fn a_failure_is_acknowledged_hop_by_hop_each_time_it_comes() {
    let mut side = Side::new(UDP);
    let id = side.request(Method::Invite);
    let invite = request(Method::Invite, "z9hG4bKone");
    let busy = response(&invite, 486, b"b");
    side.take_sent();
    assert_eq!(side.receive(&busy), Received::Response(id));
    assert_eq!(side.receive(&busy), Received::Absorbed);
    let [first, second] = &side.take_sent()[..] else { panic!("one ACK for each") };
    assert_eq!(first, second);

    let (ack, invite) = (first.view(), owned(&invite));
    assert_eq!(ack.method(), Some(Method::Ack));
    assert_eq!(ack.request_uri(), invite.view().request_uri());
    assert_eq!(ack.via(), invite.view().via(), "the same branch");
    assert_eq!(ack.to().unwrap().tag(), Some(&b"b"[..]));
    assert_eq!(ack.header(Name::From), invite.view().header(Name::From));
    assert_eq!(ack.cseq().unwrap().number, 7);
    assert!(ack.values(Name::Route).eq(invite.view().values(Name::Route)));
    assert_eq!(ack.values(Name::Route).count(), 3);

    side.run_until(40 * S);
    assert_eq!(side.take_events(), [(32_000, Event::ClientEnded(id))], "timer D");
    side.assert_idle();
}

#[test]
fn a_failure_over_tcp_ends_the_transaction_at_once() {
    let mut side = Side::new(TCP);
    let id = side.request(Method::Invite);
    side.receive(&response(&request(Method::Invite, "z9hG4bKone"), 486, b"b"));
    side.run_until(0);
    assert_eq!(side.take_events(), [(0, Event::ClientEnded(id))]);
    side.assert_idle();
}

#[test]
fn a_cancel_waits_for_a_provisional_response() {
    let mut side = Side::new(UDP);
    let id = side.request(Method::Invite);
    side.cancel(id);
    side.run_until(600 * MS);
    assert_eq!(side.take_times(), [(0, "INVITE".to_owned()), (500, "INVITE".to_owned())]);

    let invite = request(Method::Invite, "z9hG4bKone");
    assert_eq!(side.receive(&response(&invite, 100, b"")), Received::Response(id));
    let [cancel] = &side.take_sent()[..] else { panic!("the CANCEL alone") };
    let (cancel, invite) = (cancel.view(), owned(&invite));
    assert_eq!(cancel.method(), Some(Method::Cancel));
    assert_eq!(cancel.request_uri(), invite.view().request_uri());
    assert_eq!(cancel.via(), invite.view().via(), "the same branch");
    assert_eq!(cancel.to().unwrap().tag(), None);
    assert_eq!(cancel.cseq().unwrap().number, 7);
    assert_eq!(cancel.values(Name::Route).count(), 3);
    side.receive(&response(invite.view().bytes(), 180, b"b"));
    assert_eq!(side.take_times(), [], "cancelled once");
}

#[test]
fn a_cancel_carries_the_reason_it_was_given() {
    const REASON: &[u8] = b"SIP;cause=200;text=\"Call completed elsewhere\"";
    for provisional_first in [true, false] {
        let mut side = Side::new(UDP);
        let id = side.request(Method::Invite);
        let ringing = response(&request(Method::Invite, "z9hG4bKone"), 180, b"b");
        if provisional_first {
            side.receive(&ringing);
        }
        side.cancel_because(id, Some(REASON));
        side.cancel_because(id, Some(b"Q.850;cause=16"));
        if !provisional_first {
            side.receive(&ringing);
        }
        let sent = side.take_sent();
        let [_invite, cancel] = &sent[..] else { panic!("the INVITE and one CANCEL") };
        assert_eq!(cancel.view().method(), Some(Method::Cancel));
        assert_eq!(cancel.view().other(b"Reason"), Some(REASON));
    }
    let mut side = Side::new(UDP);
    let id = side.request(Method::Invite);
    side.receive(&response(&request(Method::Invite, "z9hG4bKone"), 180, b"b"));
    side.cancel(id);
    assert_eq!(side.take_sent()[1].view().other(b"Reason"), None);
}

#[test]
fn a_cancelled_invite_ends_with_a_487_that_is_acknowledged() {
    let mut side = Side::new(UDP);
    let id = side.request(Method::Invite);
    let invite = request(Method::Invite, "z9hG4bKone");
    side.receive(&response(&invite, 180, b"b"));
    side.take_sent();
    side.cancel(id);
    side.cancel(id);
    let cancel = side.take_sent();
    assert_eq!(cancel.len(), 1);
    assert_eq!(side.layer.len(), 2);
    assert_eq!(side.receive(&response(cancel[0].view().bytes(), 200, b"b")), Received::Absorbed);
    assert_eq!(side.receive(&response(&invite, 487, b"b")), Received::Response(id));
    let [ack] = &side.take_sent()[..] else { panic!("the ACK alone") };
    assert_eq!(ack.view().method(), Some(Method::Ack));
    assert_eq!(ack.view().via().unwrap().branch, Some(&b"z9hG4bKone"[..]));
    side.run_until(40 * S);
    assert_eq!(side.take_events(), [(32_000, Event::ClientEnded(id))], "nothing is said of the CANCEL");
    side.assert_idle();
}

#[test]
fn a_cancel_that_nobody_answers_is_repeated_and_ends_the_invite() {
    let mut side = Side::new(UDP);
    let id = side.request(Method::Invite);
    side.receive(&response(&request(Method::Invite, "z9hG4bKone"), 180, b"b"));
    side.run_until(10 * S);
    side.take_sent();
    side.cancel(id);
    side.run_until(60 * S);
    let times = side.take_times();
    assert!(times.iter().all(|(_, method)| method == "CANCEL"));
    assert_eq!(times.len(), 11, "timer E");
    assert_eq!(side.take_events(), [(42_000, Event::TimedOut(id)), (42_000, Event::ClientEnded(id))]);
    side.assert_idle();
}

#[test]
fn a_cancel_after_the_answer_does_nothing() {
    let mut side = Side::new(UDP);
    let id = side.request(Method::Invite);
    side.receive(&response(&request(Method::Invite, "z9hG4bKone"), 200, b"b"));
    side.take_sent();
    side.cancel(id);
    assert_eq!(side.take_times(), []);
}

#[test]
fn a_cancel_that_crosses_the_200_leaves_the_200_to_the_user() {
    let mut side = Side::new(UDP);
    let id = side.request(Method::Invite);
    let invite = request(Method::Invite, "z9hG4bKone");
    side.cancel(id);
    assert_eq!(side.receive(&response(&invite, 200, b"b")), Received::Response(id));
    assert_eq!(side.take_times(), [(0, "INVITE".to_owned())], "no CANCEL is sent any more");
}

#[test]
fn other_requests_are_repeated_up_to_every_t2_until_timer_f() {
    let mut side = Side::new(UDP);
    let id = side.request(Method::Options);
    side.run_until(40 * S);
    let times: Vec<_> = side.take_times().into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    assert_eq!(side.take_events(), [(32_000, Event::TimedOut(id)), (32_000, Event::ClientEnded(id))]);
    side.assert_idle();
}

#[test]
fn a_provisional_response_slows_other_requests_down() {
    let mut side = Side::new(UDP);
    let id = side.request(Method::Bye);
    assert_eq!(side.receive(&response(&request(Method::Bye, "z9hG4bKone"), 100, b"")), Received::Response(id));
    side.run_until(10 * S);
    let times: Vec<_> = side.take_times().into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [0, 500, 4_500, 8_500]);
}

#[test]
fn the_final_response_to_another_request_is_passed_once() {
    let mut side = Side::new(UDP);
    let id = side.request(Method::Bye);
    let ok = response(&request(Method::Bye, "z9hG4bKone"), 200, b"b");
    assert_eq!(side.receive(&ok), Received::Response(id));
    assert_eq!(side.receive(&ok), Received::Absorbed);
    side.run_until(10 * S);
    assert_eq!(side.take_times().len(), 1);
    assert_eq!(side.take_events(), [(5_000, Event::ClientEnded(id))], "timer K");
    assert_eq!(side.receive(&ok), Received::Stray);
    side.assert_idle();
}

#[test]
fn other_requests_over_tcp_are_sent_once() {
    let mut side = Side::new(TCP);
    let id = side.request(Method::Bye);
    side.run_until(10 * S);
    assert_eq!(side.take_times().len(), 1);
    side.receive(&response(&request(Method::Bye, "z9hG4bKone"), 200, b"b"));
    side.run_until(10 * S);
    assert_eq!(side.take_events(), [(10_000, Event::ClientEnded(id))]);
}

#[test]
fn responses_find_their_transaction_by_branch_and_method() {
    let mut side = Side::new(UDP);
    let id = side.request(Method::Invite);
    assert_eq!(side.receive(&response(&request(Method::Invite, "z9hG4bKtwo"), 200, b"b")), Received::Stray);
    assert_eq!(side.receive(&response(&request(Method::Bye, "z9hG4bKone"), 200, b"b")), Received::Stray);
    assert_eq!(side.receive(&response(&request(Method::Invite, "z9hG4bKone"), 200, b"b")), Received::Response(id));
}

#[test]
fn a_request_that_cannot_be_delivered_is_over_at_once() {
    for method in [Method::Invite, Method::Options] {
        let mut side = Side::new(TCP);
        let id = side.request(method);
        let elsewhere = Flow { remote: "192.0.2.9:5060".parse().unwrap(), ..side.flow };
        side.layer.broken(side.now, elsewhere);
        assert_eq!(side.layer.len(), 1, "another connection's end");
        let unanswered = side.layer.unanswered(side.flow);
        assert_eq!(unanswered, [(id, side.sent[0].1.bytes.clone())]);
        side.layer.broken(side.now, side.flow);
        side.drain();
        assert_eq!(side.take_events(), [(0, Event::Unreachable(id)), (0, Event::ClientEnded(id))]);
        side.assert_idle();
    }
}

#[test]
fn a_peer_that_has_answered_may_answer_on_another_connection() {
    let mut side = Side::new(TCP);
    let id = side.request(Method::Invite);
    let invite = request(Method::Invite, "z9hG4bKone");
    side.receive(&response(&invite, 180, b"b"));
    side.layer.broken(side.now, side.flow);
    assert_eq!(side.receive(&response(&invite, 200, b"b")), Received::Response(id));
}
