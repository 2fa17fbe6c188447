//! CPU and latency at steady rates: every system in each round, in turn.

use super::measure::{Figures, Traffic, measure};
use super::system::{Kind, Setup};
use crate::commands::process::{Error, median};

/// A peer's own figure may differ from its median by this much; a round in which it does is measured again.
const DRIFT: f64 = 0.2;

/// The medians of each system, in the order of `kinds`.
pub(super) fn measure_steady(
    setup: &Setup,
    kinds: &[Kind],
    traffic: Traffic,
    rounds: u32,
) -> Result<Vec<Figures>, Error> {
    println!(
        "\n{} packets/s: {} calls, a packet every {} ms each way",
        traffic.rate(),
        traffic.calls,
        traffic.interval_ms
    );
    let round = |name: &str| -> Result<Vec<Figures>, Error> {
        let of = |kind: &Kind| {
            let mut system = kind.start(setup)?;
            let figures = measure(&mut *system, setup, traffic)?;
            system.stop(setup)?;
            println!("{name} {:<10} {figures}", kind.name());
            Ok(figures)
        };
        kinds.iter().map(of).collect()
    };
    let mut all = Vec::new();
    for number in 1..=rounds {
        all.push(round(&format!("round {number}"))?);
    }
    for _ in 0..rounds {
        let Some((kind, number)) = drifted(kinds, &all) else { break };
        println!("round {} is measured again: {} differs from its median", number + 1, kind.name());
        all[number] = round(&format!("round {}", number + 1))?;
    }
    let of_system = |index: usize| all.iter().map(|round| round[index].clone()).collect::<Vec<_>>();
    Ok((0..kinds.len()).map(|index| Figures::median(&of_system(index))).collect())
}

/// A peer and the round in which its CPU is too far from its median, the furthest first.
fn drifted(kinds: &[Kind], rounds: &[Vec<Figures>]) -> Option<(Kind, usize)> {
    let peers = kinds.iter().enumerate().filter(|(_, kind)| !kind.is_moorline());
    let drifts = peers.filter_map(|(index, kind)| {
        let costs: Vec<f64> = rounds.iter().map(|round| round[index].packet_ns).collect();
        furthest(&costs).filter(|(drift, _)| *drift > DRIFT).map(|(drift, round)| (drift, *kind, round))
    });
    drifts.max_by(|(a, ..), (b, ..)| a.total_cmp(b)).map(|(_, kind, round)| (kind, round))
}

/// How far the value that is furthest from the median is from it, as a part of that, and which it is.
fn furthest(values: &[f64]) -> Option<(f64, usize)> {
    let middle = median(values.iter().copied());
    let drift = |value: f64| if middle > 0.0 { (value / middle - 1.0).abs() } else { 0.0 };
    (0..values.len()).map(|index| (drift(values[index]), index)).max_by(|(a, _), (b, _)| a.total_cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_in_which_a_peer_drifts_are_found() {
        let kinds = [Kind::Moorline, Kind::Rtpengine, Kind::Nft];
        let round = |costs: [f64; 3]| costs.map(|packet_ns| Figures { packet_ns, ..Figures::default() }).to_vec();
        let steady = [round([1.0, 7.0, 1.5]), round([9.0, 7.5, 1.6]), round([3.0, 8.0, 1.4])];
        assert_eq!(drifted(&kinds, &steady), None, "Moorline's own figure is not asked");
        let drifting = [round([1.0, 7.0, 1.5]), round([1.0, 10.0, 1.5]), round([1.0, 7.0, 1.0])];
        assert_eq!(drifted(&kinds, &drifting), Some((Kind::Rtpengine, 1)));
        assert_eq!(drifted(&kinds, &[]), None);
    }
}
