//! What is particular to sending from a shared socket. Every test has addresses of its own.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::Duration;

use moorline_relay::{Ports, Traffic, Verdict};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};

use super::*;
use crate::datapath::tests::{IN, OUT, Shared, stage_shared};
use crate::datapath::{Datapath, KernelDrop, Packet, Tally};

fn range(network: &str) -> MediaRange {
    MediaRange { network: network.parse().unwrap(), ports: 20_000..=20_063, interface: None, dscp: 46 }
}

/// Relays one datagram from port 20,000 of `address` out of its port 20,002 to a listener, with `payload`.
fn relayed(shared: &mut Shared, address: &str, listener: &UdpSocket, payload: &[u8]) -> Tally {
    let at = |port| SocketAddr::new(address.parse().unwrap(), port);
    shared.bind(IN, at(20_000)).unwrap();
    shared.bind(OUT, at(20_002)).unwrap();
    let mut tally = Tally::new().unwrap();
    let to = listener.local_addr().unwrap();
    UdpSocket::bind((to.ip(), 0)).unwrap().send_to(payload, at(20_000)).unwrap();
    let mut seen = 0;
    while seen == 0 {
        shared.sleep(Duration::from_millis(10)).unwrap();
        let mut verdict = |packet: Packet<'_>| {
            assert_eq!((packet.endpoint, packet.payload), (IN, payload));
            seen += 1;
            Verdict::Forward { from: OUT, to, traffic: Traffic::Rtp }
        };
        shared.relay(&mut tally, &mut verdict).unwrap();
    }
    shared.unbind(IN);
    shared.unbind(OUT);
    tally
}

fn listener(address: &str) -> UdpSocket {
    let listener = UdpSocket::bind((address, 0)).unwrap();
    listener.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    listener
}

