//! The quality of calls that have ended, by media range: one value for each stream.

use std::fmt;

use moorline_relay::{Closing, Histogram};
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{Label, Scrape};

impl Scrape {
    pub(super) fn encode_quality(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Mean opinion scores by the E-model (ITU-T G.107, narrowband scale) of streams as received";
        self.histogram(encoder, "moorline_media_mos", help, &Closing::OPINIONS, |closing| &closing.opinion)?;
        let help = "Share of packets lost before they came here, by stream";
        self.histogram(encoder, "moorline_media_loss_ratio", help, &Closing::LOSSES, |closing| &closing.loss)?;
        let help = "Interarrival jitter (RFC 3550) at the end of a stream";
        self.histogram(encoder, "moorline_media_jitter_seconds", help, &Closing::JITTERS, |closing| &closing.jitter)?;
        let help = "Last round trip from here to a party and back, by RTCP";
        let name = "moorline_media_round_trip_seconds";
        self.histogram(encoder, name, help, &Closing::ROUND_TRIPS, |closing| &closing.round_trip)?;
        let help = "Share of packets that a party says it lost of what was sent to it (RTCP), by stream";
        let name = "moorline_media_far_end_loss_ratio";
        self.histogram(encoder, name, help, &Closing::LOSSES, |closing| &closing.far_loss)?;
        let help = "Mean opinion scores, as above, of what a party hears by its RTCP reports";
        let name = "moorline_media_far_end_mos";
        self.histogram(encoder, name, help, &Closing::OPINIONS, |closing| &closing.far_opinion)?;
        let help = "RTP packets that came after a later one";
        self.closed(encoder, "moorline_media_reordered_packets", help, |closing| closing.reordered)?;
        let help = "RTP packets that had come before";
        self.closed(encoder, "moorline_media_duplicate_packets", help, |closing| closing.duplicates)?;
        let help = "Runs of RTP packets that did not come in their turn";
        self.closed(encoder, "moorline_media_gaps", help, |closing| closing.gaps)?;
        self.closed(encoder, "moorline_media_dtmf_events", "DTMF digits (RFC 4733)", |closing| closing.digits)?;
        let help = "Streams not heard for 5 s or more while the other party was";
        self.closed(encoder, "moorline_media_one_way_streams", help, |closing| closing.one_way)?;
        let help = "Streams on which nothing came though it was expected for 5 s or more";
        self.closed(encoder, "moorline_media_silent_streams", help, |closing| closing.silent)
    }

    fn closed(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        figure: impl Fn(&Closing) -> u64,
    ) -> fmt::Result {
        self.counters(encoder, name, help, |shard, count| {
            shard.closing.iter().try_for_each(|(range, closing)| count(&[("range", range.as_str())], figure(closing)))
        })
    }

    fn histogram<const N: usize>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        bounds: &[f64; N],
        figure: impl Fn(&Closing) -> &Histogram<N>,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for shard in self.shards.iter() {
            let index = shard.shard.to_string();
            for (range, closing) in &shard.closing {
                let histogram = figure(closing);
                let (counts, above) = histogram.counts();
                let mut buckets: Vec<(f64, u64)> = bounds.iter().copied().zip(counts).collect();
                buckets.push((f64::INFINITY, above));
                let count = counts.iter().sum::<u64>() + above;
                let labels: [Label<'_>; 2] = [("shard", &index), ("range", range)];
                let mut metric = family.encode_family(&labels)?;
                metric.encode_histogram::<NoLabelSet>(histogram.sum(), count, &buckets, None)?;
            }
        }
        Ok(())
    }
}
