//! Plots as SVG: lines over an axis, and bars. Colours are classes, so that the page decides on them.

use std::fmt::Write as _;

/// The plot's size in its own units; the page scales it.
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 34.0;

/// A line of a plot: its name in the legend, and points from left to right. Its colour is its place in the plot.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// How values become heights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// From 0.
    Linear,
    /// By decades, for what spans several.
    Log,
}

/// How a value reads.
pub(super) type Format = fn(f64) -> String;

/// One axis: where a value is, and which values are marked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    scale: Scale,
    from: f64,
    to: f64,
    pub(super) ticks: Vec<f64>,
}

impl Axis {
    /// From 0 to a round number not below `highest`, with at most about `wanted` marks.
    pub(super) fn linear(highest: f64, wanted: u32) -> Axis {
        let highest = if highest.is_finite() && highest > 0.0 { highest } else { 1.0 };
        let step = round_up(highest / f64::from(wanted));
        let steps = (highest / step - 1e-9).ceil().max(1.0);
        let ticks = (0..=steps as u32).map(|index| f64::from(index) * step).collect();
        Axis { scale: Scale::Linear, from: 0.0, to: steps * step, ticks }
    }

    /// As [`Axis::linear`], but the axis ends where the values do.
    pub(super) fn up_to(highest: f64, wanted: u32) -> Axis {
        let mut axis = Axis::linear(highest, wanted);
        axis.to = if highest > 0.0 { highest } else { 1.0 };
        axis.ticks.retain(|tick| *tick <= axis.to);
        axis
    }

    /// Decades around the values; with 2 and 5 where there are few.
    pub(super) fn log(lowest: f64, highest: f64) -> Axis {
        let lowest = if lowest > 0.0 && lowest.is_finite() { lowest } else { 1.0 };
        let highest = if highest > lowest && highest.is_finite() { highest } else { lowest * 10.0 };
        let from = (lowest.log10() + 1e-9).floor();
        let to = (highest.log10() - 1e-9).ceil().max(from + 1.0);
        let within: &[f64] = if to - from > 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let decades = (from as i32..=to as i32).map(|exponent| 10f64.powi(exponent));
        let ticks = decades.flat_map(|decade| within.iter().map(move |mark| mark * decade));
        let (from, to) = (10f64.powf(from), 10f64.powf(to));
        Axis { scale: Scale::Log, from, to, ticks: ticks.filter(|tick| *tick <= to * 1.001).collect() }
    }

    /// The share of the axis below a value: 0 to 1.
    pub(super) fn share(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Log if value <= self.from => 0.0,
            Scale::Log => (value / self.from).log10() / (self.to / self.from).log10(),
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// 1, 2, 5 or 10 of the value's decade, whichever is next.
fn round_up(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    let marks = [1.0, 2.0, 5.0, 10.0];
    marks.iter().map(|mark| mark * decade).find(|mark| *mark >= value * (1.0 - 1e-9)).unwrap_or(value)
}

/// Lines over time or whatever `x` marks.
pub(super) fn lines(x: &Axis, x_format: Format, y: &Axis, y_format: Format, lines: &[Line]) -> String {
    let mut svg = open();
    grid(&mut svg, y, y_format);
    for tick in &x.ticks {
        let at = LEFT + x.share(*tick) * (WIDTH - LEFT - RIGHT);
        let _ = write!(
            svg,
            "<line class=\"tick\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{0:.1}\" y2=\"{1:.1}\"/>\
             <text x=\"{at:.1}\" y=\"{2:.1}\" text-anchor=\"middle\">{3}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 5.0,
            HEIGHT - BOTTOM + 20.0,
            escape(&x_format(*tick))
        );
    }
    for (index, line) in lines.iter().enumerate() {
        let points: Vec<String> = line
            .points
            .iter()
            .map(|(at, value)| {
                format!("{:.1},{:.1}", LEFT + x.share(*at) * (WIDTH - LEFT - RIGHT), height(y.share(*value)))
            })
            .collect();
        if let [point] = points.as_slice() {
            let (cx, cy) = point.split_once(',').unwrap_or(("0", "0"));
            let _ = write!(svg, "<circle class=\"dot c{index}\" cx=\"{cx}\" cy=\"{cy}\" r=\"3\"/>");
        }
        let name = escape(&line.name);
        let _ = write!(
            svg,
            "<polyline class=\"line c{index}\" points=\"{}\"><title>{name}</title></polyline>",
            points.join(" ")
        );
    }
    svg + "</svg>" + &legend(lines)
}

/// A bar for each of the counts.
pub(super) fn bars(counts: &[(String, u64)]) -> String {
    let highest = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let y = Axis::linear(highest as f64, 4);
    let mut svg = open();
    grid(&mut svg, &y, count);
    let width = (WIDTH - LEFT - RIGHT) / counts.len().max(1) as f64;
    // Labels that would overlap are left out, the last one never.
    let every = (96.0 / width).ceil().max(1.0) as usize;
    for (index, (label, value)) in counts.iter().enumerate() {
        let from = LEFT + index as f64 * width;
        // What is there shows, however little.
        let share = if *value == 0 { 0.0 } else { y.share(*value as f64).max(0.008) };
        let top = height(share);
        let label = escape(label);
        let _ = write!(
            svg,
            "<rect class=\"bar\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\"><title>{label}: {value}</title></rect>",
            from + width * 0.1,
            (width * 0.8).min(60.0),
            HEIGHT - BOTTOM - top,
        );
        if (counts.len() - 1 - index).is_multiple_of(every) {
            let middle = from + width * 0.1 + (width * 0.8).min(60.0) / 2.0;
            // The last one would leave the plot.
            let is_last = index + 1 == counts.len() && counts.len() > 1;
            let (at, anchor) = if is_last { (WIDTH - RIGHT, "end") } else { (middle, "middle") };
            let _ = write!(
                svg,
                "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{label}</text>",
                HEIGHT - BOTTOM + 20.0
            );
        }
    }
    svg + "</svg>"
}

fn open() -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">")
}

