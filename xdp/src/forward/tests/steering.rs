//! What goes up of an open port, where the queue that it came by has an AF_XDP socket.

use super::frames::rtp;
use super::host::apart;
use super::rig::{FIRST, PASS, Rig, SSRC, TX, local, pair, ranges};
use crate::forward::abi::Reason;
use crate::forward::*;
use crate::xsk::{Binding, Umem, UmemPlan, XskSocket, ZeroCopy};

pub(super) const DROP: u32 = 1;
pub(super) const REDIRECT: u32 = 4;

pub(super) fn socket(umem: &mut Umem, interface: u32) -> XskSocket {
    let binding = Binding { interface, queue: 0, zero_copy: ZeroCopy::Never, rx: 64, tx: 64, fill: 64, completion: 64 };
    XskSocket::bind(umem, &binding).unwrap()
}

#[test]
fn what_goes_up_goes_to_the_socket_of_the_ports_own_shard() {
    for v6 in [false, true] {
        apart(|| {
            let rig = Rig::new(v6);
            let mut umem = Umem::new(UmemPlan { frames: 64, frame_size: 2048, headroom: 0 }).unwrap();
            let socket = socket(&mut umem, rig.index);
            let entry = rig.forward.entry(local(v6)).unwrap();
            let event = rig.incoming(rtp(101, FIRST, 0, SSRC)).bytes();
            let rtcp = rig.incoming(vec![0x80, 200, 0, 1, 0, 0, 0, 0]).bytes();
            assert_eq!(rig.run(&event), (PASS, event.clone()), "there is no socket yet");
            rig.forward.add_socket(rig.index, 0, 0, &socket).unwrap();
            assert_eq!(rig.run(&event).0, PASS, "one is in flight by the kernel");
            rig.arm();
            for frame in [&event, &rtcp] {
                assert_eq!(rig.run(frame), (REDIRECT, frame.clone()), "as it came");
            }
            assert_eq!(rig.forward.counts().unwrap().steered, 2);
            assert_eq!((rig.passed(Reason::PayloadType), rig.passed(Reason::NotRtp)), (3, 1), "counted all the same");
            rig.arm();
            assert_eq!(rig.run(&rig.packet(FIRST + 1).bytes()).0, TX, "what is relayed is not");
            // Of another shard, of a closed port, without a socket.
            rig.forward.open(entry, 1, Some(rig.flow));
            assert_eq!(rig.run(&event).0, PASS);
            assert_eq!(rig.seen().by_kernel_at, rig.seen().up_at);
            rig.forward.open(entry, 0, None);
            assert_eq!(rig.run(&event).0, REDIRECT, "a port needs no flow for it");
            rig.forward.close(entry);
            assert_eq!(rig.run(&event).0, PASS);
            rig.forward.open(entry, 0, None);
            rig.forward.remove_socket(rig.index, 0);
            assert_eq!(rig.run(&event).0, PASS);
            rig.forward.add_socket(rig.index, 0, 0, &socket).unwrap();
            // The memory holds the first socket that shares it.
            drop((socket, umem));
            assert_eq!(rig.run(&event).0, PASS, "closed, it is taken out by the kernel");
            for (interface, queue) in [(rig.index, MAX_QUEUES), (rig.index + 1000, 0)] {
                assert!(rig.forward.add_socket(interface, queue, 0, &std::io::stdin()).is_err());
            }
        });
    }
}

#[test]
fn a_flooded_port_gets_no_more_than_its_ceiling() {
    apart(|| {
        pair("core", "far");
        let names = ["core".to_string()];
        let forward = Forward::attach(&names, &ranges(), Some(1000), 1, Mode::Native, None).unwrap();
        let index = forward.attached()[0].index;
        forward.open(forward.entry(local(false)).unwrap(), 0, None);
        let mut umem = Umem::new(UmemPlan { frames: 64, frame_size: 2048, headroom: 0 }).unwrap();
        let socket = socket(&mut umem, index);
        forward.add_socket(index, 0, 0, &socket).unwrap();
        let rig = Rig { forward, index, flow: FlowId::first(), v6: false };
        let frame = rig.packet(FIRST).bytes();
        let answers: Vec<u32> = (0..2000).map(|_| rig.run(&frame).0).collect();
        let of = |action| answers.iter().filter(|answer| **answer == action).count() as u64;
        // 268 in each window of 268 ms.
        assert!(of(REDIRECT) >= 268 && of(DROP) > 0 && of(REDIRECT) + of(DROP) == 2000, "{} steered", of(REDIRECT));
        let counts = rig.forward.counts().unwrap();
        assert_eq!((counts.steered, counts.flooded), (of(REDIRECT), of(DROP)));
    });
}
