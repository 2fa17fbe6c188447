//! What was measured of each system, as a table and as key=value lines.

use std::fmt::Write as _;

use super::born::{self, Born};
use super::measure::Figures;
use super::rate::Highest;
use super::sessions::Memory;
use super::system::Kind;

/// All that was measured of a system; what was not is `None`, or not in the list.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) kind: Kind,
    /// By packets a second.
    pub(super) steady: Vec<(u32, Figures)>,
    pub(super) highest: Option<Highest>,
    /// The loss of the control run at that rate.
    pub(super) control_loss: Option<f64>,
    pub(super) memory: Option<Memory>,
    /// With frames born in XDP.
    pub(super) born: Option<Born>,
}

/// The rate at which systems are compared.
pub(super) const COMPARED: u32 = 100_000;

impl Row {
    pub(super) fn new(kind: Kind) -> Row {
        Row { kind, steady: Vec::new(), highest: None, control_loss: None, memory: None, born: None }
    }

    fn at(&self, rate: u32) -> Option<&Figures> {
        self.steady.iter().find(|(known, _)| *known == rate).map(|(_, figures)| figures)
    }

    /// The rate of which to tell: the one at which systems are compared, or else what there is.
    fn compared(&self) -> Option<&Figures> {
        self.at(COMPARED).or_else(|| self.steady.last().map(|(_, figures)| figures))
    }
}

/// One line for each system.
pub(super) fn table(rows: &[Row]) -> String {
    let mut rates: Vec<u32> = rows.iter().flat_map(|row| &row.steady).map(|(rate, _)| *rate).collect();
    rates.sort_unstable();
    rates.dedup();
    let mut head = vec!["system".to_owned(), "CPU/packet".to_owned()];
    head.extend(rates.iter().map(|rate| format!("one way p50/p99/p99.9 µs at {}k/s", rate / 1000)));
    head.extend(
        [
            "loss-free packets/s",
            "its loss (control)",
            "memory/call (kernel)",
            "XDP frames: CPU/packet",
            "highest packets/s",
        ]
        .map(str::to_owned),
    );
    let mut lines = vec![head];
    for row in rows {
        let dash = || "-".to_owned();
        let mut line = vec![row.kind.name().to_owned()];
        line.push(row.compared().map_or_else(dash, |figures| format!("{:.2} µs", figures.packet_ns / 1e3)));
        for rate in &rates {
            let told = |figures: &Figures| {
                let [p50, p99, p999] = figures.one_way_us;
                format!("{p50:.0} / {p99:.0} / {p999:.0}")
            };
            line.push(row.at(*rate).map_or_else(dash, told));
        }
        line.push(row.highest.as_ref().map_or_else(dash, |highest| {
            let more = if highest.is_bounded_by_load { " (the load's limit)" } else { "" };
            format!("{}{more}", highest.rate)
        }));
        line.push(row.highest.as_ref().map_or_else(dash, |highest| {
            let control = row.control_loss.map_or_else(dash, |loss| format!("{:.3} %", loss * 100.0));
            format!("{:.3} % ({control})", highest.loss * 100.0)
        }));
        line.push(row.memory.map_or_else(dash, |memory| {
            format!("{:.1} KiB ({:.1})", memory.process_bytes / 1024.0, memory.kernel_bytes / 1024.0)
        }));
        line.push(row.born.and_then(|born| born.packet_ns).map_or_else(dash, |ns| format!("{:.2} µs", ns / 1e3)));
        line.push(row.born.map_or_else(dash, |born| {
            let more = if born.is_bounded { " (the generator's limit)" } else { "" };
            format!("{:.0}{more}", born.highest)
        }));
        lines.push(line);
    }
    aligned(&lines)
}

