//! Callers who withhold their number (RFC 3323): from others, not from the limits.

use moorline_b2bua::policy::limit::{Callers, Cause, Numbers, Pattern, Row, Verdict};
use moorline_b2bua::policy::{Policy, Refusal};

use crate::harness::*;

/// A call of 2001 comes in that asks not to be named.
fn withheld(net: &mut Net, call_id: &str) {
    let text = invite("5551000", call_id, &sdp("192.0.2.10", 4000));
    net.receive(CALLER, &with(&text, "Privacy: id\r\n"));
}

/// Callers of a trunk that are refused hear so.
fn strict() -> Policy {
    let mut policy = policy();
    let limits = &mut policy.trunks[0].limits;
    limits.inbound.numbers = Numbers { calls_per_caller: Some(1), ..Numbers::default() };
    let refusals = limits.refusals.clone().with(Cause::ListedCaller, Refusal::new(472, "ILLEGAL_CALLER_NUMBER"));
    limits.refusals = refusals.with(Cause::Caller, Refusal::new(477, "CALLER_FREQUENCY_LIMIT"));
    policy
}

#[test]
fn a_blacklisted_caller_gets_no_further_by_withholding_its_number() {
    let mut net = Net::with(strict());
    let caller = Callers::Number("2001".parse().unwrap());
    let row = Row { from: None, caller, called: Pattern::any() };
    net.worker.limits().add_row(&row, Verdict::Black { percent: 100 }).unwrap();
    withheld(&mut net, "c1");
    net.expect(CALLER, "SIP/2.0 472 ILLEGAL_CALLER_NUMBER");
    net.quiet();
}

#[test]
fn nor_does_one_that_has_as_many_calls_as_it_may() {
    let mut net = Net::with(strict());
    withheld(&mut net, "c1");
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    assert!(!sent.0.contains("2001"), "the called side does not learn who it is: {}", sent.0);
    withheld(&mut net, "c2");
    net.expect(CALLER, "SIP/2.0 477 CALLER_FREQUENCY_LIMIT");
    net.receive(CALLER, &invite("5551000", "c3", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 477");
    net.quiet();
}

#[test]
fn rows_for_the_anonymous_mean_it_too() {
    let mut net = Net::with(strict());
    let row = Row { from: None, caller: Callers::Anonymous, called: Pattern::any() };
    net.worker.limits().add_row(&row, Verdict::Black { percent: 100 }).unwrap();
    withheld(&mut net, "c1");
    net.expect(CALLER, "SIP/2.0 472");
    // A white row for the number is a white row for who has it.
    let row = Row { caller: Callers::Number("2001".parse().unwrap()), ..row };
    net.worker.limits().add_row(&row, Verdict::White).unwrap();
    withheld(&mut net, "c2");
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE");
}
