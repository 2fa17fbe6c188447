//! REGISTER, and what becomes of bindings.

use moorline_b2bua::policy::{Endpoints, WhenFull};
use moorline_b2bua::{Input, Place};
use moorline_sip::Transport;
use moorline_sip::transaction::Flow;

use crate::harness::*;
use crate::phones::*;

/// The contacts of an answer, as they are written.
fn contacts(answer: &Message) -> Vec<String> {
    let lines = answer.0.lines().filter_map(|line| line.strip_prefix("Contact: "));
    lines.map(str::to_owned).collect()
}

#[test]
fn an_endpoint_registers_with_its_password() {
    let mut net = Net::with(with_phones());
    let mut phone = phone("6000", "1234", PHONE);
    let plain = phone.register_text(600);
    net.receive(PHONE, &plain);
    let challenge = net.expect(PHONE, "SIP/2.0 401 Unauthorized");
    let offered: Vec<&str> = challenge.0.lines().filter(|line| line.starts_with("WWW-Authenticate: Digest ")).collect();
    assert_eq!(offered.len(), 2, "{}", challenge.0);
    assert!(offered[0].contains("algorithm=SHA-256") && offered[1].contains("algorithm=MD5"), "RFC 8760: best first");
    assert!(challenge.header("WWW-Authenticate").contains("realm=\"phones.example\""));

    phone.challenged(&challenge);
    let plain = phone.register_text(600);
    let text = phone.authorized(&plain);
    net.receive(PHONE, &text);
    let ok = net.expect(PHONE, "SIP/2.0 200 OK");
    assert_eq!(contacts(&ok), ["<sip:6000@203.0.113.60:5060>;expires=600"]);
    assert_eq!(net.counters().bindings, 1);

    // It asks what is registered, and later goes.
    net.advance(100 * SECOND);
    let asked = phone.register_with(&mut net, "");
    assert_eq!(contacts(&asked), ["<sip:6000@203.0.113.60:5060>;expires=500"]);
    let gone = phone.register(&mut net, 0);
    assert!(gone.start().contains("200") && contacts(&gone).is_empty());
    assert_eq!((net.counters().bindings, net.stored.len()), (0, 0));
    net.nothing_left();
}

#[test]
fn a_flood_without_credentials_costs_no_state() {
    let mut net = Net::with(with_phones());
    let mut phone = phone("6000", "1234", PHONE);
    for _ in 0..1000 {
        let text = phone.register_text(600);
        net.receive(PHONE, &text);
    }
    assert_eq!(net.counters().transactions_active, 0);
    assert_eq!(net.worker.next_timeout(), None);
    let answers = net.take_sent();
    assert!(answers.iter().all(|(_, answer)| answer.start().contains("401")));

    // Repetitions are answered with the same tag.
    let text = phone.register_text(600);
    net.receive(PHONE, &text);
    net.receive(PHONE, &text);
    assert_eq!(net.next(PHONE).tag("To"), net.next(PHONE).tag("To"));
}

#[test]
fn a_wrong_password_and_an_unknown_or_locked_user_look_the_same() {
    for (user, password) in [("6000", "0000"), ("6666", "1234"), ("6002", "1111")] {
        let mut net = Net::with(with_phones());
        let mut phone = phone(user, password, PHONE);
        let answer = phone.register(&mut net, 600);
        assert_eq!(answer.start(), "SIP/2.0 403 Forbidden", "{user}");
        assert_eq!(net.counters().wrong_credentials, 1);
        assert_eq!(net.counters().bindings, 0);
    }
}

#[test]
fn a_user_registers_itself_and_nobody_else() {
    let mut net = Net::with(with_phones());
    let mut phone = phone("6000", "1234", PHONE);
    let first = phone.register_text(600);
    net.receive(PHONE, &first);
    let challenge = net.expect(PHONE, "SIP/2.0 401");
    phone.challenged(&challenge);
    let plain = phone.register_text(600);
    let text = phone.authorized(&plain).replace("To: <sip:6000@", "To: <sip:6001@");
    net.receive(PHONE, &text);
    net.expect(PHONE, "SIP/2.0 403");
    assert_eq!(net.counters().bindings, 0);
}

