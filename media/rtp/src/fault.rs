//! What is wrong with a datagram.

use core::fmt;

/// Why a datagram is not what it was taken for. The sender is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Shorter than its fixed header.
    Short,
    /// Not version 2, or not this protocol.
    Version,
    /// A count or length inside reaches past the end.
    Truncated,
    /// The padding count is zero, reaches into the header, or stands in a packet that may have none.
    Padding,
    /// Bytes after the last packet of a compound.
    Trailing,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Short => "shorter than its header",
            Fault::Version => "wrong version",
            Fault::Truncated => "a length inside reaches past the end",
            Fault::Padding => "inconsistent padding",
            Fault::Trailing => "bytes after the last packet",
        })
    }
}

impl core::error::Error for Fault {}