fn aligned(lines: &[Vec<String>]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..lines.first().map_or(0, Vec::len)).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let padded = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        // To a String.
        let _ = writeln!(text, "{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

/// Every figure, and Moorline's against rtpengine's and the bare bypasses'.
pub(super) fn key_values(rows: &[Row]) -> Vec<(String, f64)> {
    let mut all = Vec::new();
    for row in rows {
        let mut tell = |key: &str, value: f64| all.push((format!("{}_{key}", row.kind.name()), value));
        for (rate, figures) in &row.steady {
            let thousands = rate / 1000;
            tell(&format!("cpu_per_packet_ns_at_{thousands}k"), figures.packet_ns);
            for (name, value) in ["p50", "p99", "p999"].iter().zip(figures.one_way_us) {
                tell(&format!("one_way_{name}_us_at_{thousands}k"), value);
            }
            tell(&format!("loss_percent_at_{thousands}k"), figures.loss() * 100.0);
        }
        if let Some(highest) = &row.highest {
            tell("loss_free_rate", f64::from(highest.rate));
        }
        if let Some(memory) = row.memory {
            tell("memory_per_call_bytes", memory.process_bytes);
        }
        if let Some(born) = row.born {
            if let Some(ns) = born.packet_ns {
                tell(&format!("born_cpu_per_packet_ns_at_{}k", born::RATE / 1000), ns);
            }
            tell("limit_rate", born.highest);
        }
    }
    let moorline = rows.iter().find(|row| row.kind.is_moorline() && !row.kind.is_bypass());
    let peer = rows.iter().find(|row| row.kind == Kind::Rtpengine);
    if let (Some(moorline), Some(peer)) = (moorline, peer) {
        let mut ratio = |name: &str, of: fn(&Row) -> Option<f64>| {
            all.extend(of(moorline).zip(of(peer)).map(|(own, theirs)| (name.to_owned(), own / theirs)));
        };
        ratio("cpu_ratio", |row| Some(row.at(COMPARED)?.packet_ns));
        ratio("rate_ratio", |row| Some(f64::from(row.highest.as_ref()?.rate)));
        ratio("p99_ratio", |row| Some(row.at(COMPARED)?.one_way_us[1]));
        ratio("limit_ratio", |row| Some(row.born?.highest));
    }
    all.extend(bypass_ratios(rows));
    all
}

/// The bypasses against the least that such a one must do, and against rtpengine.
fn bypass_ratios(rows: &[Row]) -> Vec<(String, f64)> {
    let of = |kind: Kind, figure: fn(&Row) -> Option<f64>| figure(rows.iter().find(|row| row.kind == kind)?);
    let cpu: fn(&Row) -> Option<f64> = |row| Some(row.at(COMPARED)?.packet_ns);
    let limit: fn(&Row) -> Option<f64> = |row| Some(row.born?.highest);
    let born_cpu: fn(&Row) -> Option<f64> = |row| row.born?.packet_ns;
    let rate: fn(&Row) -> Option<f64> = |row| Some(f64::from(row.highest.as_ref()?.rate));
    let wanted = [
        ("offload_cpu_ratio", Kind::Offload, Kind::BareXdp, cpu),
        ("af_xdp_cpu_ratio", Kind::AfXdp, Kind::BareAfXdp, cpu),
        ("offload_limit_ratio", Kind::Offload, Kind::BareXdp, limit),
        ("af_xdp_limit_ratio", Kind::AfXdp, Kind::BareAfXdp, limit),
        ("offload_born_cpu_ratio", Kind::Offload, Kind::BareXdp, born_cpu),
        ("af_xdp_born_cpu_ratio", Kind::AfXdp, Kind::BareAfXdp, born_cpu),
        ("limit_ratio_offload", Kind::Offload, Kind::Rtpengine, limit),
        ("limit_ratio_af_xdp", Kind::AfXdp, Kind::Rtpengine, limit),
        ("rate_ratio_offload", Kind::Offload, Kind::Rtpengine, rate),
        ("rate_ratio_af_xdp", Kind::AfXdp, Kind::Rtpengine, rate),
        ("offload_to_rtpengine", Kind::Offload, Kind::Rtpengine, cpu),
        ("af_xdp_to_rtpengine", Kind::AfXdp, Kind::Rtpengine, cpu),
        ("bare_xdp_to_rtpengine", Kind::BareXdp, Kind::Rtpengine, cpu),
        ("bare_af_xdp_to_rtpengine", Kind::BareAfXdp, Kind::Rtpengine, cpu),
    ];
    let ratio = |(name, own, peer, figure)| -> Option<(String, f64)> {
        let name: &str = name;
        Some((name.to_owned(), of(own, figure)? / of(peer, figure)?))
    };
    wanted.into_iter().filter_map(ratio).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: Kind, packet_ns: f64, p99: f64, rate: u32) -> Row {
        let figures = Figures { packet_ns, one_way_us: [10.0, p99, 99.0], ..Figures::default() };
        let highest = Highest { rate, loss: 0.001, is_bounded_by_load: kind == Kind::Nft };
        Row { steady: vec![(COMPARED, figures)], highest: Some(highest), ..Row::new(kind) }
    }

    #[test]
    fn moorline_is_put_in_relation_to_rtpengine() {
        let rows = [
            row(Kind::Shared, 3000.0, 100.0, 200_000),
            row(Kind::Rtpengine, 7500.0, 400.0, 100_000),
            row(Kind::Nft, 1500.0, 50.0, 250_000),
        ];
        let all = key_values(&rows);
        let value = |key: &str| all.iter().find(|(name, _)| name == key).unwrap().1;
        assert_eq!((value("cpu_ratio"), value("rate_ratio"), value("p99_ratio")), (0.4, 2.0, 0.25));
        assert_eq!(value("nft_cpu_per_packet_ns_at_100k"), 1500.0);
        assert!(key_values(&rows[..1]).iter().all(|(name, _)| !name.contains("ratio")));
    }

    #[test]
    fn bypasses_are_put_in_relation_to_bare_ones() {
        let born = |packet_ns, highest| Some(Born { packet_ns, highest, is_bounded: false });
        let by_sockets = |highest| born(None, highest);
        let rows = [
            Row { born: by_sockets(200_000.0), ..row(Kind::Moorline, 3000.0, 100.0, 200_000) },
            Row { born: born(Some(330.0), 1_200_000.0), ..row(Kind::Offload, 1800.0, 100.0, 300_000) },
            Row { born: born(Some(300.0), 1_500_000.0), ..row(Kind::BareXdp, 1500.0, 100.0, 0) },
            Row { born: by_sockets(100_000.0), ..row(Kind::Rtpengine, 7200.0, 400.0, 100_000) },
        ];
        let all = key_values(&rows);
        let value = |key: &str| all.iter().find(|(name, _)| name == key).map(|(_, value)| *value);
        assert_eq!((value("rate_ratio"), value("rate_ratio_offload")), (Some(2.0), Some(3.0)));
        assert_eq!(value("rate_ratio_af_xdp"), None);
        assert_eq!(value("offload_cpu_ratio"), Some(1.2));
        assert_eq!(value("offload_limit_ratio"), Some(0.8));
        assert_eq!(value("offload_born_cpu_ratio"), Some(1.1));
        assert_eq!((value("limit_ratio"), value("limit_ratio_offload")), (Some(2.0), Some(12.0)));
        assert_eq!(value("rtpengine_born_cpu_per_packet_ns_at_200k"), None);
        assert_eq!(value("offload_to_rtpengine"), Some(0.25));
        assert_eq!(value("af_xdp_cpu_ratio"), None);
        assert_eq!(value("offload_limit_rate"), Some(1_200_000.0));
        assert_eq!(value("cpu_ratio"), Some(3000.0 / 7200.0), "of the datapath that runs by itself");
    }

    #[test]
    fn the_table_has_a_line_for_each() {
        let rows = [row(Kind::Moorline, 3000.0, 100.0, 200_000), Row::new(Kind::Nft)];
        let text = table(&rows);
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("3.00 µs") && text.contains("10 / 100 / 99"), "{text}");
        let columns: Vec<Option<usize>> = text.lines().skip(1).map(|line| line.find(['3', '-'])).collect();
        assert_eq!(columns[0], columns[1], "{text}");
    }
}
