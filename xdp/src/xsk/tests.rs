//! Sockets on pairs of virtual interfaces. Without the capabilities for it a test says that it was skipped.

#[allow(unsafe_code)]
mod stage;

use self::stage::{Redirect, in_namespace, ip, pair};
use super::*;

/// A kind of frame that nobody else sends (IEEE 802, local experimental).
const KIND: [u8; 2] = [0x88, 0xb5];
const FRAMES: u32 = 256;

fn binding(interface: u32, queue: u32) -> Binding {
    Binding { interface, queue, zero_copy: ZeroCopy::Prefer, rx: 128, tx: 64, fill: 128, completion: 64 }
}

fn umem(frames: u32) -> Umem {
    Umem::new(UmemPlan { frames, frame_size: 2048, headroom: 0 }).unwrap()
}

/// A socket with memory and a program of its own.
struct End {
    umem: Umem,
    socket: XskSocket,
    _program: Redirect,
}

impl End {
    fn new(interface: u32) -> End {
        let mut umem = umem(FRAMES);
        let mut socket = XskSocket::bind(&mut umem, &binding(interface, 0)).unwrap();
        let program = Redirect::on(interface);
        socket.fill(&mut umem, 128);
        program.to(0, &socket);
        End { umem, socket, _program: program }
    }

    /// Sends a frame with this number in it.
    fn send(&mut self, number: u32) -> bool {
        send(&mut self.socket, &mut self.umem, number)
    }

    /// Receives until `count` packets have come in all; their numbers.
    fn receive(&mut self, count: usize) -> Vec<u32> {
        let mut numbers = Vec::new();
        for _ in 0..10_000 {
            numbers.extend(receive(&mut self.socket, &mut self.umem).into_iter().map(|(number, frame)| {
                self.umem.put(frame);
                number
            }));
            if numbers.len() >= count {
                break;
            }
            std::thread::yield_now();
        }
        numbers
    }
}

fn send(socket: &mut XskSocket, umem: &mut Umem, number: u32) -> bool {
    socket.reap(umem);
    let Some(mut frame) = umem.take() else { return false };
    let bytes = &mut umem.bytes_mut(&mut frame)[300..400];
    bytes.fill(number as u8);
    bytes[..12].copy_from_slice(&[2; 12]);
    bytes[12..14].copy_from_slice(&KIND);
    bytes[14..18].copy_from_slice(&number.to_be_bytes());
    match socket.send(umem, frame, 300, 100) {
        Ok(()) => true,
        Err(frame) => {
            umem.put(frame);
            false
        }
    }
}

/// What waits; other kinds of frames are forgotten.
fn receive(socket: &mut XskSocket, umem: &mut Umem) -> Vec<(u32, Frame)> {
    let mut received = Vec::new();
    socket.look();
    while let Some(Received { frame, at, length, .. }) = socket.receive(umem) {
        let bytes = &umem.bytes(&frame)[at..at + length];
        if bytes[12..14] != KIND {
            umem.put(frame);
            continue;
        }
        assert_eq!(length, 100);
        let number = u32::from_be_bytes(*bytes[14..].first_chunk().unwrap());
        assert!(bytes[18..].iter().all(|byte| *byte == number as u8));
        received.push((number, frame));
    }
    socket.release();
    socket.fill(umem, 128);
    received
}

/// Takes all frames back that are not to be received into.
fn settle(socket: &mut XskSocket, umem: &mut Umem, free: usize) {
    for _ in 0..10_000 {
        socket.reap(umem);
        if umem.free() >= free {
            break;
        }
        std::thread::yield_now();
    }
    assert_eq!(umem.free(), free, "no frame is lost, and none is there twice");
}

#[test]
fn packets_come_whole_and_in_order_and_frames_come_back() {
    in_namespace(|| {
        let [one, other] = pair("a0", "b0", 1);
        let (mut one, mut other) = (End::new(one), End::new(other));
        let mut next = 0;
        for round in 0..100 {
            let count = round % 60 + 1;
            (0..count).for_each(|n| assert!(one.send(next + n)));
            assert_eq!(one.socket.flush().unwrap(), Flushed::default());
            assert_eq!(other.receive(count as usize), Vec::from_iter(next..next + count));
            // And back again.
            assert!(other.send(round));
            other.socket.flush().unwrap();
            assert_eq!(one.receive(1), [round]);
            next += count;
        }
        for End { umem, socket, .. } in [&mut one, &mut other] {
            settle(socket, umem, FRAMES as usize - 128);
            assert_eq!(socket.statistics().unwrap(), XskStatistics::default());
        }
    });
}