#[test]
fn what_was_overheard_cannot_be_sent_again() {
    let mut net = Net::with(with_phones());
    let mut phone = phone("6000", "1234", PHONE);
    let first = phone.register_text(600);
    net.receive(PHONE, &first);
    let challenge = net.expect(PHONE, "SIP/2.0 401");
    phone.challenged(&challenge);
    let plain = phone.register_text(600);
    let text = phone.authorized(&plain);
    net.receive(PHONE, &text);
    net.expect(PHONE, "SIP/2.0 200");
    // The very same is a repetition, and answered as before.
    net.receive(PHONE, &text);
    net.expect(PHONE, "SIP/2.0 200");
    // In another transaction its nonce was used with that count.
    net.receive(PHONE, &text.replace("branch=z9hG4bK-reg", "branch=z9hG4bK-replayed"));
    assert!(net.expect(PHONE, "SIP/2.0 401").header("WWW-Authenticate").contains("stale=true"));
    // From elsewhere the nonce is none.
    net.receive(PHONE_1, &text.replace("branch=z9hG4bK-reg", "branch=z9hG4bK-stolen"));
    assert!(net.expect(PHONE_1, "SIP/2.0 401").header("WWW-Authenticate").contains("stale=true"));
}

#[test]
fn an_old_nonce_is_stale_and_the_same_password_gets_in_with_a_new_one() {
    let mut net = Net::with(with_phones());
    let mut phone = phone("6000", "1234", PHONE);
    phone.register(&mut net, 3600);
    // The nonce is used again, with a count of its own.
    let plain = phone.register_text(3600);
    let text = phone.authorized(&plain);
    assert!(text.contains("nc=00000002"));
    net.receive(PHONE, &text);
    net.expect(PHONE, "SIP/2.0 200");
    net.advance(1000 * SECOND);
    let plain = phone.register_text(3600);
    let text = phone.authorized(&plain);
    net.receive(PHONE, &text);
    let challenge = net.expect(PHONE, "SIP/2.0 401");
    assert!(challenge.header("WWW-Authenticate").contains("stale=true"));
    phone.challenged(&challenge);
    assert!(phone.register(&mut net, 3600).start().contains("200"));
}

#[test]
fn a_binding_ends_by_itself() {
    let mut net = Net::with(with_phones());
    phone("6000", "1234", PHONE).register(&mut net, 600);
    assert_eq!(net.stored.len(), 1);
    net.advance(599 * SECOND);
    assert_eq!(net.counters().bindings, 1);
    net.advance(2 * SECOND);
    assert_eq!((net.counters().bindings, net.stored.len()), (0, 0));
    net.nothing_left();
}

#[test]
fn the_time_granted_has_bounds() {
    let mut net = Net::with(with_phones());
    let mut phone = phone("6000", "1234", PHONE);
    let brief = phone.register(&mut net, 30);
    assert_eq!((brief.start(), brief.header("Min-Expires")), ("SIP/2.0 423 Interval Too Brief", "60"));
    assert!(contacts(&phone.register(&mut net, 100_000))[0].ends_with(";expires=7200"));
    // The contact's own time counts more than that of all.
    let contact = format!("Contact: <{}>;expires=90\r\nExpires: 600\r\n", phone.contact);
    assert!(contacts(&phone.register_with(&mut net, &contact))[0].ends_with(";expires=90"));
    let contact = format!("Contact: <{}>\r\n", phone.contact);
    assert!(contacts(&phone.register_with(&mut net, &contact))[0].ends_with(";expires=3600"));
}

#[test]
fn an_older_request_of_the_same_call_id_changes_nothing() {
    let mut net = Net::with(with_phones());
    let mut phone = phone("6000", "1234", PHONE);
    phone.register(&mut net, 600);
    phone.cseq -= 2;
    let late = phone.register(&mut net, 0);
    assert!(late.start().starts_with("SIP/2.0 500"), "{}", late.start());
    assert_eq!(net.counters().bindings, 1);
    // After a restart the telephone counts anew, with another Call-ID.
    (phone.cseq, phone.call_id) = (0, "anew".into());
    assert!(phone.register(&mut net, 600).start().contains("200"));
    assert_eq!(net.counters().bindings, 1);
}

