//! The metrics of the media process in OpenMetrics text. Their names and labels are stable.

use std::fmt;
use std::sync::Arc;

use moorline_relay::{DropReason, Relayed, Traffic};
use moorline_xdp::forward::Counts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::datapath::KernelDrop;
use crate::routes::HopFigures;
use crate::shard::Snapshot;

mod driver;
mod quality;

/// Bounds of the residence histogram: 1, 2, 5 steps from 100 ns, for what the network driver relays, to 100 ms.
const RESIDENCE_BOUNDS_NS: [u64; 19] = [
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
];

/// The datapath of what the network driver relays.
const IN_THE_DRIVER: &str = "xdp";

/// What a scrape found.
pub(crate) struct Scrape {
    pub(crate) datapath: &'static str,
    pub(crate) capacity: u32,
    /// Descriptors that this process has open, and may have.
    pub(crate) descriptors: (u64, u64),
    pub(crate) shards: Arc<[Snapshot]>,
    /// Where flows are relayed in the network driver.
    pub(crate) driver: Option<Counts>,
    /// Where packets go past the kernel's routing.
    pub(crate) hops: Option<HopFigures>,
    /// Lines of the log that were lost.
    pub(crate) lost_lines: u64,
}

impl Scrape {
    /// The text.
    ///
    /// # Errors
    /// None that is known: writing into a string does not fail.
    pub(crate) fn text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::with_capacity(16 * 1024);
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").field("datapath", &self.datapath).finish_non_exhaustive()
    }
}

type Label<'a> = (&'static str, &'a str);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_process(&mut encoder)?;
        self.encode_traffic(&mut encoder)?;
        self.encode_sessions(&mut encoder)?;
        self.encode_quality(&mut encoder)?;
        self.encode_driver(&mut encoder)?;
        self.hops.map_or(Ok(()), |hops| hops.encode(&mut encoder))?;
        self.encode_residence(&mut encoder)
    }
}

impl Scrape {
    fn encode_process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let labels: [Label<'_>; 2] = [("version", env!("CARGO_PKG_VERSION")), ("datapath", self.datapath)];
        encoder
            .encode_descriptor("moorline_media", "The media process", None, MetricType::Info)?
            .encode_info(&labels)?;
        let (open, limit) = self.descriptors;
        gauge(encoder, "process_open_fds", "Open file descriptors; io_uring keeps media sockets elsewhere", open)?;
        gauge(encoder, "process_max_fds", "The limit of open file descriptors", limit)?;
        let help = "Sessions that may be open at once";
        gauge(encoder, "moorline_media_session_capacity", help, u64::from(self.capacity))?;
        let help = "Lines of the log that were lost, because whoever reads it did not take them";
        encoder
            .encode_descriptor("moorline_log_lost_lines", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&self.lost_lines, None)
    }

    fn encode_traffic(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.relayed(encoder, "moorline_media_packets", "Packets relayed", |relayed| relayed.packets)?;
        let help = "Bytes relayed, without IP and UDP headers";
        self.relayed(encoder, "moorline_media_bytes", help, |relayed| relayed.bytes)?;
        self.counters(encoder, "moorline_media_dropped", "Packets not relayed, by reason", |shard, count| {
            for reason in DropReason::ALL {
                count(&[("reason", reason.as_str())], shard.counters.dropped[reason.index()])?;
            }
            for reason in KernelDrop::ALL {
                count(&[("reason", reason.as_str())], shard.tally.dropped(reason))?;
            }
            Ok(())
        })?;
        let help = "Receives that stopped for want of a buffer; the packets waited in their socket";
        self.counters(encoder, "moorline_media_buffer_stalls", help, |shard, count| {
            count(&[], shard.tally.buffer_stalls)
        })?;
        let help = "Packets that io_uring sent past the kernel's routing, to next hops that it had named";
        self.counters(encoder, "moorline_media_direct_packets", help, |shard, count| count(&[], shard.tally.direct))?;
        let help = "Packets that AF_XDP sockets received, sent, and received and left to the kernel to send";
        self.counters(encoder, "moorline_media_af_xdp_packets", help, |shard, count| {
            let packets = shard.tally.af_xdp;
            count(&[("way", "received")], packets.received)?;
            count(&[("way", "sent")], packets.sent)?;
            count(&[("way", "sent_by_kernel")], packets.sent_by_kernel)
        })?;
        let help = "Returns from a sleep: packets by wakeups is the size of a batch";
        self.counters(encoder, "moorline_media_wakeups", help, |shard, count| count(&[], shard.tally.wakeups))
    }

