//! How a load goes: a bar and histograms on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use moorline_bench::load::{Plan, Progress, Watch};
use moorline_bench::{Histogram, picture};

/// The time between lines where there is no terminal.
const LINES_EVERY: Duration = Duration::from_secs(5);

/// Histograms are drawn this often, in watches of a tenth of a second.
const DRAW_EVERY: u32 = 3;

/// The longest bar of a histogram; two of them stand beside each other in 80 columns.
const COLUMNS: f64 = 14.0;
const HALF: usize = 39;

pub(super) struct Live {
    bar: Option<ProgressBar>,
    step: String,
    with_media: bool,
    watched: u32,
    next_line: Duration,
    /// Calls placed at the last look, for the rate of now.
    before: (Duration, u32),
    rate: f64,
}

impl Live {
    /// For a load of this plan, which may be a step of several.
    pub(super) fn new(plan: &Plan, step: Option<(usize, usize)>) -> Live {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar =
                ProgressBar::with_draw_target(Some(millis(plan.expected())), ProgressDrawTarget::stderr_with_hz(8));
            let style = ProgressStyle::with_template("{bar:40.cyan/dim} {percent:>3} %  {prefix}\n{msg}");
            // The template is a constant; were it wrong, indicatif's own would do.
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        let step = step.map_or_else(String::new, |(index, of)| format!("step {index} of at most {of}, "));
        Live {
            bar,
            step: format!("{step}{} calls/s", plan.rate_per_s),
            with_media: plan.media,
            watched: 0,
            next_line: LINES_EVERY,
            before: (Duration::ZERO, 0),
            rate: 0.0,
        }
    }

    pub(super) fn show(&mut self, watch: &Watch<'_>) {
        let progress = &watch.progress;
        let (at, attempted) = self.before;
        let since = progress.elapsed.saturating_sub(at);
        if since >= Duration::from_secs(1) {
            self.rate = f64::from(progress.attempted.saturating_sub(attempted)) / since.as_secs_f64();
            self.before = (progress.elapsed, progress.attempted);
        }
        let Some(bar) = &self.bar else {
            if progress.elapsed >= self.next_line {
                eprintln!("{:>4} s: {}", progress.elapsed.as_secs(), self.calls(progress).join("; "));
                self.next_line += LINES_EVERY;
            }
            return;
        };
        self.watched += 1;
        if !self.watched.is_multiple_of(DRAW_EVERY) {
            return;
        }
        // A load that takes longer than expected stands at the end, it does not go beyond.
        let length = bar.length().unwrap_or_default();
        bar.set_position(millis(progress.elapsed).min(length.saturating_sub(1)));
        bar.set_prefix(format!("{}, {} s", self.step, progress.elapsed.as_secs()));
        let mut lines = self.calls(progress);
        lines.push(String::new());
        // Ringing hides what the SBC adds to a set-up: it stands here only where there is room.
        let right = if self.with_media { ("one way", watch.one_way) } else { ("set-up", watch.setup) };
        lines.extend(beside(&histogram("post-dial", watch.post_dial), &histogram(right.0, right.1)));
        bar.set_message(lines.join("\n"));
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn calls(&self, progress: &Progress) -> Vec<String> {
        let Progress { active, attempted, calls, completed, failed, waiting, .. } = progress;
        let waiting = if *waiting > 0 { format!(", {waiting} waiting") } else { String::new() };
        let stopping = if progress.is_stopping { ", stopping" } else { "" };
        let rate = if attempted < calls { format!(" ({:.1}/s)", self.rate) } else { String::new() };
        let mut lines = vec![format!(
            "calls  {active} up, {attempted} of {calls} placed{rate}, {completed} done, {failed} failed{waiting}{stopping}"
        )];
        if self.with_media {
            let share = progress.packets_missed as f64 / progress.packets_sent.max(1) as f64 * 100.0;
            lines.push(format!(
                "audio  {} packets sent, {} received, {} lost ({share:.3} %)",
                progress.packets_sent, progress.packets_received, progress.packets_missed
            ));
        }
        lines
    }
}

fn histogram(title: &str, histogram: &Histogram) -> Vec<String> {
    if histogram.is_empty() {
        return vec![format!("{title}: nothing yet")];
    }
    let [p50, p99] = [0.5, 0.99].map(|quantile| picture::duration(histogram.value_at_quantile(quantile)));
    let head = format!("{title}: p50 {p50}, p99 {p99}");
    std::iter::once(head).chain(picture::bars(histogram, COLUMNS).lines().map(str::to_owned)).collect()
}

/// Two pictures in one.
fn beside(left: &[String], right: &[String]) -> Vec<String> {
    let row = |lines: &[String], index: usize| lines.get(index).cloned().unwrap_or_default();
    (0..left.len().max(right.len()))
        .map(|index| format!("{:<HALF$} {}", row(left, index), row(right, index)).trim_end().to_owned())
        .collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_stand_beside_each_other() {
        let mut values = Histogram::new();
        values.record_n(15_000, 3).expect("in bounds");
        let rows = beside(&histogram("set-up", &values), &histogram("one way", &Histogram::new()));
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0], format!("{:<39} one way: nothing yet", "set-up: p50 15.0 µs, p99 15.0 µs"));
        assert_eq!(rows[1], format!("    ≤ 20 µs  {} 3", "█".repeat(14)));
    }
}
