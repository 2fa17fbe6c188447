//! The verdict on two captures.

use std::collections::BTreeMap;
use std::fmt;

use crate::Histogram;

/// What became of the packets of one direction and kind, summed over calls.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Packets that a party sent to its call's relay address.
    pub sent: u64,
    /// Packets that left Moorline for that call.
    pub relayed: u64,
    /// Sent, but not relayed.
    pub lost: u64,
    /// Relayed once more.
    pub duplicated: u64,
    /// Relayed after a packet that was sent later.
    pub reordered: u64,
    /// Relayed with other bytes than were sent.
    pub corrupted: u64,
    /// Relayed into a call in which they were not sent.
    pub crossed: u64,
    /// Relayed, but sent by nobody.
    pub unsent: u64,
    /// From the capture of one side to that of the other.
    pub transit: Histogram,
    /// The longest time for which a flow stood still because of Moorline.
    pub interruption_ns: u64,
}

impl Tally {
    /// Everything wrong but loss.
    fn faults(&self) -> u64 {
        self.duplicated + self.reordered + self.corrupted + self.crossed + self.unsent
    }
}

/// Which way packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// From the core to the carrier.
    Outward,
    /// From the carrier to the core.
    Inward,
}

/// What the captures show.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Calls placed in the core.
    pub calls: u64,
    /// Calls answered with media addresses on both legs.
    pub answered: u64,
    /// Answered calls of which each leg ended by a BYE that was answered with 200.
    pub ended: u64,
    /// Final answers but 200 that the core got, by status.
    pub refused: BTreeMap<u16, u64>,
    /// Those of them that were 503 and had a Retry-After.
    pub retry_after: u64,
    /// Calls placed towards the carrier that nobody placed in the core.
    pub unmatched: u64,
    /// SIP datagrams sent again, on either side by anybody.
    pub retransmissions: u64,
    /// SIP messages that show an address of the other side.
    pub leaks: u64,
    /// Calls whose relay address belonged to another call at the same time.
    pub shared_ports: u64,
    /// Calls that were given a relay address outside its network.
    pub outside_range: u64,
    /// Media packets towards a party that came from no relay address of any call.
    pub wrong_source: u64,
    /// Other datagrams, sent to Moorline by nobody's call: noise, not Moorline's fault.
    pub stray: u64,
    /// Fragments and packets cut short in either capture, of which nothing can be said.
    pub unreadable: u64,
    /// RTP by direction.
    pub rtp: BTreeMap<Direction, Tally>,
    /// RTCP by direction.
    pub rtcp: BTreeMap<Direction, Tally>,
}

/// What is to be expected.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// This many answered calls, no more and no fewer.
    pub answered: u64,
    /// This many calls refused with 503 and Retry-After, and none refused with anything else.
    pub refused: u64,
    /// At most this many SIP retransmissions.
    pub retransmissions: u64,
    /// At most this many packets lost, over all flows.
    pub lost: u64,
    /// No flow interrupted for longer.
    pub interruption_ms: u64,
}

impl Verdict {
    /// What is wrong, one line for each fault; none if all is as expected.
    pub fn faults(&self, limits: &Limits) -> Vec<String> {
        let mut faults = Vec::new();
        let mut require = |is_met: bool, fault: String| {
            if !is_met {
                faults.push(fault);
            }
        };
        let refused: u64 = self.refused.values().sum();
        require(self.answered == limits.answered, format!("{} calls answered, not {}", self.answered, limits.answered));
        require(self.ended == self.answered, format!("{} of {} calls ended by BYE", self.ended, self.answered));
        let as_expected = refused == limits.refused && self.retry_after == limits.refused;
        let expected = format!("{} refused by 503 with Retry-After expected", limits.refused);
        require(as_expected, format!("{expected}: {:?}, {} of them so", self.refused, self.retry_after));
        require(
            self.calls == self.answered + refused,
            format!("{} calls were left without a final answer", self.calls - self.answered.min(self.calls)),
        );
        require(
            self.retransmissions <= limits.retransmissions,
            format!("{} SIP retransmissions, at most {} expected", self.retransmissions, limits.retransmissions),
        );
        for (count, what) in [
            (self.unmatched, "calls reached the carrier that nobody placed"),
            (self.leaks, "SIP messages show addresses of the other side"),
            (self.shared_ports, "calls shared a relay address with another call"),
            (self.outside_range, "calls have a relay address outside its network"),
            (self.wrong_source, "packets came from no relay address"),
            (self.unreadable, "fragments or packets cut short"),
        ] {
            require(count == 0, format!("{count} {what}"));
        }
        let mut lost = 0;
        for (direction, tally) in self.rtp.iter().chain(&self.rtcp) {
            lost += tally.lost;
            require(tally.faults() == 0, format!("{direction:?}: {tally}"));
            let interruption_ms = tally.interruption_ns / 1_000_000;
            require(
                interruption_ms <= limits.interruption_ms,
                format!("{direction:?}: media stood still for {interruption_ms} ms"),
            );
        }
        require(lost <= limits.lost, format!("{lost} packets lost, at most {} expected", limits.lost));
        for direction in [Direction::Outward, Direction::Inward] {
            let sent = self.rtp.get(&direction).map_or(0, |tally| tally.sent);
            require(sent > 0 || self.answered == 0, format!("{direction:?}: no RTP at all"));
        }
        faults
    }