#[test]
fn a_star_removes_all_and_may_say_nothing_else() {
    let mut net = Net::with(with_phones());
    let mut phone = phone("6001", "4321", PHONE);
    let two = "Contact: <sip:6001@203.0.113.60:5060>, <sip:6001@203.0.113.60:5070>;q=0.5\r\nExpires: 600\r\n";
    let both = phone.register_with(&mut net, two);
    assert_eq!(contacts(&both).len(), 2);
    assert!(contacts(&both)[1].contains(";q=0.500;"), "{}", both.0);
    for wrong in ["Contact: *\r\n", "Contact: *\r\nExpires: 60\r\n", "Contact: *, <sip:a@b>\r\nExpires: 0\r\n"] {
        assert!(phone.register_with(&mut net, wrong).start().contains("400"), "{wrong}");
    }
    assert_eq!(net.counters().bindings, 2);
    let gone = phone.register_with(&mut net, "Contact: *\r\nExpires: 0\r\n");
    assert!(gone.start().contains("200") && contacts(&gone).is_empty());
    assert_eq!(net.counters().bindings, 0);
}

#[test]
fn each_user_may_have_as_many_devices_as_the_trunk_says() {
    let mut net =
        Net::with(with_endpoints(Endpoints { max_contacts: 2, when_full: WhenFull::Refuse, ..Endpoints::default() }));
    for (user, password) in [("6000", "1234"), ("6001", "4321")] {
        for (at, allowed) in [(PHONE, true), (PHONE_1, true), (PHONE_2, false)] {
            let answer = phone(user, password, at).register(&mut net, 600);
            assert_eq!(answer.start().contains(" 200 "), allowed, "{user} at {at}: {}", answer.start());
        }
    }
    assert_eq!(net.counters().bindings, 4);
}

#[test]
fn a_second_device_takes_the_line_where_one_is_permitted() {
    let mut net = Net::with(with_phones());
    phone("6000", "1234", PHONE).register(&mut net, 600);
    net.advance(SECOND);
    let other = phone("6000", "1234", PHONE_1).register(&mut net, 600);
    assert_eq!(contacts(&other), ["<sip:6000@203.0.113.61:5060>;expires=600"]);
    // Two where two are permitted, and then the one that was silent for longest goes.
    let mut devices = [PHONE, PHONE_1, PHONE_2].map(|at| phone("6001", "4321", at));
    for (device, count) in devices.iter_mut().zip([1, 2, 2]) {
        net.advance(SECOND);
        let answer = device.register(&mut net, 600);
        assert_eq!(contacts(&answer).len(), count, "{}", answer.0);
    }
    let asked = devices[2].register_with(&mut net, "");
    assert!(contacts(&asked)[0].contains(PHONE_1) && contacts(&asked)[1].contains(PHONE_2), "{}", asked.0);
    // One request for more than are permitted is refused as a whole.
    let two = "Contact: <sip:a@203.0.113.60>, <sip:b@203.0.113.60>\r\n";
    assert!(phone("6000", "1234", PHONE_2).register_with(&mut net, two).start().contains("403"));
}

#[test]
fn a_second_device_is_refused_where_the_policy_says_so() {
    let mut net = Net::with(with_endpoints(Endpoints { when_full: WhenFull::Refuse, ..Endpoints::default() }));
    let mut first = phone("6000", "1234", PHONE);
    first.register(&mut net, 600);
    let refused = phone("6000", "1234", PHONE_1).register(&mut net, 600);
    assert_eq!(refused.start(), "SIP/2.0 403 Forbidden - Too Many Contacts");
    // The first one may still refresh.
    assert!(first.register(&mut net, 600).start().contains("200"));
}

