# baresip calls SIPp, and SIPp calls baresip, over UDP.

baresip_calls udp
