# baresip calls SIPp, and SIPp calls baresip, over TLS; SIPp speaks UDP.

baresip_calls tls