#[test]
fn a_device_is_known_again_by_its_instance() {
    let mut net = Net::with(with_endpoints(Endpoints { when_full: WhenFull::Refuse, ..Endpoints::default() }));
    let mut device = phone("6000", "1234", PHONE);
    device.params = ";+sip.instance=\"<urn:uuid:1>\";reg-id=1".into();
    device.register(&mut net, 600);
    // It comes back with another address.
    device.contact = "sip:6000@203.0.113.60:7777".into();
    let ok = device.register(&mut net, 600);
    assert_eq!(contacts(&ok), ["<sip:6000@203.0.113.60:7777>;+sip.instance=\"<urn:uuid:1>\";reg-id=1;expires=600"]);
}

#[test]
fn what_cannot_be_called_is_not_registered() {
    let mut net = Net::with(with_phones());
    let mut phone = phone("6000", "1234", PHONE);
    for wrong in ["<tel:+123>", "<mailto:a@b>", "<sip:6000@>", "sip:", "<http://x>"] {
        let answer = phone.register_with(&mut net, &format!("Contact: {wrong}\r\n"));
        assert!(answer.start().contains(" 400 "), "{wrong}: {}", answer.start());
    }
    // Calls to it would come back here.
    let answer = phone.register_with(&mut net, &format!("Contact: <sip:6000@{OUTSIDE}>\r\n"));
    assert!(answer.start().contains(" 403 "), "{}", answer.start());
    assert_eq!(net.counters().bindings, 0);
}

#[test]
fn only_own_domains_are_served_where_they_are_named() {
    let domains = vec![REALM.to_owned()];
    let mut net = Net::with(with_endpoints(Endpoints { domains, ..Endpoints::default() }));
    let mut phone = phone("6000", "1234", PHONE);
    assert!(phone.register(&mut net, 600).start().contains(" 200 "));
    let plain = phone.register_text(600).replace("To: <sip:6000@phones.example>", "To: <sip:6000@other.example>");
    let text = phone.authorized(&plain);
    net.receive(PHONE, &text);
    net.expect(PHONE, "SIP/2.0 404");
}

#[test]
fn a_device_behind_nat_is_kept_alive_and_dropped_when_it_is_dead() {
    let mut net = Net::with(with_phones());
    let mut phone = phone("6000", "1234", PHONE);
    phone.contact = "sip:6000@10.0.0.7:5060".into();
    phone.register(&mut net, 3600);
    net.advance(28 * SECOND);
    let ping = net.expect(PHONE, "OPTIONS sip:6000@10.0.0.7:5060 SIP/2.0");
    net.receive(PHONE, &answer(&ping, "404 Not Found", "x", PHONE, ""));
    // Those that were sent again meanwhile.
    net.take_sent();
    net.advance(20 * SECOND);
    net.quiet();
    net.advance(10 * SECOND);
    net.expect(PHONE, "OPTIONS");
    // It answers no more: three in a row are enough.
    net.advance(120 * SECOND);
    assert_eq!((net.counters().bindings, net.stored.len()), (0, 0));
    net.nothing_left();
}

#[test]
fn a_device_that_can_be_reached_is_left_in_peace() {
    let mut net = Net::with(with_phones());
    phone("6000", "1234", PHONE).register(&mut net, 3600);
    net.advance(300 * SECOND);
    net.quiet();
}

#[test]
fn a_binding_ends_with_its_stream() {
    let mut net = Net::with(with_phones());
    let mut phone = phone("6000", "1234", PHONE);
    let flow = Flow::new(1, Transport::Tcp, PHONE.parse().unwrap());
    let plain = phone.register_text(600);
    net.input(Input::Message { flow, bytes: plain.as_bytes() });
    let challenge = net.expect(PHONE, "SIP/2.0 401");
    phone.challenged(&challenge);
    let plain = phone.register_text(600);
    let text = phone.authorized(&plain);
    net.input(Input::Message { flow, bytes: text.as_bytes() });
    net.expect(PHONE, "SIP/2.0 200");
    assert_eq!(net.counters().bindings, 1);
    net.input(Input::Broken { flow: Flow { transport: Transport::Tls, ..flow } });
    assert_eq!(net.counters().bindings, 1);
    net.input(Input::Broken { flow });
    assert_eq!(net.counters().bindings, 0);
}

