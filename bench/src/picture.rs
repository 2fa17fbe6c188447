//! A latency histogram as a picture for the terminal.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

/// The upper bounds of the rows, in nanoseconds: 1, 2 and 5 in each decade from 1 µs to 10 s. What is
/// above gets one more row.
const BOUNDS_NS: [u64; 22] = [
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// The longest bar, in columns.
const BAR: f64 = 40.0;

/// Draws a histogram of nanoseconds: a title with p50, p99, p99.9 and the maximum, then a row for each
/// bucket from the first to the last that holds anything. Bars are linear; a bucket that holds anything
/// shows at least a sliver.
///
/// ```text
/// one way: 3 values, p50 19.5 µs, p99 21.0 µs, p99.9 21.0 µs, max 21.0 µs
///    ≤ 20 µs  ████████████████████████████████████████ 2
///    ≤ 50 µs  ████████████████████                     1
/// ```
pub fn render(title: &str, histogram: &Histogram<u64>) -> String {
    if histogram.is_empty() {
        return format!("{title}: nothing recorded\n");
    }
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|quantile| duration(histogram.value_at_quantile(quantile)));
    let mut out = format!(
        "{title}: {} values, p50 {p50}, p99 {p99}, p99.9 {p999}, max {}\n",
        histogram.len(),
        duration(histogram.max())
    );
    let _ = write!(out, "{}", bars(histogram, BAR));
    out
}

/// The rows alone, with bars of at most `columns`.
pub fn bars(histogram: &Histogram<u64>, columns: f64) -> String {
    let rows = rows(histogram);
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    let mut out = String::new();
    for (bound, count) in rows {
        let label = if bound == u64::MAX { "> 10 s".to_owned() } else { format!("≤ {}", whole(bound)) };
        let bar = bar(count as f64 / most as f64, columns);
        let width = columns as usize;
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{label:>11}  {bar:<width$} {count}");
    }
    out
}

/// How many values there are in each row, from the first to the last that holds any, with the rows' upper bounds in
/// nanoseconds. The row above all bounds has `u64::MAX`.
pub fn rows(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let mut counts = [0u64; BOUNDS_NS.len() + 1];
    for value in histogram.iter_recorded() {
        // A value recorded on a bound belongs below it, though its slot of the histogram reaches beyond.
        let lowest = histogram.lowest_equivalent(value.value_iterated_to());
        let row = BOUNDS_NS.partition_point(|bound| *bound < lowest);
        counts[row] += value.count_at_value();
    }
    let bounds = BOUNDS_NS.iter().copied().chain([u64::MAX]);
    let mut rows: Vec<(u64, u64)> = bounds.zip(counts).skip_while(|(_, count)| *count == 0).collect();
    while rows.pop_if(|(_, count)| *count == 0).is_some() {}
    rows
}

/// A bar of eighths of columns.
fn bar(share: f64, columns: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if share <= 0.0 {
        return String::new();
    }
    let eighths = ((share * columns * 8.0).round() as usize).max(1);
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

/// Three digits or so, in the unit that fits.
pub fn duration(ns: u64) -> String {
    let ns = ns as f64;
    match ns {
        ..1e3 => format!("{ns} ns"),
        ..1e6 => format!("{:.1} µs", ns / 1e3),
        ..1e9 => format!("{:.1} ms", ns / 1e6),
        _ => format!("{:.2} s", ns / 1e9),
    }
}

fn whole(ns: u64) -> String {
    match ns {
        ..1_000_000 => format!("{} µs", ns / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{} s", ns / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_histogram_is_drawn() {
        let mut histogram = crate::Histogram::new();
        histogram.record_n(8_000, 5).unwrap();
        histogram.record_n(15_000, 100).unwrap();
        histogram.record_n(80_000, 50).unwrap();
        histogram.record_n(25_000_000_000, 1).unwrap();
        let picture = render("one way", &histogram);
        let lines: Vec<&str> = picture.lines().collect();
        assert_eq!(lines[0], "one way: 156 values, p50 15.0 µs, p99 80.1 µs, p99.9 25.01 s, max 25.01 s");
        assert_eq!(lines[1], format!("    ≤ 10 µs  {:<40} 5", "██"));
        assert_eq!(lines[2], format!("    ≤ 20 µs  {:<40} 100", "█".repeat(40)));
        assert_eq!(lines[3], format!("    ≤ 50 µs  {:<40} 0", ""));
        assert_eq!(lines[4], format!("   ≤ 100 µs  {:<40} 50", "█".repeat(20)));
        assert_eq!(lines[lines.len() - 1], format!("     > 10 s  {:<40} 1", "▍"));
        assert_eq!(lines.len(), 1 + 20);
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        assert_eq!(render("setup", &crate::Histogram::new()), "setup: nothing recorded\n");
    }
}
