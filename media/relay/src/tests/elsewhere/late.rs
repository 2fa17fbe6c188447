//! A relay that takes packets up so late that something of every flow is always on the way to it.

use super::*;
use crate::offload::Drain;

/// Its packets come every 20 ms.
const LATE: u64 = 50 * MS;

struct LateNet {
    net: Net,
    /// When packets came that have not been taken up.
    came: Vec<u64>,
    drain: Drain,
    drained: Vec<u64>,
}

impl LateNet {
    fn new() -> LateNet {
        LateNet { net: Net::new(true), came: Vec::new(), drain: Drain::new(), drained: Vec::new() }
    }

    /// Both parties say so many packets, which the relay takes up late, draining flows or not.
    fn talk(&mut self, packets: usize, late: u64, drains: bool) {
        for _ in 0..packets {
            for leg in [0, 1] {
                self.net.say(leg, 0);
            }
            self.came.resize(self.net.rising.len(), self.net.world.now);
            // A millisecond at a time, so that it is looked at between two packets.
            for _ in 0..20 {
                self.work(late, drains);
                self.net.world.pass(MS);
            }
        }
    }

    fn work(&mut self, late: u64, drains: bool) {
        let now = self.net.world.now;
        let due = self.came.iter().take_while(|came| now - **came >= late).count();
        if due == 0 {
            return;
        }
        let waited = now - self.came[0];
        self.came.drain(..due);
        let rest = self.net.rising.split_off(due);
        self.net.work();
        self.net.rising = rest;
        if !drains {
            return;
        }
        self.drain.observe(now, waited, false);
        while self.drain.next_over(now).is_some() {}
        let ports: Vec<EndpointId> = self.net.world.sockets.bound.keys().copied().collect();
        for endpoint in ports {
            let Some((since, until)) = self.net.program().kept(endpoint) else { continue };
            if let Some(over) = self.drain.admit(now, endpoint, since) {
                *until = over;
                self.drained.push(now);
            }
        }
    }
}

#[test]
fn a_late_relay_keeps_its_flows() {
    let mut late = LateNet::new();
    late.talk(500, LATE, false);
    assert_eq!(late.net.elsewhere, 0, "one of each is always on the way");
}

#[test]
fn drained_once_a_flow_goes_over_and_stays() {
    let mut late = LateNet::new();
    late.talk(500, LATE, true);
    assert_eq!(late.drained.len(), 2, "each direction, once");
    let dropped = late.net.program().dropped;
    // What waits, and the packet that comes while the relay is told of the last.
    assert!((2..=2 * 5).contains(&dropped), "{dropped}");
    assert!(late.net.elsewhere > 2 * 400, "{}", late.net.elsewhere);
    let (alice, bob) = (late.net.report(0), late.net.report(1));
    assert_eq!((alice.lost + bob.lost) as usize, dropped, "told as lost, which they are");
    assert_eq!((alice.reordered, bob.reordered, alice.duplicates), (0, 0, 0));
    assert_eq!(alice.packets + bob.packets + dropped as u64, 1000);
}

#[test]
fn a_relay_in_time_drops_nothing() {
    let mut late = LateNet::new();
    late.talk(100, 19 * MS, true);
    late.talk(20, LATE, true);
    late.talk(300, 0, true);
    assert_eq!((late.net.program().dropped, late.drained.len()), (0, 0));
    let (alice, bob) = (late.net.report(0), late.net.report(1));
    assert_eq!((alice.packets, bob.packets, alice.lost), (420, 420, 0));
}
