//! Limits of trunks: calls, limits, and what was refused. The labels are the configured trunks, two directions, and a
//! dozen causes.

use std::fmt;

use moorline_b2bua::policy::limit::{Cause, Direction, TrunkView};
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::Page;

pub(super) fn encode(page: &Page, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let trunks = page.limiter.view();
    let directions = || trunks.iter().flat_map(|view| Direction::BOTH.map(|direction| (view, direction)));
    let labels =
        |view: &TrunkView, direction: Direction| [("trunk", view.name.clone()), ("direction", direction.name().into())];

    let help = "Calls of a trunk at once, as its limits count them";
    let mut metric = encoder.encode_descriptor("moorline_trunk_calls", help, None, MetricType::Gauge)?;
    for (view, direction) in directions() {
        let calls = u64::from(view.directions[direction.index()].calls);
        metric.encode_family(&labels(view, direction))?.encode_gauge(&calls)?;
    }

    let help = "The most calls that a trunk may have at once; absent without a limit";
    let mut metric = encoder.encode_descriptor("moorline_trunk_calls_limit", help, None, MetricType::Gauge)?;
    for (view, direction) in directions() {
        if let Some(limit) = view.directions[direction.index()].numbers.calls {
            metric.encode_family(&labels(view, direction))?.encode_gauge(&u64::from(limit))?;
        }
    }

    let help = "Calls that a limit of a trunk has refused, by cause; a route may have had another trunk for them";
    let mut metric = encoder.encode_descriptor("moorline_trunk_refused", help, None, MetricType::Counter)?;
    for (view, direction) in directions() {
        for cause in Cause::ALL {
            let count = view.directions[direction.index()].refused[cause.index()];
            if count > 0 {
                let [trunk, direction] = labels(view, direction);
                let labels = [trunk, direction, ("cause", cause.name().into())];
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
    }

    let days = page.limiter.days();
    for (name, help, value) in [
        ("moorline_limits_callees", "Callees of trunks that limit the calls of a day, called today", days.used()),
        ("moorline_limits_callees_room", "How many of them are remembered", days.callees()),
        ("moorline_limits_unwritten", "1 while the calls of the day cannot be written down", page.unwritten.into()),
    ] {
        encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&(value as u64))?;
    }
    Ok(())
}
