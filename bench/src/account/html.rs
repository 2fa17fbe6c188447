//! The account as one page that needs no other file, no script and no network.

use std::fmt::Write as _;

use super::judge::percent;
use super::plot::{self, Axis, Format, Line, escape, micros};
use super::{Account, Distribution, Point};

const STYLE: &str = include_str!("page.css");

/// The whole page.
pub(super) fn page(account: &Account) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>Load on {}</title>\n<style>\n{STYLE}</style></head>\n<body>\n<main>\n",
        escape(&account.plan.target)
    );
    head(&mut out, account);
    tiles(&mut out, account);
    ramp(&mut out, account);
    over_time(&mut out, account);
    times(&mut out, account);
    media(&mut out, account);
    failures(&mut out, account);
    let _ = write!(
        out,
        "<footer>{} · schema {}</footer>\n</main>\n</body>\n</html>\n",
        escape(&account.generator),
        escape(&account.schema)
    );
    out
}

fn head(out: &mut String, account: &Account) {
    let (plan, verdict) = (&account.plan, &account.verdict);
    let (class, word) = match (verdict.passed, account.interrupted) {
        (false, _) => ("bad", "failed"),
        (true, true) => ("warn", "stopped early"),
        (true, false) => ("good", "passed"),
    };
    let callee = plan.callee.as_deref().unwrap_or("the far end");
    let most = plan.concurrent.map_or_else(String::new, |most| format!(", {most} at most at once"));
    let _ = write!(
        out,
        "<header><h1>Load on {} <span class=\"badge {class}\">{word}</span></h1>\
         <p class=\"muted\">{} · from {} to {} over {} · {} calls at {}/s{most}, {} of talk, {} in packets of {} ms</p>",
        escape(&plan.target),
        date(account.started_unix_s),
        escape(&plan.caller),
        escape(callee),
        escape(&plan.transport),
        plan.calls,
        plot::count(plan.rate_per_s),
        plot::seconds(plan.talk_s),
        escape(&plan.codec),
        plan.packet_ms,
    );
    for (class, lines) in [("bad", &verdict.reasons), ("warn", &verdict.advice)] {
        if !lines.is_empty() {
            let items: String = lines.iter().map(|line| format!("<li>{}</li>", escape(line))).collect();
            let _ = write!(out, "<ul class=\"note {class}\">{items}</ul>");
        }
    }
    *out += "</header>\n";
}

fn tiles(out: &mut String, account: &Account) {
    let calls = &account.calls;
    let mut tiles = vec![
        ("calls completed", format!("{} of {}", calls.completed, calls.attempted), calls.failed > 0),
        ("calls failed", calls.failed.to_string(), calls.failed > 0),
        ("calls at once", calls.most_active.to_string(), false),
        ("calls per second", plot::count((calls.rate_per_s * 10.0).round() / 10.0), false),
        ("set-up p99", or_dash(&account.times.setup, |times| times.p99_us), false),
    ];
    if let Some(rate) = account.highest_clean_rate {
        tiles.insert(0, ("highest clean rate", format!("{}/s", plot::count(rate)), false));
    }
    if let Some(media) = account.media.as_ref().filter(|media| media.verified) {
        tiles.push(("one way p50", or_dash(&media.one_way, |times| times.p50_us), false));
        tiles.push(("one way p99", or_dash(&media.one_way, |times| times.p99_us), false));
        tiles.push(("packets lost", percent(media.loss), media.lost > 0));
    }
    *out += "<section class=\"tiles\">";
    for (name, value, is_bad) in tiles {
        let class = if is_bad { " class=\"bad\"" } else { "" };
        let _ = write!(out, "<div{class}><b>{value}</b><span>{name}</span></div>");
    }
    *out += "</section>\n";
}

fn ramp(out: &mut String, account: &Account) {
    if account.ramp.is_empty() {
        return;
    }
    let mut rows = String::new();
    for step in &account.ramp {
        let verdict = if step.clean {
            "<span class=\"badge good\">clean</span>".to_owned()
        } else {
            escape(&step.reasons.join("; "))
        };
        let _ = write!(
            rows,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"text\">{verdict}</td></tr>",
            plot::count(step.rate_per_s),
            step.attempted,
            step.failed,
            percent(step.loss),
            micros(step.setup_p99_us),
            micros(step.one_way_p99_us),
        );
    }
    let _ = writeln!(
        out,
        "<section><h2>Ramp</h2><div class=\"scroll\"><table><tr><th>calls/s</th><th>calls</th><th>failed</th><th>lost</th>\
         <th>set-up p99</th><th>one way p99</th><th class=\"text\">result</th></tr>{rows}</table></div></section>"
    );
}

