//! Ports for the streams that need them: all of them, or none.

use moorline_control::{LocalAddresses, Refusal, RefusalCode};

use super::Relay;
use crate::flow::{Flow, Role};
use crate::pool::Pair;
use crate::session::Ends;
use crate::statistics::Totals;
use crate::{BindError, EndpointId, Ports};

/// How many ports that others hold are passed over before a request is refused.
const MAX_STOLEN: u32 = 16;

/// A stream that needs ports.
pub(super) struct Need {
    pub(super) leg: u8,
    pub(super) stream: u8,
    pub(super) range: usize,
    /// Exactly these.
    pub(super) exactly: Option<LocalAddresses>,
}

impl Relay {
    /// Binds ports for all needs, in their order: from `virtual_shard` where the session has one already, else
    /// from the first one that has enough for all. Without needs the answer is `virtual_shard` itself.
    pub(super) fn acquire(
        &mut self,
        now: u64,
        slot: u32,
        needs: &[Need],
        virtual_shard: Option<u8>,
        ports: &mut impl Ports,
    ) -> Result<(Option<u8>, Vec<Ends>), Refusal> {
        self.pool.wake(now);
        if needs.is_empty() {
            return Ok((virtual_shard, Vec::new()));
        }
        if self.flows.room() < needs.len() * 2 {
            let detail = "all endpoints of this shard are bound: raise its session capacity";
            return Err(Refusal::new(RefusalCode::Capacity, detail));
        }
        let mut found: Vec<Option<Ends>> = needs.iter().map(|_| None).collect();
        let mut result = self.acquire_into(now, slot, needs, virtual_shard, ports, &mut found);
        if matches!(&result, Err(refusal) if refusal.code == RefusalCode::OutOfPorts) && self.pool.has_rested(now) {
            // Rare: more have rested than were woken in slices, and one of them may do.
            self.undo(&mut found, |_| true, ports);
            while self.pool.has_rested(now) {
                self.pool.wake(now);
            }
            result = self.acquire_into(now, slot, needs, virtual_shard, ports, &mut found);
        }
        match result {
            Ok(virtual_shard) => Ok((Some(virtual_shard), found.into_iter().flatten().collect())),
            Err(refusal) => {
                self.undo(&mut found, |_| true, ports);
                Err(refusal)
            }
        }
    }

    fn acquire_into(
        &mut self,
        now: u64,
        slot: u32,
        needs: &[Need],
        virtual_shard: Option<u8>,
        ports: &mut impl Ports,
        found: &mut [Option<Ends>],
    ) -> Result<u8, Refusal> {
        let mut virtual_shard = virtual_shard;
        for (need, found) in needs.iter().zip(&mut *found) {
            if let Some(exactly) = &need.exactly {
                let ends = self.acquire_exactly(slot, need, exactly, ports)?;
                virtual_shard.get_or_insert(ends.pair.virtual_shard());
                *found = Some(ends);
            }
        }
        let mut stolen = 0;
        if let Some(virtual_shard) = virtual_shard {
            return if self.acquire_from(now, slot, needs, virtual_shard, &mut stolen, ports, found)? {
                Ok(virtual_shard)
            } else {
                Err(self.out_of_ports(needs, stolen))
            };
        }
        for virtual_shard in self.pool.turns() {
            if self.acquire_from(now, slot, needs, virtual_shard, &mut stolen, ports, found)? {
                self.pool.served(virtual_shard);
                return Ok(virtual_shard);
            }
            if stolen > MAX_STOLEN {
                break;
            }
        }
        Err(self.out_of_ports(needs, stolen))
    }