    /// One figure of what was relayed and sent, by kind.
    fn relayed(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        figure: impl Fn(Relayed) -> u64,
    ) -> fmt::Result {
        self.counters(encoder, name, help, |shard, count| {
            Traffic::ALL.into_iter().try_for_each(|traffic| {
                let forwarded = figure(shard.counters.relayed(traffic));
                let sent = forwarded.saturating_sub(figure(shard.tally.unsent(traffic)));
                count(&[("datapath", self.datapath), ("kind", traffic.as_str())], sent)
            })?;
            if self.driver.is_none() {
                return Ok(());
            }
            let kind = ("kind", Traffic::Rtp.as_str());
            count(&[("datapath", IN_THE_DRIVER), kind], figure(shard.counters.elsewhere))
        })
    }

    fn encode_sessions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.gauges(encoder, "moorline_media_sessions", "Sessions open", |shard, value| {
            value(&[], shard.counters.sessions)
        })?;
        self.gauges(encoder, "moorline_media_ports", "Local ports by state", |shard, value| {
            value(&[("state", "in_use")], shard.counters.ports_in_use)?;
            value(&[("state", "resting")], shard.counters.ports_resting)
        })?;
        self.counters(encoder, "moorline_media_sessions_opened", "Sessions opened", |shard, count| {
            count(&[], shard.counters.opened)
        })?;
        self.counters(encoder, "moorline_media_sessions_closed", "Sessions ended, for any reason", |shard, count| {
            count(&[], shard.counters.closed)
        })?;
        let help = "Announcements begun, and played to their end, by name";
        self.counters(encoder, "moorline_media_announcements", help, |shard, count| {
            shard.announced.iter().try_for_each(|(name, announced)| {
                count(&[("name", name), ("state", "started")], announced.started)?;
                count(&[("name", name), ("state", "completed")], announced.completed)
            })
        })?;
        let help = "Sessions ended because nobody claimed them";
        self.counters(encoder, "moorline_media_leases_expired", help, |shard, count| {
            count(&[], shard.counters.leases_expired)
        })?;
        let help = "Sessions found without media for their timeout";
        self.counters(encoder, "moorline_media_timeouts", help, |shard, count| count(&[], shard.counters.timeouts))?;
        let help = "Sources latched, or moved within the window";
        self.counters(encoder, "moorline_media_latched", help, |shard, count| count(&[], shard.counters.latched))?;
        let help = "Ports found taken by another process";
        self.counters(encoder, "moorline_media_ports_stolen", help, |shard, count| {
            count(&[], shard.counters.ports_stolen)
        })
    }

    fn encode_residence(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "From the kernel's receive timestamp (af_xdp: the shard's first sight) until the submit that sent the \
                    packet had returned; of datapath xdp, the time in the driver's program, of one packet in 16";
        let name = "moorline_media_residence_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for shard in self.shards.iter() {
            let residence = &shard.tally.residence;
            let (counts, above) = residence.buckets(&RESIDENCE_BOUNDS_NS);
            let mut buckets: Vec<(f64, u64)> =
                RESIDENCE_BOUNDS_NS.iter().map(|&ns| ns as f64 / 1e9).zip(counts).collect();

            buckets.push((f64::INFINITY, above));
            let index = shard.shard.to_string();
            let labels: [Label<'_>; 2] = [("shard", &index), ("datapath", self.datapath)];
            let (sum, count) = (residence.sum_seconds(), residence.count());
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        self.encode_residence_in_the_driver(&mut family)
    }

    fn counters(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        each: impl Fn(&Snapshot, &mut dyn FnMut(&[Label<'_>], u64) -> fmt::Result) -> fmt::Result,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        self.each(&mut family, each, |mut metric, value| metric.encode_counter::<NoLabelSet, u64, u64>(&value, None))
    }

    fn gauges(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        each: impl Fn(&Snapshot, &mut dyn FnMut(&[Label<'_>], u64) -> fmt::Result) -> fmt::Result,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        self.each(&mut family, each, |mut metric, value| metric.encode_gauge(&value))
    }

    /// One family: what `each` says of every shard, labelled with the shard.
    fn each(
        &self,
        family: &mut MetricEncoder<'_>,
        each: impl Fn(&Snapshot, &mut dyn FnMut(&[Label<'_>], u64) -> fmt::Result) -> fmt::Result,
        write: impl Fn(MetricEncoder<'_>, u64) -> fmt::Result,
    ) -> fmt::Result {
        for shard in self.shards.iter() {
            let index = shard.shard.to_string();
            each(shard, &mut |labels, value| {
                let mut all: Vec<Label<'_>> = vec![("shard", &index)];
                all.extend_from_slice(labels);
                write(family.encode_family(&all.as_slice())?, value)
            })?;
        }
        Ok(())
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}