fn over_time(out: &mut String, account: &Account) {
    let series = &account.series;
    let per_second = |count: u32, point: &Point| f64::from(count) / point.span_s.max(0.001);
    figure(
        out,
        "Calls per second",
        &time_plot(
            series,
            plot::count,
            &[
                ("placed", &|point| per_second(point.attempted, point)),
                ("answered", &|point| per_second(point.answered, point)),
                ("failed", &|point| per_second(point.failed, point)),
            ],
        ),
    );
    figure(out, "Calls at once", &time_plot(series, plot::count, &[("talking", &|point| f64::from(point.active))]));
}

fn times(out: &mut String, account: &Account) {
    let times = &account.times;
    if times.setup.count == 0 && times.post_dial.count == 0 {
        return;
    }
    let named = [
        ("post-dial delay (INVITE to ringing)", &times.post_dial),
        ("set-up (INVITE to 200)", &times.setup),
        ("INVITE, caller to callee", &times.invite_transit),
        ("200, callee to caller", &times.answer_transit),
        ("release (BYE to 200)", &times.release),
    ];
    *out += "<section><h2>How long signaling takes</h2>";
    table(out, &named);
    *out += "</section>\n";
    figure(out, "Post-dial delay", &histogram(&times.post_dial));
    figure(out, "Set-up", &histogram(&times.setup));
    figure(out, "By percentile", &curves(&named));
}

fn media(out: &mut String, account: &Account) {
    let Some(media) = &account.media else { return };
    let mut cells = vec![("sent", media.packets_sent), ("received", media.packets_received)];
    if media.verified {
        cells.push(("lost", media.lost));
    }
    cells.extend([
        ("reordered", media.reordered),
        ("twice", media.duplicated),
        ("changed", media.corrupted),
        ("in another call", media.crossed),
        ("from a wrong source", media.wrong_source),
        ("not sent by this host", media.send_errors),
    ]);
    if media.foreign > 0 {
        cells.push(("the far end's own", media.foreign));
    }
    if media.rtcp_sent > 0 {
        cells.extend([
            ("RTCP sent", media.rtcp_sent),
            ("RTCP received", media.rtcp_received),
            ("RTCP wrong", media.rtcp_wrong),
        ]);
    }
    let mut rows: String =
        cells.iter().map(|(name, value)| format!("<tr><td class=\"text\">{name}</td><td>{value}</td></tr>")).collect();
    for (name, jitter) in
        [("jitter, mean of the streams", media.jitter_us), ("jitter, worst stream", media.jitter_max_us)]
    {
        let _ = write!(rows, "<tr><td class=\"text\">{name}</td><td>{}</td></tr>", micros(jitter.round()));
    }
    *out += "<section><h2>Media</h2></section>\n";
    let packets = format!("<table>{rows}</table>");
    if media.one_way.count == 0 {
        figure(out, "RTP packets", &packets);
        return;
    }
    *out += "<section>";
    table(out, &[("one-way delay", &media.one_way)]);
    *out += "</section>\n";
    figure(out, "RTP packets", &packets);
    figure(out, "One way", &histogram(&media.one_way));
    let heard: Vec<Point> = account.series.iter().filter(|point| point.one_way_max_us > 0.0).copied().collect();
    figure(
        out,
        "One way over time",
        &log_plot(
            &heard,
            &[
                ("p50", &|point| point.one_way_p50_us),
                ("p99", &|point| point.one_way_p99_us),
                ("max", &|point| point.one_way_max_us),
            ],
        ),
    );
    figure(
        out,
        "Loss over time, in percent of the packets sent",
        &time_plot(
            &account.series,
            plot::count,
            &[("lost", &|point| {
                if point.packets_sent == 0 { 0.0 } else { 100.0 * point.lost as f64 / point.packets_sent as f64 }
            })],
        ),
    );
    figure(out, "One way by percentile", &curves(&[("one way", &media.one_way)]));
}