#[test]
fn bindings_survive_a_restart() {
    let mut net = Net::with(with_phones());
    phone("6000", "1234", PHONE).register(&mut net, 600);
    phone("6001", "4321", PHONE_1).register(&mut net, 60);
    let stored = net.stored.clone();
    net.advance(100 * SECOND);
    net.restart_signaling(with_phones());
    net.input(Input::Stored(stored.into_iter().collect()));
    assert_eq!(net.counters().bindings, 1, "the other one has ended meanwhile");
    let asked = phone("6000", "1234", PHONE).register_with(&mut net, "");
    assert_eq!(contacts(&asked), ["<sip:6000@203.0.113.60:5060>;expires=500"]);
    net.advance(600 * SECOND);
    assert_eq!(net.counters().bindings, 0);
}

#[test]
fn what_was_written_down_for_a_trunk_that_is_gone_is_left_out() {
    let mut net = Net::with(with_phones());
    phone("6000", "1234", PHONE).register(&mut net, 600);
    let mut stored: Vec<_> = net.stored.clone().into_iter().collect();
    stored.push((b"phones\x006001".to_vec(), b"garbage".to_vec()));
    net.restart_signaling(policy());
    net.input(Input::Stored(stored.clone()));
    assert_eq!(net.counters().bindings, 0);
    net.restart_signaling(with_phones());
    net.input(Input::Stored(stored));
    assert_eq!(net.counters().bindings, 1);
}

#[test]
fn the_way_to_a_device_is_kept_and_told() {
    let mut net = Net::with(with_phones());
    let mut phone = phone("6000", "1234", PHONE);
    let lines = "Path: <sip:edge.example;lr>\r\nSupported: path\r\nContact: <sip:6000@10.0.0.7>\r\nExpires: 600\r\n";
    let ok = phone.register_with(&mut net, lines);
    assert_eq!(ok.header("Path"), "<sip:edge.example;lr>");
}

#[test]
fn all_workers_learn_where_a_user_is() {
    let place = Place { of: 2, ..Place::alone(1) };
    let mut first = Net::at(place.clone(), with_phones());
    let mut second = Net::at(Place { index: 1, ..place }, with_phones());
    phone("6000", "1234", PHONE).register(&mut first, 600);
    for news in std::mem::take(&mut first.told) {
        second.input(Input::News(news));
    }
    phone("6001", "4321", PHONE_1).call(&mut second, "6000", "");
    second.expect(PHONE, "INVITE sip:6000@203.0.113.60:5060");
    first.advance(601 * SECOND);
    assert_eq!(first.told.len(), 1, "and that it is there no more");
}

#[test]
fn what_one_worker_has_asked_for_is_good_at_another_and_once() {
    let place = Place { of: 2, ..Place::alone(1) };
    let policy = with_phones();
    let mut first = Net::at(place.clone(), policy.clone());
    let mut second = Net::at(Place { index: 1, ..place }, policy);
    let mut phone = phone("6000", "1234", PHONE);
    phone.register(&mut first, 600);
    // Its call is another worker's: it shows the next count of what it was asked for, and is not asked again.
    let call = phone.request("INVITE", 1, "5551000", "", "");
    let text = phone.authorized(&call);
    second.receive(PHONE, &text);
    second.expect(PHONE, "SIP/2.0 100");
    second.expect(CALLEE, "INVITE");
    // Who has overheard that gets no call at the first worker, whatever else it says.
    first.receive(PHONE, &text.replace("call-6000", "call-again").replace("z9hG4bK-INVITE", "z9hG4bK-again"));
    assert!(first.expect(PHONE, "SIP/2.0 407").header("Proxy-Authenticate").contains("stale=true"));
    // The telephone goes on counting there.
    let text = phone.register_text(600);
    let text = phone.authorized(&text);
    first.receive(PHONE, &text);
    first.expect(PHONE, "SIP/2.0 200");
    first.quiet();
}
