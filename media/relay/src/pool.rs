//! The local ports of one shard: which are free, held, or resting.
//!
//! Every block of 32 pairs is two words of bits, so that 30 addresses of 16,384 ports cost 60 KB over all
//! shards. A pair is held by one session, or free, or resting: neither.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::layout::{Layout, PAIRS_PER_BLOCK, PairNumber, virtual_shard};
use crate::{Config, VIRTUAL_SHARDS};

/// How long a port that somebody outside holds is left alone.
const STOLEN_NS: u64 = 60_000_000_000;

/// Pairs that are woken at once: more than any request takes, so that what has rested does not pile up.
const WAKES_PER_SLICE: usize = 64;

/// A pair of ports of a range: RTP's, and RTCP's next to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pair {
    /// The range's position in the configuration.
    pub(crate) range: usize,
    number: PairNumber,
    /// The RTP address.
    pub(crate) rtp: SocketAddr,
}

impl Pair {
    /// The virtual shard that the pair belongs to.
    pub(crate) fn virtual_shard(&self) -> u8 {
        virtual_shard(self.number.block)
    }

    /// The RTCP address.
    pub(crate) fn rtcp(&self) -> SocketAddr {
        // RTP's port is even, so there is a next one.
        SocketAddr::new(self.rtp.ip(), self.rtp.port() | 1)
    }
}

/// The ports of the blocks whose virtual shards are this shard's.
pub(crate) struct Pool {
    shard: u16,
    shards: u16,
    rest_ns: u64,
    ranges: Vec<RangePorts>,
    /// Freed pairs with the time they are free again, in that order.
    resting: VecDeque<(u64, Pair)>,
    /// Pairs that somebody outside holds, with the time of the next attempt, in that order.
    stolen: VecDeque<(u64, Pair)>,
    /// The virtual shard to try first next time, as a position among this shard's own.
    turn: usize,
}

struct RangePorts {
    layout: Layout,
    /// Blocks by this shard's own virtual shards, in their order.
    virtual_shards: Vec<Blocks>,
}

struct Blocks {
    /// Block `k` of virtual shard `v` has the number `v + 256 k`.
    blocks: Vec<Block>,
    free: u32,
    /// Where to look first next time: the pair after the one given out last, counted over all blocks. So every pair takes
    /// its turn, and sessions that run at the same time have ports next to each other: tables by port stay in few cache
    /// lines.
    turn: usize,
}

#[derive(Clone, Copy)]
struct Block {
    free: u32,
    held: u32,
}

impl Pool {
    /// All ports free. The configuration has been checked.
    pub(crate) fn new(config: &Config) -> Pool {
        let own = || (config.shard..VIRTUAL_SHARDS).step_by(usize::from(config.shards));
        let ranges = config.ranges.iter().map(|range| {
            let layout = Layout::of(range);
            RangePorts { layout, virtual_shards: own().map(|v| Blocks::new(&layout, v)).collect() }
        });
        Pool {
            shard: config.shard,
            shards: config.shards,
            rest_ns: config.port_rest_ns,
            ranges: ranges.collect(),
            resting: VecDeque::new(),
            stolen: VecDeque::new(),
            turn: 0,
        }
    }

    /// This shard's virtual shards, beginning after the one that served last: sessions spread over them and
    /// so over the addresses.
    pub(crate) fn turns(&self) -> impl Iterator<Item = u8> + use<> {
        let (shard, shards) = (usize::from(self.shard), usize::from(self.shards));
        let own = (usize::from(VIRTUAL_SHARDS) - shard).div_ceil(shards);
        let first = self.turn % own;
        (0..own).map(move |i| (shard + (first + i) % own * shards) as u8)
    }

    /// The next turn is that of the virtual shard after this one.
    pub(crate) fn served(&mut self, virtual_shard: u8) {
        self.turn = usize::from(virtual_shard) / usize::from(self.shards) + 1;
    }

    /// How many pairs of a range are free in a virtual shard of this shard.
    pub(crate) fn free(&self, range: usize, virtual_shard: u8) -> u32 {
        let position = self.position(virtual_shard);
        self.ranges.get(range).and_then(|range| range.virtual_shards.get(position?)).map_or(0, |blocks| blocks.free)
    }

    /// Takes a free pair of a range from a virtual shard of this shard.
    pub(crate) fn take(&mut self, range: usize, virtual_shard: u8) -> Option<Pair> {
        let position = self.position(virtual_shard)?;
        let ports = self.ranges.get_mut(range)?;
        let (k, bit) = ports.virtual_shards.get_mut(position)?.take()?;
        let number = PairNumber { block: u32::from(virtual_shard) + k * u32::from(VIRTUAL_SHARDS), bit };
        Some(Pair { range, number, rtp: ports.layout.address(number) })
    }

