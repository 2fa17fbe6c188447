//! The part of the page about the configuration: which is in force, and what reloads came to.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::reload::{Outcome, Reloads};

pub(super) fn encode(reloads: &Reloads, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let name = "moorline_sip_reloads";
    let help = "Reloads and rollbacks of the configuration, by what they came to";
    let mut counts = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for outcome in Outcome::ALL {
        let labels = [("outcome", outcome.name())];
        counts.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&reloads.of(outcome).0, None)?;
    }
    let name = "moorline_sip_last_reload_timestamp_seconds";
    let help = "When the last reload or rollback that came to this was, in seconds since 1970";
    let mut last = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for outcome in Outcome::ALL {
        if let Some(at) = reloads.of(outcome).1 {
            last.encode_family(&[("outcome", outcome.name())])?.encode_gauge(&u64::from(at.unix_s()))?;
        }
    }
    let name = "moorline_sip_configuration_timestamp_seconds";
    let help = "Since when the configuration in force has been so, in seconds since 1970";
    let since = u64::from(reloads.in_force().since.unix_s());
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&since)
}
