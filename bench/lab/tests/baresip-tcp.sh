# baresip calls SIPp, and SIPp calls baresip, over TCP; SIPp speaks UDP.

baresip_calls tcp
