//! The part of the page about call detail records.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::cdr::{RecordCounts, SinkCounts};

type Field = fn(&SinkCounts) -> &AtomicU64;

pub(super) fn encode(counts: &RecordCounts, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let of = |value: &AtomicU64| value.load(Ordering::Relaxed);
    let journal = &counts.journal;
    let ended = of(&journal.records);
    for (name, help, value) in [
        ("marks", "Steps of calls written to the journal", of(&journal.marks)),
        ("records", "Call detail records written to the journal", ended),
        ("lost_marks", "Steps of calls that found no room in the journal", of(&journal.lost)),
        ("stalls", "Times that the journal's disk began to hang", of(&journal.stalls)),
        ("cut_segments", "Parts of the journal removed before every sink had read them", of(&journal.cut)),
    ] {
        let name = format!("moorline_cdr_{name}");
        encoder
            .encode_descriptor(&name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    for (name, help, value) in [
        ("journal_bytes", "Length of the journal", of(&journal.bytes)),
        ("journal_failing", "1 while the journal cannot be written, hangs or is full", of(&journal.failing)),
        ("waiting_marks", "Steps of calls that wait to be written to the journal", of(&journal.waiting)),
    ] {
        let name = format!("moorline_cdr_{name}");
        encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
    }
    let counters: [(&str, &str, Field); 3] = [
        ("written", "Records that a sink has taken, by sink", |sink| &sink.written),
        ("failed", "Times that a sink could not take records", |sink| &sink.failed),
        ("set_aside", "Records that a sink refuses for good, set aside in a file", |sink| &sink.set_aside),
    ];
    for (name, help, field) in counters {
        let name = format!("moorline_cdr_{name}");
        let mut metric = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        for sink in &counts.sinks {
            let value = of(field(sink));
            metric.encode_family(&[("sink", sink.name)])?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
    }
    let help = "Records that a sink has not taken yet";
    let mut waiting = encoder.encode_descriptor("moorline_cdr_waiting", help, None, MetricType::Gauge)?;
    for sink in &counts.sinks {
        waiting.encode_family(&[("sink", sink.name)])?.encode_gauge(&sink.waiting(ended))?;
    }
    let help = "1 while a sink cannot take records, or hangs";
    let mut failing = encoder.encode_descriptor("moorline_cdr_failing", help, None, MetricType::Gauge)?;
    for sink in &counts.sinks {
        failing.encode_family(&[("sink", sink.name)])?.encode_gauge(&u64::from(sink.is_failing()))?;
    }
    Ok(())
}
