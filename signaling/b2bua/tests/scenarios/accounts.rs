//! Accounts in arrears: of the users of a trunk, those who have not paid are refused, and nobody else.

use std::sync::Arc;

use moorline_b2bua::Input;
use moorline_b2bua::policy::limit::{Cause, Direction};
use moorline_b2bua::policy::{Policy, Refer, Refusal, User};
use moorline_b2bua::verify::Verdict;
use moorline_control::Event;

use crate::harness::*;
use crate::phones::*;

const STOPPED: &str = "SIP/2.0 476 ACCOUNT_STOP_LIMIT";

/// Telephones, of whom these are in arrears as it is configured.
fn indebted(names: &[&str]) -> Policy {
    let mut policy = with_phones();
    let trunk = &mut policy.trunks[2];
    let authentication = trunk.authentication.as_mut().unwrap();
    let owes = |user: &User| User { arrears: names.contains(&&*user.name), ..user.clone() };
    authentication.users = Arc::new(authentication.users.all().map(owes).collect());
    let refusals = trunk.limits.refusals.clone();
    trunk.limits.refusals = refusals.with(Cause::Arrears, Refusal::new(476, "ACCOUNT_STOP_LIMIT"));
    policy
}

fn audio() -> String {
    sdp("203.0.113.60", 4000)
}

/// A further call of a telephone that was challenged before.
fn calls_again(net: &mut Net, phone: &mut Phone, cseq: u32) {
    let invite = phone.request("INVITE", cseq, "5551000", "", &audio());
    let invite = phone.authorized(&invite).replace("Call-ID: call-", &format!("Call-ID: call{cseq}-"));
    net.receive(phone.at, &invite);
}

/// 6000 speaks with somebody at the carrier: the tag of its dialog.
fn speaks(net: &mut Net, phone: &mut Phone) -> String {
    phone.call(net, "5551000", &audio());
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let tag = net.expect(phone.at, "SIP/2.0 200").tag("To").to_owned();
    net.receive(phone.at, &phone.request("ACK", 2, "5551000", &tag, ""));
    net.expect(CALLEE, "ACK");
    tag
}

fn refused_for_arrears(net: &Net) -> u64 {
    let view = net.worker.limits().view().into_iter().find(|trunk| trunk.name == "phones").unwrap();
    view.directions[Direction::Inbound.index()].refused[Cause::Arrears.index()]
}

#[test]
fn of_two_users_of_a_trunk_the_one_in_arrears_is_refused() {
    let mut net = Net::with(indebted(&["6000"]));
    let (mut owes, mut pays) = (phone("6000", "1234", PHONE), phone("6001", "4321", PHONE_1));
    owes.ask(&mut net, "5551000", &audio());
    net.expect(PHONE, STOPPED);
    net.quiet();
    assert_eq!((refused_for_arrears(&net), net.counters().calls), (1, 0));
    let record = net.record();
    assert_eq!((&*record.account, &*record.caller.trunk), ("6000", "phones"));
    assert_eq!((record.caller.code, record.caller.reason.as_deref()), (Some(476), Some("ACCOUNT_STOP_LIMIT")));
    assert_eq!(record.cause.as_deref(), Some("rejected"));
    // It is registered all the same, and called.
    assert!(owes.register(&mut net, 600).start().contains("200"));
    pays.call(&mut net, "6000", &sdp("203.0.113.61", 4000));
    net.expect(PHONE, "INVITE sip:6000@203.0.113.60:5060");
}

