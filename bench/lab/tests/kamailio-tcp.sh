# As with UDP, but that the proxies speak TCP to Moorline: their Record-Route is double then.

kamailio_calls tcp --transactions
