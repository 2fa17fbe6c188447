//! What the forwarding program did in the network driver.

use std::fmt;

use moorline_xdp::forward::abi::Reason;
use moorline_xdp::forward::{Counts, residence_bounds};
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{IN_THE_DRIVER, Label, RESIDENCE_BOUNDS_NS, Scrape};

/// Names of the reasons that packets were passed up for, in the order of `moorline_xdp_abi::forward::Reason`.
const REASONS: [&str; 17] = [
    "not_plain_udp",
    "no_media_port",
    "closed",
    "no_flow",
    "not_rtp",
    "lease",
    "not_told",
    "hop",
    "source",
    "ssrc",
    "payload_type",
    "malformed",
    "too_long",
    "ceiling",
    "unusual",
    "in_flight",
    "own_queue",
];

impl Scrape {
    pub(super) fn encode_driver(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(driver) = &self.driver else { return Ok(()) };
        self.gauges(encoder, "moorline_media_driver_flows", "Flows that the driver may relay", |shard, value| {
            value(&[], shard.counters.flows_elsewhere)
        })?;
        let help =
            "Packets of the media interfaces that the driver's program left to the kernel or a socket, by reason";
        let mut family = encoder.encode_descriptor("moorline_media_driver_passed", help, None, MetricType::Counter)?;
        for (reason, passed) in REASONS.into_iter().zip(driver.passed) {
            let labels: [Label<'_>; 1] = [("reason", reason)];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&passed, None)?;
        }
        let help = "Packets of open media ports, by the way that the driver's program gave them: relayed there, to an AF_XDP \
                    socket, to the kernel, or none, because the port was flooded or the flow drained";
        let mut family = encoder.encode_descriptor("moorline_media_driver_packets", help, None, MetricType::Counter)?;
        for (way, packets) in ways(driver) {
            let labels: [Label<'_>; 1] = [("way", way)];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&packets, None)?;
        }
        Ok(())
    }

    /// How long packets were in the program.
    pub(super) fn encode_residence_in_the_driver(&self, family: &mut MetricEncoder<'_>) -> fmt::Result {
        let Some(driver) = &self.driver else { return Ok(()) };
        let (buckets, sum, count) = residence(driver);
        let labels: [Label<'_>; 1] = [("datapath", IN_THE_DRIVER)];
        family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

/// How many packets of open media ports went which way.
fn ways(driver: &Counts) -> [(&'static str, u64); 5] {
    // The first reasons are of packets to no open port.
    let passed: u64 = driver.passed.iter().skip(Reason::Flowless as usize).sum();
    [
        ("relayed", driver.relayed),
        ("af_xdp", driver.steered),
        ("kernel", passed.saturating_sub(driver.steered + driver.flooded)),
        ("flooded", driver.flooded),
        ("drained", driver.drained),
    ]
}

/// The buckets of the histogram, the sum in seconds as their middles tell it, and the count.
fn residence(driver: &Counts) -> (Vec<(f64, u64)>, f64, u64) {
    let mut counts = [0; RESIDENCE_BOUNDS_NS.len() + 1];
    let (mut sum, mut count) = (0.0, 0);
    for (bucket, &packets) in driver.residence.iter().enumerate() {
        let (from, to) = residence_bounds(bucket);
        // What lies across a bound belongs to the bucket above: never shorter than it was.
        let place = RESIDENCE_BOUNDS_NS.iter().position(|bound| to <= *bound).unwrap_or(RESIDENCE_BOUNDS_NS.len());
        counts[place] += packets;
        let middle = if to == u64::MAX { from } else { from.midpoint(to) };
        sum += packets as f64 * middle as f64 / 1e9;
        count += packets;
    }
    let bounds = RESIDENCE_BOUNDS_NS.iter().map(|ns| *ns as f64 / 1e9).chain([f64::INFINITY]);
    (bounds.zip(counts).collect(), sum, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Counts =
        Counts { relayed: 0, steered: 0, flooded: 0, drained: 0, passed: [0; 17], residence: [0; 185] };

    #[test]
    fn every_packet_of_an_open_port_has_one_way() {
        let passed = std::array::from_fn(|reason| if reason < Reason::Flowless as usize { 1000 } else { 10 });
        let driver = Counts { relayed: 7, steered: 50, flooded: 20, drained: 3, passed, ..NONE };
        let ways = ways(&driver);
        assert_eq!(ways.map(|(_, packets)| packets), [7, 50, 70, 20, 3]);
        assert_eq!(REASONS[Reason::OwnQueue as usize], "own_queue");
    }

    #[test]
    fn every_timed_packet_is_in_one_bucket_no_shorter_than_it_was() {
        let mut driver = NONE;
        for (bucket, packets) in driver.residence.iter_mut().enumerate() {
            *packets = bucket as u64 % 3;
        }
        let (buckets, sum, count) = residence(&driver);
        assert_eq!(count, driver.residence.iter().sum::<u64>());
        assert_eq!(buckets.iter().map(|(_, packets)| packets).sum::<u64>(), count);
        // Buckets 0 to 5 end at 96 ns, the next one lies across 100.
        assert_eq!(buckets[0].1, driver.residence[..6].iter().sum::<u64>());
        assert!(sum > 0.0);
    }
}
