//! A carrier known by its name: calls go where its DNS records say.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod stand;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use moorline_bench::load;
use stand::Stand;

const A: u16 = 1;
const SRV: u16 = 33;

/// A name as DNS writes it (RFC 1035 section 3.1).
fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| {
        let length = u8::try_from(label.len()).expect("short");
        std::iter::once(length).chain(label.bytes())
    });
    labels.chain([0]).collect()
}

/// The answer to a question, of which nothing is known but these records: type, name and data.
fn answer(question: &[u8], records: &[(u16, &str, Vec<u8>)]) -> Vec<u8> {
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).expect("a name") + 1;
    let asked = (u16::from_be_bytes([question[end], question[end + 1]]), question[12..end].to_ascii_lowercase());
    let found: Vec<_> = records.iter().filter(|(kind, name, _)| (*kind, wire(name)) == asked).collect();
    let mut reply = question[..2].to_vec();
    // A response, recursion desired and available; one question, and so many answers.
    reply.extend([0x81, 0x80, 0, 1, 0, u8::try_from(found.len()).expect("few"), 0, 0, 0, 0]);
    reply.extend(&question[12..end + 4]);
    for (kind, _, data) in found {
        // The name of the question, by a pointer to it; class IN; 60 seconds to live.
        reply.extend([0xc0, 12]);
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1, 0, 0, 0, 60]);
        reply.extend(u16::try_from(data.len()).expect("short").to_be_bytes());
        reply.extend(data);
    }
    reply
}

/// Answers until the test ends.
fn serve(server: SocketAddr, records: Vec<(u16, &'static str, Vec<u8>)>) {
    let socket = UdpSocket::bind(server).expect("the server's address");
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            socket.send_to(&answer(&buffer[..length], &records), client).expect("sent");
        }
    });
}

#[test]
fn calls_to_a_name_go_where_its_srv_records_say() {
    let net = 27;
    let server = SocketAddr::from(([127, 98, net, 53], 5353));
    let srv = [&[0, 1, 0, 0, 0x13, 0xc4][..], &wire("sbc.carrier.test")].concat();
    let address = Ipv4Addr::new(127, 98, net, 3).octets().to_vec();
    serve(server, vec![(SRV, "_sip._udp.carrier.test", srv), (A, "sbc.carrier.test", address)]);
    let stand = Stand::up(
        net,
        &[
            ("targets = [\"127.98.27.3:5060\"]", "targets = [\"sip:carrier.test\"]\nsources = [\"127.98.27.3/32\"]"),
            ("lease_s = 10", "lease_s = 10\ndns = { servers = [\"127.98.27.53:5353\"] }"),
        ],
    );
    let report = load::run(&stand.plan(10, Duration::from_secs(1)), &mut |_| {}).expect("the load runs");
    assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
    stand.until_nothing_is_left();
}

#[test]
fn calls_to_a_name_that_does_not_exist_are_refused() {
    let net = 28;
    serve(SocketAddr::from(([127, 98, net, 53], 5353)), Vec::new());
    let stand = Stand::up(
        net,
        &[
            ("targets = [\"127.98.28.3:5060\"]", "targets = [\"sip:carrier.test\"]"),
            ("lease_s = 10", "lease_s = 10\ndns = { servers = [\"127.98.28.53:5353\"] }"),
        ],
    );
    let report = load::run(&stand.plan(3, Duration::from_secs(1)), &mut |_| {}).expect("the load runs");
    assert_eq!(report.completed, 0, "{report:#?}\n{}", stand.log());
    assert_eq!(report.failed.values().sum::<u32>(), 3, "refused, and not left without an answer: {report:#?}");
    stand.until_nothing_is_left();
}
