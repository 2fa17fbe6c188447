//! What was measured, the medians of it, and how it is told.

use super::system::Kind;
use crate::commands::process::median;

/// A window at a steady rate.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Steady {
    /// CPU per call in signaling and in media.
    pub(super) signaling_us: f64,
    pub(super) media_us: f64,
    /// CPU per call in both SIPp.
    pub(super) load_us: f64,
    /// INVITE to 200.
    pub(super) answer_p50_us: f64,
    pub(super) answer_p99_us: f64,
    pub(super) calls: u64,
    pub(super) failed: u64,
    pub(super) retransmissions: u64,
}

impl Steady {
    pub(super) fn cpu_us(&self) -> f64 {
        self.signaling_us + self.media_us
    }

    /// One line of a round.
    pub(super) fn told(&self) -> String {
        format!(
            "CPU per call {:.0} µs (signaling {:.0}, media {:.0}), SIPp {:.0}; INVITE to 200 p50 {:.0} µs, p99 {:.0} µs; \
             {} calls, {} failed, {} retransmissions",
            self.cpu_us(),
            self.signaling_us,
            self.media_us,
            self.load_us,
            self.answer_p50_us,
            self.answer_p99_us,
            self.calls,
            self.failed,
            self.retransmissions
        )
    }

    /// The median of each figure by itself; calls are sums.
    pub(super) fn median(rounds: &[Steady]) -> Steady {
        let median = |figure: fn(&Steady) -> f64| median(rounds.iter().map(figure));
        let sum = |count: fn(&Steady) -> u64| rounds.iter().map(count).sum();
        Steady {
            signaling_us: median(|round| round.signaling_us),
            media_us: median(|round| round.media_us),
            load_us: median(|round| round.load_us),
            answer_p50_us: median(|round| round.answer_p50_us),
            answer_p99_us: median(|round| round.answer_p99_us),
            calls: sum(|round| round.calls),
            failed: sum(|round| round.failed),
            retransmissions: sum(|round| round.retransmissions),
        }
    }
}

/// All that was measured of a system; what was not is `None`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    pub(super) kind: Kind,
    pub(super) steady: Option<Steady>,
    /// The control run's medians belong to every system.
    pub(super) direct: Option<Steady>,
    pub(super) rate: Option<f64>,
    pub(super) call_bytes: Option<f64>,
}

impl Figures {
    pub(super) fn new(kind: Kind) -> Figures {
        Figures { kind, steady: None, direct: None, rate: None, call_bytes: None }
    }

    /// What the system adds from INVITE to 200.
    fn delay_us(&self, figure: fn(&Steady) -> f64) -> Option<f64> {
        Some((figure(&self.steady?) - figure(&self.direct?)).max(0.0))
    }

    fn p50_us(&self) -> Option<f64> {
        self.delay_us(|steady| steady.answer_p50_us)
    }

    fn p99_us(&self) -> Option<f64> {
        self.delay_us(|steady| steady.answer_p99_us)
    }

    fn cpu_us(&self) -> Option<f64> {
        Some(self.steady?.cpu_us())
    }

    fn key_values(&self) -> Vec<(String, Option<f64>)> {
        let key = self.kind.key();
        let mut lines = vec![
            (format!("{key}_cpu_us"), self.cpu_us()),
            (format!("{key}_signaling_cpu_us"), self.steady.map(|steady| steady.signaling_us)),
            (format!("{key}_media_cpu_us"), self.steady.map(|steady| steady.media_us)),
            (format!("{key}_rate"), self.rate),
            (format!("{key}_delay_us"), self.p50_us()),
            (format!("{key}_delay_p99_us"), self.p99_us()),
            (format!("{key}_failed"), self.steady.map(|steady| steady.failed as f64)),
        ];
        if self.kind == Kind::Moorline {
            lines.push(("call_bytes".into(), self.call_bytes));
        }
        lines
    }
}

/// Moorline's figure by the peers', where both were measured.
pub(super) fn ratio(moorline: Option<f64>, peer: Option<f64>) -> Option<f64> {
    Some(moorline? / peer.filter(|peer| *peer > 0.0)?)
}

