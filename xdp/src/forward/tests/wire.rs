//! Packets of real sockets over real veth pairs: the other ends lie in a network namespace of their own.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use aya::programs::xdp::XdpMode;
use nix::sched::{CloneFlags, unshare};

use super::frames::rtp;
use super::host::{apart, run};
use super::rig::{FIRST, HOP, SSRC, local, pair, ranges, source, wish};
use crate::forward::*;

const CORE: [u8; 6] = [2, 0, 0, 0, 0, 1];
const FAR: [u8; 6] = [2, 0, 0, 0, 0, 9];
const SIDE: [u8; 6] = [2, 0, 0, 0, 1, 1];
const AWAY: [u8; 6] = [2, 0, 0, 0, 1, 9];

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn add(interface: &str, address: IpAddr) {
    let tail = if address.is_ipv6() { "/128 nodad" } else { "/32" };
    run(&format!("ip addr add {address}{tail} dev {interface}"));
}

/// The parties' namespace: whose packets come from `source` and who hears those for `to`. It lasts as long as the sender
/// of the pair that is handed in.
fn parties(v6: bool, tell: &Sender<i32>, moved: &Receiver<()>, sockets: &Sender<[UdpSocket; 2]>) {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    tell.send(nix::unistd::gettid().as_raw()).unwrap();
    moved.recv().unwrap();
    run("ip link set lo up");
    let mut pass_all = load(1, 1, None).unwrap();
    for (name, mac) in [("far", FAR), ("away", AWAY)] {
        run(&format!("ip link set {name} address {}", text(mac)));
        run(&format!("ip link set {name} up"));
        // What is sent back into a veth comes out where its other end has a program.
        xdp(&mut pass_all).unwrap().attach(name, XdpMode::Driver).unwrap();
    }
    let Wish { from, to, .. } = wish(v6);
    add("far", source(v6).ip());
    add("far", to.ip());
    let range = if v6 { "2001:db8::/64" } else { "192.0.2.0/24" };
    run(&format!("ip route add {range} dev far src {}", source(v6).ip()));
    for own in [local(v6), from] {
        run(&format!("ip neigh add {} lladdr {} dev far", own.ip(), text(CORE)));
    }
    let [sender, receiver] = [source(v6), to].map(|own| UdpSocket::bind(own).unwrap());
    sender.connect(local(v6)).unwrap();
    sockets.send([sender, receiver]).unwrap();
    // Until the test is over.
    let _ = moved.recv();
}

/// A stream that is relayed, by one interface or two.
fn relay(v6: bool, mode: Mode, by: &str) {
    apart(|| {
        pair("core", "far");
        pair("side", "away");
        for (name, mac) in [("core", CORE), ("side", SIDE)] {
            run(&format!("ip link set {name} address {}", text(mac)));
        }
        add("core", local(v6).ip());
        let back = if v6 { "2001:db8:1::/64" } else { "198.51.100.0/24" };
        run(&format!("ip route add {back} dev core"));
        let forward = Forward::attach(&["core", "side"].map(String::from), &ranges(), None, 4, mode, None).unwrap();
        assert!(forward.attached().iter().all(|attached| attached.native == (mode == Mode::Native)));
        std::thread::scope(|scope| {
            let (tell, told) = channel();
            let (move_on, moved) = channel();
            let (give, given) = channel();
            scope.spawn(move || parties(v6, &tell, &moved, &give));
            let thread = told.recv().unwrap();
            run(&format!("ip link set far netns {thread}"));
            run(&format!("ip link set away netns {thread}"));
            move_on.send(()).unwrap();
            let sockets = given.recv().unwrap();
            stream(&forward, v6, by, &sockets);
            drop(move_on);
        });
    });
}

