# pjsua calls SIPp, SIPp calls pjsua, and pjsua calls pjsua, over TLS; SIPp speaks UDP.

pjsua_calls tls
