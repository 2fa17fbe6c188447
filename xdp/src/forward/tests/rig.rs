//! The program attached to one end of a veth pair, a flow of each IP version, and packets run through it.

use std::net::SocketAddr;

use aya::programs::{TestRun, TestRunOptions};

use super::frames::{Checksum, Frame, rtp};
use super::host::run;
use crate::forward::*;

pub(super) const PASS: u32 = 2;
pub(super) const TX: u32 = 3;

pub(super) const SSRC: u32 = 0x0102_0304;
pub(super) const FIRST: u16 = 1000;
pub(super) const HOP: u16 = 5;
const NEIGHBOUR: [u8; 6] = [2, 0, 0, 0, 0, 9];
const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];

pub(super) struct Rig {
    pub(super) forward: Forward,
    pub(super) index: u32,
    pub(super) flow: FlowId,
    pub(super) v6: bool,
}

pub(super) fn ranges() -> Vec<LookupRange> {
    ["192.0.2.1", "2001:db8::1"]
        .map(|first| LookupRange {
            first: first.parse().unwrap(),
            addresses: 2,
            first_port: 20_000,
            ports: 64,
            interface: None,
        })
        .to_vec()
}

/// A veth pair with both ends here, up.
pub(super) fn pair(a: &str, b: &str) {
    run(&format!("ip link add {a} numtxqueues 1 numrxqueues 1 type veth peer name {b} numtxqueues 1 numrxqueues 1"));
    run(&format!("ip link set {a} up"));
    run(&format!("ip link set {b} up"));
}

impl Rig {
    pub(super) fn new(v6: bool) -> Rig {
        pair("core", "far");
        let forward = Forward::attach(&["core".to_string()], &ranges(), None, 16, Mode::Native, None).unwrap();
        let index = forward.attached()[0].index;
        let hop = Hop { interface: index, destination: NEIGHBOUR, source: OWN, vlan: None, outer: None, mtu: 1500 };
        forward.set_hop(HOP, &hop).unwrap();
        let entry = forward.entry(local(v6)).unwrap();
        let flow = forward.take_flow(entry).unwrap();
        forward.open(entry, 0, Some(flow));
        let rig = Rig { forward, index, flow, v6 };
        assert!(rig.forward.tell(flow, &wish(v6), monotonic_ns()));
        // The first one always goes up, as after a pause.
        assert_eq!(rig.run(&rig.packet(FIRST - 1).bytes()).0, PASS);
        rig.arm();
        rig
    }

    /// Writes the hop anew, with these tags.
    pub(super) fn set_tags(&self, vlan: Option<u16>, outer: Option<u16>) {
        let hop = Hop { vlan, outer, ..self.forward.hop(HOP).unwrap() };
        self.forward.clear_hop(HOP);
        assert!(self.forward.set_hop(HOP, &hop).is_err(), "too soon");
        std::thread::sleep(std::time::Duration::from_millis(11));
        self.forward.set_hop(HOP, &hop).unwrap();
        assert_eq!(self.forward.hop(HOP), Some(hop));
    }

    /// Says that all that went up has been dealt with.
    pub(super) fn arm(&self) {
        let progress = Progress { sequence: u32::from(FIRST) - 1, came: 1, timestamp: 0, transit: 0, jitter: 0 };
        self.forward.arm(self.flow, self.seen().passed, &progress);
    }

    pub(super) fn seen(&self) -> Seen {
        self.forward.seen(self.flow)
    }

    /// What the program answers to a frame, and what it has made of it.
    pub(super) fn run(&self, frame: &[u8]) -> (u32, Vec<u8>) {
        self.run_at(frame, self.index)
    }

    pub(super) fn run_at(&self, frame: &[u8], interface: u32) -> (u32, Vec<u8>) {
        let words = [0, frame.len() as u32, 0, interface, 0, 0];
        let context: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
        let mut out = vec![0; 4096];
        let mut options = TestRunOptions::new();
        (options.data_in, options.data_out, options.ctx_in) = (Some(frame), Some(&mut out[..]), Some(&context[..]));
        let result = lock(&self.forward.links).program().test_run(options).unwrap();
        out.truncate(result.data_size_out as usize);
        (result.return_value, out)
    }

    /// A frame of the flow as it comes.
    pub(super) fn incoming(&self, payload: Vec<u8>) -> Frame {
        Frame {
            destination: OWN,
            source: NEIGHBOUR,
            tags: vec![],
            from: source(self.v6),
            to: local(self.v6),
            tos: 0x28,
            ttl: 57,
            checksum: Checksum::Full,
            payload,
        }
    }

    /// The same as it should leave.
    pub(super) fn outgoing(&self, incoming: &Frame) -> Frame {
        let Wish { from, to, tos, ttl, .. } = wish(self.v6);
        let (destination, source) = (NEIGHBOUR, OWN);
        Frame { destination, source, from, to, tos, ttl, ..incoming.clone() }
    }

    /// The flow's next packet, in time.
    pub(super) fn packet(&self, sequence: u16) -> Frame {
        self.incoming(rtp(0, sequence, u32::from(sequence) * 160, SSRC))
    }

    /// How many packets the program has passed up for a reason.
    pub(super) fn passed(&self, reason: abi::Reason) -> u64 {
        self.forward.counts().unwrap().passed[reason as usize]
    }
}

pub(super) fn local(v6: bool) -> SocketAddr {
    if v6 { "[2001:db8::1]:20006" } else { "192.0.2.1:20006" }.parse().unwrap()
}

pub(super) fn source(v6: bool) -> SocketAddr {
    if v6 { "[2001:db8:1::9]:4002" } else { "198.51.100.9:4002" }.parse().unwrap()
}

pub(super) fn wish(v6: bool) -> Wish {
    let (from, to) =
        if v6 { ("[2001:db8::2]:20010", "[2001:db8:2::7]:6004") } else { ("192.0.2.2:20010", "203.0.113.7:6004") };
    Wish {
        source: source(v6),
        local: local(v6),
        ssrc: SSRC,
        payload_types: 1 | 1 << 8,
        clock: 8000,
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        tos: 0xb8,
        ttl: 64,
        hop: HOP,
        packets_per_s: 4000,
        bytes_per_s: 4_000_000,
    }
}
