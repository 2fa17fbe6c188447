use super::*;
use crate::{Index, OwnedMessage, respond};

fn owned(bytes: &[u8]) -> OwnedMessage {
    let mut index = Index::new();
    index.parse(bytes).unwrap().to_owned()
}

fn invite(record_routes: &[&str]) -> OwnedMessage {
    let mut writer = Writer::request(Method::Invite, b"sip:bob@192.0.2.2")
        .header("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKone")
        .header("From", "Alice <sip:alice@a.example>;x=1;tag=a;y")
        .header("To", "sip:bob@b.example")
        .header("Call-ID", "call")
        .header("CSeq", "7 INVITE")
        .header("Contact", "<sip:alice@192.0.2.1:5060;transport=udp>");
    for route in record_routes {
        writer = writer.header("Record-Route", route);
    }
    owned(&writer.finish(b""))
}

fn ok(invite: &OwnedMessage) -> OwnedMessage {
    let invite = invite.view();
    let mut writer = respond(invite, "192.0.2.1:5060".parse().unwrap(), 200, b"OK", Some(b"b"))
        .header("Contact", "<sip:bob@192.0.2.2:5070>");
    for line in invite.lines().filter(|line| line.name == Name::RecordRoute) {
        writer = writer.line(line.raw);
    }
    owned(&writer.finish(b""))
}

fn headers(message: &OwnedMessage, name: Name) -> Vec<&str> {
    message.view().values(name).map(|value| std::str::from_utf8(value).unwrap()).collect()
}

const VIA: &[u8] = b"SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKnew";

#[test]
fn both_sides_see_the_same_dialog_mirrored() {
    let invite = invite(&["<sip:p1.example;lr>", "<sip:p2.example;lr>"]);
    let caller = Dialog::uac(ok(&invite).view(), invite.view().request_uri().unwrap()).unwrap();
    let called = Dialog::uas(invite.view(), b"b").unwrap();
    assert_eq!((&caller.local_tag[..], &caller.remote_tag[..]), (&b"a"[..], &b"b"[..]));
    assert_eq!((&called.local_tag[..], &called.remote_tag[..]), (&b"b"[..], &b"a"[..]));
    assert_eq!((&caller.local, &caller.remote), (&called.remote, &called.local));
    assert_eq!(caller.local, b"Alice <sip:alice@a.example>;x=1;y");
    assert_eq!(called.local, b"<sip:bob@b.example>");
    assert_eq!((caller.local_cseq, caller.remote_cseq), (7, None));
    assert_eq!((called.local_cseq, called.remote_cseq), (0, Some(7)));
    assert_eq!(caller.remote_target, b"sip:bob@192.0.2.2:5070");
    assert_eq!(called.remote_target, b"sip:alice@192.0.2.1:5060;transport=udp");
    assert_eq!(called.route_set, [b"<sip:p1.example;lr>", b"<sip:p2.example;lr>"]);
    assert_eq!(caller.route_set, [b"<sip:p2.example;lr>", b"<sip:p1.example;lr>"]);
}

#[test]
fn a_display_name_that_lacked_quotes_is_sent_with_them() {
    let text = String::from_utf8(invite(&[]).view().bytes().to_vec()).unwrap();
    let invite = owned(text.replace("Alice <", "Alice (work), Inc. <").as_bytes());
    let called = Dialog::uas(invite.view(), b"b").unwrap();
    assert_eq!(called.remote, b"\"Alice (work), Inc.\" <sip:alice@a.example>;x=1;y");
}

#[test]
fn a_request_passes_loose_routes() {
    let invite = invite(&["<sip:p1.example;lr>", "<sip:p2.example;lr>"]);
    let mut caller = Dialog::uac(ok(&invite).view(), invite.view().request_uri().unwrap()).unwrap();
    let bye = owned(&caller.request(Method::Bye, VIA).finish(b""));
    bye.view().check().unwrap();
    assert_eq!(bye.view().request_uri(), Some(&b"sip:bob@192.0.2.2:5070"[..]));
    assert_eq!(headers(&bye, Name::Route), ["<sip:p2.example;lr>", "<sip:p1.example;lr>"]);
    assert_eq!(headers(&bye, Name::From), ["Alice <sip:alice@a.example>;x=1;y;tag=a"]);
    assert_eq!(headers(&bye, Name::To), ["<sip:bob@b.example>;tag=b"]);
    assert_eq!(headers(&bye, Name::CSeq), ["8 BYE"]);
    assert_eq!(headers(&bye, Name::Via), [std::str::from_utf8(VIA).unwrap()]);
    assert_eq!(headers(&bye, Name::MaxForwards), ["70"]);
    assert_eq!(caller.next_hop(), b"sip:p2.example;lr");
}

