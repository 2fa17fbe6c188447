//! A locator, the DNS it asks, and the time.

use std::collections::BTreeMap;

use moorline_sip::Transport;

use crate::locate::*;

pub(super) const SECOND: u64 = 1_000_000_000;

pub(super) type Reply = Result<Answer, Failure>;

pub(super) struct World {
    pub(super) now: u64,
    pub(super) locator: Locator,
    zone: BTreeMap<(RecordKind, String), Reply>,
    /// Every question asked so far, as `NAPTR example.com`.
    pub(super) asked: Vec<String>,
}

/// SplitMix64: the tests' own randomness.
pub(super) fn entropy(seed: u64) -> Box<dyn FnMut() -> u64 + Send> {
    let mut state = seed;
    Box::new(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// A target with nothing but a host, for a listener of IPv4 with all transports.
pub(super) fn target(host: &str) -> Target {
    Target {
        host: host.into(),
        port: None,
        transport: None,
        secure: false,
        transports: Transports::new([Transport::Udp, Transport::Tcp, Transport::Tls]),
        family: Family::V4,
    }
}

impl World {
    pub(super) fn new() -> World {
        World { now: SECOND, locator: Locator::new(entropy(1)), zone: BTreeMap::new(), asked: Vec::new() }
    }

    fn set(mut self, kind: RecordKind, name: &str, reply: Reply) -> World {
        self.change(kind, name, reply);
        self
    }

    pub(super) fn change(&mut self, kind: RecordKind, name: &str, reply: Reply) {
        self.zone.insert((kind, name.into()), reply);
    }

    /// `order preference service replacement`.
    pub(super) fn naptr(self, name: &str, lines: &[(u16, u16, &str, &str)]) -> World {
        let record = |&(order, preference, service, replacement): &(u16, u16, &str, &str)| Naptr {
            order,
            preference,
            flags: "s".into(),
            service: service.into(),
            regexp: String::new(),
            replacement: replacement.into(),
        };
        let records = Records::Naptr(lines.iter().map(record).collect());
        self.set(RecordKind::Naptr, name, Ok(Answer { records, ttl_s: 300 }))
    }

    /// `priority weight port target`.
    pub(super) fn srv(self, name: &str, lines: &[(u16, u16, u16, &str)]) -> World {
        let record = |&(priority, weight, port, host): &(u16, u16, u16, &str)| Srv {
            priority,
            weight,
            port,
            target: host.into(),
        };
        let records = Records::Srv(lines.iter().map(record).collect());
        self.set(RecordKind::Srv, name, Ok(Answer { records, ttl_s: 300 }))
    }

    pub(super) fn a(self, name: &str, addresses: &[&str]) -> World {
        self.set(RecordKind::A, name, addresses_for(addresses, 300))
    }

    pub(super) fn aaaa(self, name: &str, addresses: &[&str]) -> World {
        self.set(RecordKind::Aaaa, name, addresses_for(addresses, 300))
    }

    pub(super) fn failing(self, kind: RecordKind, name: &str) -> World {
        self.set(kind, name, Err(Failure::Unavailable))
    }

    /// Locates, with DNS answering at once. Names that are not in the zone do not exist.
    pub(super) fn locate(&mut self, target: &Target) -> Result<Vec<Hop>, NotLocated> {
        let located = self.locator.locate(self.now, target);
        let mut found = self.serve();
        match located {
            Located::Ready(hops) => {
                assert_eq!(found, [], "only questions in advance");
                hops
            }
            Located::Pending(ticket) => {
                assert_eq!(found.len(), 1, "{found:?}");
                let (answered, hops) = found.remove(0);
                assert_eq!(answered, ticket);
                hops
            }
        }
    }

    /// Like [`World::locate`], as text such as `udp 192.0.2.1:5060`.
    pub(super) fn hops(&mut self, target: &Target) -> Vec<String> {
        let hops = self.locate(target).expect("located");
        assert!(!hops.is_empty() && hops.len() <= MAX_HOPS);
        hops.iter().map(|hop| format!("{} {}", hop.transport.param(), hop.address)).collect()
    }

    /// Answers every question; gives what was found.
    pub(super) fn serve(&mut self) -> Vec<(Ticket, Result<Vec<Hop>, NotLocated>)> {
        let mut found = Vec::new();
        while let Some(event) = self.locator.poll_event() {
            match event {
                LocatorEvent::Query(query) => {
                    self.asked.push(format!("{} {}", query.kind.name(), query.name));
                    let reply = self.zone.get(&(query.kind, query.name)).cloned();
                    let reply = reply.unwrap_or(Err(Failure::NoRecords { ttl_s: 60 }));
                    self.locator.answer(self.now, query.number, reply);
                }
                LocatorEvent::Located { ticket, hops } => found.push((ticket, hops)),
            }
        }
        found
    }

    /// The questions since the last look.
    pub(super) fn asked(&mut self) -> Vec<String> {
        std::mem::take(&mut self.asked)
    }

    /// The events so far, with nobody answering.
    pub(super) fn unanswered(&mut self) -> Vec<LocatorEvent> {
        std::iter::from_fn(|| self.locator.poll_event()).collect()
    }

    /// Goes to the next timeout.
    pub(super) fn time_out(&mut self) {
        self.now = self.locator.next_timeout().expect("a timeout");
        self.locator.handle_timeout(self.now);
    }
}

pub(super) fn addresses_for(addresses: &[&str], ttl_s: u32) -> Reply {
    let records = Records::Addresses(addresses.iter().map(|text| text.parse().expect("an address")).collect());
    Ok(Answer { records, ttl_s })
}
