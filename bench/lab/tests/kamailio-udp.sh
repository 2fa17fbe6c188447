# Kamailio on either side of Moorline, with Record-Route: re-INVITE, ACK and BYE of both parties follow the route
# sets, or Kamailio refuses them.

kamailio_calls udp
