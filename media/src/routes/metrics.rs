//! What `/metrics` tells of next hops.

use std::fmt;
use std::ops::Add;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::slots::Status;
use super::{Figures, HopReader, Reason};

/// Next hops at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HopFigures {
    figures: Figures,
    valid: u64,
    pending: u64,
    /// Those that the kernel has to send, by reason.
    kept: [u64; Reason::ALL.len()],
}

impl HopReader {
    /// Looks at every place.
    pub(crate) fn figures(&self) -> HopFigures {
        let shared = self.shared();
        let (mut valid, mut pending, mut kept) = (0, 0, [0; Reason::ALL.len()]);
        for hop in 1..=shared.slots.capacity() {
            match shared.slots.status(hop) {
                Status::Valid => valid += 1,
                Status::Pending | Status::Changing => pending += 1,
                Status::Kernel(reason) => kept[reason as usize] += 1,
                Status::Free | Status::Resting => {}
            }
        }
        HopFigures { figures: shared.figures(), valid, pending, kept }
    }
}

/// Of two threads that follow hops.
impl Add for HopFigures {
    type Output = HopFigures;

    fn add(self, other: HopFigures) -> HopFigures {
        let Figures { followed, valid, questions, kept_alive, changes, lost_events } = other.figures;
        let figures = Figures {
            followed: self.figures.followed + followed,
            valid: self.figures.valid + valid,
            questions: self.figures.questions + questions,
            kept_alive: self.figures.kept_alive + kept_alive,
            changes: self.figures.changes + changes,
            lost_events: self.figures.lost_events + lost_events,
        };
        let mut kept = self.kept;
        kept.iter_mut().zip(other.kept).for_each(|(all, more)| *all += more);
        HopFigures { figures, valid: self.valid + other.valid, pending: self.pending + other.pending, kept }
    }
}

impl HopFigures {
    /// Their families.
    ///
    /// # Errors
    /// None that is known: writing into a string does not fail.
    pub(crate) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help =
            "Pairs of addresses whose next hop is followed, by what is known: valid, pending, or why the kernel sends";
        let mut family = encoder.encode_descriptor("moorline_media_next_hops", help, None, MetricType::Gauge)?;
        let reasons = Reason::ALL.iter().zip(self.kept).map(|(reason, count)| (reason.name(), count));
        for (state, count) in [("valid", self.valid), ("pending", self.pending)].into_iter().chain(reasons) {
            family.encode_family(&[("state", state)])?.encode_gauge(&count)?;
        }
        let Figures { changes, questions, kept_alive, lost_events, .. } = self.figures;
        for (name, help, value) in [
            ("moorline_media_next_hop_changes", "Next hops that changed or went", changes),
            ("moorline_media_route_questions", "Routes asked of the kernel", questions),
            ("moorline_media_neighbours_used", "Neighbours that the kernel was told are in use", kept_alive),
            (
                "moorline_media_route_events_lost",
                "Times that the kernel's events were lost and all was read anew",
                lost_events,
            ),
        ] {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, u64, u64>(&value, None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::collector::Collector;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[derive(Debug)]
    struct Told(HopFigures);

    impl Collector for Told {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
            self.0.encode(&mut encoder)
        }
    }

    #[test]
    fn hops_are_told_by_state() {
        let mut kept = [0; Reason::ALL.len()];
        kept[Reason::Policy as usize] = 3;
        let figures = Figures { changes: 5, questions: 6, kept_alive: 7, lost_events: 8, followed: 0, valid: 0 };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Told(HopFigures { figures, valid: 2, pending: 1, kept })));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "moorline_media_next_hops{state=\"valid\"} 2",
            "moorline_media_next_hops{state=\"pending\"} 1",
            "moorline_media_next_hops{state=\"policy\"} 3",
            "moorline_media_next_hops{state=\"no_route\"} 0",
            "moorline_media_next_hop_changes_total 5",
            "moorline_media_route_questions_total 6",
            "moorline_media_neighbours_used_total 7",
            "moorline_media_route_events_lost_total 8",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn reasons_are_where_their_numbers_say() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }
}