#[test]
fn packets_carry_the_code_point_and_the_source_of_their_port_on_both_ip_versions() {
    for (network, address, far) in [("127.78.240.0/30", "127.78.240.2", "127.78.240.9"), ("::1/128", "::1", "::1")] {
        let Some((mut shared, _wake)) = stage_shared(4, range(network)) else { return };
        let listener = listener(far);
        match far.contains(':') {
            true => setsockopt(&listener, sockopt::Ipv6RecvTClass, &true).unwrap(),
            false => setsockopt(&listener, sockopt::IpRecvTos, &true).unwrap(),
        }
        relayed(&mut shared, address, &listener, b"media");
        let (mut bytes, mut control) = ([0; 64], nix::cmsg_space!(i32, i32));
        let mut vectors = [io::IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::empty();
        let received =
            recvmsg::<SockaddrStorage>(listener.as_raw_fd(), &mut vectors, Some(&mut control), flags).unwrap();
        let class = received.cmsgs().unwrap().find_map(|message| match message {
            ControlMessageOwned::Ipv4Tos(tos) => Some(i32::from(tos)),
            ControlMessageOwned::Ipv6TClass(class) => Some(class),
            _ => None,
        });
        assert_eq!(class, Some(46 << 2), "{network}");
        let source = received.address.unwrap().to_string();
        assert_eq!(source, SocketAddr::new(address.parse().unwrap(), 20_002).to_string());
        assert_eq!((received.bytes, &bytes[..5]), (5, &b"media"[..]));
    }
}

/// The kernel refuses to send a datagram with headers of its own that is longer than its way takes; it goes in
/// fragments then. Loopback's way takes 65,536 bytes, so the refusal is made by hand.
#[test]
fn a_datagram_above_the_limit_of_its_path_is_sent_in_fragments() {
    let Some((shared, _wake)) = stage_shared(4, range("127.78.241.0/30")) else { return };
    let listener = listener("127.78.241.9");
    let from: SocketAddr = "127.78.241.2:20002".parse().unwrap();
    let mut packet = vec![0; ROOM];
    packet.extend([7; 2048]);
    let to = listener.local_addr().unwrap();
    let begin = Sender::new(from, 0xb8).write(&mut packet, ROOM, to, 1).unwrap();
    shared.0.shared.as_ref().unwrap().send_oversize(&packet[begin..]).unwrap();
    let mut bytes = [0; 4096];
    let (length, source) = listener.recv_from(&mut bytes).unwrap();
    assert_eq!((source, &bytes[..length]), (from, &[7; 2048][..]));
}

#[test]
fn a_port_that_somebody_else_has_is_left_to_them() {
    let theirs = UdpSocket::bind("127.78.242.2:20004").unwrap();
    let Some((mut shared, _wake)) = stage_shared(4, range("127.78.242.0/30")) else { return };
    assert_eq!(shared.bind(IN, theirs.local_addr().unwrap()), Err(BindError::AddressInUse));
    shared.bind(IN, "127.78.242.2:20006".parse().unwrap()).unwrap();
    assert_eq!(shared.bind(OUT, "127.78.242.2:20006".parse().unwrap()), Err(BindError::AddressInUse));
    assert!(matches!(shared.bind(OUT, "127.78.242.2:30000".parse().unwrap()), Err(BindError::System(_))));
}

#[test]
fn a_port_is_fresh_for_a_time_and_then_for_good_not() {
    let Some((mut shared, _wake)) = stage_shared(4, range("127.78.243.0/30")) else { return };
    let address: SocketAddr = "127.78.243.1:20000".parse().unwrap();
    shared.bind(IN, address).unwrap();
    let own = shared.0.shared.as_mut().unwrap();
    assert_eq!(own.owner_at(address, Some(1)), None, "from before it was opened");
    assert_eq!(own.owner_at(address, Some(u64::MAX)), Some(IN));
    own.age(clock::monotonic_ns());
    assert_eq!(own.owner_at(address, Some(1)), None);
    // Its time is over: a clock that was set back must not make it deaf.
    own.fresh[0].0 = 0;
    own.locals[0].fresh_until = 0;
    own.age(clock::monotonic_ns());
    assert_eq!(own.owner_at(address, Some(1)), Some(IN));
    assert!(own.fresh.is_empty());
}

#[test]
fn what_goes_out_is_counted_as_sent() {
    let Some((mut shared, _wake)) = stage_shared(4, range("127.78.244.0/30")) else { return };
    let listener = listener("127.78.244.9");
    let tally = relayed(&mut shared, "127.78.244.1", &listener, &[1; 100]);
    assert_eq!(KernelDrop::ALL.into_iter().map(|reason| tally.dropped(reason)).sum::<u64>(), 0);
    assert_eq!(tally.residence.count(), 1);
    assert_eq!(listener.recv(&mut [0; 200]).unwrap(), 100);
}

/// A raw socket hears whatever carries its protocol's number, and nobody reads what a sender hears: it would be kept
/// for good, once for every shard.
#[test]
fn what_strangers_send_to_a_sender_is_not_kept() {
    let address = "127.78.245.1".parse().unwrap();
    let range = range("127.78.245.0/30");
    let Ok(sender) = sockets::sender(&range, false, Some(address)) else { return };
    let Ok(stranger) = sockets::sender(&range, false, None) else { return };
    let mut packet = [0; 21];
    packet[..2].copy_from_slice(&[0x45, 0]);
    packet[8..10].copy_from_slice(&[64, 255]);
    packet[12..20].copy_from_slice(&[127, 78, 245, 2, 127, 78, 245, 1]);
    for _ in 0..3 {
        stranger.send_to(&packet, &SocketAddr::new(address, 0).into()).unwrap();
    }
    let kept = sender.recv(&mut [std::mem::MaybeUninit::uninit(); 64]);
    assert_eq!(kept.map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
}

#[test]
fn senders_follow_their_interface() {
    let range = MediaRange { interface: Some("lo".into()), ..range("127.78.246.0/30") };
    let Some((mut shared, _wake)) = stage_shared(4, range) else { return };
    let own = shared.0.shared.as_mut().unwrap();
    assert_eq!(own.on_interfaces.len(), 4);
    // What is left of an interface that was removed is an index without one.
    own.on_interfaces.iter().for_each(|(_, sender)| sender.bind_device(None).unwrap());
    let device = |own: &super::Shared| own.on_interfaces[3].1.device().unwrap();
    own.follow_interfaces();
    assert_eq!(device(own), None);
    own.lookup.come_in_by(0, nix::net::if_::if_nametoindex("lo").unwrap()).unwrap();
    own.follow_interfaces();
    assert_eq!(device(own), Some(b"lo".to_vec()));
    let listener = listener("127.78.246.9");
    relayed(&mut shared, "127.78.246.2", &listener, b"media");
    assert_eq!(listener.recv(&mut [0; 8]).unwrap(), 5);
}
