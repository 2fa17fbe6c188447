//! Both halves of a flow as the words of their memory, which a process reads and writes one by one.

use super::{Seen, Told};

impl Told {
    /// As the words of its memory.
    pub fn words(&self) -> [u32; size_of::<Told>() / 4] {
        let pair = |a: u16, b: u16| {
            let ([a, b], [c, d]) = (a.to_ne_bytes(), b.to_ne_bytes());
            u32::from_ne_bytes([a, b, c, d])
        };
        let mut words = [0; size_of::<Told>() / 4];
        words[0] = pair(self.wish, self.version);
        words[1] = self.armed;
        words[2] = self.epoch;
        words[3] = u32::from_ne_bytes(self.ssrc);
        for (index, types) in self.payload_types.into_iter().enumerate() {
            let [a, b, c, d, e, f, g, h] = types.to_ne_bytes();
            words[4 + 2 * index] = u32::from_ne_bytes([a, b, c, d]);
            words[5 + 2 * index] = u32::from_ne_bytes([e, f, g, h]);
        }
        for (index, address) in [self.source, self.to, self.from].into_iter().enumerate() {
            let (parts, _) = address.as_chunks::<4>();
            for (part, bytes) in parts.iter().enumerate() {
                words[8 + 4 * index + part] = u32::from_ne_bytes(*bytes);
            }
        }
        words[20] = pair(u16::from_ne_bytes(self.source_port), self.max_packets);
        words[21] = pair(u16::from_ne_bytes(self.ports[0]), u16::from_ne_bytes(self.ports[1]));
        words[22] = pair(u16::from_ne_bytes([self.tos, self.ttl]), self.change);
        words[23] = pair(self.header, self.pseudo);
        words[24] = pair(self.hop, self.pseudo_after);
        words[25] = self.clock_factor;
        words[26] = self.max_bytes;
        words[27] = self.sequence;
        words[28] = self.came;
        words[29] = self.timestamp;
        words[30] = self.transit;
        words[31] = self.jitter;
        words
    }

    /// From the words of its memory.
    pub fn of(words: &[u32; size_of::<Told>() / 4]) -> Told {
        let half = |word: u32, upper: bool| {
            let [a, b, c, d] = word.to_ne_bytes();
            if upper { [c, d] } else { [a, b] }
        };
        let number = |word: usize, upper: bool| u16::from_ne_bytes(half(words[word], upper));
        let double = |word: usize| {
            let ([a, b, c, d], [e, f, g, h]) = (words[word].to_ne_bytes(), words[word + 1].to_ne_bytes());
            u64::from_ne_bytes([a, b, c, d, e, f, g, h])
        };
        let address = |word: usize| {
            let mut bytes = [0; 16];
            let (parts, _) = bytes.as_chunks_mut::<4>();
            for (part, bytes) in parts.iter_mut().enumerate() {
                *bytes = words[word + part].to_ne_bytes();
            }
            bytes
        };
        let [tos, ttl] = half(words[22], false);
        Told {
            wish: number(0, false),
            version: number(0, true),
            armed: words[1],
            epoch: words[2],
            ssrc: words[3].to_ne_bytes(),
            payload_types: [double(4), double(6)],
            source: address(8),
            to: address(12),
            from: address(16),
            source_port: half(words[20], false),
            max_packets: number(20, true),
            ports: [half(words[21], false), half(words[21], true)],
            tos,
            ttl,
            change: number(22, true),
            header: number(23, false),
            pseudo: number(23, true),
            hop: number(24, false),
            pseudo_after: number(24, true),
            clock_factor: words[25],
            max_bytes: words[26],
            sequence: words[27],
            came: words[28],
            timestamp: words[29],
            transit: words[30],
            jitter: words[31],
        }
    }
}

impl Seen {
    /// From the words of its memory.
    pub fn of(words: &[u64; size_of::<Seen>() / 8]) -> Seen {
        let two = |word: u64| {
            let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
            (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]))
        };
        let ((passed, relaying), (epoch, sequence)) = (two(words[0]), two(words[1]));
        let ((skipped, gaps), (late, duplicates)) = (two(words[5]), two(words[6]));
        let ((came, timestamp), (transit, jitter)) = (two(words[7]), two(words[8]));
        let ((window, window_packets), (window_bytes, longest_gap)) = (two(words[9]), two(words[10]));
        let (takeovers, length) = two(words[14]);
        Seen {
            passed,
            relaying,
            epoch,
            sequence,
            packets: words[2],
            bytes: words[3],
            last_seen: words[4],
            skipped,
            gaps,
            late,
            duplicates,
            came,
            timestamp,
            transit,
            jitter,
            window,
            window_packets,
            window_bytes,
            longest_gap,
            longest_gap_ns: words[11],
            up_at: words[12],
            last_up: words[13].to_ne_bytes(),
            takeovers,
            length,
            by_kernel_at: words[15],
        }
    }
}
