//! What every datapath promises, on sockets of loopback.

use std::fs::File;
use std::io::{self, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use moorline_relay::{BindError, DropReason, EndpointId, Outgoing, Ports, Relayed, Traffic, Verdict};
use moorline_xdp::{Lookup, LookupError, LookupRange};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::epoll::Epoll;
use super::uring::Uring;
use super::{Datapath, Judge, KernelDrop, MAX_DATAGRAM, MediaRange, Packet, Setup, Tally};

pub(super) const IN: EndpointId = EndpointId(0);
pub(super) const OUT: EndpointId = EndpointId(1);

/// A setup of this many endpoints with a socket for each port, and the other end of its wake-up.
pub(super) fn setup(endpoints: usize) -> (Setup, EventFd) {
    let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
    let own = wake.as_fd().try_clone_to_owned().unwrap();
    (Setup { endpoints, wake: own, ranges: Vec::new(), shared: None, direct: None, af_xdp: None }, wake)
}

/// A datapath, and how it is set up for a test with addresses 127.78.`third_octet`.0 to .7; `None` if this process may
/// not, which has been said.
pub(super) trait Stage: Datapath {
    /// Packets that no receive buffer has room for.
    const MORE_THAN_IT_HOLDS: u64 = 5_000;

    fn stage(endpoints: usize, third_octet: u8) -> Option<(Self, EventFd)> {
        let _ = third_octet;
        let (setup, wake) = setup(endpoints);
        Some((Self::new(setup).unwrap(), wake))
    }
}

impl Stage for Epoll {}
impl Stage for Uring {}

/// io_uring with one socket for all ports.
pub(super) struct Shared(pub(super) Uring);

impl Stage for Shared {
    const MORE_THAN_IT_HOLDS: u64 = 40_000;

    fn stage(endpoints: usize, third_octet: u8) -> Option<(Shared, EventFd)> {
        let range = MediaRange {
            network: format!("127.78.{third_octet}.0/29").parse().unwrap(),
            ports: 20_000..=20_999,
            interface: None,
            dscp: 46,
        };
        stage_shared(endpoints, range)
    }
}

/// Shared sockets for one range, without a ceiling; `None` if this process may not have them.
pub(super) fn stage_shared(endpoints: usize, range: MediaRange) -> Option<(Shared, EventFd)> {
    let ports = u32::from(range.ports.end() - range.ports.start()) + 1;
    let own = LookupRange {
        first: range.network.network(),
        addresses: 1 << (range.network.max_prefix_len() - range.network.prefix_len()),
        first_port: *range.ports.start(),
        ports,
        interface: None,
    };
    let lookup = match Lookup::attach(&[own], 1, None) {
        Ok(lookup) => Arc::new(lookup),
        Err(error @ LookupError::Capabilities(_)) => {
            // Not by a macro, whose output is kept back where a test succeeds.
            let _ = writeln!(io::stderr(), "SKIPPED, shared sockets are not possible: {error}");
            if let Some(path) = std::env::var_os("MOORLINE_SKIPPED") {
                let mut file = File::options().append(true).create(true).open(path).unwrap();
                writeln!(file, "tests of shared media sockets: {error}").unwrap();
            }
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let (setup, wake) = setup(endpoints);
    let setup = Setup { ranges: vec![range], shared: Some((lookup, 0)), ..setup };
    Some((Shared(Uring::new(setup).unwrap()), wake))
}

impl Ports for Shared {
    fn bind(&mut self, endpoint: EndpointId, address: SocketAddr) -> Result<(), BindError> {
        self.0.bind(endpoint, address)
    }

    fn unbind(&mut self, endpoint: EndpointId) {
        self.0.unbind(endpoint);
    }
}

impl Datapath for Shared {
    const NAME: &'static str = "shared";

    fn new(setup: Setup) -> io::Result<Shared> {
        Uring::new(setup).map(Shared)
    }

    fn relay(&mut self, tally: &mut Tally, judge: &mut impl Judge) -> io::Result<usize> {
        self.0.relay(tally, judge)
    }

    fn emit(&mut self, tally: &mut Tally, next: impl FnMut(&mut [u8]) -> Option<Outgoing>) -> io::Result<usize> {
        self.0.emit(tally, next)
    }

    fn count(&mut self, tally: &mut Tally) {
        self.0.count(tally);
    }

    fn waiting(&mut self) -> bool {
        self.0.waiting()
    }

    fn sleep(&mut self, limit: Duration) -> io::Result<()> {
        self.0.sleep(limit)
    }

    fn settle(&mut self) -> io::Result<()> {
        self.0.settle()
    }
}

/// A datapath that forwards what comes to `IN` out of `OUT` to a listener.
pub(super) struct Forwarder<D> {
    pub(super) datapath: D,
    pub(super) tally: Tally,
    pub(super) local: SocketAddr,
    pub(super) sender: UdpSocket,
    pub(super) listener: UdpSocket,
    /// Packets seen, by endpoint.
    pub(super) seen: Vec<EndpointId>,
    _wake: EventFd,
}

impl<D: Stage> Forwarder<D> {
    fn new(third_octet: u8) -> Option<Forwarder<D>> {
        let (datapath, wake) = D::stage(4, third_octet)?;
        Some(Forwarder::with(datapath, wake, third_octet))
    }
}

impl<D: Datapath> Forwarder<D> {
    /// Every test has addresses of its own.
    pub(super) fn with(mut datapath: D, wake: EventFd, third_octet: u8) -> Forwarder<D> {
        let at = |host, port| SocketAddr::from(([127, 78, third_octet, host], port));
        datapath.bind(IN, at(1, 20_000)).unwrap();
        datapath.bind(OUT, at(1, 20_002)).unwrap();
        Forwarder {
            datapath,
            tally: Tally::new().unwrap(),
            local: at(1, 20_000),
            sender: UdpSocket::bind(at(2, 30_000)).unwrap(),
            listener: UdpSocket::bind(at(3, 30_000)).unwrap(),
            seen: Vec::new(),
            _wake: wake,
        }
    }

    pub(super) fn send(&self, payload: &[u8]) {
        self.sender.send_to(payload, self.local).unwrap();
    }

    /// Relays until `count` packets have been seen in all.
    pub(super) fn relay_until(&mut self, count: usize) {
        while self.seen.len() < count {
            self.relay();
            self.datapath.sleep(Duration::from_millis(10)).unwrap();
        }
    }

    pub(super) fn relay(&mut self) -> usize {
        let (to, seen) = (self.listener.local_addr().unwrap(), &mut self.seen);
        let nowhere = "127.78.0.1:0".parse().unwrap();
        let mut verdict = |packet: Packet<'_>| {
            seen.push(packet.endpoint);
            match packet.payload {
                b"drop" => Verdict::Drop(DropReason::NotRtp),
                b"nowhere" => Verdict::Forward { from: OUT, to: nowhere, traffic: Traffic::Rtp },
                b"closed" => Verdict::Forward { from: EndpointId(3), to, traffic: Traffic::Udptl },
                _ => Verdict::Forward { from: OUT, to, traffic: Traffic::Rtp },
            }
        };
        self.datapath.relay(&mut self.tally, &mut verdict).unwrap()
    }

    pub(super) fn heard(&self) -> Vec<u8> {
        let mut buffer = vec![0; 4096];
        self.listener.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let len = self.listener.recv(&mut buffer).expect("a packet comes");
        buffer.truncate(len);
        buffer
    }
}

fn packets_leave_in_order_whatever_becomes_of_their_neighbours<D: Stage>(third_octet: u8) {
    let Some(mut forwarder) = Forwarder::<D>::new(third_octet) else { return };
    for n in 0..20u8 {
        for payload in [&[n; 172][..], b"drop", b"nowhere", b"closed", &[n; MAX_DATAGRAM], b""] {
            forwarder.send(payload);
        }
    }
    forwarder.relay_until(120);
    for n in 0..20u8 {
        assert_eq!(forwarder.heard(), [n; 172]);
        assert_eq!(forwarder.heard(), [n; MAX_DATAGRAM]);
        assert_eq!(forwarder.heard(), []);
    }
    forwarder.relay();
    assert_eq!(forwarder.tally.dropped(KernelDrop::Send), 20, "a send that the kernel refuses is counted");
    assert_eq!(forwarder.tally.dropped(KernelDrop::Closed), 20, "and one from a port that is not open");
    assert_eq!(forwarder.tally.residence.count(), 60, "of packets that were sent");
    assert_eq!(forwarder.tally.unsent(Traffic::Rtp), Relayed { packets: 20, bytes: 20 * 7 });
    assert_eq!(forwarder.tally.unsent(Traffic::Udptl), Relayed { packets: 20, bytes: 20 * 6 });
    assert_eq!(forwarder.tally.unsent(Traffic::Rtcp), Relayed::default());
}

/// Packets that are made here, between others that are relayed.
fn what_is_made_here_is_sent_beside_what_is_relayed<D: Stage>(third_octet: u8) {
    const ROUNDS: usize = 3;
    const EACH: usize = 60;
    let Some(mut forwarder) = Forwarder::<D>::new(third_octet) else { return };
    let to = forwarder.listener.local_addr().unwrap();
    let length = |n: usize| 12 + n * 37 % 481;
    let mut made = 0;
    for round in 1..=ROUNDS {
        forwarder.send(&[round as u8; 20]);
        forwarder.relay_until(round);
        let emitted = forwarder.datapath.emit(&mut forwarder.tally, |room| {
            assert_eq!(room.len(), super::MAX_MADE);
            let length = length(made);
            room[..length].fill(made as u8);
            made += 1;
            (made <= round * EACH).then_some(Outgoing { from: OUT, to, length, traffic: Traffic::Announcement })
        });
        made -= 1;
        assert_eq!(emitted.unwrap(), EACH);
        assert_eq!(forwarder.heard(), [round as u8; 20]);
        for n in (round - 1) * EACH..round * EACH {
            assert_eq!(forwarder.heard(), vec![n as u8; length(n)]);
        }
    }
    // Without end, from a port that is not open: a batch at a time.
    let closed = Outgoing { from: EndpointId(3), to, length: 100, traffic: Traffic::Announcement };
    assert_eq!(forwarder.datapath.emit(&mut forwarder.tally, |_| Some(closed)).unwrap(), super::BATCH);
    let unsent = Relayed { packets: super::BATCH as u64, bytes: 100 * super::BATCH as u64 };
    assert_eq!(forwarder.tally.unsent(Traffic::Announcement), unsent);
    assert_eq!(forwarder.tally.residence.count(), ROUNDS as u64, "only what was received has stayed");
}

fn a_datagram_longer_than_a_buffer_is_counted_and_not_seen<D: Stage>(third_octet: u8) {
    let Some(mut forwarder) = Forwarder::<D>::new(third_octet) else { return };
    forwarder.send(&[1; MAX_DATAGRAM + 1]);
    forwarder.send(&[2; 10]);
    forwarder.relay_until(1);
    assert_eq!(forwarder.heard(), [2; 10]);
    assert_eq!(forwarder.tally.dropped(KernelDrop::Truncated), 1);
}

fn what_a_full_socket_lost_is_counted<D: Stage>(third_octet: u8) {
    let Some(mut forwarder) = Forwarder::<D>::new(third_octet) else { return };
    let mut sent = 0;
    for round in 1..=3 {
        let before = forwarder.tally.dropped(KernelDrop::Overflow);
        // More than any receive buffer holds, while nobody looks.
        for _ in 0..D::MORE_THAN_IT_HOLDS {
            forwarder.send(b"drop");
        }
        sent += D::MORE_THAN_IT_HOLDS;
        // The loss is said with a packet that came after it.
        while forwarder.seen.len() as u64 + forwarder.tally.dropped(KernelDrop::Overflow) < sent {
            if forwarder.relay() == 0 {
                assert!(sent < 10 * D::MORE_THAN_IT_HOLDS, "nothing is said of the loss");
                forwarder.send(b"drop");
                sent += 1;
                forwarder.datapath.sleep(Duration::from_millis(10)).unwrap();
            }
        }
        assert_eq!(forwarder.seen.len() as u64 + forwarder.tally.dropped(KernelDrop::Overflow), sent);
        assert!(forwarder.tally.dropped(KernelDrop::Overflow) > before, "in round {round}");
        if round == 2 {
            // Another socket in the same place begins at nothing.
            forwarder.datapath.unbind(IN);
            forwarder.datapath.bind(IN, forwarder.local).unwrap();
        }
    }
}

/// Nothing comes after what was lost, so that no datagram tells of it.
#[test]
fn what_an_epoll_socket_lost_last_is_counted_while_it_is_open_and_once_it_is_closed() {
    let mut forwarder = Forwarder::<Epoll>::new(112).unwrap();
    let more = <Epoll as Stage>::MORE_THAN_IT_HOLDS;
    let accounted = |forwarder: &Forwarder<Epoll>| {
        let dropped = [KernelDrop::Overflow, KernelDrop::Closed].map(|reason| forwarder.tally.dropped(reason));
        forwarder.seen.len() as u64 + dropped.iter().sum::<u64>()
    };
    (0..more).for_each(|_| forwarder.send(b"drop"));
    forwarder.datapath.sleep(Duration::from_millis(10)).unwrap();
    while forwarder.relay() > 0 {}
    assert_eq!(forwarder.tally.dropped(KernelDrop::Overflow), 0, "nobody has said so yet");
    for _ in 0..2 {
        forwarder.datapath.count(&mut forwarder.tally);
        assert_eq!(accounted(&forwarder), more);
    }
    assert!(forwarder.tally.dropped(KernelDrop::Overflow) > 0);

    let seen = forwarder.seen.len();
    (0..more).for_each(|_| forwarder.send(b"drop"));
    forwarder.datapath.unbind(IN);
    forwarder.datapath.bind(IN, forwarder.local).unwrap();
    for _ in 0..2 {
        forwarder.datapath.count(&mut forwarder.tally);
        assert_eq!((accounted(&forwarder), forwarder.seen.len()), (2 * more, seen));
    }
    assert!(forwarder.tally.dropped(KernelDrop::Closed) > 0);
}

fn what_an_old_socket_received_is_not_seen_by_its_successor<D: Stage>(third_octet: u8) {
    let Some(mut forwarder) = Forwarder::<D>::new(third_octet) else { return };
    for turn in 0..50u8 {
        // Received, partly even announced, and not relayed yet.
        (0..5).for_each(|_| forwarder.send(b"old"));
        if turn % 2 == 0 {
            forwarder.datapath.sleep(Duration::from_millis(10)).unwrap();
        }
        forwarder.datapath.unbind(IN);
        forwarder.datapath.bind(IN, forwarder.local).unwrap();
        forwarder.send(&[turn; 20]);
        forwarder.relay_until(usize::from(turn) + 1);
        assert_eq!(forwarder.heard(), [turn; 20]);
    }
    assert_eq!(forwarder.seen.len(), 50);
}

fn a_port_that_is_settled_is_free_for_others<D: Stage>(third_octet: u8) {
    let Some(mut forwarder) = Forwarder::<D>::new(third_octet) else { return };
    forwarder.datapath.unbind(IN);
    forwarder.datapath.settle().unwrap();
    drop(UdpSocket::bind(forwarder.local).unwrap());
    // Bound and released at once, its receive not even armed.
    forwarder.datapath.bind(IN, forwarder.local).unwrap();
    forwarder.datapath.unbind(IN);
    forwarder.datapath.settle().unwrap();
    drop(UdpSocket::bind(forwarder.local).unwrap());
}

/// Places and endpoints change hands several times over before anything is relayed.
fn ports_opened_and_closed_between_two_turns_end_up_where_the_last_word_put_them<D: Stage>(third_octet: u8) {
    const PORTS: u32 = 400;
    let Some((datapath, wake)) = D::stage(PORTS as usize, third_octet) else { return };
    let mut forwarder = Forwarder::with(datapath, wake, third_octet);
    let at = |n: u32| SocketAddr::from(([127, 78, third_octet, 4], 20_000 + n as u16));
    for round in 0..3 {
        (2..PORTS).for_each(|n| forwarder.datapath.bind(EndpointId(n), at((n + round) % PORTS)).unwrap());
        if round < 2 {
            (2..PORTS).rev().for_each(|n| forwarder.datapath.unbind(EndpointId(n)));
        }
    }
    for n in 2..PORTS {
        forwarder.sender.send_to(b"drop", at((n + 2) % PORTS)).unwrap();
        forwarder.relay_until(n as usize - 1);
        assert_eq!(forwarder.seen.last(), Some(&EndpointId(n)));
    }
    (2..PORTS).for_each(|n| forwarder.datapath.unbind(EndpointId(n)));
    forwarder.datapath.settle().unwrap();
    (2..PORTS).for_each(|n| drop(UdpSocket::bind(at((n + 2) % PORTS)).unwrap()));
    forwarder.send(&[1; 20]);
    forwarder.relay_until(PORTS as usize - 1);
    assert_eq!(forwarder.heard(), [1; 20]);
}

fn endpoints_beyond_the_bound_or_open_already_are_refused<D: Stage>(third_octet: u8) {
    let Some(mut forwarder) = Forwarder::<D>::new(third_octet) else { return };
    let free = SocketAddr::from(([127, 78, third_octet, 1], 20_010));
    assert!(forwarder.datapath.bind(EndpointId(4), free).is_err());
    assert!(forwarder.datapath.bind(IN, free).is_err());
    forwarder.datapath.unbind(EndpointId(3));
    forwarder.datapath.unbind(EndpointId(u32::MAX));
    forwarder.datapath.bind(EndpointId(3), free).unwrap();
}

fn a_busy_socket_leaves_the_others_their_turn<D: Stage>(third_octet: u8) {
    let Some(mut forwarder) = Forwarder::<D>::new(third_octet) else { return };
    let other = SocketAddr::from(([127, 78, third_octet, 1], 20_004));
    forwarder.datapath.bind(EndpointId(2), other).unwrap();
    forwarder.send(b"drop");
    forwarder.relay_until(1);
    // More comes to the one than a batch takes, every turn: the shard never sleeps.
    (0..super::BATCH + 20).for_each(|_| forwarder.send(b"drop"));
    if D::NAME == Epoll::NAME {
        forwarder.datapath.sleep(Duration::from_millis(10)).unwrap();
        forwarder.relay();
    }
    forwarder.sender.send_to(b"drop", other).unwrap();
    let heard = (0..20).any(|_| {
        (0..super::BATCH).for_each(|_| forwarder.send(b"drop"));
        forwarder.relay();
        forwarder.seen.contains(&EndpointId(2))
    });
    assert!(heard, "the other socket is never looked at");
}

fn a_wake_up_ends_a_sleep_as_often_as_it_is_written<D: Stage>(third_octet: u8) {
    let Some((mut datapath, wake)) = D::stage(4, third_octet) else { return };
    let mut tally = Tally::new().unwrap();
    std::thread::scope(|scope| {
        let (told, turns) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            while turns.recv().is_ok() {
                wake.write(1).unwrap();
            }
        });
        for _ in 0..20 {
            told.send(()).unwrap();
            // An hour: only the wake-up can end it.
            datapath.sleep(Duration::from_secs(3600)).unwrap();
            while datapath.relay(&mut tally, &mut |_: Packet<'_>| -> Verdict { panic!("no packet") }).unwrap() > 0 {}
        }
        drop(told);
    });
}

macro_rules! on_every_datapath {
    ($($name:ident($octet:literal)),+ $(,)?) => {
        mod on_io_uring {
            $(#[test]
            fn $name() {
                super::$name::<super::Uring>($octet);
            })+
        }
        mod on_shared_sockets {
            $(#[test]
            fn $name() {
                super::$name::<super::Shared>($octet + 200);
            })+
        }
        mod on_epoll {
            $(#[test]
            fn $name() {
                super::$name::<super::Epoll>($octet + 100);
            })+
        }
    };
}

on_every_datapath!(
    packets_leave_in_order_whatever_becomes_of_their_neighbours(1),
    what_is_made_here_is_sent_beside_what_is_relayed(9),
    a_datagram_longer_than_a_buffer_is_counted_and_not_seen(2),
    what_an_old_socket_received_is_not_seen_by_its_successor(3),
    endpoints_beyond_the_bound_or_open_already_are_refused(4),
    a_busy_socket_leaves_the_others_their_turn(6),
    what_a_full_socket_lost_is_counted(8),
    a_wake_up_ends_a_sleep_as_often_as_it_is_written(11),
    a_port_that_is_settled_is_free_for_others(9),
    ports_opened_and_closed_between_two_turns_end_up_where_the_last_word_put_them(10),
);
