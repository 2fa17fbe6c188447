//! The part of the page about transports and overload.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use moorline_b2bua::Reason;
use moorline_sip::Transport;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::Page;
use crate::transport::streams::Counts;

type Field = fn(&Counts) -> &AtomicU64;

pub(super) fn encode(page: &Page, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let statistics = &page.sum.statistics;
    let streams = [Transport::Tcp, Transport::Tls];
    let of = |transport, field: Field| field(page.streams.of(transport)).load(Ordering::Relaxed);

    let by_transport: [(&str, &str, Option<u64>, Field); 7] = [
        ("received", "SIP messages received, by transport; datagrams of any kind", Some(page.sum.received), |c| {
            &c.received
        }),
        ("sent", "SIP messages sent, by transport", Some(page.sum.sent), |c| &c.sent),
        ("connections_accepted", "Connections accepted", None, |c| &c.accepted),
        ("connections_opened", "Connections opened from here", None, |c| &c.connected),
        ("connections_refused", "Connections turned away: of strangers, or too many", None, |c| &c.refused),
        ("connections_failed", "Connections that could not be opened from here", None, |c| &c.failed),
        ("connections_cut", "Connections closed here: no SIP, too slow, or not read by the far end", None, |c| &c.cut),
    ];
    for (name, help, udp, field) in by_transport {
        let name = format!("moorline_sip_{name}");
        let mut metric = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        let udp = udp.map(|value| (Transport::Udp, value));
        for (transport, value) in udp.into_iter().chain(streams.map(|transport| (transport, of(transport, field)))) {
            let labels = [("transport", transport.param())];
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
    }

    let help = "Connections that stand";
    let mut metric = encoder.encode_descriptor("moorline_sip_connections", help, None, MetricType::Gauge)?;
    for transport in streams {
        let labels = [("transport", transport.param())];
        metric.encode_family(&labels)?.encode_gauge(&of(transport, |c| &c.open))?;
    }

    for (name, help, value) in [
        ("tls_handshakes_failed", "TLS handshakes that failed", of(Transport::Tls, |c| &c.handshakes_failed)),
        ("handed_over", "Messages handed to the worker that owns them", statistics.handed_over),
        ("news_delayed", "News for other workers that had to wait for room", statistics.news_delayed),
        ("stream_overflows", "Messages lost for want of room on the way to a stream", statistics.stream_overflows),
    ] {
        let name = format!("moorline_sip_{name}");
        encoder
            .encode_descriptor(&name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }

    let help = "Messages that were dropped, and new calls answered 503, for overload";
    let mut metric = encoder.encode_descriptor("moorline_sip_overload", help, None, MetricType::Counter)?;
    for reason in Reason::ALL {
        let value = statistics.overload[reason.index()] + page.streams.overload(reason);
        let labels = [("reason", reason.name())];
        metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    Ok(())
}