fn stream(forward: &Forward, v6: bool, by: &str, [sender, receiver]: &[UdpSocket; 2]) {
    let up = UdpSocket::bind(local(v6)).unwrap();
    [&up, receiver].iter().for_each(|socket| socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap());
    let heard = |socket: &UdpSocket| -> (Vec<u8>, SocketAddr) {
        let mut bytes = [0; 2048];
        let (length, from) = socket.recv_from(&mut bytes).unwrap_or_else(|error| {
            panic!("{error} at {:?}, seen {:?}", socket.local_addr(), forward.seen(FlowId::first()))
        });
        (bytes[..length].to_vec(), from)
    };
    let (interface, source_mac, destination) = if by == "core" { ("core", CORE, FAR) } else { ("side", SIDE, AWAY) };
    let interface = interfaces::index(interface).unwrap();
    // The kernel's own way there first, so that all is up.
    let to = wish(v6).to;
    run(&format!("ip route add {} dev {by}", to.ip()));
    run(&format!("ip neigh add {} lladdr {} dev {by}", to.ip(), text(destination)));
    let kernel = UdpSocket::bind((local(v6).ip(), 0)).unwrap();
    receiver.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let arrives = || kernel.send_to(b"up?", to).is_ok() && receiver.recv_from(&mut [0; 8]).is_ok();
    assert!((0..100).any(|_| arrives()), "no way to {to}");
    while receiver.recv_from(&mut [0; 8]).is_ok() {}
    receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();

    let hop = Hop { interface, destination, source: source_mac, vlan: None, outer: None, mtu: 1500 };
    forward.set_hop(HOP, &hop).unwrap();
    let entry = forward.entry(local(v6)).unwrap();
    let flow = forward.take_flow(entry).unwrap();
    forward.open(entry, 0, Some(flow));
    assert!(forward.tell(flow, &wish(v6), monotonic_ns()));

    let packet = |n: u16| rtp(0, FIRST + n, u32::from(n) * 160, SSRC);
    sender.send(&packet(0)).unwrap();
    assert_eq!(heard(&up), (packet(0), source(v6)), "the first goes up");
    for n in 1..200 {
        if n % 50 == 1 {
            let progress = Progress { sequence: u32::from(FIRST + n - 1), came: 1, ..Progress::default() };
            forward.arm(flow, forward.seen(flow).passed, &progress);
        }
        if n % 50 == 0 {
            let event = rtp(101, FIRST + n, u32::from(n) * 160, SSRC);
            sender.send(&event).unwrap();
            assert_eq!(heard(&up), (event, source(v6)), "an event goes up");
            continue;
        }
        sender.send(&packet(n)).unwrap();
        // Its checksum is right, or it would not be heard.
        assert_eq!(heard(receiver), (packet(n), wish(v6).from), "{n}");
    }
    let seen = forward.seen(flow);
    assert_eq!((seen.packets, seen.bytes, seen.passed, seen.takeovers), (196, 196 * 172, 4, 4));
    assert_eq!((seen.skipped, seen.late, seen.duplicates, seen.sequence), (0, 0, 0, u32::from(FIRST) + 199));
    assert_eq!(forward.counts().unwrap().relayed, 196);
    // What is for no media port is the kernel's, as ever.
    let other = UdpSocket::bind((local(v6).ip(), 5060)).unwrap();
    other.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    sender.send_to(b"INVITE", (local(v6).ip(), 5060)).unwrap();
    assert_eq!(heard(&other).0, b"INVITE");
}

#[test]
fn sockets_hear_each_other_through_the_driver() {
    [false, true].iter().for_each(|v6| relay(*v6, Mode::Native, "core"));
}

#[test]
fn sockets_hear_each_other_through_two_interfaces() {
    [false, true].iter().for_each(|v6| relay(*v6, Mode::Native, "side"));
}

#[test]
fn sockets_hear_each_other_in_generic_mode() {
    [(false, "core"), (true, "core"), (false, "side")].iter().for_each(|(v6, by)| relay(*v6, Mode::Generic, by));
}
