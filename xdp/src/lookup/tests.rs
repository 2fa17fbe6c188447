//! The program in this kernel, on addresses of loopback. Without the capabilities for it a test says that it was
//! skipped.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use super::*;

/// Whether this process may attach the program; if not, that is said where it is seen.
fn is_possible() -> bool {
    let Err(error) = probe() else { return true };
    assert!(matches!(error, LookupError::Capabilities(_)), "{error}");
    // Not by a macro, whose output is kept back where a test succeeds.
    let _ = writeln!(std::io::stderr(), "SKIPPED, socket lookup is not possible: {error}");
    if let Some(path) = std::env::var_os("MOORLINE_SKIPPED") {
        let mut file = File::options().append(true).create(true).open(path).unwrap();
        writeln!(file, "tests of the socket lookup program: {error}").unwrap();
    }
    false
}

/// One address of loopback, ports 20,000 to 20,063.
fn range(address: &str) -> LookupRange {
    LookupRange { first: address.parse().unwrap(), addresses: 1, first_port: 20_000, ports: 64, interface: None }
}

/// A lookup with a socket for shard 0, or `None` where this process may not have one.
fn attached(range: &LookupRange, port_pps: Option<u32>) -> Option<(Lookup, UdpSocket)> {
    if !is_possible() {
        return None;
    }
    let lookup = Lookup::attach(std::slice::from_ref(range), 1, port_pps).unwrap();
    let v6 = range.first.is_ipv6();
    let socket = UdpSocket::bind((if v6 { "::1" } else { "127.0.0.1" }, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    lookup.receive_by(0, v6, &socket).unwrap();
    Some((lookup, socket))
}

fn client(address: &str) -> UdpSocket {
    let client = UdpSocket::bind((address, 0)).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client
}

/// Sends to a port and says what the kernel answers about it.
fn refusal(client: &UdpSocket, to: SocketAddr) -> ErrorKind {
    client.connect(to).unwrap();
    client.send(b"?").unwrap();
    client.recv(&mut [0; 8]).unwrap_err().kind()
}

#[test]
fn open_ports_come_to_the_shards_socket_and_closed_ones_are_unreachable_as_ever() {
    for (address, from) in [("127.79.1.1", "127.79.1.2"), ("::1", "::1")] {
        let Some((lookup, socket)) = attached(&range(address), None) else { return };
        let at = |port| SocketAddr::new(address.parse().unwrap(), port);
        let entry = lookup.entry(at(20_006)).unwrap();
        assert_eq!(lookup.entry(at(20_064)), None);
        assert_eq!(refusal(&client(from), at(20_006)), ErrorKind::ConnectionRefused);
        lookup.open(entry, 0);
        let sender = client(from);
        sender.send_to(b"media", at(20_006)).unwrap();
        let (length, source) = socket.recv_from(&mut [0; 64]).unwrap();
        assert_eq!((length, source), (5, sender.local_addr().unwrap()));
        assert_eq!(refusal(&client(from), at(20_005)), ErrorKind::ConnectionRefused, "its neighbour is closed");
        lookup.close(entry);
        assert_eq!(refusal(&client(from), at(20_006)), ErrorKind::ConnectionRefused);
        lookup.open(entry, 0);
        drop((lookup, socket));
        assert_eq!(refusal(&client(from), at(20_006)), ErrorKind::ConnectionRefused, "nothing is left behind");
    }
}

#[test]
fn other_sockets_on_the_address_are_untouched() {
    let Some((lookup, _socket)) = attached(&range("127.79.2.1"), None) else { return };
    lookup.open(lookup.entry("127.79.2.1:20000".parse().unwrap()).unwrap(), 0);
    for own in ["127.79.2.1:5060", "127.79.2.1:20001", "127.79.2.2:20000"] {
        let other = UdpSocket::bind(own).unwrap();
        other.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client("127.79.2.3").send_to(b"sip", own).unwrap();
        assert_eq!(other.recv(&mut [0; 8]).unwrap(), 3, "{own}");
    }
}

#[test]
fn a_range_of_one_interface_hears_no_other() {
    let loopback = nix::net::if_::if_nametoindex("lo").unwrap();
    for (interface, hears) in [(loopback, true), (loopback + 1000, false)] {
        let Some((lookup, socket)) = attached(&LookupRange { interface: Some(interface), ..range("127.79.3.1") }, None)
        else {
            return;
        };
        let at: SocketAddr = "127.79.3.1:20000".parse().unwrap();
        lookup.open(lookup.entry(at).unwrap(), 0);
        client("127.79.3.2").send_to(b"media", at).unwrap();
        assert_eq!(socket.recv(&mut [0; 8]).is_ok(), hears, "interface {interface}");
    }
}

#[test]
fn a_range_follows_its_interface_to_another_index() {
    let loopback = nix::net::if_::if_nametoindex("lo").unwrap();
    let former = LookupRange { interface: Some(loopback + 1000), ..range("127.79.8.1") };
    let Some((lookup, socket)) = attached(&former, None) else { return };
    let at: SocketAddr = "127.79.8.1:20000".parse().unwrap();
    lookup.open(lookup.entry(at).unwrap(), 0);
    client("127.79.8.2").send_to(b"media", at).unwrap();
    assert!(socket.recv(&mut [0; 8]).is_err());
    assert!(lookup.come_in_by(0, loopback).unwrap());
    assert!(!lookup.come_in_by(0, loopback).unwrap() && !lookup.come_in_by(1, loopback).unwrap());
    assert_eq!(lookup.changes(), 1);
    client("127.79.8.2").send_to(b"media", at).unwrap();
    assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 5);
}

#[test]
fn a_flooded_port_is_cut_without_a_word_and_its_neighbour_is_not() {
    let Some((lookup, socket)) = attached(&range("127.79.4.1"), Some(1_000)) else { return };
    SockRef::from(&socket).set_recv_buffer_size(1 << 20).unwrap();
    let [flooded, quiet]: [SocketAddr; 2] = ["127.79.4.1:20000", "127.79.4.1:20002"].map(|at| at.parse().unwrap());
    [flooded, quiet].iter().for_each(|at| lookup.open(lookup.entry(*at).unwrap(), 0));
    let sender = client("127.79.4.2");
    sender.connect(flooded).unwrap();
    const SENT: u64 = 5_000;
    let mut received = 0;
    for n in 0..SENT {
        sender.send(b"flood").unwrap();
        if n % 100 == 99 {
            socket.set_nonblocking(true).unwrap();
            received += std::iter::from_fn(|| socket.recv(&mut [0; 8]).ok()).count() as u64;
        }
    }
    // A flood is refused in silence: no answer made the sends fail.
    assert_eq!(received + lookup.flooded(0), SENT);
    assert!(lookup.flooded(0) > 0, "none of {SENT} packets was above the ceiling");
    assert!(received >= 268, "a window's worth passes, and not {received}");
    client("127.79.4.3").send_to(b"media", quiet).unwrap();
    socket.set_nonblocking(false).unwrap();
    assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 5);
}

