//! Metrics of a running process, read from its Prometheus page.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The samples of one page.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    samples: Vec<Sample>,
}

/// One line of the page.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The name, with the suffix `_total`, `_bucket`, `_sum` or `_count` where there is one.
    pub name: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The value; counters are whole up to 2^53.
    pub value: f64,
}

/// A histogram, summed over the series that were asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Buckets {
    /// Upper bound and the count of all up to it, in ascending order; the last bound is infinite.
    pub cumulative: Vec<(f64, f64)>,
    /// The number of values.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
}

/// Fetches and reads the page at `path` of a server on this host. The server gets 5 seconds.
pub fn fetch(server: SocketAddr, path: &str) -> io::Result<Metrics> {
    let failed = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let page = get(server, path)?;
    let (head, body) = page.split_once("\r\n\r\n").ok_or_else(|| failed("no end of the HTTP head".into()))?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(failed(format!("{path} answered {status}")));
    }
    Metrics::parse(body).map_err(|line| failed(format!("not a metric: {line}")))
}

/// HTTP/1.0 with `Connection: close`: the end of the stream is the end of the page, never chunked.
fn get(server: SocketAddr, path: &str) -> io::Result<String> {
    const PATIENCE: Duration = Duration::from_secs(5);
    const LONGEST: u64 = 16 * 1024 * 1024;
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {server}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut page = String::new();
    stream.take(LONGEST).read_to_string(&mut page)?;
    Ok(page)
}

impl Metrics {
    /// Reads a page. The error is the first line that is neither a sample nor a comment.
    pub fn parse(page: &str) -> Result<Metrics, String> {
        let lines = page.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| Sample::parse(line).ok_or_else(|| line.to_owned())).collect::<Result<_, _>>()?;
        Ok(Metrics { samples })
    }

    /// All samples, in the order of the page.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The sum of the samples of that name that have all of `labels`; `None` if there are none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = self.matching(name, labels).map(|sample| sample.value).peekable();
        found.peek()?;
        Some(found.sum())
    }

    /// The histogram `name` (without suffix), summed over the series that have all of `labels`.
    pub fn histogram(&self, name: &str, labels: &[(&str, &str)]) -> Option<Buckets> {
        let count = self.value(&format!("{name}_count"), labels)?;
        let sum = self.value(&format!("{name}_sum"), labels).unwrap_or_default();
        let mut cumulative: Vec<(f64, f64)> = Vec::new();
        for sample in self.matching(&format!("{name}_bucket"), labels) {
            let bound = number(sample.labels.get("le")?)?;
            match cumulative.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, total)) => *total += sample.value,
                None => cumulative.push((bound, sample.value)),
            }
        }
        cumulative.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        Some(Buckets { cumulative, count, sum })
    }

    fn matching<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name == name
                && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|own| own == value))
        })
    }
}

impl Buckets {
    /// The upper bound of the bucket in which the quantile lies; `None` if there are no values.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let rank = (self.count > 0.0).then_some(quantile.clamp(0.0, 1.0) * self.count)?;
        self.cumulative.iter().find(|(_, count)| *count >= rank).map(|(bound, _)| *bound)
    }

    /// The histogram of what came after `earlier`, a scrape of the same series.
    pub fn since(&self, earlier: &Buckets) -> Buckets {
        let before =
            |bound: f64| earlier.cumulative.iter().find(|(known, _)| *known == bound).map_or(0.0, |(_, count)| *count);
        Buckets {
            cumulative: self.cumulative.iter().map(|(bound, count)| (*bound, count - before(*bound))).collect(),
            count: self.count - earlier.count,
            sum: self.sum - earlier.sum,
        }
    }

    /// As an HDR histogram of nanoseconds, for [`crate::picture::render`], if the values are in seconds.
    /// Each value counts as the upper bound of its bucket, so that nothing looks faster than it was.
    pub fn to_nanoseconds(&self) -> crate::Histogram {
        let mut histogram = crate::Histogram::new();
        let mut below = 0.0;
        let mut last_bound_ns = 0.0;
        for (bound, cumulative) in &self.cumulative {
            // Above the last finite bound there is no upper one; a digit beyond it is all that is known.
            let ns = if bound.is_finite() { bound * 1e9 } else { last_bound_ns + 1.0 };
            let count = (cumulative - below).max(0.0) as u64;
            // Recording nothing would still raise the maximum.
            if count > 0 {
                histogram.saturating_record_n(ns.round() as u64, count);
            }
            (below, last_bound_ns) = (*cumulative, ns);
        }
        histogram
    }
}

