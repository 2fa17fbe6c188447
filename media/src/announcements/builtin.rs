//! The announcements that are part of the executable: `media/announcements/` says how they were made.

/// Names and A-law octets.
pub(super) const ALL: [(&str, &[u8]); 8] = [
    ("call-restricted-zh", include_bytes!("../../announcements/call-restricted-zh.al")),
    ("call-restricted", include_bytes!("../../announcements/call-restricted.al")),
    ("no-answer", include_bytes!("../../announcements/no-answer.al")),
    ("no-line-zh", include_bytes!("../../announcements/no-line-zh.al")),
    ("no-line", include_bytes!("../../announcements/no-line.al")),
    ("number-not-in-service", include_bytes!("../../announcements/number-not-in-service.al")),
    ("suspended-for-arrears-zh", include_bytes!("../../announcements/suspended-for-arrears-zh.al")),
    ("suspended-for-arrears", include_bytes!("../../announcements/suspended-for-arrears.al")),
];
