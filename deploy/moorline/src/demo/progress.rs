//! How far the demo is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use moorline_bench::load::Progress;

/// The time between lines where there is no terminal.
const LINES_EVERY: Duration = Duration::from_secs(2);

pub(super) struct Bar {
    bar: ProgressBar,
    lines: bool,
    next_line: Duration,
}

impl Bar {
    /// For a load that takes about `expected`.
    pub(super) fn new(expected: Duration) -> Bar {
        let bar = ProgressBar::new(millis(expected));
        let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}");
        // The template is a constant; were it wrong, indicatif's own would do.
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Bar { bar, lines: !std::io::stderr().is_terminal(), next_line: LINES_EVERY }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        let text = format!(
            "{} of {} calls up, {} done, {} failed, {} packets relayed",
            progress.active, progress.calls, progress.completed, progress.failed, progress.packets_received
        );
        if self.lines {
            if progress.elapsed >= self.next_line {
                eprintln!("{:>3} s: {text}", progress.elapsed.as_secs());
                self.next_line += LINES_EVERY;
            }
            return;
        }
        // A load that takes longer than expected stands at the end, it does not go beyond.
        let length = self.bar.length().unwrap_or_default();
        self.bar.set_position(millis(progress.elapsed).min(length.saturating_sub(1)));
        self.bar.set_message(text);
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