#[test]
fn a_second_instance_on_the_same_ports_is_refused_until_the_first_is_gone() {
    let Some((first, _)) = attached(&range("127.79.5.1"), None) else { return };
    let same = range("127.79.5.1");
    let wider = LookupRange { addresses: 10, first: "127.79.5.0".parse().unwrap(), ports: 2, ..same.clone() };
    let beside = LookupRange { first_port: 20_064, ..same.clone() };
    for range in [&same, &wider] {
        let error = Lookup::attach(std::slice::from_ref(range), 1, None).unwrap_err();
        assert!(matches!(&error, LookupError::Taken(ports) if ports.contains("127.79.5.1")), "{error}");
        assert!(matches!(unclaimed(std::slice::from_ref(range)), Err(LookupError::Taken(_))));
    }
    unclaimed(std::slice::from_ref(&beside)).unwrap();
    Lookup::attach(&[beside], 1, None).unwrap();
    drop(first);
    Lookup::attach(&[wider], 1, None).unwrap();
}

#[test]
fn what_would_be_absurd_is_refused_with_the_reason() {
    if !is_possible() {
        return;
    }
    let of = |n: u8| LookupRange { addresses: 1024, ports: 64_000, ..range(&format!("10.{n}.0.0")) };
    let error = Lookup::attach(&[of(0), of(4)], 1, None).unwrap_err();
    assert!(matches!(error, LookupError::Ports(131_072_000)), "{error}");
    let many: Vec<LookupRange> = (0..17).map(|n| LookupRange { ports: 2, ..range(&format!("10.9.9.{n}")) }).collect();
    assert!(matches!(Lookup::attach(&many, 1, None), Err(LookupError::Ranges(17))));
    assert!(matches!(Lookup::attach(&[range("127.79.6.1")], 65, None), Err(LookupError::Shards(65))));
}