fn height(share: f64) -> f64 {
    HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
}

fn grid(svg: &mut String, y: &Axis, format: Format) {
    for tick in &y.ticks {
        let at = height(y.share(*tick));
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0,
            escape(&format(*tick))
        );
    }
}

fn legend(lines: &[Line]) -> String {
    let entries: String = lines
        .iter()
        .enumerate()
        .map(|(index, line)| format!("<span><i class=\"c{index}\"></i>{}</span>", escape(&line.name)))
        .collect();
    format!("<p class=\"legend\">{entries}</p>")
}

/// A count, in thousands or millions where it is that.
pub(super) fn count(value: f64) -> String {
    let short = |value: f64| format!("{value:.1}").trim_end_matches(".0").to_owned();
    match value {
        ..1e4 => {
            let text = format!("{value:.2}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        ..1e6 => short(value / 1e3) + " k",
        _ => short(value / 1e6) + " M",
    }
}

/// Microseconds, in the unit that fits.
pub(super) fn micros(us: f64) -> String {
    let short = |value: f64| {
        let digits = if value < 10.0 {
            2
        } else if value < 100.0 {
            1
        } else {
            0
        };
        let text = format!("{value:.digits$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    };
    match us {
        ..1e3 => short(us) + " µs",
        ..1e6 => short(us / 1e3) + " ms",
        _ => short(us / 1e6) + " s",
    }
}

/// Seconds, or minutes where there are many.
pub(super) fn seconds(s: f64) -> String {
    if s < 600.0 { format!("{} s", count(s)) } else { format!("{} min", count((s / 6.0).round() / 10.0)) }
}

/// Text within a page.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!(Axis::linear(97.0, 5).ticks, [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(Axis::linear(100.0, 5).ticks.last(), Some(&100.0));
        assert_eq!(Axis::linear(0.0, 5).ticks.last(), Some(&1.0));
        assert_eq!(Axis::linear(f64::NAN, 5).ticks.last(), Some(&1.0));
        assert_eq!(Axis::linear(0.0123, 4).to, 0.015);
        let axis = Axis::up_to(97.0, 5);
        assert_eq!((axis.share(97.0), axis.ticks.last()), (1.0, Some(&80.0)));
    }

    #[test]
    fn values_have_their_place() {
        let axis = Axis::linear(100.0, 5);
        assert_eq!([0.0, 25.0, 100.0, 200.0, -5.0].map(|value| axis.share(value)), [0.0, 0.25, 1.0, 1.0, 0.0]);
        let axis = Axis::log(30.0, 8_000.0);
        assert_eq!(axis.ticks, [10.0, 100.0, 1_000.0, 10_000.0]);
        assert!((axis.share(100.0) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!((axis.share(0.0), axis.share(1e9)), (0.0, 1.0));
        assert_eq!(Axis::log(10.0, 90.0).ticks, [10.0, 20.0, 50.0, 100.0]);
        assert_eq!(Axis::log(0.0, f64::NAN).ticks, [1.0, 2.0, 5.0, 10.0]);
    }

    #[test]
    fn texts_are_short_and_escaped() {
        assert_eq!([0.0, 2.5, 800.0, 25_000.0, 3_000_000.0].map(count), ["0", "2.5", "800", "25 k", "3 M"]);
        assert_eq!([5.0, 1_500.0, 20_000.0, 2e6].map(micros), ["5 µs", "1.5 ms", "20 ms", "2 s"]);
        assert_eq!([100.0, 1_000.0, 100_000.0].map(micros), ["100 µs", "1 ms", "100 ms"]);
        assert_eq!([30.0, 1_200.0].map(seconds), ["30 s", "20 min"]);
        assert_eq!(escape("<a href=\"x\">&'\n"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39; ");
    }

    #[test]
    fn names_cannot_leave_the_plot() {
        let name = "</svg><script>".to_owned();
        let line = Line { name: name.clone(), points: vec![(0.0, 1.0), (f64::NAN, f64::INFINITY)] };
        let axis = Axis::linear(1.0, 5);
        for svg in [lines(&axis, count, &axis, count, &[line]), bars(&[(name, 1)])] {
            assert!(!svg.contains("<script>") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert_eq!(svg.matches("</svg>").count(), 1);
        }
        assert!(bars(&[]).ends_with("</svg>"));
    }
}