    /// Takes exactly the pair of this RTP address, even if it rests; `None` if it is held, or not of this
    /// shard's ports.
    pub(crate) fn take_exactly(&mut self, range: usize, rtp: SocketAddr) -> Option<Pair> {
        let number = self.ranges.get(range)?.layout.pair(rtp).filter(|_| rtp.port().is_multiple_of(2))?;
        let pair = Pair { range, number, rtp };
        let (block, bit, free) = self.block(&pair)?;
        if block.held & bit != 0 {
            return None;
        }
        block.held |= bit;
        if block.free & bit != 0 {
            block.free &= !bit;
            *free -= 1;
        } else {
            // Few pairs rest, and exact ports are asked for after a restart, when none does.
            self.resting.retain(|(_, other)| *other != pair);
            self.stolen.retain(|(_, other)| *other != pair);
        }
        Some(pair)
    }

    /// Gives back a held pair that nothing was sent from: free at once.
    pub(crate) fn put_back(&mut self, pair: &Pair) {
        if let Some((block, bit, free)) = self.block(pair) {
            *free += u32::from(block.free & bit == 0);
            block.free |= bit;
            block.held &= !bit;
        }
    }

    /// Lets a held pair rest.
    pub(crate) fn rest(&mut self, now: u64, pair: Pair) {
        if let Some((block, bit, _)) = self.block(&pair) {
            block.held &= !bit;
            self.resting.push_back((now.saturating_add(self.rest_ns), pair));
        }
    }

    /// Leaves a held pair alone that somebody outside holds too.
    pub(crate) fn leave_alone(&mut self, now: u64, pair: Pair) {
        if let Some((block, bit, _)) = self.block(&pair) {
            block.held &= !bit;
            self.stolen.push_back((now.saturating_add(STOLEN_NS), pair));
        }
    }

    /// Frees a slice of the pairs that have rested.
    pub(crate) fn wake(&mut self, now: u64) {
        for _ in 0..WAKES_PER_SLICE {
            let Some((_, pair)) = self.resting.pop_front_if(|(until, _)| *until <= now) else { break };
            self.put_back(&pair);
        }
        for _ in 0..WAKES_PER_SLICE {
            let Some((_, pair)) = self.stolen.pop_front_if(|(until, _)| *until <= now) else { break };
            self.put_back(&pair);
        }
    }

    /// Whether pairs have rested that [`wake`](Self::wake) has not come to.
    pub(crate) fn has_rested(&self, now: u64) -> bool {
        [&self.resting, &self.stolen].into_iter().any(|queue| queue.front().is_some_and(|(until, _)| *until <= now))
    }

    /// When all pairs that rest now will have rested.
    pub(crate) fn all_rested_at(&self) -> Option<u64> {
        self.resting.back().map(|(until, _)| *until)
    }

    /// How many pairs rest.
    pub(crate) fn resting(&self) -> usize {
        self.resting.len()
    }

    fn position(&self, virtual_shard: u8) -> Option<usize> {
        let (virtual_shard, shards) = (u16::from(virtual_shard), self.shards);
        (virtual_shard % shards == self.shard).then_some(usize::from(virtual_shard / shards))
    }

    fn block(&mut self, pair: &Pair) -> Option<(&mut Block, u32, &mut u32)> {
        let position = self.position(pair.virtual_shard())?;
        let blocks = self.ranges.get_mut(pair.range)?.virtual_shards.get_mut(position)?;
        let k = pair.number.block / u32::from(VIRTUAL_SHARDS);
        let block = blocks.blocks.get_mut(k as usize)?;
        Some((block, 1 << pair.number.bit, &mut blocks.free))
    }
}

impl Blocks {
    fn new(layout: &Layout, virtual_shard: u16) -> Blocks {
        let numbers = (u32::from(virtual_shard)..layout.blocks()).step_by(usize::from(VIRTUAL_SHARDS));
        let blocks: Vec<Block> = numbers
            .map(|number| Block { free: u32::MAX >> (PAIRS_PER_BLOCK - layout.pairs_in(number)), held: 0 })
            .collect();
        let free = blocks.iter().map(|block| block.free.count_ones()).sum();
        Blocks { blocks, free, turn: 0 }
    }

    fn take(&mut self) -> Option<(u32, u32)> {
        if self.free == 0 {
            return None;
        }
        let (count, per_block) = (self.blocks.len(), PAIRS_PER_BLOCK as usize);
        let (first, behind) = (self.turn / per_block, u32::MAX << (self.turn % per_block));
        // The first block twice: what lies before the turn in it comes last.
        let rounds = (0..=count).map(|i| ((first + i) % count, if i == 0 { behind } else { u32::MAX }));
        let (k, free) = rounds.map(|(k, bits)| (k, self.blocks[k].free & bits)).find(|(_, free)| *free != 0)?;
        let block = &mut self.blocks[k];
        let bit = free.trailing_zeros();
        block.free &= !(1 << bit);
        block.held |= 1 << bit;
        self.free -= 1;
        self.turn = (k * per_block + bit as usize + 1) % (count * per_block);
        Some((k as u32, bit))
    }
}
