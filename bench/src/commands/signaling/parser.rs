//! The parser's own benchmark, run by cargo: it counts allocations, which the load must not be burdened with.

use crate::commands::process::{Error, cargo};

/// What reading an INVITE takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Parser {
    pub(super) message_bytes: f64,
    pub(super) parse_ns: f64,
    /// With every check of the headers that RFC 3261 asks for.
    pub(super) parse_check_ns: f64,
    pub(super) parse_allocs: f64,
}

impl Parser {
    /// Builds and runs `signaling/sip/benches/parse`, without its series for criterion.
    pub(super) fn measure() -> Result<Parser, Error> {
        Parser::read(&cargo(&["bench", "-p", "moorline-sip", "--bench", "parse", "--", "no-series"])?)
    }

    fn read(output: &str) -> Result<Parser, Error> {
        let value = |key: &str| -> Result<f64, Error> {
            let mut values = output.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            Ok(values.next().ok_or_else(|| format!("the parser's benchmark says no {key}"))?.parse()?)
        };
        Ok(Parser {
            message_bytes: value("bytes")?,
            parse_ns: value("parse_ns")?,
            parse_check_ns: value("parse_check_ns")?,
            parse_allocs: value("parse_allocs")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_whole() {
        let output = "parse  time: [1 ns]\nbytes=871\nparse_ns=276\nparse_check_ns=597\nparse_allocs=0\n";
        let parser = Parser { message_bytes: 871.0, parse_ns: 276.0, parse_check_ns: 597.0, parse_allocs: 0.0 };
        assert_eq!(Parser::read(output).unwrap(), parser);
        assert!(Parser::read("bytes=871\n").is_err());
    }
}