fn failures(out: &mut String, account: &Account) {
    let failures = &account.calls.failures;
    if failures.is_empty() {
        return;
    }
    let most = failures.iter().map(|failure| failure.calls).max().unwrap_or(1).max(1);
    *out += "<section><h2>Failed calls</h2><div class=\"scroll\"><table><tr><th class=\"text\">status</th><th class=\"text\">reason</th><th>calls</th><th></th></tr>";
    for failure in failures {
        let status = failure.status.map_or_else(|| "–".to_owned(), |status| status.to_string());
        let share = 100.0 * f64::from(failure.calls) / f64::from(most);
        let _ = write!(
            out,
            "<tr><td class=\"text\">{status}</td><td class=\"text\">{}</td><td>{}</td>\
             <td class=\"share\"><i style=\"width:{share:.1}%\"></i></td></tr>",
            escape(&failure.reason),
            failure.calls
        );
    }
    *out += "</table></div></section>\n";
}

fn figure(out: &mut String, title: &str, svg: &str) {
    let _ = writeln!(out, "<figure><figcaption>{title}</figcaption>{svg}</figure>");
}

fn table(out: &mut String, named: &[(&str, &Distribution)]) {
    *out += "<div class=\"scroll\"><table><tr><th></th><th>count</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th></tr>";
    for (name, times) in named.iter().filter(|(_, times)| times.count > 0) {
        let values = [times.p50_us, times.p90_us, times.p99_us, times.p999_us, times.max_us].map(micros);
        let cells: String = values.iter().map(|value| format!("<td>{value}</td>")).collect();
        let _ = write!(out, "<tr><td class=\"text\">{name}</td><td>{}</td>{cells}</tr>", times.count);
    }
    *out += "</table></div>";
}

/// What a plot shows of a point.
type Of<'a> = &'a dyn Fn(&Point) -> f64;

fn time_plot(series: &[Point], format: Format, named: &[(&str, Of<'_>)]) -> String {
    let lines = of_series(series, named);
    let highest = lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value).fold(0.0, f64::max);
    plot::lines(&time_axis(series), plot::seconds, &Axis::linear(highest, 5), format, &lines)
}

fn log_plot(series: &[Point], named: &[(&str, Of<'_>)]) -> String {
    let lines = of_series(series, named);
    let values = || lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value);
    let y = Axis::log(values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    plot::lines(&time_axis(series), plot::seconds, &y, micros, &lines)
}

fn of_series(series: &[Point], named: &[(&str, Of<'_>)]) -> Vec<Line> {
    // An interval is shown at its middle.
    let points = |of: Of<'_>| series.iter().map(|point| (point.at_s - point.span_s / 2.0, of(point))).collect();
    named.iter().map(|(name, of)| Line { name: (*name).to_owned(), points: points(*of) }).collect()
}

fn time_axis(series: &[Point]) -> Axis {
    Axis::up_to(series.last().map_or(1.0, |point| point.at_s), 6)
}

fn histogram(times: &Distribution) -> String {
    let mut counts: Vec<(String, u64)> =
        times.buckets.iter().map(|bucket| (format!("≤ {}", micros(bucket.up_to_us)), bucket.count)).collect();
    // The last one reaches from there to the highest of all.
    if let ([.., before, _], Some((label, _))) = (times.buckets.as_slice(), counts.last_mut()) {
        *label = format!("> {}", micros(before.up_to_us));
    }
    plot::bars(&counts)
}

/// The curves of several distributions: the axis gives each further nine as much room as the one before.
fn curves(named: &[(&str, &Distribution)]) -> String {
    // 99.99 % and above are one place.
    let nines = |share: f64| -(1.0 - share).max(1e-4).log10();
    let lines: Vec<Line> = named
        .iter()
        .filter(|(_, times)| times.count > 0)
        .map(|(name, times)| Line {
            name: (*name).to_owned(),
            points: times.curve.iter().map(|point| (nines(point.share), point.us)).collect(),
        })
        .collect();
    let values = || lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value);
    let y = Axis::log(values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    let share = |nines: f64| match nines {
        ..0.5 => "min".to_owned(),
        ..1.5 => "90 %".to_owned(),
        ..2.5 => "99 %".to_owned(),
        ..3.5 => "99.9 %".to_owned(),
        _ => "max".to_owned(),
    };
    plot::lines(&Axis::linear(4.0, 4), share, &y, micros, &lines)
}

fn or_dash(times: &Distribution, of: fn(&Distribution) -> f64) -> String {
    if times.count == 0 { "–".to_owned() } else { micros(of(times)) }
}

/// Seconds since 1970 as a date of the Gregorian calendar, by counting days from 1 March of the year 0.
fn date(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400 + 719_468, unix_s % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", second / 3_600, second / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_795_354_000), "2026-11-22 13:26 UTC");
    }
}