    /// The figures as `key=value`, one a line.
    pub fn figures(&self) -> String {
        let refused: u64 = self.refused.values().sum();
        let mut lines: Vec<String> = [
            ("calls", self.calls),
            ("calls_answered", self.answered),
            ("calls_ended", self.ended),
            ("calls_refused", refused),
            ("calls_refused_retry_after", self.retry_after),
            ("calls_unmatched", self.unmatched),
            ("sip_retransmissions", self.retransmissions),
            ("sip_leaks", self.leaks),
            ("shared_ports", self.shared_ports),
            ("outside_range", self.outside_range),
            ("wrong_source", self.wrong_source),
            ("stray", self.stray),
            ("unreadable", self.unreadable),
        ]
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
        for (kind, tallies) in [("rtp", &self.rtp), ("rtcp", &self.rtcp)] {
            for (direction, tally) in tallies {
                let direction = format!("{direction:?}").to_lowercase();
                let mut add = |key: &str, value: u64| lines.push(format!("{kind}_{direction}_{key}={value}"));
                add("sent", tally.sent);
                add("relayed", tally.relayed);
                add("lost", tally.lost);
                add("faults", tally.faults());
                add("interruption_ms", tally.interruption_ns / 1_000_000);
                add("transit_p50_us", tally.transit.value_at_quantile(0.5) / 1000);
                add("transit_p99_us", tally.transit.value_at_quantile(0.99) / 1000);
            }
        }
        lines.join("\n")
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { sent, relayed, lost, duplicated, reordered, corrupted, crossed, unsent, .. } = self;
        write!(
            f,
            "{sent} sent, {relayed} relayed, {lost} lost, {duplicated} duplicated, {reordered} reordered, {corrupted} \
             corrupted, {crossed} crossed, {unsent} from nowhere"
        )
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { calls, answered, ended, retransmissions, refused, .. } = self;
        writeln!(f, "calls          {calls} placed, {answered} answered, {ended} ended by BYE, refused {refused:?}")?;
        writeln!(f, "SIP            {retransmissions} retransmissions, {} leaks of topology", self.leaks)?;
        let Verdict { shared_ports, outside_range, wrong_source, stray, .. } = self;
        writeln!(
            f,
            "addresses      {shared_ports} relay ports shared, {outside_range} outside the range, {wrong_source} packets \
             from elsewhere, {stray} stray"
        )?;
        for (kind, tallies) in [("RTP", &self.rtp), ("RTCP", &self.rtcp)] {
            for (direction, tally) in tallies.iter().filter(|(_, tally)| tally.sent + tally.relayed > 0) {
                let us = |quantile: f64| tally.transit.value_at_quantile(quantile) / 1000;
                writeln!(f, "{:<14} {tally}", format!("{kind} {direction:?}"))?;
                writeln!(
                    f,
                    "{:<14} transit p50 {} µs, p99 {} µs; longest interruption {} ms",
                    "",
                    us(0.5),
                    us(0.99),
                    tally.interruption_ns / 1_000_000
                )?;
            }
        }
        Ok(())
    }
}