#[test]
fn who_is_stopped_while_it_speaks_speaks_on_and_calls_again_when_it_has_paid() {
    let mut net = Net::with(indebted(&[]));
    let mut phone = phone("6000", "1234", PHONE);
    let tag = speaks(&mut net, &mut phone);
    net.worker.limits().set_user("phones", "6000", Some(true)).unwrap();
    calls_again(&mut net, &mut phone, 3);
    net.expect(PHONE, STOPPED);
    net.quiet();
    net.receive(PHONE, &phone.request("INFO", 4, "5551000", &tag, ""));
    let info = net.expect(CALLEE, "INFO");
    net.receive(CALLEE, &answer(&info, "200 OK", "bob", CALLEE, ""));
    net.expect(PHONE, "SIP/2.0 200");
    net.worker.limits().set_user("phones", "6000", None).unwrap();
    calls_again(&mut net, &mut phone, 5);
    net.expect(PHONE, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE");
    assert_eq!(refused_for_arrears(&net), 1);
}

#[test]
fn what_a_trunk_owes_is_refused_to_all_its_users() {
    let mut policy = indebted(&[]);
    policy.trunks[2].limits.arrears = true;
    let mut net = Net::with(policy);
    net.worker.limits().set_user("phones", "6000", Some(false)).unwrap();
    for mut phone in [phone("6000", "1234", PHONE), phone("6001", "4321", PHONE_1)] {
        phone.ask(&mut net, "5551000", &audio());
        net.expect(phone.at, STOPPED);
    }
    assert_eq!(refused_for_arrears(&net), 2);
}

#[test]
fn it_is_told_by_an_announcement_where_that_is_configured() {
    let mut policy = indebted(&["6000"]);
    let told = Refusal { announcement: Some("call-restricted".into()), ..Refusal::new(476, "ACCOUNT_STOP_LIMIT") };
    let refusals = &mut policy.trunks[2].limits.refusals;
    *refusals = refusals.clone().with(Cause::Arrears, told);
    let mut net = Net::with(policy);
    let mut phone = phone("6000", "1234", PHONE);
    phone.call(&mut net, "5551000", &audio());
    let progress = net.expect(PHONE, "SIP/2.0 183 Session Progress");
    assert!(progress.body().contains("m=audio "), "{}", progress.body());
    let (session, _) = net.session();
    net.media_event(Event::Played { session, leg: 0, stream: 0 });
    net.expect(PHONE, STOPPED);
    assert_eq!((net.counters().announced, net.counters().calls), (1, 0));
    net.nothing_left();
    assert_eq!(&*net.record().account, "6000");
}

#[test]
fn a_user_whom_radius_knows_has_an_account_too() {
    let mut policy = indebted(&[]);
    policy.trunks[2].authentication.as_mut().unwrap().ask = true;
    let mut net = Net::with(policy);
    net.worker.limits().set_user("phones", "7000", Some(true)).unwrap();
    let mut phone = phone("7000", "elsewhere", PHONE);
    phone.ask(&mut net, "5551000", &audio());
    let (request, _) = net.asked.pop().expect("a question");
    net.input(Input::Verdict { request, verdict: Verdict::Accepted });
    net.expect(PHONE, STOPPED);
    net.quiet();
}

#[test]
fn who_asks_for_a_transfer_is_charged_for_it() {
    let mut policy = indebted(&[]);
    policy.trunks[2].dialogs.refer = Refer::Handle;
    for restarted in [false, true] {
        let mut net = Net::with(policy.clone());
        let mut phone = phone("6000", "1234", PHONE);
        let tag = speaks(&mut net, &mut phone);
        if restarted {
            net.restart_signaling(policy.clone());
        }
        let refer = |cseq| {
            let lines = "Refer-To: <sip:5552000@phones.example>\r\nRefer-Sub: false\r\n";
            with(&phone.request("REFER", cseq, "5551000", &tag, ""), lines)
        };
        net.worker.limits().set_user("phones", "6000", Some(true)).unwrap();
        net.receive(PHONE, &refer(3));
        net.expect(PHONE, STOPPED);
        net.quiet();
        net.worker.limits().set_user("phones", "6000", Some(false)).unwrap();
        net.receive(PHONE, &refer(4));
        net.expect(PHONE, "SIP/2.0 202");
        let out = net.expect(CALLEE, "INVITE sip:5552000@");
        net.receive(CALLEE, &answer(&out, "486 Busy Here", "carol", CALLEE, ""));
        net.expect(CALLEE, "ACK");
        net.advance(SECOND);
        let made = net.record();
        assert!(made.transferred_from.is_some());
        assert_eq!((&*made.account, &*made.caller.trunk), ("6000", "carrier"), "restarted: {restarted}");
    }
}