#[test]
fn a_strict_route_takes_the_place_of_the_target() {
    let invite = invite(&["<sip:p1.example;lr>", "<sip:p2.example?X=y>"]);
    let mut caller = Dialog::uac(ok(&invite).view(), invite.view().request_uri().unwrap()).unwrap();
    let bye = owned(&caller.request(Method::Bye, VIA).finish(b""));
    assert_eq!(bye.view().request_uri(), Some(&b"sip:p2.example"[..]));
    assert_eq!(headers(&bye, Name::Route), ["<sip:p1.example;lr>", "<sip:bob@192.0.2.2:5070>"]);
}

#[test]
fn the_ack_has_the_number_of_its_invite() {
    let invite = invite(&[]);
    let mut caller = Dialog::uac(ok(&invite).view(), invite.view().request_uri().unwrap()).unwrap();
    let _ = caller.request(Method::Info, VIA);
    let ack = owned(&caller.ack(7, VIA).finish(b""));
    ack.view().check().unwrap();
    assert_eq!(headers(&ack, Name::CSeq), ["7 ACK"]);
    assert_eq!(caller.local_cseq, 8);
    assert_eq!(caller.next_hop(), b"sip:bob@192.0.2.2:5070");
}

#[test]
fn requests_count_up_on_each_side_by_itself() {
    let invite = invite(&[]);
    let mut caller = Dialog::uac(ok(&invite).view(), invite.view().request_uri().unwrap()).unwrap();
    let mut called = Dialog::uas(invite.view(), b"b").unwrap();
    let [first, second] = [(); 2].map(|()| owned(&caller.request(Method::Info, VIA).finish(b"")));
    assert_eq!(called.receive(second.view()), Ok(()));
    assert_eq!(called.receive(first.view()), Err(OutOfOrder { received: 8, last: 9 }));
    assert_eq!(called.receive(owned(&caller.ack(7, VIA).finish(b"")).view()), Ok(()), "ACK has no order");
    assert_eq!(called.remote_cseq, Some(9));
    let back = owned(&called.request(Method::Bye, VIA).finish(b""));
    assert_eq!(headers(&back, Name::CSeq), ["1 BYE"]);
    assert_eq!(caller.receive(back.view()), Ok(()));
    assert_eq!(caller.remote_cseq, Some(1));
}

#[test]
fn the_target_follows_the_contact() {
    let invite = invite(&[]);
    let mut caller = Dialog::uac(ok(&invite).view(), invite.view().request_uri().unwrap()).unwrap();
    let update = owned(&Writer::request(Method::Update, b"sip:x").header("Contact", "<sip:new@192.0.2.3>").finish(b""));
    caller.refresh_target(update.view());
    assert_eq!(caller.remote_target, b"sip:new@192.0.2.3");
    caller.refresh_target(owned(&Writer::response(200, b"OK").finish(b"")).view());
    assert_eq!(caller.remote_target, b"sip:new@192.0.2.3", "no Contact changes nothing");
}

#[test]
fn without_contact_a_request_makes_no_dialog_but_a_response_does() {
    let request = owned(
        &Writer::request(Method::Invite, b"sip:bob@192.0.2.2")
            .header("From", "<sip:alice@a.example>")
            .header("To", "<sip:bob@b.example>")
            .header("Call-ID", "call")
            .header("CSeq", "7 INVITE")
            .finish(b""),
    );
    assert_eq!(Dialog::uas(request.view(), b"b"), Err(Fault::Missing(Name::Contact)));
    let ringing = respond(request.view(), "192.0.2.1:5060".parse().unwrap(), 180, b"Ringing", Some(b"b")).finish(b"");
    let early = Dialog::uac(owned(&ringing).view(), request.view().request_uri().unwrap()).unwrap();
    assert_eq!(early.remote_target, b"sip:bob@192.0.2.2");
    assert_eq!(early.local_tag, b"", "the far side of RFC 2543 has no tag");
    assert!(headers(&owned(&early.clone().request(Method::Bye, VIA).finish(b"")), Name::From)[0].ends_with('>'));
}
