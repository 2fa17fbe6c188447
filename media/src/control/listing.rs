//! One page of sessions out of every shard's page.

use moorline_control::{Listed, Listing, SessionId, codec};

use crate::shard::LISTING_BYTES;

/// Merges pages by order of id, as much as fits a frame.
pub(super) fn merge(pages: Vec<Listed>) -> Listed {
    // A page that breaks off says nothing about what comes after its last session, so the whole breaks off
    // there too.
    let breaks = pages.iter().filter(|page| page.more).filter_map(|page| page.sessions.last());
    let last: Option<SessionId> = breaks.map(|listing| listing.session).min();
    let mut more = pages.iter().any(|page| page.more);
    let mut sessions: Vec<Listing> = pages.into_iter().flat_map(|page| page.sessions).collect();
    sessions.sort_unstable_by_key(|listing| listing.session);
    if let Some(last) = last {
        sessions.retain(|listing| listing.session <= last);
    }
    let mut bytes = 0;
    let fitting = sessions.iter().take_while(|listing| {
        bytes += codec::encode(listing).map_or(usize::MAX / 2, |body| body.len());
        bytes <= LISTING_BYTES
    });
    // One alone always fits: a specification is far smaller than a frame.
    let count = fitting.count().max(1).min(sessions.len());
    more |= count < sessions.len();
    sessions.truncate(count);
    Listed { sessions, more }
}

#[cfg(test)]
mod tests {
    use moorline_control::{LocalSession, MAX_FRAME, MAX_SNAPSHOT, Reply, ServerFrame};

    use super::*;

    fn page(ids: &[u64], more: bool, snapshot: usize) -> Listed {
        let listing = |&random: &u64| Listing {
            session: SessionId { node: 0, virtual_shard: 0, random },
            local: LocalSession::default(),
            snapshot: vec![7; snapshot],
            owned: true,
        };
        Listed { sessions: ids.iter().map(listing).collect(), more }
    }

    fn ids(listed: &Listed) -> Vec<u64> {
        listed.sessions.iter().map(|listing| listing.session.random).collect()
    }

    #[test]
    fn pages_merge_in_order_up_to_where_one_breaks_off() {
        let merged = merge(vec![page(&[1, 4, 9], false, 0), page(&[2, 3, 5], true, 0), page(&[6], true, 0)]);
        assert_eq!((ids(&merged), merged.more), (vec![1, 2, 3, 4, 5], true));
        let merged = merge(vec![page(&[1, 4], false, 0), page(&[], false, 0), page(&[2], false, 0)]);
        assert_eq!((ids(&merged), merged.more), (vec![1, 2, 4], false));
        assert_eq!(merge(vec![page(&[], false, 0)]), Listed::default());
    }

    #[test]
    fn a_page_of_the_largest_snapshots_fits_a_frame_and_says_that_more_come() {
        let merged = merge(vec![
            page(&[1, 3, 5, 7, 9, 11, 13, 15], false, MAX_SNAPSHOT),
            page(&[2, 4, 6, 8, 10, 12, 14], false, MAX_SNAPSHOT),
            page(&[16], false, MAX_SNAPSHOT),
        ]);
        assert!(merged.more);
        assert_eq!(ids(&merged), (1..=15).collect::<Vec<u64>>());
        let frame = ServerFrame::Reply { id: u32::MAX, reply: Reply::Listed(merged) };
        assert!(codec::encode(&frame).unwrap().len() <= MAX_FRAME);
    }
}