#[test]
fn sockets_of_two_interfaces_share_memory_and_a_frame_goes_through_without_a_copy() {
    in_namespace(|| {
        let [near, own_near] = pair("a1", "b1", 1);
        let [own_far, far] = pair("c1", "d1", 1);
        let (mut near, mut far) = (End::new(near), End::new(far));
        let mut umem = umem(FRAMES);
        let [mut from, mut to] = [own_near, own_far].map(|own| XskSocket::bind(&mut umem, &binding(own, 0)).unwrap());
        let [program, _other] = [own_near, own_far].map(Redirect::on);
        from.fill(&mut umem, 128);
        program.to(0, &from);
        for round in 0..50 {
            assert!(near.send(round));
            near.socket.flush().unwrap();
            let mut sent = 0;
            for _ in 0..10_000 {
                for (_, frame) in receive(&mut from, &mut umem) {
                    // Where it was received: behind what the kernel keeps free.
                    to.send(&umem, frame, 256, 100).unwrap();
                    sent += 1;
                }
                if sent > 0 {
                    break;
                }
                std::thread::yield_now();
            }
            assert_eq!(to.flush().unwrap(), Flushed::default());
            assert_eq!(far.receive(1), [round]);
            to.reap(&mut umem);
        }
        settle(&mut to, &mut umem, FRAMES as usize - 128);
    });
}

#[test]
fn each_queue_has_a_socket() {
    in_namespace(|| {
        let [one, _] = pair("a2", "b2", 3);
        assert_eq!(queues("a2").unwrap(), 3);
        let mut umem = umem(FRAMES);
        let sockets = [0, 1, 2].map(|queue| XskSocket::bind(&mut umem, &binding(one, queue)).unwrap());
        assert!(sockets.iter().map(XskSocket::queue).eq(0..3));
        assert!(sockets.iter().all(|socket| socket.interface() == one && !socket.is_zero_copy()));
    });
}

#[test]
fn what_is_missing_is_named() {
    in_namespace(|| {
        let [one, _] = pair("a3", "b3", 1);
        let mut first = umem(16);
        let refused = |umem: &mut Umem, wanted: Binding| XskSocket::bind(umem, &wanted).err().unwrap();
        let strict = Binding { zero_copy: ZeroCopy::Require, ..binding(one, 0) };
        assert!(matches!(refused(&mut umem(16), strict), XskError::ZeroCopy(index) if index == one));
        let socket = XskSocket::bind(&mut first, &binding(one, 0)).unwrap();
        let error = refused(&mut umem(16), binding(one, 0));
        assert!(matches!(error, XskError::QueueTaken { interface, queue: 0 } if interface == one), "{error}");
        let error = refused(&mut umem(16), binding(one, 1));
        assert!(matches!(error, XskError::NoQueue { queue: 1, .. }), "{error}");
        let error = refused(&mut umem(16), binding(one + 100, 0));
        assert!(matches!(error, XskError::NoInterface(_)), "{error}");
        // Free again when the socket and its memory are gone.
        drop((socket, first));
        XskSocket::bind(&mut umem(16), &binding(one, 0)).unwrap();
    });
}

#[test]
fn what_there_is_no_room_for_is_counted() {
    in_namespace(|| {
        let [one, other] = pair("a4", "b4", 1);
        let (mut one, mut other) = (End::new(one), End::new(other));
        // The other has 128 frames to receive into, and takes none.
        let mut sent = 0;
        while sent < 200 {
            if one.send(sent) {
                sent += 1;
            } else {
                one.socket.flush().unwrap();
            }
        }
        one.socket.flush().unwrap();
        let mut lost = 0;
        for _ in 0..10_000 {
            let XskStatistics { dropped, ring_full, fill_empty, .. } = other.socket.statistics().unwrap();
            lost = dropped + ring_full + fill_empty;
            if lost >= 72 {
                break;
            }
            std::thread::yield_now();
        }
        assert!(lost >= 72, "{lost} of {sent}");
        assert_eq!(other.receive(128), Vec::from_iter(0..128), "the oldest are kept");
    });
}

#[test]
fn an_interface_that_is_down_is_told_of_and_comes_back() {
    in_namespace(|| {
        let [own, far] = pair("a5", "b5", 1);
        let (mut own, mut far) = (End::new(own), End::new(far));
        ip("link set dev a5 down");
        assert!(own.send(1));
        assert_eq!(own.socket.flush().unwrap_err().raw_os_error(), Some(libc::ENETDOWN));
        ip("link set dev a5 up");
        assert!(own.send(2));
        own.socket.flush().unwrap();
        assert_eq!(far.receive(2), [1, 2]);
        ip("link del dev a5");
        assert!(own.send(3));
        assert_eq!(own.socket.flush().unwrap_err().raw_os_error(), Some(libc::ENXIO));
    });
}

#[test]
fn a_frame_that_cannot_be_sent_comes_back() {
    in_namespace(|| {
        let [own, _] = pair("a6", "b6", 1);
        let mut own = End::new(own);
        let frame = own.umem.take().unwrap();
        let frame = own.socket.send(&own.umem, frame, 2000, 100).unwrap_err();
        let frame = own.socket.send(&own.umem, frame, usize::MAX, 100).unwrap_err();
        let frame = own.socket.send(&own.umem, frame, 0, 0).unwrap_err();
        own.umem.put(frame);
        // The ring has 64 places.
        let sent = (0..100).filter(|n| own.send(*n)).count();
        assert_eq!(sent, 64);
        own.socket.flush().unwrap();
        settle(&mut own.socket, &mut own.umem, FRAMES as usize - 128);
    });
}

#[test]
fn sockets_may_poll_their_driver() {
    in_namespace(|| {
        let [one, _] = pair("a7", "b7", 1);
        let mut one = End::new(one);
        one.socket.prefer_busy_poll(50, 64).unwrap();
        one.socket.wake_receive().unwrap();
    });
}
