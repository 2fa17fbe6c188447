//! Two queues on two cores against one.
//!
//! By CPU per packet, as for two shards: two cores carry twice what one does, less what a packet costs more. The highest
//! rates of both cannot be compared here: veth puts a frame into the queue of the core that it is sent from, so that the
//! generator would need two cores of its own beside the relay's two.

use super::measure::{Figures, Traffic, measure};
use super::system::{Kind, Setup};
use crate::commands::process::Error;

/// How much more two queues carry than one, by system.
pub(super) fn two_against_one(
    setup: &mut Setup,
    kinds: &[Kind],
    traffic: Traffic,
    rounds: u32,
) -> Result<Vec<f64>, Error> {
    let mut costs = vec![[Vec::new(), Vec::new()]; kinds.len()];
    for number in 1..=rounds {
        for queues in [1, 2] {
            setup.links.set_queues(&mut setup.lab, queues)?;
            for (kind, costs) in kinds.iter().zip(&mut costs) {
                let mut system = kind.start(setup)?;
                let figures = measure(&mut *system, setup, traffic)?;
                system.stop(setup)?;
                println!("round {number} {:<11} {queues} queues: {figures}", kind.name());
                costs[queues as usize - 1].push(figures);
            }
        }
    }
    setup.links.set_queues(&mut setup.lab, 1)?;
    let cost = |rounds: &Vec<Figures>| Figures::median(rounds).packet_ns;
    Ok(costs.iter().map(|[one, two]| 2.0 * cost(one) / cost(two)).collect())
}