impl Sample {
    /// `name{key="value",...} number [timestamp]`.
    fn parse(line: &str) -> Option<Sample> {
        let end = line.find(['{', ' ', '\t'])?;
        let (name, rest) = line.split_at(end);
        let mut labels = BTreeMap::new();
        let mut rest = rest;
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            loop {
                rest = rest.trim_start_matches([',', ' ']);
                if let Some(after) = rest.strip_prefix('}') {
                    rest = after;
                    break;
                }
                let (key, after) = rest.split_once("=\"")?;
                let (value, after) = quoted(after)?;
                labels.insert(key.trim().to_owned(), value);
                rest = after;
            }
        }
        let value = number(rest.split_whitespace().next()?)?;
        (!name.is_empty()).then(|| Sample { name: name.to_owned(), labels, value })
    }
}

/// The text up to the closing quote, its escapes resolved, and what follows the quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        other => other.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP p Packets.\n# TYPE p counter\np_total{shard=\"0\",why=\"a \\\"b\\\\,}\"} 3\n\
        p_total{shard=\"1\",why=\"x\"} 4 1700000000\nup 1\n\
        r_bucket{shard=\"0\",le=\"0.001\"} 1\nr_bucket{shard=\"0\",le=\"+Inf\"} 3\nr_sum{shard=\"0\"} 0.5\n\
        r_count{shard=\"0\"} 3\nr_bucket{shard=\"1\",le=\"0.001\"} 5\nr_bucket{shard=\"1\",le=\"+Inf\"} 5\n\
        r_sum{shard=\"1\"} 0.25\nr_count{shard=\"1\"} 5\n# EOF\n";

    #[test]
    fn values_are_summed_over_what_matches() {
        let metrics = Metrics::parse(PAGE).unwrap();
        assert_eq!(metrics.value("p_total", &[]), Some(7.0));
        assert_eq!(metrics.value("p_total", &[("shard", "1")]), Some(4.0));
        assert_eq!(metrics.value("p_total", &[("why", "a \"b\\,}")]), Some(3.0));
        assert_eq!(metrics.value("up", &[]), Some(1.0));
        assert_eq!(metrics.value("p_total", &[("shard", "2")]), None);
        assert_eq!(metrics.value("absent", &[]), None);
        assert_eq!(metrics.samples().len(), 11);
    }

    #[test]
    fn histograms_are_merged() {
        let metrics = Metrics::parse(PAGE).unwrap();
        let all = metrics.histogram("r", &[]).unwrap();
        assert_eq!(all, Buckets { cumulative: vec![(0.001, 6.0), (f64::INFINITY, 8.0)], count: 8.0, sum: 0.75 });
        assert_eq!((all.quantile(0.5), all.quantile(0.99)), (Some(0.001), Some(f64::INFINITY)));
        let first = metrics.histogram("r", &[("shard", "0")]).unwrap();
        assert_eq!(all.since(&first), metrics.histogram("r", &[("shard", "1")]).unwrap());
        let ns = all.to_nanoseconds();
        assert_eq!((ns.len(), ns.count_between(999_000, 1_000_500)), (8, 8));
        let picture = crate::picture::render("r", &ns);
        assert!(picture.contains("≤ 1 ms") && !picture.contains("≤ 2 ms"), "{picture}");
        assert_eq!(metrics.histogram("p", &[]), None);
        assert_eq!(Buckets::default().quantile(0.5), None);
    }

    #[test]
    fn what_is_no_metric_is_named() {
        for line in ["p{a=\"1} 2", "p{a=1} 2", "p", "p x", "{a=\"1\"} 2"] {
            assert_eq!(Metrics::parse(line), Err(line.to_owned()));
        }
    }

    fn serve(answer: &'static str) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /metrics HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn pages_are_fetched() {
        let metrics = fetch(serve("HTTP/1.1 200 OK\r\nX: y\r\n\r\nup 1\n"), "/metrics").unwrap();
        assert_eq!(metrics.value("up", &[]), Some(1.0));
    }

    #[test]
    fn other_answers_are_errors() {
        assert!(fetch(serve("HTTP/1.1 404 Not Found\r\n\r\nup 1\n"), "/metrics").is_err());
        assert!(fetch(serve("nothing"), "/metrics").is_err());
    }
}
