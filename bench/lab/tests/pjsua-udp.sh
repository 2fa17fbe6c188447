# pjsua calls SIPp, SIPp calls pjsua, and pjsua calls pjsua, over UDP.

pjsua_calls udp
