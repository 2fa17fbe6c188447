//! RTCP between parties of which one has it on the RTP port, through both processes.
#![allow(clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]

mod stand;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use stand::Stand;
use stand::parties::{header, respond, sdp, socket};

/// A receiver report without blocks (RFC 3550 section 6.4.2).
const REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 7];

/// What comes next that is no provisional answer.
fn hear(socket: &UdpSocket) -> String {
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).expect("something comes");
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if !text.starts_with("SIP/2.0 1") {
            return text;
        }
    }
}

/// Where a description receives its first stream.
fn place(description: &str) -> SocketAddr {
    let line = |prefix: &str| {
        let line = description.lines().find_map(|line| line.strip_prefix(prefix));
        line.unwrap_or_else(|| panic!("no {prefix} in {description}"))
    };
    let port = line("m=audio ").split(' ').next().unwrap_or_default();
    format!("{}:{port}", line("c=IN IP4 ").trim()).parse().expect("an address")
}

/// What arrives, and where from.
fn heard(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 64];
    let (length, from) = socket.recv_from(&mut buffer).expect("a packet");
    (buffer[..length].to_vec(), from)
}

#[test]
fn rtcp_crosses_between_a_party_with_one_port_and_a_party_with_two() {
    let stand = Stand::up(65, &[]);
    let (caller, callee) = (socket(&stand, 2), socket(&stand, 3));
    let bound = |host: u8, port: u16| UdpSocket::bind(stand.address(host, port)).expect("bound");
    let (one_port, two_ports) = (bound(2, 40_000), [bound(3, 40_000), bound(3, 40_001)]);
    for socket in [&caller, &callee, &one_port, &two_ports[0], &two_ports[1]] {
        socket.set_read_timeout(Some(stand::PATIENCE)).expect("set");
    }
    let [sbc, own, called] = [1, 2, 3].map(|host| stand.address(host, 5060).to_string());
    let request = |method: &str, tag: &str, body: &str| {
        format!(
            "{method} sip:5550@{sbc} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{method}\r\nMax-Forwards: 70\r\n\
             From: <sip:2000@{own}>;tag=caller\r\nTo: <sip:5550@{sbc}>{tag}\r\nCall-ID: one\r\nCSeq: 1 {method}\r\n\
             Contact: <sip:2000@{own}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let offer = format!("{}a=rtcp-mux\r\n", sdp(&own));
    caller.send_to(request("INVITE", "", &offer).as_bytes(), &sbc).expect("sent");
    let invite = hear(&callee);
    assert!(invite.starts_with("INVITE ") && invite.contains("\r\na=rtcp-mux\r\n"), "{invite}");
    let answer = respond(&invite, "200 OK", &sdp(&called), &called);
    callee.send_to(answer.as_bytes(), &sbc).expect("sent");
    let ok = hear(&caller);
    assert!(ok.starts_with("SIP/2.0 200 ") && ok.contains("\r\na=rtcp-mux\r\n"), "{ok}");
    let tag = format!(";tag={}", header(&ok, "To").split(";tag=").nth(1).expect("a tag"));
    caller.send_to(request("ACK", &tag, "").as_bytes(), &sbc).expect("sent");
    let (inside, outside) = (place(&ok), place(&invite));
    let beside = SocketAddr::new(outside.ip(), outside.port() + 1);

    one_port.send_to(&REPORT, inside).expect("sent");
    assert_eq!(heard(&two_ports[1]), (REPORT.to_vec(), beside), "from one port to the second of two");
    two_ports[1].send_to(&REPORT, beside).expect("sent");
    assert_eq!(heard(&one_port), (REPORT.to_vec(), inside), "and back");
    two_ports[0].set_read_timeout(Some(Duration::from_millis(1))).expect("set");
    assert!(two_ports[0].recv(&mut [0; 64]).is_err(), "nothing of it came to the RTP port");
}