    /// Binds what is still to be found from one virtual shard; false if it has too few ports.
    #[expect(clippy::too_many_arguments, reason = "one request's state, passed one level down")]
    fn acquire_from(
        &mut self,
        now: u64,
        slot: u32,
        needs: &[Need],
        virtual_shard: u8,
        stolen: &mut u32,
        ports: &mut impl Ports,
        found: &mut [Option<Ends>],
    ) -> Result<bool, Refusal> {
        let open = |need: &&Need| need.exactly.is_none();
        let enough = needs.iter().filter(open).all(|need| {
            let wanted = needs.iter().filter(open).filter(|other| other.range == need.range).count();
            self.pool.free(need.range, virtual_shard) as usize >= wanted
        });
        if !enough {
            return Ok(false);
        }
        for (i, need) in needs.iter().enumerate().filter(|(_, need)| need.exactly.is_none()) {
            found[i] = loop {
                if *stolen > MAX_STOLEN {
                    break None;
                }
                let Some(pair) = self.pool.take(need.range, virtual_shard) else { break None };
                match self.bind(slot, need, pair, ports) {
                    Ok(ends) => break Some(ends),
                    Err(BindError::AddressInUse) => {
                        self.pool.leave_alone(now, pair);
                        self.counters.ports_stolen += 1;
                        *stolen += 1;
                    }
                    Err(error) => {
                        self.pool.put_back(&pair);
                        return Err(refused(&error, &pair));
                    }
                }
            };
            if found[i].is_none() {
                self.undo(found, |i| needs[i].exactly.is_none(), ports);
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn acquire_exactly(
        &mut self,
        slot: u32,
        need: &Need,
        exactly: &LocalAddresses,
        ports: &mut impl Ports,
    ) -> Result<Ends, Refusal> {
        let pair = self.pool.take_exactly(need.range, exactly.rtp);
        let Some(pair) = pair else {
            let detail = format!("{} is held by another session, or is no RTP port of this range", exactly.rtp);
            return Err(Refusal::new(RefusalCode::PortTaken, detail));
        };
        if pair.rtcp() != exactly.rtcp {
            self.pool.put_back(&pair);
            let detail = format!("{} is not the RTCP port of {}", exactly.rtcp, exactly.rtp);
            return Err(Refusal::new(RefusalCode::PortTaken, detail));
        }
        self.bind(slot, need, pair, ports).map_err(|error| {
            self.pool.put_back(&pair);
            refused(&error, &pair)
        })
    }

    /// Binds both ports of a pair, or none.
    fn bind(&mut self, slot: u32, need: &Need, pair: Pair, ports: &mut impl Ports) -> Result<Ends, BindError> {
        let rtp = self.bind_one(Flow::new(Role::Rtp, slot, need.leg, need.stream), pair.rtp, ports)?;
        match self.bind_one(Flow::new(Role::Rtcp, slot, need.leg, need.stream), pair.rtcp(), ports) {
            Ok(rtcp) => {
                let advertised = self.ranges.get(pair.range).and_then(|range| range.advertised);
                Ok(Ends { pair, rtp, rtcp, advertised })
            }
            Err(error) => {
                ports.unbind(EndpointId(rtp));
                self.flows.remove(rtp, &mut Totals::default());
                Err(error)
            }
        }
    }

    fn bind_one(
        &mut self,
        flow: Flow,
        address: std::net::SocketAddr,
        ports: &mut impl Ports,
    ) -> Result<u32, BindError> {
        let endpoint = self.flows.insert(flow).ok_or(BindError::OutOfDescriptors)?;
        ports.bind(EndpointId(endpoint), address).inspect_err(|_| {
            self.flows.remove(endpoint, &mut Totals::default());
        })?;
        Ok(endpoint)
    }

    /// Releases what was found for the needs that `which` names: nothing was sent from it.
    fn undo(&mut self, found: &mut [Option<Ends>], which: impl Fn(usize) -> bool, ports: &mut impl Ports) {
        for (_, found) in found.iter_mut().enumerate().filter(|(i, _)| which(*i)) {
            if let Some(ends) = found.take() {
                for endpoint in [ends.rtp, ends.rtcp] {
                    ports.unbind(EndpointId(endpoint));
                    self.flows.remove(endpoint, &mut Totals::default());
                }
                self.pool.put_back(&ends.pair);
            }
        }
    }

    fn out_of_ports(&self, needs: &[Need], stolen: u32) -> Refusal {
        let names = needs.iter().filter_map(|need| self.ranges.get(need.range)).map(|range| range.name.as_str());
        let mut names: Vec<&str> = names.collect();
        names.dedup();
        let names = names.join(", ");
        let detail = if stolen == 0 {
            format!("no virtual shard of this shard has enough free ports of {names}: widen the range")
        } else {
            format!("{stolen} ports of {names} are in use outside this process")
        };
        Refusal::new(RefusalCode::OutOfPorts, detail)
    }
}

fn refused(error: &BindError, pair: &Pair) -> Refusal {
    let code = match error {
        BindError::AddressInUse => RefusalCode::PortTaken,
        BindError::OutOfDescriptors => RefusalCode::OutOfDescriptors,
        BindError::System(_) => RefusalCode::System,
    };
    Refusal::new(code, format!("{}: {error}", pair.rtp))
}