/// The table of all systems, Moorline first.
pub(super) fn table(systems: &[Figures], rate: u32) -> String {
    type Row = (String, fn(&Figures) -> Option<f64>, &'static str);
    let rows: [Row; 8] = [
        (format!("CPU per call at {rate}/s, signaling"), |f| Some(f.steady?.signaling_us), "µs"),
        (format!("CPU per call at {rate}/s, media"), |f| Some(f.steady?.media_us), "µs"),
        (format!("CPU per call at {rate}/s"), Figures::cpu_us, "µs"),
        ("  SIPp beside it".to_owned(), |f| Some(f.steady?.load_us), "µs"),
        (format!("added INVITE to 200 at {rate}/s, p50"), Figures::p50_us, "µs"),
        (format!("added INVITE to 200 at {rate}/s, p99"), Figures::p99_us, "µs"),
        ("failure-free rate".to_owned(), |f| f.rate, "calls/s"),
        ("memory per held call".to_owned(), |f| f.call_bytes, "bytes"),
    ];
    let names: String = systems.iter().map(|figures| format!("{:>28}", figures.kind.name())).collect();
    let mut table = format!("{:<38}{names}{:>10}\n", "", "ratio");
    for (name, figure, unit) in rows {
        let values: Vec<Option<f64>> = systems.iter().map(figure).collect();
        if values.iter().all(Option::is_none) {
            continue;
        }
        let cell =
            |value: &Option<f64>| format!("{:>28}", value.map_or("-".to_owned(), |value| format!("{value:.0} {unit}")));
        let cells: String = values.iter().map(cell).collect();
        let by = match values[..] {
            [moorline, peer] => ratio(moorline, peer).map(|ratio| format!("{ratio:>10.2}")),
            _ => None,
        };
        table += &format!("{name:<38}{cells}{}\n", by.unwrap_or_default());
    }
    table
}

/// The lines for programs. Ratios are Moorline's figure by the peers'.
pub(super) fn key_values(systems: &[Figures]) -> String {
    let mut lines = String::new();
    if let [moorline, peer] = systems {
        for (key, figure) in [
            ("cpu_ratio", Figures::cpu_us as fn(&Figures) -> Option<f64>),
            ("rate_ratio", |figures| figures.rate),
            ("delay_ratio", Figures::p50_us),
        ] {
            if let Some(ratio) = ratio(figure(moorline), figure(peer)) {
                lines += &format!("{key}={ratio:.3}\n");
            }
        }
    }
    for (key, value) in systems.iter().flat_map(Figures::key_values) {
        if let Some(value) = value {
            lines += &format!("{key}={value:.0}\n");
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(kind: Kind, cpu: [f64; 2], answer_us: f64, rate: f64) -> Figures {
        let steady = Steady { signaling_us: cpu[0], media_us: cpu[1], answer_p50_us: answer_us, ..Steady::default() };
        let direct = Steady { answer_p50_us: 100.0, ..Steady::default() };
        Figures { steady: Some(steady), direct: Some(direct), rate: Some(rate), ..Figures::new(kind) }
    }

    #[test]
    fn ratios_are_of_moorline_to_the_peers() {
        let moorline = system(Kind::Moorline, [100.0, 84.0], 450.0, 4000.0);
        let peers = system(Kind::Peers, [520.0, 400.0], 800.0, 2000.0);
        let lines = key_values(&[moorline, peers]);
        for line in
            ["cpu_ratio=0.200", "rate_ratio=2.000", "delay_ratio=0.500", "moorline_cpu_us=184", "peer_rate=2000"]
        {
            assert!(lines.lines().any(|own| own == line), "{line} in {lines}");
        }
        let table = table(&[moorline, peers], 800);
        assert!(table.lines().any(|line| line.starts_with("failure-free") && line.ends_with("2.00")), "{table}");
        assert!(!table.contains("memory"), "not measured, not shown: {table}");
    }

    #[test]
    fn what_was_not_measured_has_no_ratio() {
        let moorline = system(Kind::Moorline, [100.0, 84.0], 450.0, 4000.0);
        assert!(!key_values(&[moorline]).contains("ratio"));
        let peers = Figures { rate: Some(0.0), ..Figures::new(Kind::Peers) };
        assert!(!key_values(&[moorline, peers]).contains("ratio"));
        assert_eq!((ratio(Some(1.0), None), ratio(None, Some(1.0))), (None, None));
    }

    #[test]
    fn a_system_cannot_answer_before_it_is_asked() {
        assert_eq!(system(Kind::Moorline, [0.0; 2], 90.0, 1.0).p50_us(), Some(0.0));
    }

    #[test]
    fn medians_of_figures_and_sums_of_calls() {
        let rounds = [(3.0, 1), (1.0, 0), (2.0, 1)].map(|(media_us, failed)| Steady {
            media_us,
            signaling_us: 10.0,
            failed,
            calls: 10,
            ..Steady::default()
        });
        let median = Steady::median(&rounds);
        assert_eq!((median.cpu_us(), median.failed, median.calls), (12.0, 2, 30));
    }
}
